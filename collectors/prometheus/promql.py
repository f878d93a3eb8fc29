"""A pool signal as PromQL, so that a store far larger than this service aggregates it where the data lie.

A canonical metric has other names there: its own, if our agent was scraped, the engines' and DCGM's. `or` takes the
first of them that a target has, so that two spellings of one metric are never added.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from autoscaler.signals import metric
from autoscaler.types import Labels, Query
from collectors.dcgm import FIELDS, PREFIX
from collectors.engines import ALIASES

INSTANCE_LABELS = ("GPU_I_ID", "GPU_I_PROFILE", "gi_id", "mig_profile", "pod", "namespace", "container")
"""Labels in which the copies of a board's value differ that MIG instances and pods repeat."""
RANKS = "tp_rank|pp_rank|moe_ep_rank"
_AGGREGATES = {"sum": "sum", "mean": "avg", "max": "max", "min": "min", "count": "count"}
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Spelling:
    """One name of a canonical metric in the store: canonical value = value * factor + offset.

    where: a series must have one of these values of a label. board: the value is a board's, repeated by its parts.
    """

    name: str
    factor: float = 1.0
    offset: float = 0.0
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    board: bool = False


PARTS = ("value", "newest_at", "silent", "answering")
PART = "asked"


@dataclass(frozen=True, slots=True)
class Expression:
    """What to ask for one signal. value: one number. newest_at: time of the newest sample in it, one number; empty =
    cannot be told. silent: how many of the targets that should contribute do not answer, and answering: how many do."""

    value: str
    newest_at: str = ""
    silent: str = ""
    answering: str = ""

    @property
    def question(self) -> str:
        """All of it in one expression, whose elements say in the label `asked` which part they answer.

        A query that a person wrote is asked as it is.
        """
        if not self.newest_at:
            return self.value
        parts = (f'label_replace({getattr(self, part)}, "{PART}", "{part}", "", "")' for part in PARTS)
        return " or ".join(parts)


def expression(query: Query, pool_label: str = "pool") -> Expression | None:
    """The PromQL of a query; None if its metric has no name that a store could know."""
    if query.promql is not None:
        return Expression(query.promql)
    if query.metric is None:
        return None
    from_buckets = query.quantile is not None and query.over_s is not None
    found = spellings(f"{query.metric.removesuffix('_bucket')}_bucket" if from_buckets else query.metric)
    if not found:
        return None
    wanted = _matchers(query, pool_label)
    own = query.match or ((pool_label, query.workload or query.pool),)
    ours = ", ".join(f"{name}={_quoted(value)}" for name, value in own)
    selectors = [selector(spelling, wanted) for spelling in found]
    return Expression(
        value=_value(query, found, wanted),
        newest_at=f"max({' or '.join(f'timestamp({one})' for one in selectors)})",
        silent=f"count(up{{{ours}}} == 0)",
        answering=f"count(up{{{ours}}} == 1)",
    )


def spellings(name: str) -> tuple[Spelling, ...]:
    """The names of a metric, the canonical one first; a name that is not canonical stands for itself."""
    if not _NAME.fullmatch(name):
        return ()
    part = next((part for part in ("_bucket", "_sum", "_count") if name.endswith(part)), "")
    whole = metric(name)
    family = name.removesuffix(part) if part and whole is not None and whole.kind == "histogram" else name
    suffix = name.removeprefix(family)
    found = [Spelling(name)]
    for alias in ALIASES.get(family, ()):
        if alias.capacity is None and not alias.rising:
            # The factor of a histogram is that of its bounds; what its buckets count has none.
            factor = 1.0 if suffix in ("_bucket", "_count") else alias.factor
            found.append(Spelling(alias.name + suffix, factor, alias.offset, alias.where))
    if suffix:
        # Engines without the histogram print its sum alone.
        found += [Spelling(alias.name, alias.factor, alias.offset, alias.where) for alias in ALIASES.get(name, ())]
    for field in FIELDS:
        if field.metric == name:
            where = tuple((label, (value,)) for label, value in field.labels)
            found += [Spelling(PREFIX + n, field.factor, board=field.board) for n in field.names] if not where else []
    return tuple(found)


def _value(query: Query, found: tuple[Spelling, ...], wanted: tuple[str, ...]) -> str:
    if query.quantile is not None and query.over_s is not None:
        return _histogram_quantile(query, wanted)
    rated = f"[{_duration(query.rate_s)}]" if query.rate_s else ""
    union = " or ".join(term(spelling, wanted, rated) for spelling in found)
    if query.aggregate == "quantile":
        return f"quantile({0.5 if query.quantile is None else query.quantile:g}, {union})"
    return f"{_AGGREGATES[query.aggregate]}({union})"


def _histogram_quantile(query: Query, wanted: tuple[str, ...]) -> str:
    """Quantiles by engine, the first engine's that the pool has: buckets in other units or bounds cannot be added."""
    assert query.metric is not None
    assert query.over_s is not None
    family = query.metric.removesuffix("_bucket")
    terms = []
    for spelling in spellings(f"{family}_bucket"):
        buckets = f"{selector(spelling, wanted)}[{_duration(query.over_s)}]"
        quantile = f"histogram_quantile({query.quantile:g}, sum by (le) (rate({buckets})))"
        factor = next((a.factor for a in ALIASES.get(family, ()) if f"{a.name}_bucket" == spelling.name), 1.0)
        terms.append(quantile if factor == 1.0 else f"({quantile} * {factor:g})")
    return " or ".join(terms)


def term(spelling: Spelling, wanted: tuple[str, ...] = (), rated: str = "") -> str:
    """One spelling's series in the canonical unit. wanted: matchers. rated: the range to take the rate of, `[5m]`."""
    series = selector(spelling, wanted) + rated
    if rated:
        series = f"rate({series})"
    if spelling.board:
        series = f"max without ({', '.join(INSTANCE_LABELS)}) ({series})"
    if spelling.factor != 1.0:
        series = f"({series} * {spelling.factor:g})"
    if spelling.offset and not rated:
        series = f"({series} + {spelling.offset:g})"
    return series


def _matchers(query: Query, pool_label: str) -> tuple[str, ...]:
    pairs: Labels = (*(query.match or ((pool_label, query.workload or query.pool),)), *query.where)
    return tuple(f"{name}={_quoted(value)}" for name, value in pairs)


def selector(spelling: Spelling, wanted: tuple[str, ...] = ()) -> str:
    """Who prints a spelling, of the series that `wanted` matches."""
    own = [f"{label}=~{_quoted('|'.join(map(re.escape, values)))}" for label, values in spelling.where]
    if spelling.name.startswith("sglang:"):
        # Ranks repeat one engine: rank 0 speaks for all.
        own += [f'{rank}=~"0|"' for rank in RANKS.split("|")]
    return f"{spelling.name}{{{', '.join((*wanted, *own))}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _duration(seconds: float) -> str:
    """PromQL's durations are whole; milliseconds are fine enough for everybody."""
    return f"{seconds:.0f}s" if seconds == int(seconds) else f"{seconds * 1000:.0f}ms"
