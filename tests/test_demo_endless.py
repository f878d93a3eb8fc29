"""The demo's gateway and load beside a service that runs elsewhere, as docker-compose.yml has them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler.clock import SystemClock
from autoscaler.config import Config
from autoscaler.configparts import PlugInConfig, Target
from autoscaler.demo import endless
from autoscaler.demo.run import rule_file
from autoscaler.service import Service
from autoscaler.tokens import Token, digest
from providers.local import LocalProvider
from tests.test_deploy_image import free_port

SECRET = "a-secret-of-sixteen-or-more"
LIMIT_S = 90.0


@pytest.fixture
def gateway() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.fixture
def service(tmp_path: Path, gateway: str) -> Iterator[Service]:
    """A service with tokens and the demo's rules, whose replicas are processes of this machine."""
    config = Config(
        data_dir=tmp_path / "data",
        rules=(rule_file(),),
        port=0,
        tokens=(Token("viewer", "gateway", digest(SECRET)),),
        targets=(Target(f"http://{gateway}/metrics", (("pool", "chat"),), interval_s=1.0, timeout_s=0.9),),
        providers=(PlugInConfig("local", {"directory": str(tmp_path / "local"), "grace_s": 1.0}),),
    )
    made = Service(config)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        left = LocalProvider(tmp_path / "local", grace_s=1.0)
        left.observe()
        left.close(kill=True)


def answered(gateway: str) -> float:
    """Requests that a replica answered; 0 while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://{gateway}/metrics", timeout=5) as page:
            lines = page.read().decode().splitlines()
    except OSError:
        return 0.0
    told = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    return told["gateway_request_duration_seconds_count"] - told["requests_rejected_total"]


def test_requests_reach_the_replicas_that_the_service_started_and_the_program_ends_when_told_to(
    service: Service, gateway: str, tmp_path: Path
) -> None:
    """With a viewer's token from a file, as a person would start it."""
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n", encoding="ascii")
    words = ["--service", f"http://{service.address}", "--token-file", str(token), "--listen", gateway, "--round", "60"]
    root = str(Path(__file__).parent.parent)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SIGMASCALE_")} | {"PYTHONPATH": root}
    command = [sys.executable, "-m", "autoscaler.demo.endless", *words]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            clock, routed = SystemClock(), False
            until = clock.now() + LIMIT_S
            while not routed and clock.now() < until and process.poll() is None:
                clock.wait(clock.now() + 0.25)
                fleet = service.board.pools()["chat"].fleet if "chat" in service.board.pools() else None
                routed = answered(gateway) > 0 and fleet is not None and len(fleet.instances) > 0
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()
    assert routed, said
    assert process.returncode == 0, said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "9380"], "'9380' is not HOST:PORT; write 127.0.0.1:9380"),
        (["--round", "3"], "3 s is not between 30 and 3600; 600 is the default"),
    ],
)
def test_a_wrong_option_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        endless.parse(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert endless.main(["--token-file", str(tmp_path / "nix"), "--listen", "127.0.0.1:0"]) == 2
    assert "name a readable file" in capsys.readouterr().err
