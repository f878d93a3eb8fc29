"""What each forecast signal of a pool asks for: of which signal, by whom, how far ahead, at which quantiles. Pure."""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from autoscaler import plugins, risk
from autoscaler.measure import DECISION_S, ahead_s, lead_time_s, warm_lead_time_s
from autoscaler.ports import Forecaster
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.types import LeadTime, Of

QUANTILES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Always asked for: a policy may move between them from tick to tick."""

MINUTE_S = 60.0
KINDS: Mapping[Of, tuple[Of, ...]] = {"mean": ("mean", "peak"), "peak": ("peak", "mean"), "need": ("need",)}
"""What is forecast for a signal of each kind, its own first."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One forecast signal. horizons_s: that of the signal, then the time in which a mistake could not be repaired.

    unusual: (since, until) of what is not learned from.
    """

    pool: str
    signal: str
    source: str
    of: tuple[Of, ...]
    horizons_s: tuple[float, ...]
    quantiles: tuple[float, ...]
    forecaster: Forecaster
    unusual: tuple[tuple[float, float], ...] = ()

    @property
    def key(self) -> str:
        """Names its model."""
        return f"{self.pool}/{self.signal}"

    def name_of(self, of: Of) -> str:
        """Under which name its outlook of that kind is known: its own for the kind that it asks for."""
        return self.signal if of == self.of[0] else f"{self.signal}:{of}"


def wishes(rules: RuleSet, lead_times: Mapping[str, LeadTime]) -> tuple[Wish, ...]:
    """Of every forecast signal. Horizons are whole minutes, so that a lead time that moves a little changes none."""
    found = []
    for signal in rules.signals:
        if signal.forecast is None:
            continue
        # What leaves now could be back only after its drain, the scale-in window and another lead time.
        hold_s = lead_time_s(rules, lead_times) + rules.scale_in.drain_s + rules.scale_in.stabilization_s
        until_s = ahead_s(signal, rules, lead_times)
        # What is needed until the lead time has passed is all that a signal of need knows: nobody asks it for more.
        far_s = until_s if signal.of == "need" else max(until_s, hold_s)
        horizons_s = tuple(sorted({_minutes(until_s), _minutes(far_s), *_warm_s(signal, rules, lead_times)}))
        quantiles = tuple(sorted({*QUANTILES, signal.quantile or 0.5, *(risk.QUANTILES if signal.steered else ())}))
        kinds = KINDS[signal.of]
        forecaster = _aimed(signal.forecaster or _default(), horizons_s, kinds)
        found.append(
            Wish(rules.pool, signal.name, signal.forecast, kinds, horizons_s, quantiles, forecaster, signal.unusual)
        )
    return tuple(found)


def _warm_s(signal: Signal, rules: RuleSet, lead_times: Mapping[str, LeadTime]) -> tuple[float, ...]:
    """What the size of a warm pool is read at: when a warm machine would serve, and when a new one would."""
    if rules.warm_pool.size != "forecast" or signal.of == "need":
        return ()
    ways = (warm_lead_time_s(rules, lead_times), lead_time_s(rules, lead_times))
    return tuple(_minutes(way_s + DECISION_S) for way_s in ways)


def spread(key: str) -> float:
    """A number from 0 to below 1 that is always the same for a key: what is done for many is not done at once."""
    return zlib.crc32(key.encode()) % 10_000 / 10_000


def _minutes(seconds: float) -> float:
    return MINUTE_S * max(1, math.ceil(seconds / MINUTE_S - 1e-9))


@cache
def _default() -> Forecaster:
    chosen: Forecaster = plugins.build("forecasters", "select", {})
    return chosen


def _aimed(forecaster: Forecaster, horizons_s: tuple[float, ...], of: tuple[Of, ...]) -> Forecaster:
    """The forecaster, told to learn just what is asked of it, if it can be told and nobody set it by hand."""
    if not dataclasses.is_dataclass(forecaster) or isinstance(forecaster, type):
        return forecaster
    fields = {field.name: field for field in dataclasses.fields(forecaster)}
    wanted: dict[str, Any] = {"horizons_s": horizons_s, "of": of}
    mine = {n: v for n, v in wanted.items() if n in fields and getattr(forecaster, n) == fields[n].default}
    return dataclasses.replace(forecaster, **mine)
