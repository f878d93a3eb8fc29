"""`sigmascale agent` as a real process, over the stand-in for the driver's library."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from autoscaler.agent import push
from autoscaler.agent.settings import PREFIX
from autoscaler.clock import monotonic
from autoscaler.types import Labels
from collectors.pages import grammar
from collectors.pages.reader import PageReader
from tests.peers.nvml import Scenario, models
from tests.peers.pages import until, without_waiting
from tests.peers.programs import program
from tests.test_agent_push import Receiver

REPOSITORY = Path(__file__).parent.parent
SECRET = "a-secret-of-20-letters"
TOO_LATE_S = 20.0


@dataclass
class Child:
    """A running agent. `log`: its lines so far."""

    process: subprocess.Popen[str]
    url: str
    log: list[dict[str, Any]] = field(default_factory=list)

    def get(self, path: str, token: str | None = None) -> str:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.read().decode())

    def values(self, path: str = "/metrics") -> dict[tuple[str, Labels], float]:
        return {(s.name, tuple(sorted(s.labels))): s.value for s in grammar.samples(self.get(path))}

    def value(self, name: str, **labels: str) -> float | None:
        """The value of the first series of that name with these labels."""
        wanted = set(labels.items())
        return next((v for (n, given), v in self.values().items() if n == name and wanted <= set(given)), None)

    def rest_of_log(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read()


def launch(environment: Mapping[str, str], *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "autoscaler.cli.main", "agent", *flags]
    clean = {k: v for k, v in environment.items() if not k.startswith(PREFIX)} | {"PYTHONPATH": str(REPOSITORY)}
    clean |= {k: v for k, v in environment.items() if k.startswith(PREFIX) and k not in os.environ}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=clean)


def started(environment: Mapping[str, str], *flags: str) -> Child:
    """An agent on a free port that has said where it listens."""
    process = launch(environment, "--listen", "127.0.0.1:0", "--log-format", "json", "--host", "node-1", *flags)
    assert process.stderr is not None
    child = Child(process, "")
    for line in process.stderr:
        if not line.startswith("{"):
            break
        child.log.append(json.loads(line))
        if child.log[-1]["event"] == "agent runs":
            child.url = child.log[-1]["pages"].removesuffix("/metrics")
            return child
    process.kill()
    raise AssertionError(f"it did not start: {child.log}\n{line}{process.communicate()[1]}")


def ready(child: Child) -> bool:
    try:
        return child.get("/readyz") == "ok\n"
    except urllib.error.HTTPError as error:
        error.close()
        return False


def end(child: Child) -> None:
    """A clean end by SIGTERM."""
    child.process.send_signal(signal.SIGTERM)
    child.rest_of_log()
    assert child.process.wait(TOO_LATE_S) == 0


def kill(child: Child) -> None:
    if child.process.poll() is None:
        child.process.kill()
        child.process.wait(5)
    assert child.process.stderr is not None
    child.process.stderr.close()


@pytest.fixture(scope="module")
def fleet() -> Iterator[Scenario]:
    """Two GPUs of two kinds."""
    with models.t4() as made:
        models.add(made, models.H100, "00000000:0F:00.0")
        yield made


@pytest.fixture(scope="module")
def agent(fleet: Scenario) -> Iterator[Child]:
    """An agent that tests may ask but not end."""
    child = started(fleet.environment(), "--names", "canonical,dcgm", "--stats", "--interval", "200ms")
    try:
        until(lambda: ready(child), "ready", TOO_LATE_S)
        yield child
    finally:
        kill(child)


def test_the_main_page_tells_of_gpus_the_machine_and_the_agent(agent: Child, fleet: Scenario) -> None:
    fleet.gpus[1].draw(421.5)
    until(lambda: agent.value("gpu_power_watts", gpu="1") == 421.5, "the power that the driver says")
    values = agent.values()
    names = {name for name, _ in values}
    assert names >= {"gpu_up", "gpu_memory_used_bytes", "host_cpu_ratio", "host_memory_total_bytes"}
    assert names >= {"DCGM_FI_DEV_POWER_USAGE", "sigmascale_agent_build_info", "gpu_sample_age_seconds"}
    assert names >= {"gpu_power_watts_max", "gpu_power_watts_p95"}, "with --stats"
    assert all(("host", "node-1") in labels or "Hostname" in dict(labels) for _, labels in values if _)
    assert agent.value("sigmascale_agent_collector_state", collector="nvml", state="reading") == 1
    assert (agent.value("sigmascale_agent_process_resident_memory_bytes") or 0) > 1e6


def test_the_dcgm_page_of_a_running_agent_is_read_as_the_canonical_one(agent: Child) -> None:
    reader = PageReader("agent", (), 1.0)
    ours = {key: value for key, value in agent.values("/metrics/canonical").items() if key[0].startswith("gpu_")}
    batch = reader.read(agent.get("/metrics/dcgm").encode(), 1.0)
    theirs = {(key.metric, key.labels): value for key, value in zip(batch.keys, batch.values.tolist(), strict=True)}
    assert (reader.rejected, reader.duplicates) == (0, 0)
    both = set(ours) & set(theirs)
    fixed = ("gpu_memory_total_bytes", "gpu_power_limit_watts", "gpu_temperature_celsius", "gpu_sm_clock_max_hertz")
    assert {name for name, _ in both} >= {
        *fixed,
        "gpu_busy_ratio",
        "gpu_energy_joules_total",
        "gpu_ecc_corrected_total",
    }
    assert len(both) > 40
    for key in both:
        if key[0] in fixed:
            assert theirs[key] == pytest.approx(ours[key], rel=1e-9), key


def test_the_otel_page_of_a_running_agent(agent: Child) -> None:
    values = agent.values("/metrics/otel")
    ok = [dict(labels) for (name, labels), value in values.items() if name == "hw_status" and value == 1]
    assert [labels["hw_state"] for labels in ok] == ["ok", "ok"]
    assert len({labels["hw_id"] for labels in ok}) == 2


def test_other_paths_say_what_there_is(agent: Child) -> None:
    assert agent.get("/healthz") == "ok\n"
    assert "/metrics/otel" in agent.get("/")
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        agent.get("/debug")
    caught.value.close()


def test_many_scrapers_of_one_second_cost_one_page(agent: Child) -> None:
    began = monotonic()
    # Each page that is rendered counts the requests before it, so no two are alike.
    different = {agent.get("/metrics") for _ in range(100)}
    assert len(different) <= monotonic() - began + 2


def test_a_gpu_that_is_lost_has_no_old_values(agent: Child, fleet: Scenario) -> None:
    fleet.gpus[0].lose()
    try:
        until(lambda: agent.value("gpu_lost", gpu="0") == 1, "lost", TOO_LATE_S)
        assert agent.value("gpu_power_watts", gpu="0") is None
        assert agent.value("gpu_power_watts", gpu="1") is not None
    finally:
        fleet.gpus[0].come_back(index=0)
    until(lambda: agent.value("gpu_power_watts", gpu="0") is not None, "back", TOO_LATE_S)


@pytest.mark.peer
def test_a_real_prometheus_scrapes_it(agent: Child, tmp_path: Path) -> None:
    server = program("prometheus", "prometheus")
    config = tmp_path / "prometheus.yml"
    target = agent.url.removeprefix("http://")
    config.write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: agent, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
    port = re.compile(rb"address=127\.0\.0\.1:(\d+)")
    with subprocess.Popen(
        [server, f"--config.file={config}", f"--storage.tsdb.path={tmp_path}", "--web.listen-address=127.0.0.1:0"],
        stderr=subprocess.PIPE,
    ) as prometheus:
        try:
            assert prometheus.stderr is not None
            found = None
            for line in prometheus.stderr:
                found = port.search(line)
                if found and found[1] != b"0":
                    break
            assert found is not None
            url = f"http://127.0.0.1:{int(found[1])}/api/v1/query?query="

            def ask(query: str) -> list[Any]:
                try:
                    with urllib.request.urlopen(url + query, timeout=5) as answer:
                        return list(json.load(answer)["data"]["result"])
                except urllib.error.HTTPError as error:
                    error.close()  # it has not read its own files yet
                    return []

            until(lambda: len(ask("gpu_power_watts")) == 2, "both GPUs", TOO_LATE_S)
            assert [r["value"][1] for r in ask("up")] == ["1"]
        finally:
            prometheus.kill()


# --- its beginning and its end ------------------------------------------------------------------------------------


def test_it_ends_at_once_though_a_gpu_hangs_a_scraper_waits_and_the_service_is_silent() -> None:
    receiver = Receiver()
    receiver.answers = [None]
    with models.t4() as fleet:
        child = started(fleet.environment(), "--push", receiver.url, "--interval", "100ms")
        try:
            until(lambda: ready(child), "ready", TOO_LATE_S)
            until(lambda: bool(receiver.bodies), "a push that hangs")
            fault = fleet.gpus[0].block("nvmlDeviceGetMemoryInfo_v2", seconds=30)
            until(lambda: fault.seen > 0, "a GPU that hangs")
            with (
                urllib.request.urlopen(child.url + "/metrics", timeout=TOO_LATE_S),
                without_waiting(2 * push.TIMEOUT_S),
            ):
                end(child)
        finally:
            kill(child)
            receiver.close()


def test_what_it_collects_is_pushed_with_the_token_of_the_environment() -> None:
    receiver = Receiver()
    with models.t4() as fleet:
        environment = fleet.environment() | {PREFIX + "TOKEN": SECRET, PREFIX + "PUSH": receiver.url}
        child = started(environment, "--interval", "100ms", "--labels", "pool=chat,zone=a")
        try:
            until(lambda: len(receiver.bodies) >= 3, "three pushes", TOO_LATE_S)
            until(lambda: (child.value("sigmascale_agent_pushes_total", outcome="taken") or 0) >= 3, "counted")
            environ = Path(f"/proc/{child.process.pid}/cmdline").read_text()
            end(child)
        finally:
            kill(child)
            receiver.close()
    first = receiver.bodies[0]
    assert first["labels"] == {"host": "node-1", "pool": "chat", "zone": "a"}
    assert (first["source"], first["interval_s"]) == ("node-1", 0.1)
    pushed = {sample["metric"] for body in receiver.bodies for sample in body["samples"]}
    assert pushed >= {"gpu_power_watts", "gpu_up", "host_memory_used_ratio"}
    assert receiver.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert SECRET not in environ
    assert SECRET not in json.dumps(child.log)


def test_a_machine_without_a_driver_is_ready_and_tells_of_itself() -> None:
    with models.t4() as fleet:
        fleet.fail("nvmlInitWithFlags", 9)
        child = started(fleet.environment(), "--interval", "100ms")
        try:
            until(lambda: ready(child), "ready", TOO_LATE_S)
            assert child.value("sigmascale_agent_collector_state", state="idle") == 1
            assert child.value("host_cpus") is not None
            assert not [name for name, _ in child.values() if name.startswith("gpu_")]
            end(child)
        finally:
            kill(child)


def test_pages_can_ask_for_a_token_and_probes_need_none(tmp_path: Path) -> None:
    file = tmp_path / "read-token"
    file.touch(0o600)
    file.write_text(SECRET + "\n")
    child = started(os.environ, "--no-gpus", "--token-file-read", str(file))
    try:
        until(lambda: ready(child), "ready", TOO_LATE_S)
        with pytest.raises(urllib.error.HTTPError, match="401") as caught:
            child.get("/metrics")
        caught.value.close()
        assert "host_load1" in child.get("/metrics", SECRET)
        end(child)
    finally:
        kill(child)


def refusal(*flags: str, code: int = 2, environment: Mapping[str, str] | None = None) -> list[str]:
    """What an agent that must not start says."""
    process = launch(os.environ | dict(environment or {}), *flags)
    _, err = process.communicate(timeout=TOO_LATE_S)
    assert process.returncode == code, err
    assert "Traceback" not in err
    return err.splitlines()


def test_every_mistake_is_named_at_once(tmp_path: Path) -> None:
    open_file = tmp_path / "open"
    open_file.write_text(SECRET)
    open_file.chmod(0o644)
    lines = refusal(
        *("--listen", "9400", "--names", "prometheus", "--interval", "5", "--fast", "1ms", "--lanes", "fast"),
        *("--labels", "uuid=1", "--host", "", "--push", "http://ada:secret@a", "--token-file", str(open_file)),
        *("--tls-cert", "x", "--no-gpus", "--no-host", "--log-format", "xml"),
    )
    assert lines == [
        "--host: '' is not a name; write one such as node-1",
        "--listen: '9400' is not HOST:PORT; write 127.0.0.1:9400, or 0.0.0.0:9400 for everybody",
        "--names: 'prometheus' is not one of canonical, dcgm, otel; write --names canonical",
        "--interval: '5' has no unit; write 5s, or another unit of ms, s, m, h, d",
        "--fast: '1ms' is out of range; write a duration from 50ms to 1s",
        "--lanes: 'fast' is not one of buffers, gpm, slow; write --lanes buffers",
        "--labels: the label 'uuid' is the agent's own; choose another name",
        "--log-format: 'xml' is not one of console, json; write --log-format console",
        "--push: is not the address of a service; write http://HOST:PORT, without a password",
        f"token file {open_file}: its mode 0644 lets other users read or change it; run `chmod 600 {open_file}`",
        "--tls-cert and --tls-key: one is useless without the other; give both",
        "--no-gpus and --no-host: nothing is left to collect; leave one of them out",
    ]


def test_a_variable_that_is_mistyped_is_no_silent_default() -> None:
    (line,) = refusal(environment={PREFIX + "INTERVALL": "5s"})
    assert line.startswith("SIGMASCALE_AGENT_INTERVALL: is no variable of the agent; there are SIGMASCALE_AGENT_HOST,")


def test_a_port_that_is_taken_ends_it_with_the_next_step(agent: Child) -> None:
    address = agent.url.removeprefix("http://")
    (line,) = refusal("--listen", address, "--no-gpus", code=1)
    assert line.startswith(f"cannot listen on {address}: ")
    assert line.endswith("free it, or name another with --listen")
