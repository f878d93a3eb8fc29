"""Series drawn from a seed with anomalies put in, in the manner of what clouds, adverts, roads and machines record.

Each family is a function of a generator that returns the step in seconds, the values, and the rows where anomalies
begin. Around each lies a window; those of a series cover a tenth of it together, as in the Numenta benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from benchmarks.labelled import Labelled, Windows

Values = NDArray[np.float64]
Drawn = tuple[float, Values, list[int]]
Chance = np.random.Generator

ROWS = 4032
FIVE_MINUTES_S, HOUR_S, DAY_S = 300.0, 3600.0, 86400.0
WINDOWS_RATIO = 0.1


def places(chance: Chance, rows: int, count: int, apart: float = 0.08) -> list[int]:
    """Rows after the first fifth, at least this share of the series apart."""
    while True:
        found = np.sort(chance.integers(int(0.2 * rows), int(0.97 * rows), count))
        if count < 2 or np.diff(found).min() > apart * rows:
            return [int(row) for row in found]


def sluggish(chance: Chance, rows: int, memory: float, spread: float) -> Values:
    """An autoregressive process of the first order."""
    drawn = chance.normal(0.0, spread, rows)
    for row in range(1, rows):
        drawn[row] += memory * drawn[row - 1]
    return drawn


def daily(rows: int, step_s: float) -> Values:
    """A wave of a day with a second hump, within about -1.2 and 1.2."""
    phase = 2 * np.pi * np.arange(rows) * step_s / DAY_S
    return np.asarray(np.sin(phase - 2.0) + 0.35 * np.sin(2 * phase - 2.0))


def office(chance: Chance, noise: float) -> Values:
    """80 from nine to six, else 20."""
    second = np.arange(ROWS) * FIVE_MINUTES_S % DAY_S
    return np.where((second > 32400) & (second < 64800), 80.0, 20.0) + chance.uniform(-noise, noise, ROWS)


def idle_cpu(chance: Chance) -> Drawn:
    x = 0.1 + 0.02 * np.abs(chance.normal(size=ROWS))
    small = chance.random(ROWS) < 0.02
    x[small] += chance.exponential(0.3, small.sum())
    at = places(chance, ROWS, 2)
    for row in at:
        x[row : row + chance.integers(1, 8)] += chance.uniform(2, 5)
    return FIVE_MINUTES_S, x, at


def cpu_level(chance: Chance) -> Drawn:
    x = 40 + sluggish(chance, ROWS, 0.5, 1.5)
    at = places(chance, ROWS, 2, 0.15)
    for row in at:
        x[row:] += chance.choice([-1, 1]) * chance.uniform(6, 20)
    small = chance.random(ROWS) < 0.004
    x[small] += chance.exponential(6, small.sum())
    return FIVE_MINUTES_S, x, at


def cpu_spread(chance: Chance) -> Drawn:
    spread = np.ones(ROWS)
    at = places(chance, ROWS, 1)
    spread[at[0] : at[0] + chance.integers(60, 400)] = chance.choice([3.0, 4.0, 0.15])
    return FIVE_MINUTES_S, 60 + spread * sluggish(chance, ROWS, 0.3, 2.0), at


def network_bursts(chance: Chance) -> Drawn:
    rows = 4730
    x = np.exp(chance.normal(10, 0.6, rows))
    for row in np.flatnonzero(chance.random(rows) < 0.01).tolist():
        x[row : row + chance.integers(1, 6)] *= chance.uniform(5, 40)
    at = places(chance, rows, int(chance.integers(1, 3)))
    for row in at:
        x[row : row + chance.integers(4, 25)] *= chance.uniform(100, 400)
    return FIVE_MINUTES_S, x, at


def disk_writes(chance: Chance) -> Drawn:
    x = np.zeros(ROWS)
    some = chance.random(ROWS) < 0.05
    x[some] = chance.gamma(2, 2e6, some.sum())
    at = places(chance, ROWS, 2)
    for row in at:
        part = x[row : row + chance.integers(3, 20)]
        part[:] = chance.gamma(2, 2e7, len(part))
    return FIVE_MINUTES_S, x, at


def balancer(chance: Chance) -> Drawn:
    mean = (60 + 40 * daily(ROWS, FIVE_MINUTES_S)) * np.exp(0.25 * sluggish(chance, ROWS, 0.6, 0.5))
    x = chance.poisson(np.maximum(mean, 1.0)).astype(np.float64)
    at = places(chance, ROWS, 2)
    for row in at:
        x[row : row + chance.integers(2, 30)] *= chance.uniform(3, 5) if chance.random() < 0.7 else 0.0
    return FIVE_MINUTES_S, x, at


def taxis(chance: Chance) -> Drawn:
    rows, step_s = 10320, 1800.0
    week = np.where((np.arange(rows) * step_s // DAY_S) % 7 >= 5, 0.92, 1.0)
    x = (15000 + 9000 * daily(rows, step_s)) * week * np.exp(0.03 * sluggish(chance, rows, 0.8, 0.6))
    at = places(chance, rows, 5)
    for row in at:
        x[row : row + chance.integers(24, 60)] *= chance.choice([0.45, 0.6, 1.35])
    return step_s, x, at


def office_temperature(chance: Chance) -> Drawn:
    rows = 7267
    season = 3 * np.sin(2 * np.pi * np.arange(rows) / 2500 + 6 * chance.random())
    x = 72 + season + 1.2 * daily(rows, HOUR_S) + sluggish(chance, rows, 0.9, 0.5)
    at = places(chance, rows, 2)
    for row in at:
        part = x[row : row + chance.integers(40, 160)]
        part += np.linspace(0, 1, len(part)) * chance.choice([-1, 1]) * chance.uniform(6, 12)
    return HOUR_S, x, at


def machine_temperature(chance: Chance) -> Drawn:
    rows = 18000
    x = 85 + 5 * np.cumsum(chance.normal(0, 0.012, rows)) + sluggish(chance, rows, 0.97, 0.6)
    at = places(chance, rows, 3)
    for row in at:
        part = x[row : row + chance.integers(100, 500)]
        half = len(part) // 2
        dip = np.concatenate((np.linspace(0, 1, half), np.linspace(1, 0, len(part) - half)))
        part -= dip * chance.uniform(25, 60)
    return FIVE_MINUTES_S, np.maximum(x, 0.0), at


def request_latency(chance: Chance) -> Drawn:
    x = 45 + 2 * np.abs(sluggish(chance, ROWS, 0.4, 1.0))
    small = chance.random(ROWS) < 0.006
    x[small] += chance.exponential(8, small.sum())
    at = places(chance, ROWS, 3)
    for row in at:
        x[row : row + chance.integers(1, 40)] += chance.uniform(15, 50)
    return FIVE_MINUTES_S, x, at


def misconfigured_group(chance: Chance) -> Drawn:
    rows = 18050
    x = 35 + 25 * (daily(rows, FIVE_MINUTES_S) > 0) * chance.uniform(0.8, 1.0, rows)
    x += sluggish(chance, rows, 0.5, 4.0)
    at = places(chance, rows, 1)
    part = x[at[0] : at[0] + 1500]
    part[:] = chance.uniform(75, 95) + sluggish(chance, len(part), 0.5, 3.0)
    return FIVE_MINUTES_S, np.clip(x, 0, 100), at


def mentions(chance: Chance) -> Drawn:
    rows = 15900
    mean = np.exp(1.6 + 0.7 * daily(rows, FIVE_MINUTES_S) + 0.25 * sluggish(chance, rows, 0.95, 0.3))
    x = chance.negative_binomial(3, 3 / (3 + mean)).astype(np.float64)
    for row in np.flatnonzero(chance.random(rows) < 0.001).tolist():
        x[row : row + 3] *= chance.uniform(2, 5)
    at = places(chance, rows, int(chance.integers(2, 5)))
    for row in at:
        part = x[row : row + chance.integers(6, 60)]
        decay = np.exp(-np.arange(len(part)) / (len(part) / 3))
        part += chance.poisson(mean.mean() * chance.uniform(10, 40) * decay)
    return FIVE_MINUTES_S, x, at


def road_speed(chance: Chance) -> Drawn:
    rows, step_s = 2500, 600.0
    x = 70 + sluggish(chance, rows, 0.5, 2.2)
    x -= np.where(daily(rows, step_s) > 0.9, chance.uniform(0, 12, rows), 0.0)
    at = places(chance, rows, 2)
    for row in at:
        x[row : row + chance.integers(3, 30)] -= chance.uniform(15, 40)
    return step_s, np.clip(x, 5, 90), at


def road_occupancy(chance: Chance) -> Drawn:
    rows, step_s = 2380, 600.0
    x = np.abs(5 + 6 * np.maximum(daily(rows, step_s), 0) + sluggish(chance, rows, 0.3, 1.8))
    small = chance.random(rows) < 0.01
    x[small] += chance.exponential(5, small.sum())
    at = places(chance, rows, 1)
    x[at[0] : at[0] + chance.integers(1, 20)] += chance.uniform(15, 40)
    return step_s, x, at


def click_price(chance: Chance) -> Drawn:
    rows = 1624
    x = np.exp(-2.2 + 0.25 * sluggish(chance, rows, 0.3, 0.7) + 0.2 * daily(rows, HOUR_S))
    small = chance.random(rows) < 0.004
    x[small] *= chance.uniform(1.5, 2.5, small.sum())
    at = places(chance, rows, 2)
    for row in at:
        x[row : row + chance.integers(1, 5)] *= chance.uniform(4, 12)
    return HOUR_S, x, at


def keystrokes(chance: Chance) -> Drawn:
    rows = 1882
    x = 0.05 + 0.01 * np.abs(sluggish(chance, rows, 0.3, 1.0))
    small = chance.random(rows) < 0.03
    x[small] += chance.exponential(0.05, small.sum())
    at = places(chance, rows, 2)
    for row in at:
        part = x[row : row + chance.integers(3, 30)]
        part += chance.exponential(0.15, len(part))
    return FIVE_MINUTES_S, x, at


def fleet_size(chance: Chance) -> Drawn:
    rows = 4621
    x = 25 + 8 * np.maximum(daily(rows, FIVE_MINUTES_S), -0.6) + sluggish(chance, rows, 0.6, 0.8)
    at = places(chance, rows, 3)
    for row in at:
        part = x[row : row + chance.integers(20, 150)]
        part[:] = chance.uniform(0, 8) + 0.1 * chance.random(len(part))
    return FIVE_MINUTES_S, x, at


def _on_a_day(chance: Chance, row_of_day: int) -> int:
    return places(chance, ROWS, 1)[0] // 288 * 288 + row_of_day


def higher_day(chance: Chance) -> Drawn:
    x, row = office(chance, 6.0), _on_a_day(chance, 120)
    x[row : row + 90] += 70
    return FIVE_MINUTES_S, x, [row]


def missing_day(chance: Chance) -> Drawn:
    x, row = office(chance, 6.0), _on_a_day(chance, 110)
    x[row : row + 106] = 20 + chance.uniform(-6, 6, len(x[row : row + 106]))
    return FIVE_MINUTES_S, x, [row]


def flat_day(chance: Chance) -> Drawn:
    x, row = office(chance, 6.0), _on_a_day(chance, 40)
    x[row : row + 288] = chance.choice([20.0, 50.0])
    return FIVE_MINUTES_S, x, [row]


def more_noise(chance: Chance) -> Drawn:
    x = 20 + chance.uniform(0, 3, ROWS)
    at = places(chance, ROWS, 1)
    x[at[0] :] += chance.uniform(0, 3, ROWS - at[0]) * chance.uniform(2, 4)
    return FIVE_MINUTES_S, x, at


def regular_spikes(chance: Chance) -> Drawn:
    x = chance.uniform(0, 0.1, ROWS)
    period = int(chance.integers(40, 80))
    x[20::period] = chance.uniform(0.8, 1.2, len(x[20::period]))
    at = places(chance, ROWS, 1)
    part = x[at[0] : at[0] + chance.integers(200, 300)]
    part[:] = chance.uniform(0, 0.1, len(part))
    if chance.random() < 0.6:
        more = part[:: max(3, period // 6)]
        more[:] = chance.uniform(0.8, 1.2, len(more))
    return FIVE_MINUTES_S, x, at


def nothing_periodic(chance: Chance) -> Drawn:
    return FIVE_MINUTES_S, office(chance, float(chance.choice([0.01, 6.0, 15.0]))), []


def nothing_noisy(chance: Chance) -> Drawn:
    return FIVE_MINUTES_S, 40 + chance.standard_t(chance.choice([4, 50]), ROWS) * 2.5, []


def nothing_wandering(chance: Chance) -> Drawn:
    return FIVE_MINUTES_S, 50 + np.cumsum(chance.normal(0, 0.3, ROWS)), []


FAMILIES: tuple[Callable[[Chance], Drawn], ...] = (
    idle_cpu, cpu_level, cpu_spread, network_bursts, disk_writes, balancer, taxis, office_temperature,
    machine_temperature, request_latency, misconfigured_group, mentions, road_speed, road_occupancy, click_price,
    keystrokes, fleet_size, higher_day, missing_day, flat_day, more_noise, regular_spikes, nothing_periodic,
    nothing_noisy, nothing_wandering,
)  # fmt: skip


def drawn(seeds: Iterable[int]) -> list[Labelled]:
    """One series of each family for each seed."""
    made = []
    for family in FAMILIES:
        for seed in seeds:
            step_s, values, at = family(np.random.default_rng([seed, *family.__name__.encode()]))
            at_s = step_s * np.arange(len(values), dtype=np.float64)
            made.append(Labelled(family.__name__, f"{family.__name__} {seed}", at_s, values, _windows(len(values), at)))
    return made


def _windows(rows: int, at: list[int]) -> Windows:
    half = int(WINDOWS_RATIO * rows / max(len(at), 1)) // 2
    made: list[tuple[int, int]] = []
    for row in at:
        start, end = max(0, row - half), min(rows - 1, row + half)
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], end)
        else:
            made.append((start, end))
    return tuple(made)
