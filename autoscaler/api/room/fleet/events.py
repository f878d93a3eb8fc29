"""What happened to GPUs: driver faults, memory errors, lost boards, heat, and what to do about each.

A series keeps when it last changed for as long as it is known, which is longer than its points are kept. So an event
of the evening is still told in the morning, by whoever told of it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from autoscaler.api.deps import ApiDeps
from autoscaler.api.room.fleet.machines import Machine
from autoscaler.store.devices import Gpu, Told
from autoscaler.types.advice import FaultAdvice, Weight
from autoscaler.words import amount, counted, seconds

RECENT_S = 3600.0
"""So long a fault marks its GPU; the agent's verdict counts it for as long."""
HEAT_S = 600.0
MAX_EVENTS = 2000
PASS, WARN, FAIL = 0, 10, 20
"""States of gpu_health, as DCGM counts."""

State = Literal["now", "over", "happened"]


@dataclass(frozen=True, slots=True)
class GpuEvent:
    """One thing that happened. at: when; before: it was so when we first looked, and `at` is that time.

    state: now = it still is so, over = it was and is not any more, happened = an event. advice: what to do.
    """

    at: float
    before: bool
    kind: str
    weight: Weight
    state: State
    what: str
    advice: str
    uuid: str
    part: str = ""
    number: str = ""
    machine: str = ""
    host: str = ""
    pool: str = ""
    recent: bool = False

    @property
    def trouble(self) -> bool:
        """Whether the GPU is to be marked for it."""
        return self.weight != "note" and (self.state == "now" or (self.state == "happened" and self.recent))


def events_of(
    deps: ApiDeps,
    now: float,
    gpus: Sequence[Gpu],
    rows: Mapping[tuple[str, str], int],
    machine_of: Callable[[int], Machine],
) -> tuple[GpuEvent, ...]:
    """Every event of these GPUs, newest first; rows: of a GPU, by its UUID and part."""
    by_gpu: dict[tuple[str, str], list[Told]] = {}
    for told in deps.store.devices.signs(now):
        labels = dict(told.key.labels)
        by_gpu.setdefault((labels["uuid"], labels.get("gi_id", "")), []).append(told)
    found: list[GpuEvent] = []
    for (uuid, part), some in by_gpu.items():
        row = rows.get((uuid, part), rows.get((uuid, "")))
        labels = dict(gpus[row].labels) if row is not None else dict(some[0].key.labels)
        machine = machine_of(row) if row is not None else None
        name, host, pool = (machine.name, machine.host, machine.pool) if machine is not None else ("", "", "")
        host, pool = host or labels.get("host", ""), pool or labels.get("pool", "")
        found.extend(
            replace(event, uuid=uuid, part=part, number=labels.get("gpu", ""), machine=name, host=host, pool=pool)
            for event in _of_gpu(deps, some, now)
        )
    found.extend(_alerts(deps, gpus, rows, machine_of))
    return tuple(sorted(found, key=lambda e: (-e.at, e.host, e.number, e.kind))[:MAX_EVENTS])


def _alerts(
    deps: ApiDeps, gpus: Sequence[Gpu], rows: Mapping[tuple[str, str], int], machine_of: Callable[[int], Machine]
) -> Iterator[GpuEvent]:
    """Alerts that fire on a series of one GPU."""
    weights: Mapping[str, Weight] = {"critical": "bad", "warning": "warn"}
    for view in deps.board.pools().values():
        for alert in view.alerts:
            labels = dict(alert.labels) if alert.state == "firing" else {}
            uuid, part = labels.get("uuid", ""), labels.get("gi_id", "")
            row = rows.get((uuid, part), rows.get((uuid, "")))
            if row is None:
                continue
            machine, number = machine_of(row), dict(gpus[row].labels).get("gpu", "")
            weight, text = weights.get(alert.severity, "note"), f"alert {alert.name}: {alert.text}"
            about = uuid, part, number, machine.name, machine.host, machine.pool
            yield GpuEvent(alert.since, False, "alert", weight, "now", text, "see the alert for who is told", *about)


def _of_gpu(deps: ApiDeps, some: Sequence[Told], now: float) -> Iterator[GpuEvent]:
    # Of several sources of one series the newest counts.
    newest: dict[tuple[str, str], Told] = {}
    for told in some:
        name = told.key.metric, _part(told)
        if name not in newest or told.at > newest[name].at:
            newest[name] = told
    by_metric: dict[str, list[Told]] = {}
    for (metric, _), told in newest.items():
        by_metric.setdefault(metric, []).append(told)
    yield from _lost(by_metric)
    yield from _xids(deps, by_metric, now)
    for metric, (kind, weight, text, advice) in _STATES.items():
        for told in by_metric.get(metric, ()):
            yield _state(told, kind, FaultAdvice(text, weight, advice))
    for told in by_metric.get("gpu_recovery_action", ()):
        if told.value > 0:
            yield _state(told, "recovery", deps.advise("recovery", round(told.value)))
    for metric, (kind, weight, noun, advice) in _COUNTS.items():
        for told in by_metric.get(metric, ()):
            yield _count(told, kind, FaultAdvice(noun, weight, advice), now)
    yield from _health(by_metric)
    yield from _heat(by_metric, now)


