"""What a series of an inference engine means: which canonical signals it feeds, and how.

Which four signals every engine should give is proposal 003 of kubernetes-sigs/gateway-api-inference-extension; which
engine prints what, and where that is written, stands in the module of each engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autoscaler.signals import PASSED_ON, is_counter, metric
from autoscaler.types import Labels
from collectors.engines.alias import Alias
from collectors.engines.dynamo import PASSED_BY
from collectors.engines.table import ALIASES, COUNTERS, NIM, PREFIXES
from collectors.pages.identity import Identity

RANKS = ("pp_rank", "tp_rank", "moe_ep_rank")
"""SGLang's ranks repeat one engine: rank 0 speaks for all, and never are two added."""

_DATA_PARALLEL = "dp_rank"
_MANY_RANKS = 10_000
_DIGITS = 18
"""Of a number that counts blocks or tokens; what is longer would not fit into a float at some point."""
_ENGINE_LABELS = ("engine", "model_name", _DATA_PARALLEL, "worker_id", "WorkerId", "ReplicaId")
_PARTS = ("_bucket", "_sum", "_count")
_AFTER_HISTOGRAMS = 100
_RAY_PREFIXES = ("ray_vllm:", "ray_vllm_")


@dataclass(frozen=True, slots=True)
class _Entry:
    """An alias, its canonical metric and its place among the metric's aliases."""

    alias: Alias
    metric: str
    rank: int


def _index(table: Mapping[str, tuple[Alias, ...]]) -> dict[str, tuple[_Entry, ...]]:
    found: dict[str, tuple[_Entry, ...]] = {}
    for name, aliases in table.items():
        # A bare `_sum` has its histogram's competition to join, and is what counts only where there is no histogram.
        first = _AFTER_HISTOGRAMS if name != _competition(name) else 0
        for rank, alias in enumerate(aliases, first):
            found[alias.name] = (*found.get(alias.name, ()), _Entry(alias, name, rank))
    return found


def identities(name: str, labels: Labels, engine: str = "") -> tuple[Identity, ...] | None:
    """What a series of an inference engine means; None for a name that no table holds, empty for one to leave out."""
    spelled = spelled_by_engine(name)
    own = dict(labels)
    ours = spelled.startswith(PREFIXES)
    if ours and left_out(name, labels):
        return ()
    table = _BY_NIM_NAME if engine == "nim" and not ours else _BY_NAME
    meanings = [
        _identity(entry, part, own, later)
        for family, part, later in _families(spelled, own, table)
        for entry in table[family]
        if all(own.get(label, "") in values for label, values in entry.alias.where)
    ]
    wanted = tuple(identity for identity in meanings if identity is not None)
    if wanted:
        return wanted
    return (Identity(name, tuple(sorted(own.items())), True),) if spelled.removesuffix("_total") in COUNTERS else None


def left_out(name: str, labels: Labels) -> str:
    """Why nobody wants a series of an engine, empty when somebody may."""
    if not spelled_by_engine(name).startswith(PREFIXES):
        return ""
    own = dict(labels)
    if "quantile" in own:
        return "a summary's quantile: it cannot be merged over instances"
    # With data-parallel attention the ranks go on counting from one dp_rank to the next: rank 0 is only in the first.
    if _DATA_PARALLEL not in own:
        for rank in RANKS:
            if own.get(rank, "0") != "0":
                return f"{rank} {own[rank]} repeats what rank 0 of its engine says"
    return ""


def spelled_by_engine(name: str) -> str:
    """The engine's own spelling of a name that Ray passed on: it prefixes `ray_` and may replace the colon."""
    for prefix in _RAY_PREFIXES:
        if name.startswith(prefix):
            return "vllm:" + name.removeprefix(prefix)
    return name


