"""A machine from its order to its metrics: EC2's stand-in gets the document, and what stands in it is run here.

The service orders an instance from strict moto; the test plays the machine: it reads the user data back from EC2, runs
the script of the first boot, and starts what that starts, as processes of this machine under an address of their own.
Only systemd, the creation of users and pip are left out.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import httpx
import pytest
import yaml

from autoscaler.agent.settings import PREFIX
from autoscaler.clock import SimClock, SystemClock
from tests.awsworld import account
from tests.bootstrapped import files, units, words
from tests.cloudworld import TIME, Metadata, metadata
from tests.peers.pages import until
from tests.peers.strict_moto import StrictMoto
from tests.serviceworld import REPOSITORY, WITHIN_S, WORKER, Client, ServiceWorld

PORT = 8000
LONG_S = 60.0
RULES = """\
pool: chat
tick: 500ms
replica: {{gpus: 1, capacity: 5 requests/s}}
limits: {{min: 1, max: 2}}
offers:
  choose: listed
  from:
    - aws:
        types: [g5.xlarge]
        region: us-east-1
        zone: us-east-1a
        image: ami-12c6146b
        price: 1 USD/h
        serve:
          command: [{python}, {worker}, --host, {host}, --port, '{{{{port}}}}']
          port: {port}
          environment: {{GREETING: 'hello $USER 100%'}}
        agent:
          service: {service}
          install: {install}
          command: {home}/sigmascale
          token_command: cat {token}
          address: echo {host}
          home: {home}
          flags: [--no-gpus, --interval, 200ms, --listen, '{host}:0', --metadata-url, {metadata}]
signals:
  queue: {{metric: requests_waiting}}
rules:
  - {{name: a short queue, target: {{signal: queue, per_replica: 5}}}}
