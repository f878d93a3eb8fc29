"""Schedules of misfortune, drawn from a seed: what is wanted when, and which calls go wrong in which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

Mishap = Literal[
    "cut", "before", "late", "twice", "throttled", "shortage", "quota", "unreadable", "no list", "old list", "dies"
]
"""Of a call: `cut` is carried out and not answered, `before` neither, `late` is carried out when nobody waits any more,
`twice` is sent again by something on the way. `unreadable`: the provider's answer makes no sense. `dies`: a machine."""

MISHAPS: tuple[Mishap, ...] = get_args(Mishap)
END_S = 900.0
"""Nothing goes wrong any more from here on."""

MOST = 8


@dataclass(frozen=True, slots=True)
class Trouble:
    """One way to go wrong, in all calls from `since` until `until`, each with a chance."""

    kind: Mishap
    since: float
    until: float
    chance: float


@dataclass(frozen=True, slots=True)
class Kill:
    """The service dies at its n-th journal write: before it is on disk, or after and before anything is done."""

    write: int
    when: Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """wanted: (second, replicas), the last one for good. sizes: replicas that an instance of each offer hosts."""

    seed: int
    wanted: tuple[tuple[float, int], ...]
    troubles: tuple[Trouble, ...]
    kills: tuple[Kill, ...]
    sizes: tuple[int, ...]
    boot_s: float
    load: float
    tick_s: float
    limit_s: float

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: boot {self.boot_s:g} s, tick {self.tick_s:g} s, launch limit {self.limit_s:g} s"]
        lines += [f"  {n} wanted from {at:.0f}" for at, n in self.wanted]
        lines += [f"  {t.kind} {t.since:.0f}..{t.until:.0f} in {t.chance:.0%}" for t in self.troubles]
        return "\n".join([*lines, *(f"  killed {k.when} write {k.write}" for k in self.kills)])


def draw(seed: int) -> Schedule:
    """The schedule of a seed."""
    rng = np.random.default_rng([0x5CA1E, seed])
    wanted = [(0.0, int(rng.integers(0, MOST + 1)))]
    wanted += [
        (float(at), int(rng.integers(0, MOST + 1))) for at in np.sort(rng.uniform(60, END_S, rng.integers(1, 5)))
    ]
    tick_s = float(rng.choice([5.0, 15.0, 30.0]))
    writes = int(END_S / tick_s)
    return Schedule(
        seed=seed,
        wanted=tuple(wanted),
        troubles=tuple(_trouble(rng) for _ in range(rng.integers(1, 7))),
        kills=tuple(
            Kill(int(n), "before" if rng.random() < 0.5 else "after")
            for n in np.sort(rng.integers(1, writes, rng.integers(0, 5)))
        ),
        sizes=tuple(int(n) for n in rng.choice([1, 1, 1, 2], rng.integers(1, 4))),
        boot_s=float(rng.choice([5.0, 40.0, 120.0])),
        load=float(rng.choice([0.0, 0.5, 2.0])),
        tick_s=tick_s,
        limit_s=float(rng.choice([60.0, 180.0])),
    )


def _trouble(rng: np.random.Generator) -> Trouble:
    since = float(rng.uniform(0, END_S - 30))
    until = min(END_S, since + float(rng.choice([20.0, 60.0, 200.0, 600.0])))
    kind = MISHAPS[rng.integers(len(MISHAPS))]
    return Trouble(kind, since, until, float(rng.choice([0.1, 0.5, 1.0])))