def _families(
    name: str, own: Mapping[str, str], table: Mapping[str, tuple[_Entry, ...]]
) -> list[tuple[str, str, bool]]:
    """The aliases that a sample's name belongs to, each with the part of a histogram that it is (empty: none).

    There can be two: TGI's length of answers is a histogram, and its `_sum` the counter of tokens. Last comes whether
    the name is the other of the two forms that a counter has.
    """
    # Triton's documentation prints buckets without `_bucket`; `le` gives them away.
    found = [(name, "_bucket" if "le" in own else "", False)] if name in table else []
    found += [(name.removesuffix(p), p, False) for p in _PARTS if name.endswith(p) and name.removesuffix(p) in table]
    if not found:
        # Counters come with and without `_total`, by the age of the client library, and from Ray with both.
        other = name.removesuffix("_total") if name.endswith("_total") else name + "_total"
        found = [(other, "", True)] if other in table else []
    return found


def _identity(entry: _Entry, part: str, own: Mapping[str, str], later: bool) -> Identity | None:
    alias = entry.alias
    if bool(part) != _is_histogram(entry.metric):
        return None
    kept = {label: value for label, value in own.items() if label not in (*RANKS, *alias.drop)}
    factor = alias.factor
    if alias.capacity:
        product = _capacity(own, alias.capacity)
        if product is None:
            return None
        factor = product
        kept = {label: value for label, value in kept.items() if label in _ENGINE_LABELS}
    if PASSED_BY in own and not alias.name.startswith("dynamo_"):
        kept[PASSED_ON] = "dynamo"
    if part == "_bucket":
        kept["le"] = _scaled_bound(kept.get("le", "+Inf"), factor)
    if part in ("_bucket", "_count"):
        # A histogram's unit is in its bounds and its sum; what it counts are observations.
        factor = 1.0
    sample = entry.metric + part
    for label, renamed in alias.rename:
        if label in kept:
            kept[renamed] = kept.pop(label)
    return Identity(
        sample,
        tuple(sorted(kept.items())),
        is_counter(sample),
        factor,
        alias.offset,
        blank=alias.blank,
        family=_competition(entry.metric),
        rank=2 * entry.rank + later,
        rising=alias.rising,
        copy=_copy(own),
        overlaps=alias.overlaps,
    )


def _copy(own: Mapping[str, str]) -> int:
    """Which of the ranks of one data-parallel engine speaks, the lowest first; -1 where ranks repeat nothing."""
    if _DATA_PARALLEL not in own or not any(rank in own for rank in RANKS):
        return -1
    number = 0
    for rank in RANKS:
        text = own.get(rank, "0")
        # A longer text is no rank, and may have more digits than `int` takes.
        number = number * _MANY_RANKS + (int(text) if text.isdecimal() and len(text) <= 4 else _MANY_RANKS - 1)
    return number


def _competition(name: str) -> str:
    """Names of one competition: a mean's `_sum` from one source never joins buckets of another."""
    for part in _PARTS:
        whole = metric(name.removesuffix(part)) if name.endswith(part) else None
        if whole is not None and whole.kind == "histogram":
            return whole.name
    return name


def _is_histogram(name: str) -> bool:
    found = metric(name)
    return found is not None and found.kind == "histogram" and found.name == name


def _capacity(own: Mapping[str, str], labels: tuple[str, str]) -> float | None:
    """The product of two numbers that an info series carries as labels; None where one of them is no such number."""
    told = [own.get(label, "") for label in labels]
    if not all(text.isascii() and text.isdecimal() and len(text) <= _DIGITS for text in told):
        return None
    return float(int(told[0]) * int(told[1]))


def _scaled_bound(bound: str, factor: float) -> str:
    """A bucket's upper bound in the canonical unit; unchanged text where the unit is the same."""
    if factor == 1.0 or bound in ("+Inf", "inf", "Inf"):
        return bound
    try:
        return repr(float(f"{float(bound) * factor:.12g}"))
    except ValueError:
        return bound


_BY_NAME = _index(ALIASES)
_BY_NIM_NAME = _index(NIM)