_STATES: Mapping[str, tuple[str, Weight, str, str]] = {
    "gpu_row_remap_pending": (
        "memory",
        "warn",
        "a memory row waits to be replaced",
        "reset the GPU at the next drain",
    ),
    "gpu_row_remap_failed": (
        "memory",
        "bad",
        "a memory row could not be replaced",
        "drain the machine and replace it",
    ),
}
_COUNTS: Mapping[str, tuple[str, Weight, str, str]] = {
    "gpu_ecc_uncorrected_total": (
        "ECC",
        "bad",
        "uncorrected memory error",
        "drain the machine; reset the GPU, and replace the machine if they come again",
    ),
    "gpu_rows_remapped_total": (
        "memory",
        "note",
        "replaced memory row",
        "nothing to do while spare rows are left; a rise within days is a board that wears out",
    ),
}


def _event(told: Told, kind: str, advice: FaultAdvice, state: State) -> GpuEvent:
    before = not told.changed_at > told.began_at
    return GpuEvent(told.changed_at, before, kind, advice.weight, state, advice.name, advice.advice, "")


def _state(told: Told, kind: str, advice: FaultAdvice) -> GpuEvent:
    return _event(told, kind, advice, "now" if told.value > 0 else "over")


def _count(told: Told, kind: str, advice: FaultAdvice, now: float) -> GpuEvent:
    event = _event(told, kind, replace(advice, name=f"{counted(round(told.value), advice.name)} in all"), "happened")
    return replace(event, recent=not event.before and now - event.at < RECENT_S)


def _lost(by_metric: Mapping[str, Sequence[Told]]) -> Iterator[GpuEvent]:
    gone, up = by_metric.get("gpu_lost", ()), by_metric.get("gpu_up", ())
    for told in gone:
        advice = "reset it or replace the machine; XID 79 beside it means that it fell off the bus"
        yield _state(told, "lost", FaultAdvice("the GPU is not listed any more", "bad", advice))
    for told in up if not any(t.value > 0 for t in gone) else ():
        if told.value == 0.0 or not gone:
            advice = "look at the agent on the machine: the driver may hang or refuse; replace the machine if it stays"
            event = _event(told, "lost", FaultAdvice("the GPU does not answer", "bad", advice), "now")
            yield event if told.value == 0.0 else replace(event, state="over")


def _xids(deps: ApiDeps, by_metric: Mapping[str, Sequence[Told]], now: float) -> Iterator[GpuEvent]:
    last = {round(told.value) for told in by_metric.get("gpu_last_xid", ())}
    timed = [told.value for told in by_metric.get("gpu_last_xid_timestamp_seconds", ()) if told.value > 0]
    counts = {_part(told): told for told in by_metric.get("gpu_xid_events_total", ()) if told.value > 0}
    for told in by_metric.get("gpu_last_xid", ()):
        counts.setdefault(str(round(told.value)), told)
    for code, told in counts.items():
        number = int(code) if code.isdigit() else 0
        if told.key.metric == "gpu_last_xid" and not told.value > 0:
            continue
        known = deps.advise("xid", number) if number else FaultAdvice("driver faults of other codes", "warn", "")
        times = f", {amount(told.value)} times since it is counted" if told.key.counter and told.value > 1 else ""
        event = _event(told, "XID", replace(known, name=f"XID {code}: {known.name}{times}"), "happened")
        if timed and number in last:
            event = replace(event, at=max(timed), before=False)
        # What was there when we first looked happened at a time that nobody told; old faults mark nothing for ever.
        yield replace(event, recent=now - event.at < RECENT_S and not event.before)


_SYSTEMS = {"xid": "driver faults", "memory": "its memory", "recovery": "its recovery", "all": "the whole GPU"}


def _health(by_metric: Mapping[str, Sequence[Told]]) -> Iterator[GpuEvent]:
    for told in by_metric.get("gpu_health", ()):
        system = _part(told) or "all"
        words = "failed" if told.value >= FAIL else "needs attention" if told.value >= WARN else "was not well"
        weight: Weight = "bad" if told.value >= FAIL else "warn"
        advice = (
            "give it no new work and look at its other events" if told.value >= FAIL else "look at its other events"
        )
        yield _state(told, "health", FaultAdvice(f"verdict on {_SYSTEMS.get(system, system)}: {words}", weight, advice))


def _heat(by_metric: Mapping[str, Sequence[Told]], now: float) -> Iterator[GpuEvent]:
    advice = (
        "look at fans, airflow and the neighbours' temperatures; a power brake comes from the machine's power supply"
    )
    reasons = by_metric.get("gpu_clock_event_active", ())
    for told in reasons:
        what = f"clocks held down: {_part(told).replace('_', ' ')}"
        yield _state(told, "slow", FaultAdvice(what, "warn", advice))
    for told in by_metric.get("gpu_throttle_thermal_seconds_total", ()) if not reasons else ():
        if told.changed_at > told.began_at and now - told.changed_at < HEAT_S:
            what = f"slowed down by heat, {seconds(told.value)} in all"
            yield replace(_event(told, "slow", FaultAdvice(what, "warn", advice), "happened"), recent=True)


def _part(told: Told) -> str:
    """What of a GPU a series tells of."""
    labels = dict(told.key.labels)
    return labels.get("xid") or labels.get("system") or labels.get("reason") or labels.get("kind") or ""


def told_in_short(events: Sequence[GpuEvent]) -> str:
    """The trouble of one GPU in a few words."""
    # A verdict follows from the others, which say more.
    ranked = sorted(events, key=lambda e: (e.kind == "health", e.weight != "bad"))
    first = [event.what for event in ranked[:2]]
    more = f" and {len(events) - 2} more" if len(events) > 2 else ""
    return "; ".join(first) + more
