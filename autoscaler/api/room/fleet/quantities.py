"""Values of metrics as people read them, by their units."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from autoscaler.explain import clock_text, number_text
from autoscaler.signals import metric
from autoscaler.words import seconds

_BYTES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_DECIMAL = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def quantity(name: str, value: float) -> str:
    """The value of a metric in its unit: `87 %`, `71.4 GiB`, `650 W`; `–` for none."""
    if not math.isfinite(value):
        return "–"
    known = metric(name)
    unit = known.unit if known is not None else ""
    if known is not None and known.kind == "event":
        return clock_text(value) if value > 0 else "never"
    return in_unit(value, unit)


def in_unit(value: float, unit: str) -> str:
    """A value in the unit of a metric."""
    written = _WRITTEN.get(unit)
    if written is not None:
        return written(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else number_text(value)


def percent(value: float) -> str:
    """`87 %`; a tenth below ten, where it says something."""
    return f"{value:.0f} %" if abs(value) >= 10 or value == 0 else f"{value:.1f} %"


def _scaled(value: float, sizes: tuple[tuple[float, str], ...], smallest: str) -> str:
    for size, name in sizes:
        if abs(value) >= size:
            shown = f"{value / size:.1f}" if abs(value) < 100 * size else f"{value / size:.0f}"
            return f"{shown} {name}{'' if smallest == 'B' else smallest}"
    return f"{value:.0f} {smallest}"


_WRITTEN: Mapping[str, Callable[[float], str]] = {
    "ratio": lambda v: percent(100.0 * v),
    "bytes": lambda v: _scaled(v, _BYTES, "B"),
    "bytes/second": lambda v: _scaled(v, _DECIMAL, "B/s"),
    "watts": lambda v: f"{v:.0f} W",
    "joules": lambda v: f"{v / 3.6e6:,.2f} kWh",
    "celsius": lambda v: f"{v:.0f} °C",
    "hertz": lambda v: f"{v / 1e6:,.0f} MHz",
    "seconds": lambda v: seconds(v) if abs(v) >= 1.0 else f"{1e3 * v:.3g} ms",
    "boolean": lambda v: "yes" if v > 0 else "no",
}
