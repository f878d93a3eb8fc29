"""The manifests: they hang together, ask for the least, and what is mounted passes our own checks."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from autoscaler.agent.settings import PREFIX, read_settings, words
from autoscaler.cli.main import app
from autoscaler.configfile import read_config
from autoscaler.rulefile.reader import check_text
from tests.conftest import Golden
from tests.kustomized import (
    BASE,
    EXAMPLE,
    FOLDER,
    MONITORING,
    Manifest,
    built,
    documents,
    kustomize,
    of_kind,
    one,
    pods,
    read,
)

REPOSITORY = Path(__file__).parent.parent
OURS = {"sigmascale", "registry.example.com/sigmascale"}
SECRETS = {"sigmascale-tokens", "sigmascale-agent-token", "sigmascale-prometheus-token"}
"""Made by a person, as docs/deployment.md says; no manifest holds one."""
RULES_HEAD = """\
# Of dashboards/prometheus/rules, for the Prometheus operator. Written by a test, do not edit:
# pytest tests/test_deploy_kubernetes.py --rewrite-golden
"""


@pytest.fixture(scope="module", params=[BASE, EXAMPLE], ids=["base", "example"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module", params=["read", "built"])
def manifests(request: pytest.FixtureRequest, folder: Path) -> list[Manifest]:
    """As they are written, and as `kubectl kustomize` builds them."""
    return read(folder) if request.param == "read" else built(kustomize(), folder)


def test_every_file_is_named_by_a_kustomization() -> None:
    named: set[Path] = set()
    for path in FOLDER.rglob("kustomization.yaml"):
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        files = [*told.get("resources", ()), *told.get("components", ())]
        files += [patch["path"] for patch in told.get("patches", ()) if "path" in patch]
        files += [name for made in told.get("configMapGenerator", ()) for name in made["files"]]
        named |= {(path.parent / name).resolve() for name in files} | {path}
    assert {path for path in FOLDER.rglob("*") if path.is_file()} <= named
    assert [path for path in named if not path.exists()] == []


def test_a_selector_selects_pods_that_are_there(manifests: list[Manifest]) -> None:
    labels = {name: template["metadata"]["labels"] for name, template in pods(manifests)}
    services = [m["metadata"]["labels"] for m in of_kind(manifests, "Service")]

    def chosen(selector: dict[str, str], some: list[dict[str, str]]) -> bool:
        return any(selector.items() <= one.items() for one in some)

    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            assert chosen(spec["selector"], list(labels.values()))
        elif manifest["kind"] == "ServiceMonitor":
            assert chosen(spec["selector"]["matchLabels"], services)
        elif manifest["kind"] in ("Deployment", "DaemonSet", "PodDisruptionBudget", "PodMonitor"):
            assert chosen(spec["selector"]["matchLabels"], list(labels.values())), manifest["metadata"]["name"]
        elif manifest["kind"] == "NetworkPolicy":
            assert chosen(spec["podSelector"]["matchLabels"], list(labels.values()))


def test_what_a_pod_names_is_there(manifests: list[Manifest]) -> None:
    """ConfigMaps, claims and accounts by name, secrets by the list of those that people make, mounts by volume."""
    there = {(m["kind"], m["metadata"]["name"]) for m in manifests}
    for name, template in pods(manifests):
        spec = template["spec"]
        assert ("ServiceAccount", spec["serviceAccountName"]) in there
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there, f"{name}: {volume}"
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there
            if "secret" in volume:
                assert volume["secret"]["secretName"] in SECRETS
                # The group of the volume may read it; our programs refuse a token that everybody can read.
                assert volume["secret"]["defaultMode"] == 0o440
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes.keys()


def test_ports_are_named_where_they_are_used(manifests: list[Manifest]) -> None:
    ports = {
        port["name"]: port["containerPort"]
        for _, template in pods(manifests)
        for container in template["spec"]["containers"]
        for port in container["ports"]
    }
    assert ports == {"http": 9377, "metrics": 9400}
    for _, template in pods(manifests):
        for container in template["spec"]["containers"]:
            mine = {port["name"] for port in container["ports"]}
            probes = [container[name] for name in container if name.endswith("Probe")]
            assert {probe["httpGet"]["port"] for probe in probes} == mine
            assert {probe["httpGet"]["path"] for probe in probes} == {"/healthz", "/readyz"}
    (service,) = of_kind(manifests, "Service")
    assert service["spec"]["ports"] == [{"name": "http", "port": 9377, "targetPort": "http"}]
    for monitor in of_kind(manifests, "ServiceMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == {"http"}
    for monitor in of_kind(manifests, "PodMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} == {"metrics"}


def test_no_container_may_do_more_than_it_needs(manifests: list[Manifest]) -> None:
    for _, template in pods(manifests):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == spec["securityContext"]["fsGroup"] == 10001
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert not any(spec.get(name) for name in ("hostPID", "hostIPC"))
        assert not [volume for volume in spec["volumes"] if "hostPath" in volume]
        for container in [*spec.get("initContainers", ()), *spec["containers"]]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            assert container["image"].partition(":")[0] in OURS


def test_nothing_of_ours_may_ask_kubernetes_and_prometheus_only_looks(manifests: list[Manifest]) -> None:
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(manifests, "ServiceAccount"))
    assert not of_kind(manifests, "ClusterRole")
    for role in of_kind(manifests, "Role"):
        assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
        assert not {resource for rule in role["rules"] for resource in rule["resources"]} & {"secrets", "*"}
    for binding in of_kind(manifests, "RoleBinding"):
        assert [(s["name"], s["namespace"]) for s in binding["subjects"]] == [("prometheus-k8s", "monitoring")]
        assert ("Role", binding["roleRef"]["name"]) in {(m["kind"], m["metadata"]["name"]) for m in manifests}


def test_there_is_one_service_on_its_data_and_it_can_be_moved(manifests: list[Manifest]) -> None:
    deployment = one(manifests, "Deployment", "sigmascale")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]) == (1, {"type": "Recreate"})
    assert one(manifests, "PersistentVolumeClaim", "sigmascale-data")["spec"]["accessModes"] == ["ReadWriteOnce"]
    assert one(manifests, "PodDisruptionBudget", "sigmascale")["spec"]["maxUnavailable"] == 1
    assert one(manifests, "Service", "sigmascale")["spec"]["publishNotReadyAddresses"] is True


def test_our_programs_take_their_arguments(manifests: list[Manifest]) -> None:
    for _, template in pods(manifests):
        for container in [*template["spec"].get("initContainers", ()), *template["spec"]["containers"]]:
            command, name, left = get_command(app), "sigmascale", [str(word) for word in container["args"]]
            while hasattr(command, "resolve_command"):
                context = command.make_context(name, [*left])
                name, command, left = command.resolve_command(context, left)
            command.make_context(name, [*left])


def test_the_agents_variables_are_settings_of_it(manifests: list[Manifest]) -> None:
    """With Kubernetes' own variables for our services it would not start: it refuses what it does not know."""
    spec = one(manifests, "DaemonSet", "sigmascale-agent")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    given = {e["name"]: e.get("value", "node-7") for e in container["env"] if e["name"].startswith(PREFIX)}
    assert given[f"{PREFIX}TOKEN_FILE"] == "/etc/sigmascale/secrets/token"
    settings = read_settings(words(given | {f"{PREFIX}TOKEN_FILE": ""}), "x")
    service = one(manifests, "Service", "sigmascale")
    namespace = service["metadata"].get("namespace", "sigmascale")
    assert settings.push == f"http://{service['metadata']['name']}.{namespace}.svc:9377"
    assert settings.listen == ("0.0.0.0", 9400)
    assert spec["enableServiceLinks"] is False
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert spec["nodeSelector"]["nvidia.com/gpu.present"] == "true"


