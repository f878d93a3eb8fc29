"""What goes wrong in a simulated fleet, and when: all of it from one seed, before anything has happened. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Trouble = Literal["hot", "xid", "shortage", "interruption", "surge", "ecc", "broken", "outage", "crash"]
TROUBLES: tuple[Trouble, ...] = get_args(Trouble)

FIRST_S = 15.0
"""When the first one begins: somebody who looks for the first time does not wait long."""
EVERY_S = 40.0
LASTS_S: dict[Trouble, float] = {
    "hot": 60.0,
    "xid": 45.0,
    "shortage": 90.0,
    "interruption": 30.0,
    "surge": 60.0,
    "ecc": 45.0,
    "broken": 30.0,
    "outage": 25.0,
    "crash": 0.0,
}
XIDS = (13, 31, 43, 48, 63, 94)
"""Driver faults that leave the GPU listed: graphics exception, page fault, reset channel, uncorrectable memory error,
row remapping, contained memory error (NVIDIA's Xid reference)."""


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that goes wrong, `at_s` seconds of the fleet's own time after its start, for `lasts_s` of them.

    where: which of those that it may strike, as a share of their list. gpu: the same among the GPUs of that machine.
    xid: the code of a driver fault.
    """

    trouble: Trouble
    at_s: float
    lasts_s: float
    where: float
    gpu: float
    xid: int


def incidents(seed: int) -> Iterator[Incident]:
    """Every incident in the order of time, without end. In each round every kind of trouble comes once; the first is a
    hot GPU."""
    turn = 0
    while True:
        rng = np.random.default_rng([seed, turn])
        order = [TROUBLES[int(i)] for i in rng.permutation(len(TROUBLES))]
        if turn == 0:
            order.sort(key=lambda trouble: trouble != "hot")
        for place, trouble in enumerate(order):
            at_s = FIRST_S + EVERY_S * (turn * len(TROUBLES) + place + 0.5 * float(rng.random()) * (turn + place > 0))
            where, gpu = float(rng.random()), float(rng.random())
            yield Incident(trouble, at_s, LASTS_S[trouble], where, gpu, XIDS[int(rng.integers(len(XIDS)))])
        turn += 1
