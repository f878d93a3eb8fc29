"""The local provider with real processes: limits, deaths, stops, probes, and what a worker may and may not see."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from threading import Event
from typing import Literal
from uuid import uuid4

import httpx
import psutil
import pytest

from autoscaler.clock import monotonic
from autoscaler.types import Instance, Launch, Offer, Operate, Outcome
from providers import supervisor
from providers.local import LocalProvider

WORKER = Path(__file__).parent / "peers" / "tiny_worker.py"
SERVE = f"{{python}} {WORKER} --host {{host}} --port {{port}}"
Make = Callable[..., LocalProvider]
_numbers = count()


@pytest.fixture
def host() -> str:
    """A loopback address that no other test uses, so that ports never collide."""
    return f"127.{60 + next(_numbers) % 150}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"


@pytest.fixture
def make(tmp_path: Path, host: str) -> Iterator[Make]:
    """Makes providers, and leaves none of their processes behind."""
    made: list[LocalProvider] = []

    def build(**changes: object) -> LocalProvider:
        options: dict[str, object] = {"directory": tmp_path / "state", "host": host, "grace_s": 5.0, **changes}
        made.append(LocalProvider(**options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for provider in made:
        provider.close(kill=True)


def launch(
    provider: LocalProvider,
    command: str = SERVE,
    **texts: str,
) -> tuple[Launch, Outcome]:
    offer = Offer("local", "tiny", settings=(("command", command), *texts.items()))
    action = Launch(f"launch-{uuid4().hex}", "chat", 0.0, 0.0, offer)
    return action, provider.apply(action)


def operate(
    provider: LocalProvider, kind: Literal["start", "drain", "resume", "stop", "terminate"], instance: str | None
) -> Outcome:
    assert instance is not None
    return provider.apply(Operate(f"{kind}-{uuid4().hex}", "chat", 0.0, 0.0, kind, instance, "local"))


def found(provider: LocalProvider, name: str | None) -> Instance | None:
    return next((i for i in provider.observe().instances if i.id == name), None)


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = monotonic() + 30.0
    while not holds():
        assert monotonic() < deadline, f"never seen: {what}"
        Event().wait(0.02)


def until_state(provider: LocalProvider, name: str | None, state: str | None) -> Instance | None:
    def reached() -> bool:
        seen = found(provider, name)
        return (seen.state if seen else None) == state

    until(reached, f"{name} {state}")
    return found(provider, name)


def ready(provider: LocalProvider, command: str = SERVE, **texts: str) -> Instance:
    seen = until_state(provider, launch(provider, command, **texts)[1].instance, "ready")
    assert seen is not None
    return seen


def workers(instance: str) -> list[psutil.Process]:
    """Every process with the mark of that instance, whoever leads it."""
    marked = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SIGMASCALE_STATE", "").endswith(f"/{instance}.json"):
                marked.append(process)
        except psutil.Error:
            continue
    return [process for process in marked if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def ask(instance: Instance, method: str, path: str) -> httpx.Response:
    return httpx.request(method, f"http://{instance.address}{path}", timeout=30.0, trust_env=False)


def test_a_wrong_offer_is_a_failed_outcome_and_nothing_runs(make: Make) -> None:
    provider = make()
    _, outcome = launch(provider, "serve --secret hunter2 {prot}")
    assert (outcome.status, outcome.error) == ("failed", "provider")
    assert "unknown field {prot}" in outcome.text
    assert "hunter2" not in outcome.text
    assert provider.observe().instances == ()


@pytest.mark.parametrize(
    ("command", "texts", "text"),
    [
        pytest.param("/no/such/program", {}, "cannot start '/no/such/program': No such file", id="no such program"),
        pytest.param(SERVE, {"cwd": "/no/such/folder"}, "/no/such/folder; check command and cwd", id="no such folder"),
        pytest.param("/etc/passwd", {}, "cannot start '/etc/passwd': Permission denied", id="not a program"),
    ],
)
def test_what_cannot_be_started_says_why(make: Make, command: str, texts: dict[str, str], text: str) -> None:
    provider = make()
    action, outcome = launch(provider, command, **texts)
    assert (outcome.status, outcome.error) == ("failed", "provider")
    assert text in outcome.text
    assert provider.apply(action).status == "failed"
    assert provider.observe().instances == ()


def test_a_worker_that_dies_is_reported_with_its_last_words_then_forgotten(make: Make) -> None:
    provider = make(failed_for_s=0.2)
    action, outcome = launch(provider, f"{SERVE} --die 'model not found: tiny'")
    seen = until_state(provider, outcome.instance, "failed")
    assert seen is not None
    assert seen.detail == "exit code 3; last line of its log: model not found: tiny"
    until_state(provider, outcome.instance, None)
    again = provider.apply(action)
    assert (again.status, again.text) == ("failed", seen.detail), "an old launch that comes again starts nothing"
    assert provider.observe().instances == ()


def test_a_dead_one_is_forgotten_at_once_when_it_is_terminated(make: Make) -> None:
    provider = make(failed_for_s=3600.0)
    _, outcome = launch(provider, f"{SERVE} --die now")
    until_state(provider, outcome.instance, "failed")
    assert operate(provider, "terminate", outcome.instance).status == "done"
    assert provider.observe().instances == ()


def test_a_worker_that_never_loads_stays_pending_and_says_so(make: Make, tmp_path: Path) -> None:
    provider = make()
    _, outcome = launch(provider, f"{SERVE} --boot-file {tmp_path / 'loaded'}")
    until(lambda: "answered 503" in (found(provider, outcome.instance) or pytest.fail("gone")).detail, "its 503")
    seen = found(provider, outcome.instance)
    assert seen is not None
    assert seen.state == "pending"
    (tmp_path / "loaded").touch()
    seen = until_state(provider, outcome.instance, "ready")
    assert seen is not None
    assert seen.detail == ""
    assert seen.since > seen.requested_at


def test_a_worker_that_says_no_again_and_again_is_not_ready(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "ASK_READY_S", 0.02)
    monkeypatch.setattr(supervisor, "ASK_DOUBTFUL_S", 0.02)
    provider = make()
    instance = ready(provider)
    ask(instance, "POST", "/break")
    seen = until_state(provider, instance.id, "pending")
    assert seen is not None
    assert "answered 503" in seen.detail
    ask(instance, "POST", "/mend")
    until_state(provider, instance.id, "ready")


def test_a_silent_worker_holds_nobody_up(make: Make) -> None:
    """It accepts connections and never answers; observe and apply do not wait for it."""
    provider = make(probe_timeout_s=4.0)
    silent = (
        "{python} -c \"import socket, threading; s = socket.create_server(('{host}', {port}));"
        ' threading.Event().wait(60)"'
    )
    _, outcome = launch(provider, silent)
    slowest_s = 0.0

    def is_silent() -> bool:
        nonlocal slowest_s
        began = monotonic()
        seen = found(provider, outcome.instance)
        slowest_s = max(slowest_s, monotonic() - began)
        return seen is not None and "does not answer in time" in seen.detail

    until(is_silent, "that it does not answer")
    assert slowest_s < 2.0, "half of what a probe waits"
    assert (found(provider, outcome.instance) or pytest.fail("gone")).state == "pending"


def test_a_port_in_use_is_passed_over(make: Make, host: str) -> None:
    provider = make(ports=(20000, 20001))
    with socket.create_server((host, 20000)):
        assert ready(provider).address == f"{host}:20001"
        _, outcome = launch(provider)
    assert (outcome.status, outcome.error) == ("failed", "capacity")
    assert f"no free port on {host} from 20000 to 20001" in outcome.text
    assert launch(provider)[1].status == "accepted"


@pytest.mark.parametrize(
    ("options", "texts", "text"),
    [
        pytest.param({"max_processes": 1}, {}, "1 processes run, max_processes is 1", id="of the machine"),
        pytest.param({}, {"max": "1"}, "1 processes of this offer run, its max is 1", id="of the offer"),
    ],
)
def test_a_limit_of_processes_is_a_lack_of_capacity(
    make: Make, options: dict[str, object], texts: dict[str, str], text: str
) -> None:
    provider = make(**options)
    first = launch(provider, **texts)[1]
    assert first.status == "accepted"
    second = launch(provider, **texts)[1]
    assert (second.status, second.error) == ("failed", "capacity")
    assert text in second.text
    operate(provider, "terminate", first.instance)
    until_state(provider, first.instance, None)
    assert launch(provider, **texts)[1].status == "accepted"


def test_every_worker_sees_gpus_of_its_own_and_gives_them_back(make: Make) -> None:
    """The UUIDs are given, so that this holds on a machine without GPUs too."""
    provider = make(gpus=("GPU-a", "GPU-b", "GPU-c"))
    none, one, two = ready(provider), ready(provider, gpus="1"), ready(provider, gpus="2")
    seen = [ask(instance, "GET", "/env/CUDA_VISIBLE_DEVICES").text for instance in (none, one, two)]
    assert seen == ["", "GPU-a", "GPU-b,GPU-c"]
    refused = launch(provider, gpus="1")[1]
    assert (refused.status, refused.error) == ("failed", "capacity")
    assert "needs 1 GPUs and 0 of the 3 here are free" in refused.text
    operate(provider, "terminate", one.id)
    until_state(provider, one.id, None)
    assert ask(ready(provider, gpus="1"), "GET", "/env/CUDA_VISIBLE_DEVICES").text == "GPU-a"


def test_a_request_in_flight_survives_drain_and_termination(make: Make) -> None:
    from concurrent.futures import ThreadPoolExecutor

    provider = make(grace_s=20.0)
    instance = ready(provider)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, instance, "POST", "/work")
        until(lambda: "num_requests_running 1" in ask(instance, "GET", "/metrics").text, "one request inside")
        operate(provider, "drain", instance.id)
        assert ask(instance, "GET", "/health").status_code == 200, "a draining one goes on serving"
        ask(instance, "POST", "/release")
        operate(provider, "terminate", instance.id)
        assert (answer.result().status_code, answer.result().text) == (200, "done")
    until_state(provider, instance.id, None)


def test_who_ignores_the_request_to_stop_is_killed_after_the_grace_time(make: Make) -> None:
    provider = make(grace_s=3.0)
    instance = ready(provider, f"{SERVE} --stubborn")
    began = monotonic()
    outcome = operate(provider, "terminate", instance.id)
    assert monotonic() - began < 1.5, "apply does not wait for the end"
    assert outcome.status == "accepted"
    assert [i.state for i in provider.observe().instances] == ["stopping"]
    assert operate(provider, "drain", instance.id).status == "failed"
    until_state(provider, instance.id, None)
    assert workers(instance.id) == []


def test_what_a_worker_started_goes_with_it(make: Make) -> None:
    provider = make()
    instance = ready(provider, f"{SERVE} --child")
    assert len(workers(instance.id)) == 2
    operate(provider, "terminate", instance.id)
    until_state(provider, instance.id, None)
    until(lambda: workers(instance.id) == [], "no process left")


def test_a_worker_leads_its_own_session_and_holds_nothing_of_ours(make: Make, host: str) -> None:
    """Ctrl-C in the service's terminal is not for it, and it does not keep the service's port open."""
    provider = make()
    with socket.create_server((host, 0)) as ours:
        ours.set_inheritable(True)
        instance = ready(provider)
        (worker,) = workers(instance.id)
        assert os.getsid(worker.pid) == worker.pid != os.getsid(0)
        mine = os.readlink(f"/proc/self/fd/{ours.fileno()}")
        theirs = {os.readlink(path) for path in Path(f"/proc/{worker.pid}/fd").iterdir()}
        assert mine not in theirs
        assert not any(target.endswith("/state/lock") for target in theirs)


def test_secrets_stay_in_the_environment(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service's own never reach a worker; an offer's never reach the disk, and only the owner reads the state."""
    monkeypatch.setenv("SIGMASCALE_TOKENS", "of the service")
    provider = make()
    instance = ready(provider, **{"env.API_KEY": "hunter2"})
    assert ask(instance, "GET", "/env/API_KEY").text == "hunter2"
    assert ask(instance, "GET", "/env/SIGMASCALE_TOKENS").status_code == 404
    for path in (tmp_path / "state").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert b"hunter2" not in path.read_bytes()
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_the_log_of_a_talkative_worker_stays_small(make: Make, tmp_path: Path) -> None:
    provider = make(log_bytes=4096)
    instance = ready(provider, f"{SERVE} --print-lines 5000")
    log = tmp_path / "state" / f"{instance.id}.log"
    until(lambda: log.stat().st_size <= 4096, "a small log")
    assert log.read_text().splitlines()[-1].startswith("serving on port")


def test_an_instance_of_another_pool_is_left_alone(make: Make) -> None:
    provider = make()
    instance = ready(provider)
    outcome = provider.apply(Operate("t-1", "embeddings", 0.0, 0.0, "terminate", instance.id, "local"))
    assert (outcome.status, outcome.text) == (
        "failed",
        f"{instance.id} serves pool chat, not embeddings; nothing was done",
    )
    assert [i.state for i in provider.observe().instances] == ["ready"]


def test_without_its_directory_a_provider_starts_nothing_and_still_stops_what_runs(make: Make, tmp_path: Path) -> None:
    """A full disk looks the same from here."""
    provider = make()
    instance = ready(provider)
    shutil.rmtree(tmp_path / "state")
    _, outcome = launch(provider)
    assert (outcome.status, outcome.error) == ("failed", "provider")
    assert "cannot write down the state of a process: No such file or directory; free or repair" in outcome.text
    assert len(provider.observe().instances) == 1
    operate(provider, "terminate", instance.id)
    until_state(provider, instance.id, None)
    assert workers(instance.id) == []
