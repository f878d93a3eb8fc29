"""The service ends, at the worst moment or in peace, and comes back: every launch has exactly one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event
from uuid import uuid4

import psutil
import pytest

from autoscaler.clock import monotonic
from autoscaler.errors import ProviderError
from autoscaler.types import Fleet, Launch, Offer, Operate
from providers import supervisor
from providers.local import LocalProvider

ROOT = Path(__file__).parents[1]
WORKER = ROOT / "tests" / "peers" / "tiny_worker.py"
SERVE = f"{{python}} {WORKER} --host {{host}} --port {{port}}"
_numbers = count()

# The service as a process of its own: it launches one worker and then waits for its end, unless `when` comes first.
SERVICE = """
import os, sys
from pathlib import Path
from threading import Event
from autoscaler.types import Launch, Offer
from providers import process
from providers import supervisor
from providers.local import LocalProvider

directory, host, action, command, when = sys.argv[1:]
spawn = process.spawn

def spawn_and_crash(*arguments):
    if when == "after the spawn":
        spawn(*arguments)
    os._exit(9)

if when != "never":
    process.spawn = spawn_and_crash
provider = LocalProvider(Path(directory), host=host)
provider.apply(Launch(action, "chat", 0.0, 0.0, Offer("local", "tiny", settings=(("command", command),))))
while not provider.observe().ready:
    Event().wait(0.02)
