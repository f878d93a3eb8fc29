"""A choice in words: what was taken, and of each other offer the first thing that speaks against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoscaler.choice.candidates import Candidate, Chosen, Left, Limits, Wanted
from autoscaler.choice.costs import Costs

SAME = 2e-3
"""Costs that differ by less than this share are the same; what decides ties differs by less."""


def taken_of(offers: Sequence[Candidate], made: Chosen) -> tuple[str, ...]:
    """One text for each offer that was taken, in the order of the offers."""
    return tuple(_taken(c, count) for c, count in zip(offers, made.counts, strict=True) if count)


def left_of(
    wanted: Wanted,
    offers: Sequence[Candidate],
    limits: Limits,
    made: Chosen,
    costs: Costs | None,
    index: Mapping[int, int],
) -> tuple[Left, ...]:
    """Why each offer that was not taken was not. index: offer -> where it is in `costs`."""
    found = []
    for n, (c, count) in enumerate(zip(offers, made.counts, strict=True)):
        if count:
            continue
        left = _impossible(c, limits)
        if left is None and costs is not None and n in index and made.units:
            left = _compared(wanted, c, offers, made, costs, index[n])
        if left is None:
            left = Left(c.key, "order", "is listed after what was taken")
        found.append(
            Left(c.key, left.why, f"{left.text} ({c.note})" if c.note and left.why != "excluded" else left.text)
        )
    return tuple(found)


def _taken(c: Candidate, count: int) -> str:
    each = f"{c.replicas} replicas each, " if c.replicas > 1 else ""
    price = f"{count * c.usd_per_hour:.2f} USD/h, {each}{c.usd_per_replica_hour:.2f} USD per replica-hour"
    more = f"; {c.bound}" if c.units is not None and count == c.units and c.bound else ""
    return f"{count} x {c.key} ({price}{f', {c.note}' if c.note else ''}{more})"


def _impossible(c: Candidate, limits: Limits) -> Left | None:
    if c.excluded:
        return Left(c.key, "excluded", c.excluded)
    if c.units == 0:
        return Left(c.key, "no_room", c.bound or "cannot be had now")
    if c.usd_per_hour > limits.usd_per_hour:
        return Left(
            c.key, "budget", f"one costs {c.usd_per_hour:.2f} USD/h and would pass {limits.money or 'the budget'}"
        )
    return None


def _compared(
    wanted: Wanted, c: Candidate, offers: Sequence[Candidate], made: Chosen, costs: Costs, at: int
) -> Left | None:
    """Against what was taken: what the same need would cost with this offer alone, and which part makes it dearer."""
    count: float = -(-wanted.replicas // c.replicas)
    whole = f"{count} would be"
    if c.units is not None and c.units < count:
        # Too few for the whole need: what one of its replicas costs is what can be compared.
        count, whole = wanted.replicas / c.replicas, f"only {c.units} can be had, at"
    price, expected = count * c.usd_per_hour, count * float(costs.expected[at])
    paid, counted = made.usd_per_hour, made.expected_usd_per_hour
    if expected <= counted * (1 + SAME) + SAME * costs.lowest:
        return _tie(wanted, c, offers, made)
    if price <= paid * (1 + SAME):
        late, risk = count * float(costs.late[at]), count * float(costs.risk[at])
        if late >= risk:
            text = f"serves within {c.p90_s:.0f} s (p90), {c.p90_s - costs.in_time_s:.0f} s too late"
            return Left(c.key, "late", f"{text}: {price:.2f} USD/h count as {expected:.2f} against {counted:.2f}")
        text = f"{c.interruptions_per_hour:g} interruptions an hour"
        return Left(c.key, "risk", f"{text}: {price:.2f} USD/h count as {expected:.2f} against {counted:.2f}")
    cheapest = min(o.usd_per_replica_hour for o, k in zip(offers, made.counts, strict=True) if k)
    idle = round(count * c.replicas) - wanted.replicas
    if c.usd_per_replica_hour < cheapest and idle:
        what = f"{idle * wanted.gpus_per_replica} GPUs" if c.gpus and wanted.gpus_per_replica else f"{idle} replicas"
        return Left(c.key, "too_big", f"too big: {what} would stand idle, {price:.2f} USD/h against {paid:.2f}")
    text = f"dearer: {whole} {price:.2f} USD/h, {c.usd_per_replica_hour:.2f} USD per replica-hour"
    return Left(c.key, "dearer", text)


def _tie(wanted: Wanted, c: Candidate, offers: Sequence[Candidate], made: Chosen) -> Left:
    taken = [o for o, k in zip(offers, made.counts, strict=True) if k]
    fastest = max(o.p90_s for o in taken)
    if c.p90_s > fastest:
        return Left(
            c.key, "slower_tie", f"costs the same and serves later, within {c.p90_s:.0f} s against {fastest:.0f}"
        )
    if c.gpus and c.gpus > max(o.gpus for o in taken):
        return Left(c.key, "bigger_tie", f"costs the same and comes in steps of {c.gpus} GPUs")
    there = wanted.there.get(c.place, 0)
    if c.place and there > max((wanted.there.get(o.place, 0) for o in taken), default=0):
        return Left(c.key, "spread", f"costs the same, and {c.place} has {there} replicas already")
    return Left(c.key, "order", "costs the same and is listed later")
