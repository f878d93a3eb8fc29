"""What remains after long: no thread, no memory, nothing in the driver."""

from __future__ import annotations

import gc
import threading
import tracemalloc

from collectors.nvml.faults import GPUS_LIMIT, Fault, FaultBook
from tests.nvmlworld import world
from tests.peers.nvml import models


def test_many_rounds_leave_no_more_memory_behind() -> None:
    with world(models.hgx_h100(), events=False, stats=True) as made:
        made.fleet.list_gpus(made.fleet.gpus[:1])
        tracemalloc.start()
        try:
            # Two minutes fill every ring.
            made.rounds(200)
            before = tracemalloc.get_traced_memory()[0]
            made.rounds(500)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 100_000


def test_a_thousand_starts_of_the_library_leave_nothing_behind() -> None:
    with world(models.t4(), buffer=False, slow=False, events=False, kernel_log=False) as made:
        made.rounds(5)
        threads = threading.active_count()

        def restarts(number: int) -> None:
            for _ in range(number):
                made.fleet.reload_driver()
                made.rounds(2, 70.0)

        restarts(100)
        gc.collect()
        before = len(gc.get_objects())
        restarts(900)
        gc.collect()
        begun, ended = made.fleet.calls("nvmlInitWithFlags"), made.fleet.calls("nvmlShutdown")
        assert begun >= 1000
        assert begun - ended == 1
        assert threading.active_count() <= threads
        assert len(gc.get_objects()) < before + 500


def test_a_gpu_that_is_lost_and_found_again_and_again_leaves_no_samples_in_the_driver() -> None:
    with world(models.hgx_h100(), events=False) as made:
        made.fleet.list_gpus(made.fleet.gpus[:2])
        gpu = made.fleet.gpus[0]
        made.rounds(3)
        for _ in range(10):
            gpu.lose()
            made.rounds(3)
            gpu.come_back(index=0)
            made.rounds(70)
            assert made.values(gpu)["gpu_sm_active_ratio"] == 0.6
        kept = made.fleet.calls("nvmlGpmSampleAlloc") - made.fleet.calls("nvmlGpmSampleFree")
        assert kept == 2 * 2


def test_faults_of_ever_new_addresses_are_not_counted_for_ever() -> None:
    book = FaultBook()
    for number in range(GPUS_LIMIT + 50):
        book.record(Fault(f"00000000:{number:04x}", 79, 1.0, "kernel"))
    assert len(book.uuids()) == GPUS_LIMIT
