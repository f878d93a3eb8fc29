"""How often a source speaks, learned from its own times: nobody tells it in remote write or OTLP."""

from __future__ import annotations

import math

import numpy as np

from collectors.pages.layout import Floats

UNKNOWN_S = 15.0
"""Until two times are known; a store that takes samples at this pace loses none of the usual ones."""
MIN_S = 0.05
_ROUNDS = 5
_APART = 0.3


class Cadence:
    """The interval of one source. A given one (`fixed_s`) stays; else the first gap counts until five say otherwise."""

    def __init__(self, fixed_s: float | None = None) -> None:
        self._fixed = fixed_s is not None
        self._known = self._fixed
        self._gaps: list[float] = []
        self.interval_s = UNKNOWN_S if fixed_s is None else fixed_s

    def note(self, gaps: Floats) -> bool:
        """Look at the gaps (series,) between the newest times of each series and those before; whether it changed.

        The median, since single series pause and come back.
        """
        usual = gaps[np.isfinite(gaps) & (gaps > 0.0)]
        if self._fixed or not usual.size:
            return False
        self._gaps = [*self._gaps[1 - _ROUNDS :], float(np.median(usual))]
        if not self._known:
            found = self._gaps[0]
        elif len(self._gaps) == _ROUNDS and all(abs(g / self.interval_s - 1.0) > _APART for g in self._gaps):
            found = float(np.median(self._gaps))
        else:
            return False
        self._known = True
        before, self.interval_s = self.interval_s, _round(found)
        return self.interval_s != before


def _round(seconds: float) -> float:
    """Two digits: times jitter by milliseconds, and an interval that changes makes the store begin anew."""
    seconds = max(seconds, MIN_S)
    digits = 1 - math.floor(math.log10(seconds))
    return round(seconds, digits)
