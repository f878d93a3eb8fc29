"""The slowest of many calls of late: one name and one time, where a series for each call would be too many."""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW_S = 60.0
"""Seconds between two changes of the name. It is a label, and each change of labels lays a GPU's batches out anew."""


@dataclass(eq=False, slots=True)
class Slowest:
    """call: that of the last window that is over, empty before. took_s: seconds that it took; NaN before.

    Windows are minutes of the clock, so that the lanes of all GPUs change together.
    """

    call: str = ""
    took_s: float = math.nan
    _present: str = ""
    _present_s: float = -math.inf
    _window: float = -math.inf

    def note(self, call: str, took_s: float, now: float) -> None:
        """One call; now: Unix seconds."""
        window = now // WINDOW_S
        if window != self._window:
            if self._present:
                self.call, self.took_s = self._present, self._present_s
            self._window, self._present, self._present_s = window, "", -math.inf
        if took_s > self._present_s:
            self._present, self._present_s = call, took_s
