"""Steps of a pool in the store: changes are kept, what stays is repeated now and then, a restart loses nothing."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

from autoscaler.store import Store
from autoscaler.store.steps import REPEATED_S
from tests.worlds import NOW


def sizes(want: float, ready: float) -> dict[str, float]:
    return {"want": want, "ready": ready, "pending": 0.0}


def ticked(store: Store, ticks: int = 200) -> None:
    """200 ticks of 15 s: one replica more from the hundredth on, and once not known how many serve."""
    for n in range(ticks):
        store.note("chat", NOW + 15 * n, sizes(4 + (n >= 100), math.nan if n == 150 else 4))


def history(store: Store, name: str) -> list[tuple[float, float]]:
    at, values = store.history("chat", f"pool:{name}", 0, NOW + 1e6)
    return [(float(t) - NOW, float(v)) for t, v in zip(at, values, strict=True)]


def test_a_change_is_kept_to_the_tick_and_a_rest_is_repeated() -> None:
    store = Store(None)
    ticked(store)
    want = history(store, "want")
    assert (1500.0, 5.0) in want
    assert len(want) == 6
    assert max(b[0] - a[0] for a, b in pairwise(want)) <= REPEATED_S
    ready = history(store, "ready")
    assert [t for t, v in ready if math.isnan(v)] == [2250.0]
    assert (2265.0, 4.0) in ready


def test_steps_are_there_after_a_restart(tmp_path: Path) -> None:
    first = Store(tmp_path)
    ticked(first)
    before = history(first, "want")
    first.close()
    again = Store(tmp_path)
    assert history(again, "want") == before
    again.close()


def test_a_clock_that_was_set_back_leaves_nothing_in_the_future() -> None:
    store = Store(None)
    ticked(store)
    store.note("chat", NOW + 600, sizes(9, 9))
    assert history(store, "want")[-1] == (600.0, 9.0)


def test_a_pool_that_is_gone_is_forgotten() -> None:
    store = Store(None)
    ticked(store, 3)
    store.forget_pool("chat")
    assert history(store, "want") == []


def test_what_memory_has_whole_is_not_asked_of_the_disk(tmp_path: Path) -> None:
    first = Store(tmp_path)
    ticked(first)
    first.close()
    again = Store(tmp_path, history_s=3600.0)
    for file in tmp_path.iterdir():
        file.unlink()
    at, _ = again.history("chat", "pool:want", NOW - 600, NOW + 1e6)
    assert at[0] == NOW
    assert again.problems() == ()
    again.close()


def test_what_is_older_than_memory_reaches_is_read_from_the_disk(tmp_path: Path) -> None:
    first = Store(tmp_path)
    ticked(first)
    first.close()
    again = Store(tmp_path, history_s=600.0)
    at, _ = again.history("chat", "pool:want", 0, NOW + 1e6)
    assert at[0] == NOW
    again.close()
