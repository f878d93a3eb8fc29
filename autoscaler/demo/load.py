"""When the demo sends which request: a window of a recorded trace, compressed and thinned, from one seed.

The trace is one hour of a conversation service (Azure, 2023). Its size varies by a factor of 2.6 only, which would
hardly move a fleet of a few replicas, so a constant part is taken off, as if another fleet served it; what is left
keeps the trace's minute-by-minute shape, its bursts inside a minute and its real prompt and output lengths.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from autoscaler.trace import load_arrivals
from autoscaler.types import FloatArray

TRACE = "azure2023_conv_requests.csv.gz"
WINDOW_START_S = 14 * 60.0
WINDOW_S = 38 * 60.0
CENTRE_S = WINDOW_START_S + WINDOW_S / 2
"""Minutes 14 to 52: the rise from 283 to 507 requests a minute and the fall to 221; the centre is after the peak."""
BASE_PER_MINUTE = 190.0
PEAK_PER_S = 26.0
"""Mean rate of the busiest minute as sent; single seconds stay under 50 requests/s."""


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests in the order of their time. All (request,): seconds, prompt tokens, output tokens."""

    at_s: FloatArray
    prompt_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.at_s)


def read_trace() -> Requests:
    """The trace that comes with the package. Raises InputError when the file is broken."""
    with as_file(files("autoscaler.demo").joinpath("data", TRACE)) as path:
        arrivals = load_arrivals(path, "input_tokens", "output_tokens")
    prompt_tokens, output_tokens = arrivals.values.astype(np.int64)
    return Requests(arrivals.at_s, prompt_tokens, output_tokens)


def compress(trace: Requests, duration_s: float, speed: float, seed: int, peak_per_s: float = PEAK_PER_S) -> Requests:
    """The requests of a demo of `duration_s`, with times from 0 to `duration_s`.

    At speed 1 the window passes once. A higher speed passes it faster and again; a lower one shows the part around
    its centre, where the peak is followed by the fall. Each request of minute m is taken floor(w_m + u) times, where
    u is uniform and w_m the wanted over the recorded rate: below 1 this thins the trace, above it repeats requests
    at other times of the same minute.
    """
    chance = np.random.default_rng(seed)
    covered_s = WINDOW_S * speed
    start_s = WINDOW_START_S if speed >= 1.0 else CENTRE_S - covered_s / 2
    per_minute = np.bincount((trace.at_s // 60.0).astype(np.int64)).astype(np.float64)
    above_base = np.maximum(per_minute - BASE_PER_MINUTE, 0.0)
    wanted_per_s = peak_per_s * above_base / above_base.max()
    recorded_per_s = np.maximum(per_minute, 1.0) / 60.0 * (covered_s / duration_s)
    weight = wanted_per_s / recorded_per_s

    parts: list[tuple[FloatArray, NDArray[np.intp]]] = []
    for lap in range(int(np.ceil(max(1.0, speed)))):
        length_s = min(WINDOW_S, covered_s - lap * WINDOW_S)
        picked = np.flatnonzero((trace.at_s >= start_s) & (trace.at_s < start_s + length_s))
        minute = (trace.at_s[picked] // 60.0).astype(np.int64)
        copies = np.floor(weight[minute] + chance.random(len(picked))).astype(np.int64)
        index = np.repeat(picked, copies)
        original = np.concatenate([[True], index[1:] != index[:-1]])[: len(index)]
        moved_s = (trace.at_s[index] // 60.0 + chance.random(len(index))) * 60.0
        at_s = np.where(original, trace.at_s[index], moved_s) - start_s + lap * WINDOW_S
        parts.append((at_s * (duration_s / covered_s), index))
    at_s = np.concatenate([at for at, _ in parts])
    index = np.concatenate([chosen for _, chosen in parts])
    order = np.argsort(at_s, kind="stable")
    inside = order[(at_s[order] >= 0.0) & (at_s[order] < duration_s)]
    return Requests(at_s[inside], trace.prompt_tokens[index[inside]], trace.output_tokens[index[inside]])
