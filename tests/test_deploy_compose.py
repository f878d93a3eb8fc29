"""docker-compose.yml: it keeps the specification, what it mounts is there, and every program takes what it is given."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.main import get_command

from autoscaler import __version__
from autoscaler.cli.main import app
from autoscaler.configfile import read_config
from autoscaler.demo import endless
from autoscaler.tokens import match, read_tokens
from tests.composed import COMPOSE, OURS, REPOSITORY, SERVICES, bound, located
from tests.peers.programs import program

SCRIPT = REPOSITORY / "deploy" / "compose" / "make-secrets.sh"


def mount(service: str, target: str) -> str:
    return bound(service)[target].read_text(encoding="utf-8")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The folder that the script makes."""
    folder = tmp_path / "secrets"
    subprocess.run(["sh", str(SCRIPT), str(folder)], check=True, capture_output=True)
    return folder


def test_the_file_keeps_the_compose_specification() -> None:
    """Its JSON schema, as check-jsonschema carries it."""
    text = (
        files("check_jsonschema").joinpath("builtin_schemas", "vendor", "compose-spec.json").read_text(encoding="utf-8")
    )
    schema = json.loads(text)
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []
    broken = {**COMPOSE, "services": {"x": {"image": "x", "read-only": True}}}
    assert list(validator.iter_errors(broken)), "a schema that takes everything would prove nothing"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_change_nothing_of_itself_and_is_heard_on_this_machine_only(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert any(path.startswith("/tmp") for path in service.get("tmpfs", [])) or name == "alertmanager"
    for one in service.get("volumes", []):
        assert one["type"] == "volume" or one["read_only"] is True


def test_images_are_pinned_to_a_version_and_ours_is_this_one() -> None:
    versions = {name: service["image"].rpartition(":")[2] for name, service in SERVICES.items()}
    assert all(re.fullmatch(r"v?\d+\.\d+\.\d+", version) for version in versions.values()), versions
    assert {versions[name] for name in OURS} == {__version__}
    assert {"prometheus", "alertmanager", "grafana"} == SERVICES.keys() - set(OURS)


def test_everything_that_is_mounted_is_there() -> None:
    for name in SERVICES:
        assert [str(path) for path in bound(name).values() if not path.exists()] == []
    named = {m["source"] for s in SERVICES.values() for m in s.get("volumes", []) if m["type"] == "volume"}
    assert named == COMPOSE["volumes"].keys()


def test_secrets_are_files_that_the_script_makes_and_services_name(secrets: Path) -> None:
    made = {path.name for path in secrets.iterdir()}
    declared = {name: Path(secret["file"]) for name, secret in COMPOSE["secrets"].items()}
    assert {path.name for path in declared.values()} <= made
    assert {str(path.parent) for path in declared.values()} == {"deploy/compose/secrets"}
    assert {secret for s in SERVICES.values() for secret in s.get("secrets", [])} == declared.keys()


def test_the_script_makes_tokens_of_which_the_service_knows_only_digests(secrets: Path) -> None:
    tokens = read_tokens(secrets / "tokens")
    for name, role in (("admin-token", "admin"), ("viewer-token", "viewer")):
        secret = (secrets / name).read_text(encoding="ascii").strip()
        found = match(secret, tokens)
        assert found is not None
        assert found.role == role
        assert secret not in (secrets / "tokens").read_text(encoding="ascii")
    assert (secrets / "admin-token").stat().st_mode & 0o077 == 0
    assert not [path.name for path in secrets.iterdir() if path.stat().st_mode & 0o007]


def test_the_script_keeps_what_is_there(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run(["sh", str(SCRIPT), str(secrets)], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before


def commands() -> Iterator[tuple[str, list[str]]]:
    for name in OURS:
        yield (
            name,
            [str(word) for word in [*SERVICES[name].get("entrypoint", ["sigmascale"]), *SERVICES[name]["command"]]],
        )


@pytest.mark.parametrize(("name", "words"), list(commands()), ids=OURS)
def test_our_programs_take_the_commands_of_our_containers(name: str, words: list[str]) -> None:
    if words[:3] == ["python", "-m", "autoscaler.demo.endless"]:
        assert endless.parse(words[3:]).token_file == Path("/run/secrets/viewer-token")
        return
    assert words.pop(0) == "sigmascale"
    command, called = get_command(app), "sigmascale"
    while hasattr(command, "resolve_command"):
        context = command.make_context(called, [*words])
        called, command, words = command.resolve_command(context, words)
    command.make_context(called, [*words])


def test_the_configuration_of_the_service_is_right(tmp_path: Path, secrets: Path) -> None:
    file = tmp_path / "sigmascale.yaml"
    text = located("sigmascale", mount("sigmascale", "/etc/sigmascale/config.yaml"), secrets)
    assert str(secrets) in text
    rules = str(REPOSITORY / "rules" / "demo.yaml")
    file.write_text(text.replace("/etc/sigmascale/rules", rules).replace("/var/lib", str(tmp_path)), encoding="utf-8")
    config = read_config(file, {})
    assert [token.role for token in config.tokens] == ["admin", "viewer"]
    assert [receiver.kind for receiver in config.alerting.receivers] == ["alertmanager"]
    (gateway,) = config.targets
    listen = next(word for word in SERVICES["demo"]["command"] if word.startswith("--listen="))
    assert gateway.url.split("/")[2].partition(":")[2] == listen.rpartition(":")[2]


def test_prometheus_takes_its_configuration_and_our_rules(tmp_path: Path, secrets: Path) -> None:
    file = tmp_path / "prometheus.yml"
    file.write_text(
        located("prometheus", mount("prometheus", "/etc/prometheus/prometheus.yml"), secrets), encoding="utf-8"
    )
    told = subprocess.run(
        [program("prometheus", "promtool"), "check", "config", str(file)], check=False, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("rules found") == len(list((REPOSITORY / "dashboards/prometheus/rules").glob("*.yml"))) > 0


def test_alertmanager_takes_its_configuration() -> None:
    file = bound("alertmanager")["/etc/alertmanager/alertmanager.yml"]
    amtool = [program("prometheus-alertmanager", "amtool"), "check-config", str(file)]
    told = subprocess.run(amtool, check=False, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_grafana_finds_the_dashboards_and_the_source_that_its_provisioning_names() -> None:
    import yaml

    provisioning = bound("grafana")["/etc/grafana/provisioning"]
    (listed,) = (provisioning / "dashboards").glob("*.yml")
    (provider,) = yaml.safe_load(listed.read_text(encoding="utf-8"))["providers"]
    folder = bound("grafana")[provider["options"]["path"]]
    assert len(list(folder.glob("*.json"))) >= 6
    (sources,) = (provisioning / "datasources").glob("*.yml")
    used = set(re.findall(r"\$\{(\w+)\}", sources.read_text(encoding="utf-8")))
    assert used <= SERVICES["grafana"]["environment"].keys()


def test_a_service_is_named_by_its_name_and_a_port_that_it_listens_on() -> None:
    """Whom Prometheus, the service and Grafana ask inside of the network."""
    text = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "deploy/compose").glob("*.y*ml"))
    text += json.dumps(SERVICES["grafana"]["environment"])
    asked = set(re.findall(r"\b(sigmascale|alertmanager|prometheus|grafana|demo|agent):(\d+)", text))
    assert asked == {
        ("sigmascale", "9377"), ("sigmascale", "9380"), ("alertmanager", "9093"), ("prometheus", "9090"),
    }  # fmt: skip


def test_health_is_asked_of_every_container_that_others_wait_for() -> None:
    """Ours by the image's own check, whose page a variable names."""
    waited: set[str] = {other for s in SERVICES.values() for other in s.get("depends_on", {})}
    assert waited == {"sigmascale", "prometheus"}
    without: list[Any] = [name for name in SERVICES if name not in OURS and "healthcheck" not in SERVICES[name]]
    assert without == []
    assert SERVICES["demo"]["environment"]["HEALTH_URL"] == "http://127.0.0.1:9380/health"
    assert SERVICES["agent"]["environment"]["HEALTH_URL"] == "http://127.0.0.1:9400/healthz"
