"""The `signals` and `data` sections: where a number of the pool comes from."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from autoscaler import plugins
from autoscaler.ports import Forecaster
from autoscaler.rulefile.section import Faults, Section, key, wrong
from autoscaler.rulefile.words import (
    Aggregation,
    Ahead,
    DaysOf,
    Duration,
    ForecasterOf,
    Labels,
    QuantileOf,
    SignalName,
    Text,
    ZoneOf,
    choice,
)


class Data(Section):
    """How old a value may be before it stops counting; also per signal."""

    max_age: Duration | None = key(None, "Older is stale: it may only hold. Default: three sampling intervals.")
    max_hold: Duration = key("300s", "Older is missing: only a fallback may speak.")


class SignalSection(Section):
    """One named number of the pool: from raw series (metric), a query (promql) or another signal (forecast)."""

    metric: Text | None = key(None, "Canonical or original metric name.")
    where: Labels = key({}, "Only series with these labels.")
    aggregate: Aggregation = key("sum", "How series become one number: sum, mean, max, min, count, quantile, p95 ...")
    rate: Duration | None = key(None, "Increase per second of a counter over this window.")
    quantile: QuantileOf | None = key(
        None,
        "Quantile of histogram buckets (with over), across series or of a forecast; auto = steered by what users wait.",
    )
    over: Duration | None = key(None, "Window of a histogram quantile.")
    promql: Text | None = key(None, "A query that returns one number.")
    forecast: SignalName | None = key(None, "The signal to look ahead on.")
    at: Ahead = key("lead_time", "How far ahead: lead_time = when an order placed now would serve.")
    of: Annotated[str, *choice("mean", "peak", "need")] = key(
        "peak",
        "Of a forecast: the highest two minutes until then, the mean of the five minutes that end then, or the least "
        "rate of work at which nothing waits longer than 5 s until then.",
    )
    forecaster: ForecasterOf = key("select", "Who forecasts: a name, or {use: NAME, setting: value}.")
    unusual_days: list[DaysOf] = key(
        [], "Days that a forecast does not learn from: a day, or the first/last of several."
    )
    timezone: ZoneOf = key("UTC", "Whose midnights unusual_days begin and end at, an IANA name.")
    max_age: Duration | None = key(None, "As data.max_age, for this signal.")
    max_hold: Duration | None = key(None, "As data.max_hold, for this signal.")
    fallback: list[SignalName] = key([], "Signals asked in order while this one is missing; they may only raise.")

    @model_validator(mode="after")
    def _one_source(self) -> SignalSection:
        sources = [k for k in ("metric", "promql", "forecast") if getattr(self, k) is not None]
        if len(sources) != 1:
            said = f"has {' and '.join(sources)}" if sources else "has no source"
            raise ValueError(f"{said}; write exactly one of metric, promql, forecast")
        faults = [*self._out_of_place(sources[0]), *self._quantiles()]
        if faults:
            raise wrong(*faults)
        return self

    def _out_of_place(self, source: str) -> Faults:
        fits = {"where": "metric", "aggregate": "metric", "rate": "metric", "over": "metric", "at": "forecast"}
        fits |= dict.fromkeys(("of", "forecaster", "unusual_days", "timezone"), "forecast")
        fits |= {"quantile": source} if source != "promql" else {"quantile": "metric"}
        given = self.model_fields_set
        return [
            ((k,), f"has no effect with {source}; remove it") for k, s in fits.items() if k in given and s != source
        ]

    def _quantiles(self) -> Faults:
        faults: Faults = []
        if self.quantile == "auto":
            if self.forecast is None:
                faults.append((("quantile",), "auto belongs to a forecast; write 0.99 for the 99th"))
        elif self.quantile is not None and not 0.0 < self.quantile < 1.0:
            faults.append((("quantile",), f"{self.quantile:g} is not between 0 and 1; write 0.99 for the 99th"))
        if self.rate is not None and self.over is not None:
            faults.append((("rate",), "excludes over; keep rate for a counter, over for a histogram"))
        if self.over is not None and self.quantile is None:
            faults.append((("over",), "needs a quantile; add 'quantile: 0.99'"))
        if self.rate == 0 or self.over == 0:
            faults.append((("rate" if self.rate == 0 else "over",), "is an empty window; write 1m"))
        across = self.aggregate == "quantile"
        if self.metric is not None and self.quantile is not None and self.over is None and not across:
            faults.append((("quantile",), "needs a window or an aggregate; add 'over: 1m' or 'aggregate: quantile'"))
        if across and self.quantile is None:
            faults.append((("aggregate",), "needs a quantile; write 'aggregate: p95' or add 'quantile: 0.95'"))
        return faults


def plugged_forecaster(section: SignalSection) -> Forecaster | None:
    """The forecaster that was asked for by name; None = nobody said. Raises InputError."""
    if "forecaster" not in section.model_fields_set:
        return None
    built: Forecaster = plugins.build("forecasters", section.forecaster.name, dict(section.forecaster.settings))
    return built
