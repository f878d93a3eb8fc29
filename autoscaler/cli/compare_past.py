"""The demand that a service recorded, from its data folder or from itself, and what it learned of the world."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoscaler.errors import InputError, SigmascaleError, StorageError
from autoscaler.queries import definition
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.shadow.account import demand_signal

if TYPE_CHECKING:
    from autoscaler.cli.client import Client

FOREVER_DAYS = 100_000
MAX_QUESTIONS = 2000
SPAN_S = 6 * 3600.0
LEAST_SPAN_S = 60.0
OF_DEMAND = "the signal that a target divides, if it is a rate or a query, else a rate of requests_arrived_total"


@dataclass(frozen=True, slots=True)
class PastDemand:
    """(point,) Unix seconds and work per second. capacity, boot_s: what the service learned; None = nothing."""

    at: NDArray[np.float64]
    rate: NDArray[np.float64]
    signal: Signal
    called: str
    capacity: float | None
    boot_s: float | None
    notes: tuple[str, ...]


def demand_signals(a: RuleSet, b: RuleSet) -> tuple[Signal, ...]:
    """What either file takes for demand, A's first. Raises InputError when none does."""
    found = tuple(signal for rules in (a, b) if (signal := demand_signal(rules)) is not None)
    if not found:
        raise InputError(
            f"{a.file}: nothing in it tells how much comes: {OF_DEMAND}; add one, or name a trace with --trace"
        )
    return found


def from_data(folder: Path, a: RuleSet, b: RuleSet, since: float, until: float) -> PastDemand:
    """What lies in a data folder. A service that runs on it holds today's file, which is then left out and said."""
    from autoscaler.store.pastdays import PastDays

    metrics = folder / "metrics"
    if not metrics.is_dir():
        raise InputError(
            f"--data {folder}: is no data folder of a service (it has no metrics); name one, or a trace with --trace"
        )
    past = PastDays(metrics, FOREVER_DAYS)
    signals = demand_signals(a, b)
    try:
        for signal in signals:
            parts = past.history((a.pool, signal.name, definition(signal)), since, until)
            if parts:
                break
        told = tuple(_unread(past.problems))
    finally:
        past.close()
    if not parts:
        wanted = " or ".join(dict.fromkeys(signal.name for signal in signals))
        why = f"; {'; '.join(told)}" if told else f"; {_there(metrics, a.pool)}"
        raise InputError(f"--data {folder}: nothing is recorded of {a.pool}, signal {wanted}, in that span{why}")
    capacity, boot_s = _learned(folder / "journal.db", a)
    at = np.concatenate([part[0] for part in parts])
    rate = np.concatenate([part[1] for part in parts])
    order = np.argsort(at, kind="stable")
    return PastDemand(at[order], rate[order], signal, f"{folder}: {a.pool}, {signal.name}", capacity, boot_s, told)


def from_service(client: Client, a: RuleSet, b: RuleSet, since: float, until: float) -> PastDemand:
    """What a running service has in memory and on disk, asked for piece by piece so that no point is left out."""
    from autoscaler.cli.client import segment

    pool = segment(a.pool)
    refusal: InputError | None = None
    for signal in demand_signals(a, b):
        try:
            at, rate = _asked(client, f"pools/{pool}/signals/{segment(signal.name)}", since, until)
        except InputError as error:
            refusal = refusal or error
            continue
        known = client.get(f"pools/{pool}/learned")
        boot_s, capacity = _boot_of(a, {t["offer"]: t["p50_s"] for t in known["lead_times"]}), known["capacity"]
        called = f"{client.url}: {a.pool}, {signal.name}"
        told = f"demand is {signal.name} as the rules of the running service measure it"
        return PastDemand(at, rate, signal, called, capacity["median"] if capacity else None, boot_s, (told,))
    assert refusal is not None
    raise refusal


def _asked(client: Client, path: str, since: float, until: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    at: list[float] = []
    rate: list[float] = []
    begin, span_s = since, SPAN_S
    for _ in range(MAX_QUESTIONS):
        if begin >= until:
            return np.array(at), np.array(rate)
        end = min(until, begin + span_s)
        found: dict[str, Any] = client.get(path, since=begin, until=end)
        if found["thinned"] > 1 and span_s > LEAST_SPAN_S:
            span_s = max(LEAST_SPAN_S, span_s / (2 * found["thinned"]))
            continue
        at += found["at"]
        rate += [math.nan if value is None else value for value in found["values"]]
        begin = end
    raise SigmascaleError(f"{client.url}: has more points than can be asked for; name a shorter --since")


def _unread(problems: dict[Path, str]) -> Sequence[str]:
    """Files that could not be read; the one that a running service writes is not broken."""
    return [
        f"{path.name} is in use by the service that runs on this folder and left out; --server asks that one"
        if "set lock" in text.lower()
        else text.removesuffix("; meanwhile the store goes on in memory")
        for path, text in sorted(problems.items())
    ]


def _there(metrics: Path, pool: str) -> str:
    """What was recorded of a pool instead."""
    from autoscaler.store.daystore import DayStore

    store, found = DayStore(metrics, FOREVER_DAYS), dict[str, None]()
    pools = dict[str, None]()
    try:
        for day in reversed(store.days()):
            for owner, signal, _ in store.meanings(day):
                pools[owner] = None
                if owner == pool:
                    found[signal] = None
            if found:
                break
    except StorageError as error:
        return str(error)
    if found:
        return f"recorded of it are {', '.join(sorted(found))}, maybe measured in another way than these files do"
    return f"recorded are the pools {', '.join(sorted(pools))}" if pools else "there are no records at all"


def _learned(journal: Path, a: RuleSet) -> tuple[float | None, float | None]:
    """Capacity and lead time of the first offer as the journal has them."""
    from autoscaler.foresight.rows import capacity_of, lead_time_of
    from autoscaler.journal import Journal

    if not journal.is_file():
        return None, None
    book = Journal(f"sqlite:///{journal.absolute()}")
    try:
        lessons = [lesson for lesson in book.lessons() if lesson.pool == a.pool]
    finally:
        book.close()
    leads = {x.key: t.p50_s for x in lessons if x.kind == "lead_time" and (t := lead_time_of(x)) is not None}
    known = [c for x in lessons if x.kind == "capacity" and (c := capacity_of(x)) is not None]
    capacity = next((value.median for _, value in reversed(known) if value is not None), None)
    return capacity, _boot_of(a, leads)


def _boot_of(a: RuleSet, learned: dict[str, float]) -> float | None:
    return learned.get(a.offers[0].key) if a.offers else None
