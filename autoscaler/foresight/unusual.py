"""Days that people marked as unusual: what they were is neither learned from nor taken for a season's shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoscaler.types import Frame

HOUR_S = 3600.0
PRESENT_S = 2 * HOUR_S
"""What is newer counts even so: a forecast is growth on the present level, whatever day it is."""


def without(history: Frame, spans: tuple[tuple[float, float], ...], now: float) -> Frame:
    """The frame without its values in spans of (since, until) seconds, which become gaps like any others.

    What counts as the present begins at a full hour, so that what a model was shown changes once an hour.
    """
    present = HOUR_S * np.floor((now - PRESENT_S) / HOUR_S)
    marked = np.zeros(len(history.at), dtype=np.bool_)
    for since, until in spans:
        # A bucket is known by its end.
        marked |= (history.at > since) & (history.at <= min(until, present))
    if not marked.any():
        return history
    return replace(history, values=np.where(marked, np.nan, history.values))
