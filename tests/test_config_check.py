"""`sigmascale config check`: every fault at once, what is unwise, and what is in force without its secrets."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from autoscaler.cli.config_advice import file_system
from autoscaler.cli.main import app
from autoscaler.configfile import read_config
from autoscaler.configmodel import STRUCTURED, Settings
from autoscaler.errors import InputError

SECRET = "a-secret-of-sixteen-or-more"
RULES = """
pool: chat
limits: {min: 1, max: 4}
signals: {load: {metric: requests_arrived_total, rate: 1m, aggregate: sum}}
replica: {capacity: 5 requests/s}
rules: [{name: enough, target: {signal: load, per_replica: auto}}]
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of this machine, and a folder with rules to stand in."""
    import os

    for name in [name for name in os.environ if name.startswith("SIGMASCALE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "chat.yaml").write_text(RULES, encoding="utf-8")


def check(text: str, *flags: str, **environ: str) -> tuple[int, list[str]]:
    """Exit code and lines of `config check config.yaml`."""
    Path("config.yaml").write_text(text, encoding="utf-8")
    ended = CliRunner().invoke(app, ["config", "check", "config.yaml", *flags], env=environ)
    assert ended.exception is None or isinstance(ended.exception, SystemExit), ended.exception
    return ended.exit_code, ended.stdout.splitlines()


def test_a_configuration_without_fault_is_ok() -> None:
    code, lines = check("rules: rules\n")
    assert code == 0
    assert lines[-2] == "ok config.yaml"
    assert lines[-1].startswith("0 errors, ")


def test_faults_of_every_kind_are_told_at_once_in_the_order_of_the_file() -> None:
    """Shape, words, addresses, files, rules between settings: nobody mends one only to be told of the next."""
    code, lines = check(
        "lissten: 127.0.0.1:1\nlisten: '9377'\nhistory: 9\nport: 1\ntokens_file: nix\nrules: nowhere\nmax_series: 5\n"
        "targets:\n  - {url: ftp://x, labels: {pool: a}}\n",
        SIGMASCALE_RAW_WINDOW="1s",
    )
    assert code == 1
    assert [line.split(": ")[0].removeprefix("error ") for line in lines[:-1]] == [
        "SIGMASCALE_RAW_WINDOW",
        "config.yaml:1:1",
        "config.yaml:2:9",
        "config.yaml:3:10",
        "config.yaml:4:1",
        "config.yaml:5:14",
        "config.yaml:6:8",
        "config.yaml:7:13",
        "config.yaml:9:11",
    ]
    assert lines[1].endswith("is not a setting; did you mean listen?")
    assert lines[-1] == "9 errors, 0 warnings"


def test_a_setting_is_not_blamed_for_the_fault_of_another() -> None:
    """Without its tokens the address would be too open, and the history too long for the default of retention."""
    _, lines = check("listen: 0.0.0.0:80\ntokens_file: nix\nretention: 90\nhistory: 60d\nrules: rules\n")
    assert [line.split(": ")[1] for line in lines[:-1]] == ["tokens_file", "retention"]


def test_plug_ins_and_their_settings_are_checked_and_nothing_is_started() -> None:
    code, lines = check(
        "rules: rules\ndata_dir: data\nproviders: {awss: {}, local: {max_processs: 3}}\n"
        "collectors: {prometheus: {url: 'http://127.0.0.1:9', password: x}, replay: {path: nix.csv, pool: chat}}\n"
    )
    assert code == 1
    assert "did you mean aws?" in lines[0]
    assert lines[0].startswith("error config.yaml:3:")
    assert "local has no setting 'max_processs'; did you mean max_processes?" in lines[1]
    assert "did you mean password_file?" in lines[2]
    assert not Path("data").exists()


def test_a_file_that_is_no_yaml_or_not_there_is_one_fault_and_no_traceback() -> None:
    ended = CliRunner().invoke(app, ["config", "check", "nix.yaml"])
    assert isinstance(ended.exception, InputError)
    assert (
        str(ended.exception)
        == "nix.yaml: cannot be read: No such file or directory; check the path and its permissions"
    )


UNWISE = [
    pytest.param("rules: rules\ndata_dir: /dev/shm/x\n", "lies in memory (tmpfs)", id="data in memory"),
    pytest.param("rules: empty\n", "holds no rule file", id="a folder without rules"),
    pytest.param("data_dir: data\n", "no rules are given", id="no rules"),
    pytest.param("rules: broken.yaml\n", "see them with `sigmascale check broken.yaml`", id="rules with errors"),
    pytest.param(
        "rules: rules\nlisten: 0.0.0.0:80\ntokens_file: tokens\n", "without TLS", id="tokens that cross the network"
    ),
    pytest.param("rules: rules\ntokens_file: tokens\n", "no token has the role operator", id="only viewers"),
    pytest.param("rules: rules\ntokens_file: tokens\n", "holds tokens in plain text", id="tokens in plain text"),
    pytest.param("rules: rules\nwebhooks: http://hooks.example/x\n", "in the clear", id="an alert in the clear"),
    pytest.param(
        "rules: rules\ntargets: [{url: 'http://h.example/m', labels: {pool: a}, token_file: tokens}]\n",
        "sends its token in the clear",
        id="a token in the clear",
    ),
    pytest.param("rules: rules\npaces: {awss: {burst: 3}}\n", "awss is no provider", id="a pace of nobody"),
]


@pytest.mark.parametrize(("text", "said"), UNWISE)
def test_what_works_and_will_be_regretted_is_a_warning(text: str, said: str) -> None:
    Path("empty").mkdir()
    Path("broken.yaml").write_text("pool: chat\nlimit: 3\n", encoding="utf-8")
    Path("tokens").touch(0o600)
    Path("tokens").write_text(f"viewer {SECRET} ada\n", encoding="utf-8")
    code, lines = check(text)
    assert code == 0
    (line,) = [line for line in lines if said in line]
    assert line.startswith("warning config")
    assert check(text, "--strict")[0] == 1
    assert SECRET not in "".join(lines)


def test_a_certificate_with_the_key_of_another_is_an_error() -> None:
    for name in ("one", "two"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x", "-days", "1",
             "-keyout", f"{name}.key", "-out", f"{name}.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
    code, lines = check("rules: rules\ntls_cert: one.pem\ntls_key: two.key\n")
    assert code == 1
    assert "tls_cert: does not work with tls_key" in lines[0]
    assert check("rules: rules\ntls_cert: one.pem\ntls_key: one.key\n")[0] == 0


def test_show_tells_every_setting_with_its_origin_and_hides_what_is_secret() -> None:
    text = (
        "rules: rules\nretention: 14d\nwebhooks: 'https://hooks.example/T0/hunter2'\n"
        "targets: [{url: 'http://me:hunter2@10.0.0.7:9400/metrics?key=hunter2', labels: {pool: chat}}]\n"
        "providers: {local: {grace_s: 3s}}\n"
        "alerting:\n  external_url: https://scale.example/x\n"
        "  receivers: [{name: a, kind: slack, url: 'https://chat.example/hunter2', ca_file: ca.pem}]\n"
    )
    Path("ca.pem").write_text("x", encoding="utf-8")
    code, lines = check(text, "--show", "--json", SIGMASCALE_REGION="us-east-1")
    told = json.loads("\n".join(lines))
    assert (code, told["valid"]) == (0, True), told["faults"]
    settings = told["settings"]
    assert list(settings) == list(Settings.model_fields)
    assert settings["retention"] == {"value": "14d", "origin": "config.yaml:2"}
    assert settings["region"] == {"value": "us-east-1", "origin": "SIGMASCALE_REGION"}
    assert settings["max_text"] == {"value": "512MiB", "origin": "default"}
    assert settings["targets"]["value"][0]["url"] == "http://(hidden)@10.0.0.7:9400/metrics?(hidden)"
    assert settings["webhooks"]["value"] == ["https://hooks.example/(hidden)"]
    receiver = settings["alerting"]["value"]["receivers"][0]
    assert (receiver["url"], receiver["ca_file"]) == (["https://chat.example/(hidden)"], "ca.pem")
    assert settings["alerting"]["value"]["external_url"] == "https://scale.example/x"
    assert "hunter2" not in "".join(lines)


def test_what_show_prints_is_a_configuration_that_means_the_same() -> None:
    text = "rules: rules\nhistory: 2d\nmax_text: 64MiB\npaces: {aws: {burst: 3, calls_per_second: 2.5}}\nshadow: true\n"
    _, lines = check(text, "--show")
    shown = Path("shown.yaml")
    shown.write_text("\n".join(line for line in lines if "  # " in line), encoding="utf-8")
    assert read_config(shown, {}) == read_config(Path("config.yaml"), {})


def test_the_example_sets_nothing_and_each_of_its_lines_may_be_uncommented() -> None:
    text = CliRunner().invoke(app, ["config", "example"]).stdout
    Path("example.yaml").write_text(text, encoding="utf-8")
    assert read_config(Path("example.yaml"), {}) == read_config(None, {})
    head = text.split("# An example:")[0]
    assert {name for name in Settings.model_fields if f"\n# {name}:" in head} == set(Settings.model_fields)
    usual = {
        line[2:]
        for line in head.splitlines()
        if line.startswith("# ") and line[2:].split(": ")[0] in Settings.model_fields
    }
    for line in usual - {"rules"}:
        Path("one.yaml").write_text(line, encoding="utf-8")
        assert read_config(Path("one.yaml"), {}) == read_config(None, {}), line


# --- structures in variables ------------------------------------------------------------------------------------


def test_every_setting_can_be_a_file_or_a_variable_and_means_the_same() -> None:
    """Also those with a structure, as JSON; only relative paths start from another folder."""
    structures = {
        "targets": [{"url": "http://10.0.0.7:9400/metrics", "labels": {"pool": "chat"}, "interval": "2s"}],
        "discovery": [{"url": "http://10.0.0.9/sd", "labels": {"pool": "chat"}}],
        "providers": {"local": {"grace_s": "3s", "max_processes": 4}},
        "collectors": {"nvml": {"labels": {"pool": "chat"}}},
        "paces": {"aws": {"burst": 3, "calls_per_second": 2.5}},
        "rate_limit": {"read_burst": 3},
        "alerting": {"inhibit": True, "receivers": [{"name": "a", "url": "https://h.example/x"}]},
    }
    assert set(structures) == set(STRUCTURED)
    for name, value in structures.items():
        path = Path(f"{name}.yaml")
        path.write_text(yaml.safe_dump({name: value}), encoding="utf-8")
        assert read_config(None, {f"SIGMASCALE_{name.upper()}": json.dumps(value)}) == read_config(path, {}), name


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[{", "SIGMASCALE_TARGETS:1:3: is not JSON: ", id="no JSON"),
        pytest.param('[{"url": null}]', "SIGMASCALE_TARGETS: holds null, which is no value; leave", id="null"),
        pytest.param('[{"url": "a", "url": "b"}]', "SIGMASCALE_TARGETS: holds 'url' twice", id="a name twice"),
        pytest.param("[" * 40 + "]" * 40, "SIGMASCALE_TARGETS: is nested more than 32 deep", id="too deep"),
        pytest.param("[" * 60_000 + "]" * 60_000, "SIGMASCALE_TARGETS: is nested more than 32 deep", id="a bomb"),
        pytest.param(
            '[{"labels": {"pool": "a"}}]', "SIGMASCALE_TARGETS: targets[0].url: is missing; add it", id="part"
        ),
        pytest.param('{"url": "a"}', "SIGMASCALE_TARGETS: is not a list; write items", id="an object for a list"),
        pytest.param('[{"url": "x", "labels": {"pool": "a"}, "intervall": "1s"}]', "did you mean interval?", id="typo"),
    ],
)
def test_a_variable_with_a_broken_structure_is_told_by_its_name(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_config(None, {"SIGMASCALE_TARGETS": text})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/data/x", "ext4"), ("/data/in memory/y", "tmpfs"), ("/elsewhere", "overlay"), ("/twice/z", "xfs")],
)
def test_the_file_system_of_a_path_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mounts"
    lines = ("overlay / overlay rw", "/dev/sda /data ext4 rw", "tmpfs /data/in\\040memory tmpfs rw", "a /twice ext4 rw",
             "b /twice xfs rw")  # fmt: skip
    mounts.write_text("".join(f"{line} 0 0\n" for line in lines), encoding="utf-8")
    assert file_system(Path(path), mounts) == kind
    assert file_system(Path(path), tmp_path / "nix") == ""