print("ready", flush=True)
Event().wait(60.0)
"""


class World:
    """A directory, an address and one launch, shared by all services of a test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = f"127.{210 + next(_numbers) % 40}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
        self.action = f"launch-{uuid4().hex}"
        self.services: list[subprocess.Popen[str]] = []
        self.providers: list[LocalProvider] = []

    def service(self, when: str, command: str = SERVE) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", SERVICE, str(self.directory), self.host, self.action, command, when]
        self.services.append(subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return self.services[-1]

    def provider(self, grace_s: float = 5.0) -> LocalProvider:
        self.providers.append(LocalProvider(self.directory, host=self.host, grace_s=grace_s))
        return self.providers[-1]

    def launch(self, command: str = SERVE) -> Launch:
        return Launch(self.action, "chat", 0.0, 0.0, Offer("local", "tiny", settings=(("command", command),)))

    def workers(self) -> list[psutil.Process]:
        running = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("SIGMASCALE_ACTION") == self.action:
                    running.append(process)
            except psutil.Error:
                continue
        return [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "state")
    yield made
    for service in made.services:
        service.kill()
        service.communicate()
    for provider in made.providers:
        provider.close(kill=True)
    for worker in made.workers():
        worker.kill()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + 30.0
    while not holds():
        assert monotonic() < deadline, f"never seen: {what}"
        Event().wait(0.02)


def until_fleet(provider: LocalProvider, *states: str) -> Fleet:
    until(lambda: tuple(i.state for i in provider.observe().instances) == states, f"a fleet of {states}")
    return provider.observe()


def terminate(provider: LocalProvider, instance: str) -> None:
    provider.apply(Operate(f"terminate-{uuid4().hex}", "chat", 0.0, 0.0, "terminate", instance, "local"))


@pytest.mark.parametrize("when", ["before the spawn", "after the spawn"])
def test_a_service_that_dies_inside_a_launch_leaves_one_process_in_the_end(world: World, when: str) -> None:
    assert world.service(when).wait(30.0) == 9
    left = world.workers()
    assert len(left) == (1 if when == "after the spawn" else 0)
    provider = world.provider()
    assert len(provider.observe().instances) == len(left)
    assert provider.apply(world.launch()).status in ("accepted", "done")
    until_fleet(provider, "ready")
    now = world.workers()
    assert len(now) == 1
    assert left in ([], now)


def test_a_killed_service_leaves_its_workers_to_the_next_one(world: World) -> None:
    service = world.service("never")
    assert service.stdout is not None
    assert service.stdout.readline() == "ready\n"
    service.send_signal(signal.SIGKILL)
    service.wait()
    (before,) = world.workers()
    provider = world.provider()
    fleet = provider.observe()
    assert [(i.state, i.action) for i in fleet.instances] == [("ready", world.action)]
    assert provider.apply(world.launch()).status == "done"
    assert world.workers() == [before]
    terminate(provider, fleet.instances[0].id)
    until_fleet(provider)
    assert world.workers() == []


def test_an_adopted_worker_that_dies_is_reported_and_leaves_nothing(world: World) -> None:
    """Its parent is gone, so nobody knows its exit code; what it started goes all the same."""
    service = world.service("never", f"{SERVE} --child")
    assert service.stdout is not None
    service.stdout.readline()
    service.kill()
    service.wait()
    provider = world.provider()
    provider.observe()
    leader = next(worker for worker in world.workers() if os.getsid(worker.pid) == worker.pid)
    leader.kill()
    (seen,) = until_fleet(provider, "failed").instances
    assert "exit code unknown; last line of its log: serving on port" in seen.detail
    until(lambda: world.workers() == [], "no process left")


def test_a_worker_that_dies_while_nobody_watches_is_reported_once(world: World) -> None:
    provider = world.provider()
    provider.apply(world.launch())
    until_fleet(provider, "ready")
    provider.close()
    (worker,) = world.workers()
    worker.kill()
    after = world.provider()
    (seen,) = until_fleet(after, "failed").instances
    terminate(after, seen.id)
    assert after.observe().instances == ()
    after.close()
    assert world.provider().observe().instances == ()


def test_a_stop_that_was_under_way_is_finished(world: World) -> None:
    provider = world.provider(grace_s=60.0)
    provider.apply(world.launch(f"{SERVE} --stubborn"))
    (seen,) = until_fleet(provider, "ready").instances
    terminate(provider, seen.id)
    provider.close()
    assert len(world.workers()) == 1
    after = world.provider(grace_s=0.2)
    assert [i.state for i in after.observe().instances] == ["stopping"]
    until_fleet(after)
    assert world.workers() == []


def test_a_pid_that_belongs_to_somebody_else_by_now_is_not_touched(world: World) -> None:
    provider = world.provider()
    provider.apply(world.launch())
    (seen,) = until_fleet(provider, "ready").instances
    provider.close()
    (worker,) = world.workers()
    worker.kill()
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as stranger:
        try:
            path = world.directory / f"{seen.id}.json"
            state = json.loads(path.read_text())
            state["process"]["pid"] = stranger.pid
            path.write_text(json.dumps(state))
            after = world.provider()
            until_fleet(after, "failed")
            terminate(after, seen.id)
            after.close(kill=True)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_processes_of_another_directory_are_not_touched(world: World, tmp_path: Path) -> None:
    """Even for the same launch: two services may number their decisions alike."""
    provider = world.provider()
    provider.apply(world.launch())
    until_fleet(provider, "ready")
    other = LocalProvider(tmp_path / "other", host=world.host)
    try:
        assert other.observe().instances == ()
        other.apply(world.launch())
        until_fleet(other, "ready")
        assert len(world.workers()) == 2
    finally:
        other.close(kill=True)
    assert len(world.workers()) == 1
    assert provider.observe().ready == 1


def test_a_directory_has_one_provider_at_a_time(world: World) -> None:
    first, second = world.provider(), world.provider()
    first.observe()
    with pytest.raises(
        ProviderError, match="another local provider manages the processes of this directory; stop that"
    ):
        second.observe()
    first.close()
    assert second.observe().instances == ()
    with pytest.raises(ProviderError, match="this provider was closed; make a new one"):
        first.observe()


def test_a_directory_that_cannot_be_written_is_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for directory in (tmp_path / "file" / "state", Path("/proc/self")):
        provider = LocalProvider(directory, host=world.host)
        with pytest.raises(ProviderError, match="give the provider a directory that this user may write"):
            provider.observe()
        with pytest.raises(ProviderError, match=str(directory)):
            provider.apply(world.launch())
        provider.close(kill=True)


def test_a_launch_id_with_another_offer_is_refused(world: World) -> None:
    provider = world.provider()
    provider.apply(world.launch())
    other = Launch(world.action, "chat", 0.0, 0.0, Offer("local", "huge", settings=world.launch().offer.settings))
    outcome = provider.apply(other)
    assert (outcome.status, outcome.error) == ("failed", "provider")
    assert "give every launch an id of its own" in outcome.text
    assert len(provider.observe().instances) == 1


def test_old_launches_are_forgotten_with_their_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = world.provider()
    provider.apply(world.launch())
    (seen,) = until_fleet(provider, "ready").instances
    terminate(provider, seen.id)
    until_fleet(provider)
    assert set(os.listdir(world.directory)) == {f"{seen.id}.json", f"{seen.id}.log", "lock"}, "remembered for a while"
    monkeypatch.setattr(supervisor, "REMEMBERED_S", 0.0)
    until(lambda: os.listdir(world.directory) == ["lock"], "nothing but the lock")


@pytest.mark.parametrize("kill", [True, False])
def test_closing_ends_the_workers_only_when_it_is_told_to(world: World, kill: bool) -> None:
    provider = world.provider()
    provider.apply(world.launch())
    until_fleet(provider, "ready")
    provider.close(kill)
    provider.close(kill)
    assert len(world.workers()) == (0 if kill else 1)
    world.provider().observe()


def test_a_program_that_renames_itself_is_found_by_its_log(world: World) -> None:
    """It overwrites its environment, and our mark with it, as engines that set their process title do."""
    forgetful = f"/usr/bin/env -u SIGMASCALE_STATE {SERVE}"
    assert world.service("after the spawn", forgetful).wait(30.0) == 9
    provider = world.provider()
    until_fleet(provider, "ready")
    assert len(world.workers()) == 1
