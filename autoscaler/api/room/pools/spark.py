"""A line of a pool's recent demand, small enough for a row of a table. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from autoscaler.types import FloatArray
from autoscaler.words import amount, seconds

SPAN_S = 3600.0
LEAST_S = 60.0
"""A shorter past is drawn as the end of a minute."""
WIDTH, HEIGHT = 120, 24
SLOTS = 40
PAD = 2
"""Room above and below, so that the line is not cut in half where it is highest."""


@dataclass(frozen=True, slots=True)
class Spark:
    """A drawing of WIDTH x HEIGHT. line: the points of SVG polylines, one for each part between gaps. limit: the height
    of the capacity line, None = it is above the drawing or not known. text: what the drawing says, in a sentence."""

    line: tuple[str, ...]
    limit: float | None
    text: str


def spark(at: FloatArray, values: FloatArray, now: float, capacity: float | None, unit: str) -> Spark | None:
    """The last hour of `values` (time,), or what there is of it: the highest of each of SLOTS; None without two."""
    inside = np.isfinite(values) & (at > now - SPAN_S) & (at <= now)
    if not inside.any():
        return None
    at, values = at[inside], values[inside]
    since = min(float(at[0]), now - LEAST_S)
    slots = np.clip(((at - since) / (now - since) * SLOTS).astype(int), 0, SLOTS - 1)
    high = np.full(SLOTS, -np.inf)
    np.maximum.at(high, slots, values)
    if np.isfinite(high).sum() < 2:
        return None
    most = float(values.max())
    # From zero, so that a calm pool looks calm; capacity counts only while it does not flatten the line.
    top = max(most, capacity if capacity is not None and capacity <= 2.0 * most else 0.0) or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - PAD - (HEIGHT - 2 * PAD) * max(0.0, value) / top, 1)

    limit = y(capacity) if capacity is not None and capacity <= top else None
    span = f"last {seconds(round((now - since) / 60.0) * 60)}"
    text = f"{span}: {amount(float(values.min()))} to {amount(most)}{unit}, now {amount(float(values[-1]))}"
    return Spark(tuple(_parts(high.tolist(), y)), limit, text)


def _parts(high: list[float], y: Callable[[float], float]) -> list[str]:
    """The line between gaps of more than one slot: a pool that is scraped slowly has no gaps for it."""
    found: list[list[str]] = [[]]
    empty = 0
    for slot, value in enumerate(high):
        if math.isfinite(value):
            if empty > 2 and found[-1]:
                found.append([])
            empty = 0
            found[-1].append(f"{round(slot / (SLOTS - 1) * WIDTH, 1):g},{y(value):g}")
        else:
            empty += 1
    return [" ".join(points) for points in found if len(points) > 1]
