"""When something that is read again and again is read next: at whole multiples of its period, like everything else.

Whatever has the same period is then read in one waking of the processor.
"""

from __future__ import annotations

import math

SLACK_S = 0.001
"""A turn that comes so much early is in time: clocks do not add up to the last digit."""
LONGEST_GAP = 1.5
"""Periods between two turns at most."""


def next_turn(now: float, period_s: float, phase_s: float = 0.0) -> float:
    """When the next turn is, Unix seconds: `phase_s` after a multiple of the period.

    At least half a period away: a rate over less says little, and a delay must not end in a burst.
    """
    turn = (math.floor((now - phase_s + SLACK_S) / period_s) + 1) * period_s + phase_s
    return turn if turn - now >= 0.5 * period_s else turn + period_s


def is_turn(now: float, due: float, period_s: float) -> bool:
    """Whether it is time; what was set before the clock went back must not make a silence."""
    return now >= due - SLACK_S or due > now + LONGEST_GAP * period_s + SLACK_S
