"""What a person wants the agent to set on GPUs, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass

from autoscaler import units


@dataclass(frozen=True, slots=True)
class Wanted:
    """Caps for every GPU of the machine; None = left as it is. clocks_hertz: the least and the most."""

    power_limit_watts: float | None = None
    clocks_hertz: tuple[float, float] | None = None

    def __bool__(self) -> bool:
        return self.power_limit_watts is not None or self.clocks_hertz is not None


def power_limit(text: str) -> float:
    """Watts in `300W`; ValueError for anything else."""
    return _amount("--power-limit", text, "watts", "300W")


def clocks(text: str) -> tuple[float, float]:
    """Hertz in `1200MHz-1500MHz`, or in `1500MHz` for exactly that; ValueError for anything else."""
    first, dash, last = text.partition("-")
    least = _amount("--lock-clocks", first, "hertz", "1200MHz-1500MHz")
    most = _amount("--lock-clocks", last, "hertz", "1200MHz-1500MHz") if dash else least
    if least > most:
        raise ValueError(f"--lock-clocks: {text!r} ends below its beginning; write the lower clock first")
    return least, most


def _amount(flag: str, text: str, unit: str, example: str) -> float:
    try:
        found = units.quantity(text.strip())
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from None
    if found.unit != unit or found.value <= 0:
        raise ValueError(f"{flag}: {text!r} is no number of {unit}; write {flag} {example}")
    return found.value
