"""Fixed bounds: what a person wrote is what counts as normal."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscaler.errors import InputError
from autoscaler.types import Bands, Frame, Moments


@dataclass(frozen=True, slots=True)
class Static:
    """The same bounds for every series, in the unit of the signal; -inf or inf leaves a side open."""

    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        if math.isnan(self.lower) or math.isnan(self.upper):
            raise InputError(f"static threshold: bounds {self.lower} to {self.upper} are not numbers; write numbers")
        if self.lower > self.upper:
            raise InputError(
                f"static threshold: lower {self.lower} is above upper {self.upper}, so nothing is normal; swap them"
            )

    def bands(self, history: Frame) -> Bands:
        """Bounds of shape (series,), whatever the history holds; none is needed."""
        series = history.values.shape[0]
        return Bands(np.full(series, self.lower), np.full(series, self.upper))

    @property
    def moments_suffice(self) -> bool:
        """Always."""
        return True

    def bands_of(self, past: Moments) -> Bands:
        """The same."""
        series = past.count.size
        return Bands(np.full(series, self.lower), np.full(series, self.upper))
