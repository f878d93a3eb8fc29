"""One portable measure of how full a GPU is, made of what its source can tell, with that source named.

No single number serves: kernel-busy time is blind to saturation, SM activity needs DCGM's profiling or a Hopper GPU,
and decode is bound by memory. So the highest of SM activity, memory activity and power over its limit is taken. How
much memory is allocated says nothing and stays out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

INPUTS = ("sm_active", "dram_active", "power")
"""What a saturation can be made of, in the order in which its source names them."""


@dataclass(frozen=True, slots=True)
class Saturation:
    """ratio: 0 to 1. source: the inputs that were available, joined by "+". clamped: how many of them lay above 1."""

    ratio: float
    source: str
    clamped: int = 0


def saturation(
    sm_active: float | None = None,
    dram_active: float | None = None,
    power_watts: float | None = None,
    power_limit_watts: float | None = None,
) -> Saturation | None:
    """The highest of the inputs that are available; None if none is.

    sm_active and dram_active are shares, power and its limit are watts. None and NaN both mean "not available", and
    so does power without a limit above zero. Under MIG a share may exceed 1 (1.294 was seen, NVIDIA/DCGM issue 152);
    it enters as 1, and is counted.
    """
    limited = usable(power_watts) and usable(power_limit_watts) and float(power_limit_watts or 0.0) > 0.0
    power = float(power_watts or 0.0) / float(power_limit_watts or 1.0) if limited else None
    shares = [float(v) if v is not None and usable(v) else None for v in (sm_active, dram_active, power)]
    known = [share for share in shares if share is not None]
    if not known:
        return None
    source = "+".join(name for name, share in zip(INPUTS, shares, strict=True) if share is not None)
    return Saturation(min(1.0, max(0.0, *known)), source, sum(share > 1.0 for share in known))


def usable(value: float | None) -> bool:
    """Whether a number was told at all."""
    return value is not None and math.isfinite(value)


def saturations(
    shares: NDArray[np.float64], available: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same for many devices at once: ratios (devices,), and how many of each device's inputs lay above 1.

    shares: (inputs, devices) in the order of INPUTS, power already over its limit. available: (inputs, devices), which
    of them count. NaN where nothing is available, and where something available has no value just now: the rest could
    look idle while that input is the full one.
    """
    counted = np.where(available, shares, -np.inf)
    highest = counted.max(axis=0)
    ratios = np.where(np.isneginf(highest), np.nan, np.clip(highest, 0.0, 1.0))
    return ratios, np.count_nonzero(counted > 1.0, axis=0)


def source_of(available: NDArray[np.bool_]) -> str:
    """The name of what one device's saturation is made of; available: (inputs,)."""
    return "+".join(name for name, is_there in zip(INPUTS, available, strict=True) if is_there)
