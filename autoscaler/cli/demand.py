"""The demand of a simulation, as a person names it: a number, a shape with two numbers, or a recorded trace."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from autoscaler import sim_demand
from autoscaler.errors import InputError
from autoscaler.sim import Demand
from autoscaler.simulation import START
from autoscaler.trace import load_trace

MAX_RATE = 100_000.0
FLAPPING_S = 600.0
"""Half of it low, half of it high: shorter than most scale-in windows, longer than most boots."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A form of demand with two numbers. `example` is how it is written."""

    example: str
    make: Callable[[float, float, float], Demand]
    """Of both numbers and the simulated seconds."""


SHAPES = {
    "step": Shape("step:8,40", lambda a, b, s: sim_demand.step(a, b, START + s * 0.25, START + s * 0.6)),
    "flapping": Shape("flapping:8,40", lambda a, b, _: sim_demand.flapping(a, b, FLAPPING_S)),
    "ramp": Shape("ramp:8,40", lambda a, b, s: sim_demand.ramp(a, b, START + s * 0.1, START + s * 0.8)),
    "daily": Shape("daily:20,0.5", lambda a, b, _: sim_demand.daily(a, b)),
}


def read_demand(text: str, column: str, scale: float, seconds: float) -> Demand:
    """The demand that a text names, over so many seconds. Raises InputError with the next step."""
    if not 0 < scale <= MAX_RATE:
        raise InputError(f"--scale: {scale:g} is not between 0 and {MAX_RATE:g}; 1 plays the trace as it was recorded")
    name, colon, rest = text.partition(":")
    if colon and name in SHAPES:
        return _shape(text, SHAPES[name], rest, seconds)
    number = _number(text)
    if number is not None:
        return sim_demand.constant(_rate(text, number))
    path = Path(text)
    if text and path.is_file():
        return sim_demand.replayed(load_trace(path, column), START, scale)
    raise InputError(f"--demand {text!r}: {_advice(text, name if colon else '', path)}")


def _shape(text: str, shape: Shape, rest: str, seconds: float) -> Demand:
    numbers = [_number(part) for part in rest.split(",")]
    if len(numbers) != 2 or None in numbers:
        raise InputError(f"--demand {text!r}: needs two numbers; write {shape.example}")
    first, second = (number for number in numbers if number is not None)
    if shape is SHAPES["daily"]:
        if not 0 <= second <= 1:
            raise InputError(
                f"--demand {text!r}: a swing of {second:g} is not between 0 and 1; write {shape.example}, "
                "which goes from 10 to 30 requests/s"
            )
        return shape.make(_rate(text, first), second, seconds)
    return shape.make(_rate(text, first), _rate(text, second), seconds)


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _rate(text: str, number: float) -> float:
    if not 0 <= number <= MAX_RATE:
        raise InputError(
            f"--demand {text!r}: {number:g} requests/s is not between 0 and {MAX_RATE:,.0f}; write another"
        )
    return number


def _advice(text: str, name: str, path: Path) -> str:
    close = difflib.get_close_matches(name, SHAPES, n=1) if name else []
    if close:
        return f"{name} is not a shape of demand; did you mean {SHAPES[close[0]].example}?"
    if path.is_dir() and text:
        return "is a folder; name one trace in it, a CSV file"
    if path.suffix in (".csv", ".gz"):
        return "there is no such file; check the path"
    examples = ", ".join(shape.example for shape in SHAPES.values())
    return f"is no demand; write requests per second such as 20, one of {examples}, or the path of a trace"
