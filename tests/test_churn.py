"""A day of pods that come and go costs no more memory at its end than after its first hours."""

from __future__ import annotations

import numpy as np
import pytest

from autoscaler.clock import SimClock
from autoscaler.movement import Bounds
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch
from collectors.pages.grammar import Malformed
from collectors.pages.reader import Limits, PageReader, Room

DAY_S, SCRAPE_S, HOUR_S = 86_400.0, 60.0, 3600.0
NODES, GPUS = 2, 4
POD_LIVES_S = 600.0
RULES = RuleSet(
    "chat",
    Bounds(0, 9),
    signals=(
        Signal("sm", "gpu_sm_active_ratio", aggregate="mean"),
        Signal("joules", "gpu_energy_joules_total", rate_s=300.0),
        Signal("waiting", "requests_waiting"),
    ),
)


def node_page(node: int, at: float) -> bytes:
    """GPUs whose pod changes every ten minutes, each at a time of its own, and histograms of models that change too."""
    lines = ["# HELP DCGM_FI_DEV_GPU_TEMP temperature", "# TYPE DCGM_FI_DEV_GPU_TEMP gauge"]
    for gpu in range(GPUS):
        generation = int((at + gpu * 137 + node * 61) // POD_LIVES_S)
        labels = f'{{gpu="{gpu}",UUID="GPU-{node}-{gpu}",Hostname="n{node}",namespace="x",pod="chat-{generation}"}}'
        lines += [
            f"DCGM_FI_DEV_GPU_TEMP{labels} {40 + generation % 9}",
            f"DCGM_FI_PROF_SM_ACTIVE{labels} {(at % 97) / 100:.6f}",
            f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{labels} {int(at) * 300_000}",
            f'model_seconds_bucket{{gpu="{gpu}",model="m{generation}",le="1"}} {int(at) % 7}',
        ]
    return ("\n".join(lines) + "\n").encode()


class Fleet:
    """Two nodes that are scraped for a day, and engine pods that live ten minutes each and are gone then."""

    def __init__(self) -> None:
        self.room = Room()
        self.store = Store(None, history_s=2 * HOUR_S)
        self.nodes = [
            PageReader(f"n{n}", (("instance", f"n{n}"), ("pool", "chat")), SCRAPE_S, room=self.room)
            for n in range(NODES)
        ]
        self.pods: dict[int, PageReader] = {}

    def scrape(self, at: float) -> None:
        for n, reader in enumerate(self.nodes):
            self.store.add(reader.read(node_page(n, at), at))
        alive = {int(at // POD_LIVES_S) * 3 + k for k in range(3)}
        for pod in self.pods.keys() - alive:
            self.pods.pop(pod).close()
            self.store.add(Batch(f"pod{pod}", at, SCRAPE_S, (), np.empty(0), (("pool", "chat"),), "gone"))
        for pod in alive:
            labels = (("instance", f"10.0.0.{pod}:8000"), ("pool", "chat"))
            reader = self.pods.setdefault(pod, PageReader(f"pod{pod}", labels, SCRAPE_S, room=self.room))
            page = b"vllm:num_requests_running %d\nvllm:num_requests_waiting %d\n" % (int(at) % 9, int(at) % 5)
            self.store.add(reader.read(page, at))
        self.store.read(RULES, at)
        self.store.raw("chat", "gpu_sm_active_ratio", (), at, 600.0)

    def size(self) -> dict[str, int]:
        """Everything that could grow."""
        raw = self.store._raw
        return {
            "lines known": sum(len(reader) for reader in self.nodes),
            "prefixes": sum(len(reader._known.index) for reader in self.nodes),
            "room": self.room.series,
            "text": self.room.text_bytes,
            "series": raw.series,
            "sources": len(raw.sources),
            "names": len(raw.names),
            "columns": sum(ring.capacity for ring in raw._rings.values()),
            "bytes": self.store.stats().memory_bytes,
            "points": sum(trail.at.size for trail in self.store._history.trails.values()),
            "selections": len(self.store._selections._found),
            "generations": len(raw.generation),
        }


def test_24_hours_of_pod_churn_leave_every_cache_label_store_and_history_bounded() -> None:
    clock, fleet = SimClock(1_000_000.0), Fleet()
    begun, hours = clock.now(), []
    while clock.now() < begun + DAY_S:
        fleet.scrape(clock.now())
        clock.wait(clock.now() + SCRAPE_S)
        if (clock.now() - begun) % HOUR_S == 0:
            hours.append(fleet.size())
    settled = {name: max(hour[name] for hour in hours[2:8]) for name in hours[0]}
    for name, most in settled.items():
        assert max(hour[name] for hour in hours[8:]) <= 1.1 * most, name
    # 144 pods and as many models a GPU were seen; what is known is a few times what is there at once.
    at_once = NODES * GPUS * 4
    assert hours[-1]["lines known"] <= 6 * at_once
    assert hours[-1]["sources"] == NODES + 3


def test_targets_that_are_gone_give_their_room_back() -> None:
    room = Room()
    readers = [PageReader(f"n{n}", (), 5.0, room=room) for n in range(3)]
    for n, reader in enumerate(readers):
        reader.read(node_page(n, 0.0), 0.0)
    assert room.series == 3 * GPUS * 4
    assert room.text_bytes > 3 * GPUS * 4 * 50
    for reader in readers:
        reader.close()
    assert (room.series, room.text_bytes) == (0, 0)


def test_all_targets_together_stay_within_their_room_and_what_is_refused_is_counted_and_named() -> None:
    room = Room(series=20)
    first, second = (PageReader(f"n{n}", (), 5.0, room=room) for n in range(2))
    first.read(node_page(0, 0.0), 0.0)
    batch = second.read(node_page(1, 0.0), 0.0)
    assert (room.series, second.rejected, room.refused) == (20, GPUS * 4 - 4, GPUS * 4 - 4)
    assert "all targets together already have 20" in second.first_rejected
    assert {key.label("host") for key in batch.keys} - {None} == {"n1"}, "what fits is read"


def test_text_has_a_limit_of_its_own() -> None:
    room = Room(text_bytes=1000)
    reader = PageReader("n", (), 5.0, room=room)
    reader.read(b"".join(b'm{pod="%0100d"} 1\n' % n for n in range(50)), 0.0)
    assert len(reader) == 10
    assert "0 MiB" in reader.first_rejected


def test_a_target_keeps_its_own_limit_however_much_room_there_is() -> None:
    reader = PageReader("n", (), 5.0, limits=Limits(series=3), room=Room())
    reader.read(b"a 1\nb 1\nc 1\nd 1\n", 0.0)
    assert "the target already has 3" in reader.first_rejected


def test_room_is_one_number_for_all_threads() -> None:
    room = Room(series=2)
    room.take()
    room.take()
    with pytest.raises(Malformed, match="limit is 2"):
        room.take()
    assert (room.series, room.refused) == (2, 1)
