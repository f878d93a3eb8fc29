"""Remote write: samples per second on one core with Prometheus's own requests, from their body to the store and
through HTTP.

From the body: the collector is given what the API gives it, and its batches to the store as the loop does. Through
HTTP: `push_http`. Requests of the first seconds make every series known and are not counted: a Prometheus that runs
sends the same series for days.
"""

from __future__ import annotations

from collections.abc import Sequence

import cramjam

from autoscaler.clock import SimClock, cpu_seconds
from autoscaler.store import Store
from autoscaler.types import Post
from benchmarks.prometheus import missing
from benchmarks.push_http import Passed, through_http
from benchmarks.remote_write import Sent, in_order, record
from benchmarks.table import Row
from collectors.push import Push

NODES = 40
ROUNDS = 3
TARGET_PER_S = 500_000.0
PROMISED = (2000, 5000)
"""Samples of a request with which the target must be held through HTTP. 2,000 is Prometheus's default of
max_samples_per_send (prometheus/prometheus, pull request 12203; 500 before)."""
SIZE = 500
"""Samples of a request in the rows from the body."""


def run() -> list[Row]:
    """All rows; empty without a Prometheus."""
    if "prometheus" in missing():
        return []
    recorded = record(NODES)
    requests = in_order(recorded[SIZE])
    rounds = [_replay(requests) for _ in range(ROUNDS)]
    samples, lost, spent_s, decode_s = min(rounds, key=lambda r: r[2] / r[0])
    raw = sum(len(bytes(cramjam.snappy.decompress_raw(sent.body))) for sent in requests)
    rows = [
        Row(f"body to store, {NODES} nodes, {SIZE} a request", samples / spent_s, "samples/s", target=TARGET_PER_S),
        Row("of it until batches are made", samples / decode_s, "samples/s"),
        Row("bytes of a sample, decompressed", raw / (SIZE * len(requests)), "bytes"),
    ]
    for size, senders in recorded.items():
        passes = [through_http(senders) for _ in range(ROUNDS)]
        lost += sum(one.lost for one in passes)
        rows += _rows(size, passes)
    return [
        *rows,
        Row("samples that were late, or refused by the store", lost, "samples", target=0.0, lower_is_better=True),
    ]


def _rows(size: int, passes: Sequence[Passed]) -> list[Row]:
    cheapest = min(passes, key=lambda one: one.cpu_s / one.samples)
    target = TARGET_PER_S if size in PROMISED else None
    what = f"through HTTP, {size:,} a request"
    return [
        Row(f"{what}, one core", cheapest.samples / cheapest.cpu_s, "samples/s", target=target),
        Row(f"{what}, CPU", 1e6 * cheapest.cpu_s / cheapest.samples, "CPU s / million samples"),
        Row(f"{what}, by the clock", max(one.samples / one.took_s for one in passes), "samples/s"),
    ]


def _replay(requests: Sequence[Sent]) -> tuple[int, int, float, float]:
    """Samples that were taken, lost on the way, CPU seconds in all, and of it until batches are made."""
    clock = SimClock(requests[0].at)
    push, store = Push(clock), Store(None)
    warm = len(requests) // 3
    taken = 0
    spent_s = decode_s = 0.0
    for n, sent in enumerate(requests):
        if n == warm:
            taken = push.status()[0].samples
            spent_s = decode_s = 0.0
        post = Post("remote_write", sent.body, sent.headers)
        clock.at = sent.at
        began = cpu_seconds()
        receipt = push.receive(post)
        batches = push.collect(sent.at)
        decoded = cpu_seconds()
        for batch in batches:
            store.add(batch)
        decode_s += decoded - began
        spent_s += cpu_seconds() - began
        if receipt.status != 204:
            raise SystemExit(f"a body of Prometheus was refused: {receipt.detail}")
    status, stats = push.status()[0], store.stats()
    lost = sum(status.skipped.values()) + stats.late + stats.unusable + stats.over_limit + stats.malformed
    return status.samples - taken, lost, spent_s, decode_s