def test_the_configuration_and_the_rules_that_are_mounted_are_right(
    manifests: list[Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By `config check` as the init container asks for it, and each rule file without an error."""
    for name in [name for name in os.environ if name.startswith("SIGMASCALE_")]:
        monkeypatch.delenv(name)
    # The provider of a cloud takes its keys from wherever the cloud's SDK finds them; none are needed to be made.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (text,) = one(manifests, "ConfigMap", "sigmascale-config")["data"].values()
    rules = one(manifests, "ConfigMap", "sigmascale-rules")["data"]
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"operator sha256:{'0' * 64} ada\n", encoding="utf-8")
    (tmp_path / "rules").mkdir()
    for name, rule in rules.items():
        (tmp_path / "rules" / name).write_text(rule, encoding="utf-8")
        assert check_text(rule, file=name).errors == ()
    for there, here in (
        ("/etc/sigmascale/secrets/tokens", tokens),
        ("/etc/sigmascale/rules", tmp_path / "rules"),
        ("/var/lib/sigmascale", tmp_path / "data"),
    ):
        assert there in text
        text = text.replace(there, str(here))
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    told = CliRunner().invoke(app, ["config", "check", str(file)])
    assert told.exit_code == 0, told.output
    assert "rules:" not in told.output, "a rule file that is mounted has an error"


def test_paths_of_the_configuration_are_those_of_the_mounts(manifests: list[Manifest]) -> None:
    (container,) = one(manifests, "Deployment", "sigmascale")["spec"]["template"]["spec"]["containers"]
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    (text,) = one(manifests, "ConfigMap", "sigmascale-config")["data"].values()
    told = yaml.safe_load(text)
    assert (told["data_dir"], told["rules"]) == ("/var/lib/sigmascale", "/etc/sigmascale/rules")
    assert mounts == {
        told["data_dir"]: False, told["rules"]: True, "/etc/sigmascale/config": True, "/etc/sigmascale/secrets": True,
        "/tmp": False,
    }  # fmt: skip
    assert Path(told["tokens_file"]).parent == Path("/etc/sigmascale/secrets")
    assert container["args"][-1] == "/etc/sigmascale/config/config.yaml"


def test_the_base_looks_on_until_an_overlay_lets_it_act() -> None:
    assert yaml.safe_load((BASE / "config" / "config.yaml").read_text(encoding="utf-8"))["shadow"] is True
    assert "shadow" not in yaml.safe_load((EXAMPLE / "config.yaml").read_text(encoding="utf-8"))


def test_the_rules_for_prometheus_are_those_of_the_dashboards(golden: Golden) -> None:
    groups: list[Any] = []
    for path in sorted((REPOSITORY / "dashboards" / "prometheus" / "rules").glob("*.yml")):
        groups += yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    assert groups
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sigmascale"},
        "spec": {"groups": groups},
    }
    text = RULES_HEAD + yaml.safe_dump(manifest, sort_keys=False, width=120, allow_unicode=True)
    golden(MONITORING / "rules.yaml", text)
    (found,) = documents((MONITORING / "rules.yaml").read_text(encoding="utf-8"))
    assert found == manifest


def test_the_example_changes_what_it_says_it_changes() -> None:
    manifests = built(kustomize(), EXAMPLE)
    accounts = {a["metadata"]["name"]: a["metadata"].get("annotations") for a in of_kind(manifests, "ServiceAccount")}
    assert accounts["sigmascale"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/sigmascale"}
    assert accounts["sigmascale-agent"] is None
    agent = one(manifests, "DaemonSet", "sigmascale-agent")["spec"]["template"]["spec"]
    assert agent["nodeSelector"]["node.kubernetes.io/instance-type"] == "p5.48xlarge"
    assert agent["runtimeClassName"] == "nvidia"
    assert {m["metadata"].get("namespace", "sigmascale") for m in manifests} == {"sigmascale"}
    assert read_config(None, {}).shadow is False, "what a configuration without the line means"
