"""Fleets that never existed: demand and the six signals of the pools that serve it, minute by minute, from a seed.

No public trace has all six signals, so the LSTM is trained on these. They are simulated, with plausible physics and
parameters drawn from wide ranges; nothing here was fitted to a recorded fleet.

Users come in sessions. A first turn sends a short prompt; who goes on thinks for a while and sends the conversation so
far again. So bytes received per request fall when many new users come, and their next turns are still ahead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.forecasters.lstm_inputs import SIGNALS
from autoscaler.types import Frame, Quality, SeriesKey

Values = NDArray[np.float64]

MINUTE_S, DAY_MINUTES, WEEK_MINUTES = 60.0, 1440, 10080
BYTES_PER_TOKEN = 5.0
REQUEST_BYTES = 1500.0
"""Headers and JSON around a prompt."""

FRESH: Quality = "fresh"
WARM_UP_MINUTES = 240
"""The first minutes, in which sessions and replicas find their number, are thrown away."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """One pool over time. demand (minute,): requests per minute. signals (6, minute), in the order of `SIGNALS`: ratios
    are means over the pool, network is in bytes per second of all of it. load (minute,): busy GPUs."""

    demand: Values
    signals: Values
    load: Values

    def frame(self, *, of_load: bool = False, with_signals: bool = True) -> Frame:
        """Its history as a forecaster gets it: the series to forecast first, then the six signals."""
        first = SeriesKey("gpu_load") if of_load else SeriesKey("requests_arrived_total", counter=True)
        rows = [self.load if of_load else self.demand, *(self.signals if with_signals else ())]
        keys = (first, *((SeriesKey(name) for name in SIGNALS) if with_signals else ()))
        values = np.array(rows)
        at = MINUTE_S * np.arange(1, values.shape[1] + 1)
        return Frame(MINUTE_S, at, values, np.full(len(rows), at[-1]), (FRESH,) * len(rows), keys=keys)


def fleets(count: int, days: float, seed: int) -> tuple[Fleet, ...]:
    """So many pools of different size, rhythm and model. Equal seeds give equal fleets."""
    chance = np.random.default_rng(seed)
    minutes = int(days * DAY_MINUTES) + WARM_UP_MINUTES
    comers = _comers(chance, minutes, count)
    demand, signals, load = _served(chance, comers)
    kept = slice(WARM_UP_MINUTES, None)
    return tuple(Fleet(demand[kept, n], signals[:, kept, n], load[kept, n]) for n in range(count))


# --- who comes -----------------------------------------------------------------------------------------------------


def _comers(chance: np.random.Generator, minutes: int, count: int) -> Values:
    """New sessions (minute, fleet): seasons, trends, slow and fast noise, bursts, launches, incidents, cron jobs."""
    minute = np.arange(minutes, dtype=np.float64)[:, None]
    rate = np.exp(chance.uniform(np.log(3.0), np.log(8000.0), count)) * _season(chance, minute, count)
    for hours, widest in ((2.5, 0.2), (0.2, 0.1)):
        sigma = widest * chance.random(count) ** 2
        rate = rate * np.exp(_wander(chance, minutes, hours * 60.0 * chance.uniform(0.5, 2.0, count), sigma))
    for fleet in range(count):
        rate[:, fleet] *= _events(chance, minutes)
    period = chance.choice([30, 60], count)
    cron = chance.uniform(0.1, 0.8, count) * (chance.random(count) < 0.25)
    rate = rate * (1.0 + cron * ((minute - chance.integers(0, 30, count)) % period < chance.integers(2, 12, count)))
    # Users do not come one by one: what a Poisson process leaves out is a gamma factor of each minute.
    lumps = chance.uniform(30.0, 2000.0, count)
    return np.asarray(chance.poisson(rate * chance.gamma(lumps, 1.0 / lumps, rate.shape)), dtype=np.float64)


def _season(chance: np.random.Generator, minute: Values, count: int) -> Values:
    """A daily shape of three harmonics and quieter weekends; some fleets have none."""
    shape = np.zeros((len(minute), count))
    for harmonic, strength in ((1, 1.0), (2, 0.35), (3, 0.15)):
        phase = chance.uniform(0.0, 2 * np.pi, count)
        shape += strength * chance.random(count) * np.cos(2 * np.pi * harmonic * minute / DAY_MINUTES + phase)
    swing = chance.uniform(0.0, 1.3, count) * (chance.random(count) < 0.85)
    weekend = (minute // DAY_MINUTES + chance.integers(0, 7, count)) % 7 >= 5
    quiet = np.where(chance.random(count) < 0.6, chance.uniform(0.3, 1.0, count), 1.0)
    return np.asarray(np.exp(swing * shape) * np.where(weekend, quiet, 1.0))


def _wander(chance: np.random.Generator, minutes: int, memory: Values, sigma: Values) -> Values:
    """Ornstein-Uhlenbeck noise (minute, fleet) of a standard deviation that is forgotten over `memory` minutes."""
    keep = np.exp(-1.0 / memory)
    kick = sigma * np.sqrt(1.0 - keep**2)
    path = np.empty((minutes, len(memory)))
    state = sigma * chance.standard_normal(len(memory))
    for now in range(minutes):
        state = keep * state + kick * chance.standard_normal(len(memory))
        path[now] = state
    return path


def _events(chance: np.random.Generator, minutes: int) -> Values:
    """Factors (minute,) of one fleet: bursts that rise and fade, a launch that stays, outages and who comes back."""
    minute = np.arange(minutes, dtype=np.float64)
    factor = np.ones(minutes)
    for _ in range(chance.poisson(chance.uniform(0.0, 2.0) * minutes / DAY_MINUTES)):
        since, rise, fade = chance.uniform(0, minutes), chance.uniform(1.0, 25.0), chance.uniform(5.0, 60.0)
        age = np.maximum(minute - since, 0.0)
        factor += chance.uniform(0.2, 2.5) * (1.0 - np.exp(-age / rise)) * np.exp(-age / fade)
    if chance.random() < 0.3:
        ramp = np.clip((minute - chance.uniform(0, minutes)) / chance.uniform(30.0, 1440.0), 0.0, 1.0)
        factor *= 1.0 + chance.uniform(0.2, 1.5) * ramp
    for _ in range(chance.poisson(chance.uniform(0.0, 0.3) * minutes / DAY_MINUTES)):
        since, length = chance.uniform(0, minutes), chance.uniform(4.0, 60.0)
        out = (minute >= since) & (minute < since + length)
        after = np.maximum(minute - since - length, 0.0)
        back = np.where(minute >= since + length, chance.uniform(0.0, 0.8) * np.exp(-after / 10.0), 0.0)
        factor = np.where(out, factor * chance.uniform(0.02, 0.5), factor * (1.0 + back))
    return factor


# --- who serves them -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Pools:
    """What each fleet serves and with what, all (fleet,). Tokens a turn, minutes, GPU-seconds a token, shares."""

    again: Values
    think: Values
    prompt: Values
    answer: Values
    cached: Values
    prefill_s: Values
    decode_s: Values
    wanted: Values
    boot: NDArray[np.int64]
    weights: Values
    reserves: NDArray[np.bool_]
    streamed_bytes: Values
    cpu_floor: Values
    cpu_share: Values
    largest: Values


def _pools(chance: np.random.Generator, comers: Values) -> _Pools:
    count: int = comers.shape[1]
    again = chance.uniform(0.0, 0.88, count) * (chance.random(count) < 0.75)
    prompt = np.exp(chance.uniform(np.log(80.0), np.log(3000.0), count))
    answer = np.exp(chance.uniform(np.log(15.0), np.log(1000.0), count))
    decode_s = np.exp(chance.uniform(np.log(2e-4), np.log(3e-3), count))
    prefill_s = decode_s * chance.uniform(0.01, 0.08, count)
    turns = 1.0 / (1.0 - again)
    work = turns * (prompt * turns * prefill_s + answer * decode_s) / 60.0
    # A third of the pools are too small for their highest peaks, so that they clip, queue and turn away.
    largest = np.ceil(np.quantile(comers, 0.995, axis=0) * work * chance.uniform(0.7, 3.0, count)) + 1.0
    return _Pools(
        again=again,
        think=chance.uniform(1.0, 9.0, count),
        prompt=prompt,
        answer=answer,
        cached=chance.uniform(0.0, 0.9, count),
        prefill_s=prefill_s,
        decode_s=decode_s,
        wanted=chance.uniform(0.4, 0.8, count),
        boot=chance.integers(2, 11, count),
        weights=chance.uniform(0.2, 0.6, count),
        reserves=chance.random(count) < 0.5,
        streamed_bytes=np.where(chance.random(count) < 0.7, chance.uniform(150.0, 350.0, count), BYTES_PER_TOKEN),
        cpu_floor=chance.uniform(0.02, 0.15, count),
        cpu_share=chance.uniform(0.1, 0.7, count),
        largest=largest,
    )


def _served(chance: np.random.Generator, comers: Values) -> tuple[Values, Values, Values]:
    """Requests (minute, fleet), signals (6, minute, fleet) and busy GPUs of pools that follow demand by themselves."""
    minutes: int = comers.shape[0]
    count: int = comers.shape[1]
    pools = _pools(chance, comers)
    longer = np.exp(_wander(chance, minutes, np.full(count, 240.0), chance.uniform(0.0, 0.25, count)))
    waiting, history, back = np.zeros(count), np.zeros(count), np.zeros(count)
    gpus = _Gpus(pools, minutes)
    demand, load = np.empty((minutes, count)), np.empty((minutes, count))
    signals = np.empty((len(SIGNALS), minutes, count))
    for now in range(minutes):
        first = comers[now] + back
        returning = np.minimum(chance.poisson(waiting / pools.think), waiting)
        told = returning * np.divide(history, waiting, out=np.zeros(count), where=waiting > 0.0)
        prompt, answer = pools.prompt * longer[now], pools.answer * longer[now]
        requests = first + returning
        read, written = requests * prompt + told, requests * answer
        # Tokens of the conversation so far need no prefill where the prefix cache has them.
        turned_away = gpus.serve(now, (read - pools.cached * told) * pools.prefill_s, written * pools.decode_s)
        # Half of those who give up try again; the others that were answered may go on.
        back = 0.5 * turned_away * requests
        again = pools.again * (1.0 - turned_away)
        waiting += again * requests - returning
        history += again * (read + written) - told
        demand[now] = requests
        signals[:4, now] = gpus.signals()
        signals[4, now] = (requests * REQUEST_BYTES + read * BYTES_PER_TOKEN) / MINUTE_S
        signals[5, now] = (requests * 500.0 + gpus.streamed(written) * pools.streamed_bytes) / MINUTE_S
        load[now] = signals[1, now] * gpus.ready
    signals *= np.exp(0.03 * chance.random(count) * chance.standard_normal(signals.shape))
    signals[:4] = np.clip(signals[:4], 0.0, 1.0)
    return demand, signals, load


class _Gpus:
    """The machines of all fleets in one minute: how many, how busy, what waits, how full their caches ever were."""

    def __init__(self, pools: _Pools, minutes: int) -> None:
        count = len(pools.think)
        self.ready = np.ones(count)
        self._pools = pools
        self._asked = np.ones((minutes, count))
        self._backlog, self._highest, self._sent = np.zeros(count), np.zeros(count), np.zeros(count)
        self._share, self._mix, self._finished = np.zeros(count), np.zeros(count), np.ones(count)

    def serve(self, now: int, prefill: Values, decode: Values) -> Values:
        """Serve a minute's GPU-seconds; returns which share of the requests was turned away."""
        work = np.maximum(prefill + decode, 1e-9)
        self._resize(now, work)
        room = 60.0 * self.ready
        served = np.minimum(work + self._backlog, room)
        left = work + self._backlog - served
        # Who waits longer than about a minute gives up.
        self._backlog = np.minimum(left, room)
        self._share, self._mix = served / room, decode / work
        self._finished = np.minimum(served / work, 1.0)
        # What is kept in the KV cache grows with what runs at once, and engines never give memory back.
        running = 1.3 * self._share * self._mix + 0.3 * self._backlog / room
        self._highest = np.maximum(self._highest, np.minimum(1.0, running))
        return np.minimum((left - self._backlog) / work, 1.0)

    def _resize(self, now: int, work: Values) -> None:
        """Nobody orders a machine for one minute: pools look at the mean of three; it comes `boot` minutes later."""
        pools = self._pools
        want = np.ceil((work + self._backlog) / (60.0 * pools.wanted))
        self._asked[now] = np.mean([want, *self._asked[max(0, now - 2) : now]], axis=0)
        due = np.ceil(self._asked[np.maximum(now - pools.boot, 0), np.arange(len(want))])
        ready = np.clip(np.maximum(due, 0.985 * self.ready), 1.0, pools.largest)
        # Replicas that start anew have cached nothing yet.
        self._highest = self._highest * np.minimum(self.ready / ready, 1.0)
        self.ready = ready

    def signals(self) -> Values:
        """Processor, multiprocessors, memory and memory bandwidth, (4, fleet), as shares."""
        pools, share, mix = self._pools, self._share, self._mix
        return np.stack(
            [
                pools.cpu_floor + pools.cpu_share * share * (1.0 - 0.4 * mix),
                1.0 - (1.0 - share) ** (1.0 + mix),
                pools.weights + (1.0 - pools.weights) * np.where(pools.reserves, 0.9, 0.9 * self._highest),
                # A step of a decode reads all weights, however few requests share it: it rises steeply and bends.
                0.92 * (1.0 - np.exp(-3.0 * share * mix)) + 0.15 * share * (1.0 - mix),
            ]
        )

    def streamed(self, written: Values) -> Values:
        """Tokens that leave in this minute; answers take a while to be written."""
        self._sent = self._sent + 0.6 * (written * self._finished - self._sent)
        return self._sent
