"""Pool signals on disk: restarts, retention, and disks that refuse."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from autoscaler.errors import StorageError
from autoscaler.queries import definition
from autoscaler.store import Store
from autoscaler.store.daystore import DayStore, Point
from tests.batches import NAN, QUEUE, WAITING, newest, read, up

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()
DAY_S = 86400.0
TODAY = "pool-signals-2026-11-22.duckdb"


def tick(store: Store, at: float, value: float) -> None:
    store.add(up("a", at, {WAITING: value}))
    read(store, QUEUE, at)


def run(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """A script in a process of its own, with this checkout to import from."""
    return subprocess.run(
        [sys.executable, "-c", script, *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent.parent,
    )


def test_a_restart_reads_the_history_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for step in range(50):
        tick(store, NOON + step * 15, step / 7)
    before = read(store, QUEUE, NOON + 750)
    assert store.flush() == 50
    store.close()
    after = read(Store(tmp_path), QUEUE, NOON + 750)
    np.testing.assert_array_equal(after.at, before.at)
    np.testing.assert_array_equal(after.values, before.values)
    assert after.quality == ("stale",)
    assert after.detail == ("no source gives requests_waiting; last value is 15 s old",)


def test_the_value_read_back_is_held_no_longer_than_any_other(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tick(store, NOON, 3.0)
    store.close()
    assert newest(read(Store(tmp_path), QUEUE, NOON + 299)) == 3.0
    assert read(Store(tmp_path), QUEUE, NOON + 301).quality == ("missing",)


def test_a_gap_is_a_gap_again_after_a_restart(tmp_path: Path) -> None:
    days = DayStore(tmp_path, 28)
    days.append([Point("chat", "queue", NOON, 1.0, 0), Point("chat", "queue", NOON + 15, NAN, 4)])
    days.close()
    ((at, values),) = days.read(date(2026, 11, 22), 0.0).values()
    np.testing.assert_array_equal(at, [NOON, NOON + 15])
    np.testing.assert_array_equal(values, [1.0, NAN])


def test_of_a_point_that_is_written_twice_the_later_one_counts(tmp_path: Path) -> None:
    days = DayStore(tmp_path, 28)
    days.append([Point("chat", "queue", NOON, 1.0, 1), Point("chat", "queue", NOON + 15, 5.0, 0)])
    days.append([Point("chat", "queue", NOON, 2.0, 0)])
    assert days.history(date(2026, 11, 22), ("chat", "queue", ""), 0.0, NOON + 60)[1].tolist() == [2.0, 5.0]
    days.close()


def test_every_utc_day_has_its_file_and_old_ones_are_dropped(tmp_path: Path) -> None:
    other = tmp_path / "pool-signals-notes.duckdb"
    other.write_text("not ours")
    store = Store(tmp_path, retention_days=3)
    for day in range(6):
        tick(store, NOON + day * DAY_S, float(day))
        store.flush()
    store.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [*(f"pool-signals-2026-11-{day}.duckdb" for day in (25, 26, 27)), other.name]
    assert other.read_text() == "not ours"


def test_history_joins_the_day_files_and_memory_without_a_seam(tmp_path: Path) -> None:
    store = Store(tmp_path, history_s=3600.0)
    for step in range(60):
        tick(store, NOON + step * 1800, float(step))
    store.flush()
    tick(store, NOON + 60 * 1800, 60.0)
    at, values = store.history("chat", "queue", NOON + 1800, NOON + 60 * 1800 + 1)
    np.testing.assert_array_equal(values, np.arange(1.0, 61.0))
    assert (np.diff(at) == 1800.0).all()
    assert store.history("chat", "other", 0.0, np.inf)[0].size == 0
    store.close()


def test_a_day_file_holds_what_its_columns_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    tick(store, NOON, 3.0)
    store.close()
    with duckdb.connect(str(tmp_path / TODAY), read_only=True) as file:
        assert file.execute("FROM points").fetchall() == [("chat", "queue", NOON, 3.0, 0, definition(QUEUE))]


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from autoscaler.store.daystore import DayStore, Point
days = DayStore(Path(sys.argv[1]), 28)
for step in range(20):
    days.append([Point("chat", "queue", float(sys.argv[2]) + step, float(step), 0)])
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run(script, tmp_path, NOON).returncode == -9
    store = Store(tmp_path)
    assert store.problems() == ()
    assert store.history("chat", "queue", NOON, NOON + 60)[1].tolist() == list(range(20))
    tick(store, NOON + 60, 60.0)
    store.close()


# --- disks that refuse ------------------------------------------------------------------------------------------


def damage(path: Path, how: str) -> None:
    if how == "garbage":
        path.write_bytes(b"not a database" * 1000)
    elif how == "empty":
        path.write_bytes(b"")
    else:
        whole = path.with_name("whole.duckdb")
        with duckdb.connect(str(whole)) as file:
            file.execute("CREATE TABLE points AS SELECT range AS i FROM range(100000)")
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        whole.unlink()


@pytest.mark.parametrize("how", ["garbage", "empty", "half"])
def test_a_damaged_day_file_is_named_and_the_store_goes_on_until_it_is_moved(tmp_path: Path, how: str) -> None:
    file = tmp_path / TODAY
    damage(file, how)
    store = Store(tmp_path)
    tick(store, NOON, 3.0)
    with pytest.raises(StorageError, match=rf"{TODAY}: .*; the file is damaged: move it away, a new one is started"):
        store.flush()
    assert newest(read(store, QUEUE, NOON + 1)) == 3.0
    assert any("1 points wait to be written" in text for text in store.problems())
    file.rename(tmp_path / "aside")
    tick(store, NOON + 15, 4.0)
    assert store.flush() == 2
    assert store.problems() == ()
    store.close()


def test_a_damaged_file_of_another_day_costs_only_that_day(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day in range(3):
        tick(store, NOON + day * DAY_S, float(day))
        store.flush()
    store.close()
    damage(tmp_path / "pool-signals-2026-11-23.duckdb", "garbage")
    store = Store(tmp_path)
    assert read(store, QUEUE, NOON + 2 * DAY_S + 1).values.tolist() == [[0.0, 2.0]]
    (problem,) = store.problems()
    assert "pool-signals-2026-11-23.duckdb" in problem
    assert "move it away" in problem


def test_a_file_that_another_process_holds_is_named(tmp_path: Path) -> None:
    script = """