launch: {{limit: 60s, register: 60s}}
"""
STUBS = {"systemctl": 'echo "$*" >> "$0.log"', "useradd": 'echo "$*" >> "$0.log"', "id": "exit 1", "chown": "exit 0"}


@dataclass
class Machine:
    """What the test plays: an address, a folder in place of the root, and the processes that were started."""

    folder: Path
    host: str
    home: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def boot(self, text: str) -> None:
        """What cloud-init and systemd would do with a document: files, commands, then the units that they start."""
        document = yaml.safe_load(text)
        for path, content in files(document).items():
            place = Path(path) if path.startswith(str(self.home)) else self.folder / path.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        stubs = self.folder / "stubs"
        stubs.mkdir()
        for name, body in STUBS.items():
            (stubs / name).write_text(f"#!/bin/sh\n{body}\n")
            (stubs / name).chmod(0o755)
        env = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}"}
        for command in document["runcmd"]:
            subprocess.run(command, env=env, check=True, timeout=WITHIN_S, capture_output=True)
        for line in (stubs / "systemctl.log").read_text().splitlines():
            if line.startswith("start "):
                name = line.split()[-1].removesuffix(".service")
                self.processes[name] = self._started(units(document)[name])

    def users(self) -> str:
        return (self.folder / "stubs" / "useradd.log").read_text()

    def environment(self, name: str) -> dict[str, str]:
        """What a running unit sees."""
        pid = self.processes[name].pid
        pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(WITHIN_S)

    def _started(self, unit: dict[str, str]) -> subprocess.Popen[bytes]:
        env = {n: v for n, v in os.environ.items() if not n.startswith(PREFIX)}
        env |= dict(word.split("=", 1) for word in words(unit.get("Environment", "")))
        if file := unit.get("EnvironmentFile"):
            env |= dict(line.split("=", 1) for line in Path(file).read_text().splitlines())
        with (self.folder / "output").open("ab") as output:
            return subprocess.Popen(words(unit["ExecStart"]), env=env, cwd=REPOSITORY, stdout=output, stderr=output)


@dataclass
class Played:
    """Everything that takes part."""

    moto: StrictMoto
    service: ServiceWorld
    client: Client
    machine: Machine
    cloud: Metadata

    def metrics(self) -> set[str]:
        """What the service has of the pool's machine, under the machine's own name."""
        store = self.service.services[-1].store
        known = ("host_load1", "requests_running", "instance_notices_readable")
        address = f"{self.machine.host}:{PORT}"
        now = SystemClock().now()
        return {
            name
            for name in known
            for key in store.raw("chat", name, (("instance", address),), now, 60.0).keys
            if key.label("pool") == "chat"
        }


@contextmanager
def played(folder: Path, host: str) -> Iterator[Played]:
    """A service that buys from EC2, and the machine that it bought, booted and serving."""
    with ExitStack() as ends:
        moto, cloud = ends.enter_context(account()), ends.enter_context(metadata())
        moto.clock = SimClock(SystemClock().now())
        world = ServiceWorld(folder, host)
        ends.callback(world.end)
        machine = Machine(folder / "machine", host, folder / "machine" / "opt")
        machine.folder.mkdir()
        ends.callback(machine.end)
        # Rules that buy nothing yet: those that do name the service's port and its token.
        world.rules.parent.mkdir()
        world.rules.write_text("pool: chat\nlimits: {min: 0, max: 1}\n")
        aws = {"regions": ["us-east-1"], "endpoint_url": moto.wire.url}
        client = ends.enter_context(world.running(providers={"aws": aws}))
        own = f"printf '#!/bin/sh\\nexec {sys.executable} -m autoscaler.cli.main \"$@\"\\n' > {machine.home}/sigmascale"
        world.rules.write_text(
            RULES.format(
                python=sys.executable,
                worker=WORKER,
                host=host,
                port=PORT,
                service=f"http://{client.address}",
                install=json.dumps(f"{own} && chmod 755 {machine.home}/sigmascale"),
                home=machine.home,
                token=world.data / "token",
                metadata=cloud.url,
            )
        )
        play = Played(moto, world, client, machine, cloud)
        until(lambda: moto.made, "an order", LONG_S)
        bought = moto.instance(moto.made[0].instance)
        cloud.instance = bought.id
        # Where the test plays it; moto's own address is nobody's.
        bought.nics[0].private_ip_address = host
        machine.boot(user_data(moto, bought.id))
        yield play


def user_data(moto: StrictMoto, instance: str) -> str:
    """What EC2 hands to the machine."""
    ec2 = boto3.client("ec2", region_name="us-east-1", endpoint_url=moto.wire.url)
    answer = ec2.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    ec2.close()
    return base64.b64decode(answer["UserData"]["Value"]).decode()


@pytest.fixture(scope="module")
def play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    host = f"127.{220 + os.getpid() % 20}.{os.getpid() // 250 % 250}.{1 + os.getpid() % 250}"
    with played(tmp_path_factory.mktemp("live"), host) as made:
        yield made


def test_a_machine_that_was_ordered_serves_and_is_discovered_with_its_metrics(play: Played) -> None:
    seen = play.client.until_ready(1)
    assert [i["address"] for i in seen["instances"]] == [f"{play.machine.host}:{PORT}"]
    assert play.client.endpoints() == [f"{play.machine.host}:{PORT}"]
    assert httpx.get(f"http://{play.machine.host}:{PORT}/health", trust_env=False).status_code == 200
    wanted = {"host_load1", "requests_running", "instance_notices_readable"}
    until(lambda: play.metrics() == wanted, "scraped and pushed metrics of the machine", LONG_S)


def test_what_runs_there_is_what_was_written(play: Played) -> None:
    assert play.machine.environment("sigmascale-serve")["GREETING"] == "hello $USER 100%"
    assert "useradd" not in play.machine.users()
    assert "--system --create-home --shell /usr/sbin/nologin sigmascale" in play.machine.users()
    token = play.machine.home / "push-token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text() not in (play.machine.home / "setup.sh").read_text()
    assert not (play.machine.home / "push-token.new").exists()


def test_a_machine_whose_cloud_takes_it_back_is_replaced_before_it_goes(play: Played) -> None:
    play.client.until_ready(1)
    until(lambda: "instance_notices_readable" in play.metrics(), "notices are read", LONG_S)
    play.cloud.action = {"action": "terminate", "time": TIME}
    seen = play.client.until_pool(lambda p: p["ready"] == 0 and p["pending"] == 1, "a replacement", LONG_S)
    lost = min(seen["instances"], key=lambda i: i["requested_at"])
    assert (lost["state"], lost["detail"]) == ("stopping", "its cloud announces terminate at 2026-11-22 10:02 UTC")
    assert play.client.endpoints() == []
    # The order is in the journal, and so pending, before EC2 is called.
    until(lambda: len(play.moto.made) == 2, "an order for the replacement", LONG_S)
    assert httpx.get(f"http://{play.machine.host}:{PORT}/health", trust_env=False).status_code == 200
    play.cloud.action = None
    play.client.until_pool(lambda p: p["ready"] == 1, "a notice that is taken back", LONG_S)