import sys, duckdb
file = duckdb.connect(sys.argv[1])
print("locked", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", script, str(tmp_path / TODAY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        store = Store(tmp_path)
        tick(store, NOON, 3.0)
        with pytest.raises(StorageError, match="stop the other process or give this one a data folder of its own"):
            store.flush()
        holder.communicate("")
    assert store.flush() == 1
    store.close()


def test_a_data_folder_that_cannot_exist_leaves_the_store_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "data")
    tick(store, NOON, 3.0)
    with pytest.raises(StorageError, match="check the data folder and its disk"):
        store.flush()
    assert newest(read(store, QUEUE, NOON + 1)) == 3.0


def test_a_read_only_data_folder_leaves_the_store_in_memory() -> None:
    """In a process of its own, because root may write anywhere: it gives its rights up first."""
    script = """
import os, tempfile
from pathlib import Path
import duckdb
from autoscaler.errors import StorageError
from autoscaler.queries import definition
from autoscaler.store import Store
from tests.batches import QUEUE, WAITING, newest, read, up
with tempfile.TemporaryDirectory(dir="/tmp") as folder:
    os.chmod(folder, 0o555)
    if os.geteuid() == 0:
        os.seteuid(65534)
    store = Store(Path(folder))
    store.add(up("a", 1e9, {WAITING: 3.0}))
    read(store, QUEUE, 1e9)
    try:
        store.flush()
    except StorageError as error:
        print(error)
    print(newest(read(store, QUEUE, 1e9)), len(store.problems()))
    os.seteuid(os.getuid())
    os.chmod(folder, 0o755)
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    text, rest = done.stdout.splitlines()
    assert "make the data folder writable or choose another one" in text
    assert rest == "3.0 1"


def test_a_full_disk_loses_nothing_that_fits_later() -> None:
    """A limit on the size of files stands for a full disk; then the limit is lifted."""
    script = """
import resource, tempfile
from pathlib import Path
from autoscaler.store.daystore import Point
from autoscaler.errors import StorageError
from autoscaler.queries import definition
from autoscaler.store import Store
from tests.batches import QUEUE, WAITING, newest, read, up
with tempfile.TemporaryDirectory() as folder:
    store = Store(Path(folder))
    now = 1e9
    def ticks(count):
        global now
        for _ in range(count):
            now += 1.0
            store.add(up("a", now, {WAITING: now % 97, }, interval_s=1.0))
            read(store, QUEUE, now)
    ticks(10)
    print(store.flush())
    resource.setrlimit(resource.RLIMIT_FSIZE, (16384, resource.RLIM_INFINITY))
    ticks(3000)
    for _ in range(2):
        try:
            print(store.flush())
        except StorageError as error:
            print(error)
    print(len(store.problems()), store.stats().waiting, newest(read(store, QUEUE, now)) == now % 97)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(store.flush(), store.problems())
    store.close()
    again = Store(Path(folder))
    print(read(again, QUEUE, now).at.size)
    again.close()
"""
    done = run(script)
    assert done.returncode == 0, done.stderr
    first, full, full_again, state, later, read_back = done.stdout.splitlines()
    assert first == "10"
    assert "free disk space or point the data folder at another disk" in full
    assert "pool-signals-2001-09-09.duckdb" in full_again
    assert (state, later, read_back) == ("1 3000 True", "3000 ()", "3010")


def test_the_backlog_is_bounded_and_says_what_is_lost(tmp_path: Path) -> None:
    damage(tmp_path / TODAY, "garbage")
    store = Store(tmp_path, max_backlog=10)
    for step in range(25):
        tick(store, NOON + step, float(step))
        with pytest.raises(StorageError):
            store.flush()
    assert (store.stats().waiting, store.stats().lost) == (10, 15)
    assert any("10 points wait to be written, 15 are lost" in text for text in store.problems())


def test_duckdb_keeps_to_itself(tmp_path: Path) -> None:
    """One thread, a quarter of a gigabyte, and nothing fetched from the network."""
    days = DayStore(tmp_path, 28)
    days.append([Point("chat", "queue", NOON, 1.0, 0)])
    assert days._today is not None
    names = ("threads", "memory_limit", "autoinstall_known_extensions", "autoload_known_extensions")
    found = [days._today[1].execute("SELECT current_setting(?)", [name]).fetchone() for name in names]
    assert found == [(1,), ("244.1 MiB",), (False,), (False,)]
    days.close()
    assert os.listdir(tmp_path) == [TODAY]
