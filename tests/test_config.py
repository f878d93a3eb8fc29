"""The service's configuration: where settings come from, and what is said about wrong ones."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from autoscaler import plugins
from autoscaler.config import Config, is_loopback
from autoscaler.configdocs import EXAMPLE, reference
from autoscaler.configfile import read_config
from autoscaler.configmodel import Settings
from autoscaler.configparts import Target, is_url
from autoscaler.errors import InputError
from autoscaler.pacing import USUAL, Pace
from autoscaler.tokens import digest

SECRET = "a-secret-of-sixteen-or-more"
DOCS = Path(__file__).parent.parent / "docs"


def written(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(InputError) as caught:
        read_config(written(folder, text), environ or {})
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


# --- where settings come from -----------------------------------------------------------------------------------


def test_without_any_setting_the_service_listens_on_this_machine_only() -> None:
    config = read_config(None, {})
    assert (config.host, config.port, config.loopback) == ("127.0.0.1", 9377, True)
    assert config == Config()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n  \n# x\n"], ids=["empty", "a comment", "blank lines"])
def test_a_file_without_settings_means_the_defaults(tmp_path: Path, text: str) -> None:
    assert read_config(written(tmp_path, text), {}) == Config()


def test_every_setting_of_a_file_reaches_the_value(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    for name in ("cert.pem", "key.pem"):
        written(tmp_path, "x", name)
    written(tmp_path, f"viewer {SECRET} ada\n", "tokens").chmod(0o600)
    written(tmp_path, "# one a line\nhttps://hooks.example/secret\n", "hooks")
    text = """
        data_dir: state
        rules: rules
        listen: '[::]:8443'
        tls_cert: cert.pem
        tls_key: key.pem
        tokens_file: tokens
        webhooks: [http://127.0.0.1:9/a]
        webhooks_file: hooks
        targets:
          - {url: http://10.0.0.7:9400/metrics, labels: {pool: chat, app: x}, interval: 2s}
        providers: {local: {command: serve --port $PORT}}
        collectors: {replay: {path: day.csv, pool: chat}}
        max_replicas: 8
        region: us-east-1
        raw_window: 30m
        max_series: 40000
        max_text: 64MiB
        history: 2d
        retention: 14d
        max_launches: 20
        paces:
          aws: {max_launches: 5, calls_per_second: 2.5, burst: 20, parallel: 10}
          local: {}
        shadow: true
        log_format: json
    """
    config = read_config(written(tmp_path, text), {})
    assert config.data_dir == tmp_path / "state", "paths in a file are relative to its folder"
    assert config.rules == (tmp_path / "rules",)
    assert (config.host, config.port, config.loopback) == ("::", 8443, False)
    assert (config.tls_cert, config.tls_key) == (tmp_path / "cert.pem", tmp_path / "key.pem")
    assert [(t.role, t.name) for t in config.tokens] == [("viewer", "ada")]
    assert [w.url for w in config.webhooks] == ["http://127.0.0.1:9/a", "https://hooks.example/secret"]
    assert config.targets == (Target("http://10.0.0.7:9400/metrics", (("app", "x"), ("pool", "chat")), 2.0, 2.0),)
    assert config.providers[0].name == "local"
    assert dict(config.providers[0].settings) == {"command": "serve --port $PORT"}
    assert config.collectors[0].name == "replay"
    assert dict(config.collectors[0].settings) == {"path": "day.csv", "pool": "chat"}
    assert config.collectors[0].folder == tmp_path, "what a plug-in's relative paths start from"
    assert (config.max_replicas, config.region, config.shadow, config.log_format) == (8, "us-east-1", True, "json")
    assert (config.raw_window_s, config.history_s, config.retention_days) == (1800.0, 172800.0, 14)
    assert config.max_launches == 20
    assert config.paces == {"aws": Pace(2.5, 20, 10, 5), "local": USUAL}
    assert (config.max_series, config.series_per_pool, config.max_text_bytes) == (40_000, 30_000, 64 << 20)


def test_flags_win_over_variables_and_variables_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "listen: 127.0.0.1:1\nmax_replicas: 1\nregion: one\n")
    environ = {"SIGMASCALE_MAX_REPLICAS": "2", "SIGMASCALE_REGION": "two"}
    config = read_config(path, environ, {"region": "three"})
    assert (config.port, config.max_replicas, config.region) == (1, 2, "three")


def test_lists_in_variables_are_separated_by_commas_and_relative_to_the_working_folder(tmp_path: Path) -> None:
    one, two = written(tmp_path, "", "one.yaml"), written(tmp_path, "", "two.yaml")
    config = read_config(None, {"SIGMASCALE_RULES": f"{one}, {two}", "SIGMASCALE_WEBHOOKS": "http://h/a,http://h/b"})
    assert config.rules == (one, two)
    assert len(config.webhooks) == 2


def test_variables_that_kubernetes_makes_for_a_service_of_our_name_are_nobodys_typo() -> None:
    made = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_9377_TCP", "PORT_9377_TCP_ADDR")
    assert read_config(None, {f"SIGMASCALE_{name}": "tcp://10.0.0.1:9377" for name in made}) == Config()


def test_a_shorter_retention_shortens_the_history_that_nobody_asked_for() -> None:
    assert read_config(None, {"SIGMASCALE_RETENTION": "3d"}).history_s == 3 * 86400.0


# --- what is said about wrong ones ------------------------------------------------------------------------------

WRONG = [
    pytest.param(
        "lissten: 127.0.0.1:1", ["config.yaml:1:1: lissten: is not a setting; did you mean listen?"], id="unknown key"
    ),
    pytest.param(
        "listen: 0.0.0.0:80",
        [
            "config.yaml:1:9: listen: 0.0.0.0:80 can be reached from other machines, which needs tokens; set "
            "tokens_file, or listen on 127.0.0.1"
        ],
        id="reachable without tokens",
    ),
    pytest.param(
        "listen: gateway:80",
        [
            "config.yaml:1:9: listen: gateway:80 can be reached from other machines, which needs tokens; set "
            "tokens_file, or listen on 127.0.0.1"
        ],
        id="a name that may be anywhere is taken for reachable",
    ),
    pytest.param(
        "listen: '9377'",
        ["config.yaml:1:9: listen: '9377' is not HOST:PORT; write 127.0.0.1:9377 or [::1]:9377"],
        id="a port without host",
    ),
    pytest.param(
        "listen: 127.0.0.1:70000",
        ["config.yaml:1:9: listen: port 70000 is not between 0 and 65535; 9377 is the usual one"],
        id="a port that does not exist",
    ),
    pytest.param(
        "shadow: yes\nretention: 36h\nmax_replicas: many",
        [
            "config.yaml:1:9: shadow: 'yes' is not true or false; write true or false",
            "config.yaml:2:12: retention: '36h' is not a whole number of days; write one such as 28d",
            "config.yaml:3:15: max_replicas: 'many' is not a number; write digits such as 50 or 0.5",
        ],
        id="all faults at once, in the order of the file",
    ),
    pytest.param(
        "raw_window: 300",
        ["config.yaml:1:13: raw_window: '300' has no unit; write 300s, or another unit of ms, s, m, h, d"],
        id="a duration without unit",
    ),
    pytest.param(
        "retention: 5",
        ["config.yaml:1:12: retention: '5' has no unit; write 5d"],
        id="a number of days without unit",
    ),
    pytest.param(
        "raw_window: 5s",
        ["config.yaml:1:13: raw_window: 5 s is not between 1m and 1d; 20m is the default"],
        id="a window that is too short",
    ),
    pytest.param(
        "max_series: 20",
        ["config.yaml:1:13: max_series: 20 is not between 1000 and 10000000; 200000 is the default"],
        id="room for fewer series than one node has",
    ),
    pytest.param(
        "max_series: 2000\nmax_series_per_pool: 3000",
        [
            "config.yaml:2:22: max_series_per_pool: 3000 is not between 1 and max_series, which is 2000; lower it or "
            "raise that"
        ],
        id="more series of one pool than of all",
    ),
    pytest.param(
        "max_text: 1kB",
        ["config.yaml:1:11: max_text: 1000 bytes are not between 1MiB and 64GiB; 512MiB is the default"],
        id="room for no text",
    ),
    pytest.param(
        "history: 30d",
        ["config.yaml:1:10: history: 30 days is longer than the 28 days that are kept; shorten it or raise retention"],
        id="more history than is kept",
    ),
    pytest.param(
        "max_replicas: 0",
        ["config.yaml:1:15: max_replicas: 0 is not between 1 and 100000; write another"],
        id="no replica at all",
    ),
    pytest.param(
        "log_format: xml",
        ["config.yaml:1:13: log_format: 'xml' is not one of 'console' or 'json'; write one of them"],
        id="a choice that is not one",
    ),
    pytest.param(
        "rules: nowhere",
        ["config.yaml:1:8: rules: nowhere does not exist; name a rule file or a folder of rule files"],
        id="rules that are not there",
    ),
    pytest.param(
        "data_dir: config.yaml",
        ["config.yaml:1:11: data_dir: config.yaml is a file; name a folder, it is made when it does not exist"],
        id="a data folder that is a file",
    ),
    pytest.param(
        "tls_cert: config.yaml",
        ["config.yaml:1:11: tls_cert: is set without tls_key; TLS needs both, plain HTTP neither"],
        id="half of TLS",
    ),
    pytest.param(
        "tls_cert: a.pem\ntls_key: b.pem",
        [
            "config.yaml:1:11: tls_cert: a.pem is not a readable file; name a PEM file that this user may read",
            "config.yaml:2:10: tls_key: b.pem is not a readable file; name a PEM file that this user may read",
        ],
        id="TLS files that are not there",
    ),
    pytest.param(
        "webhooks: [hooks.example/x]",
        ["config.yaml:1:12: webhooks[0]: is not a URL; write http://HOST/PATH or https://HOST/PATH"],
        id="a webhook without scheme, not repeated",
    ),
    pytest.param(
        "targets: [{url: 'http://[x', labels: {pool: a}}]",
        ["config.yaml:1:17: targets[0].url: 'http://[x' is not a page; write http://HOST:PORT/metrics"],
        id="a target that is no page",
    ),
    pytest.param(
        "paces:\n  aws: {calls_per_second: 0, burst: 0, parallel: 900, calls: 3}",
        [
            "config.yaml:2:27: paces.aws.calls_per_second: '0' is not between 0.01 and 10000; 20 is the default",
            "config.yaml:2:37: paces.aws.burst: '0' is not between 1 and 500; leave it out for the default",
            "config.yaml:2:50: paces.aws.parallel: '900' is not between 1 and 500; leave it out for the default",
            "config.yaml:2:55: paces.aws.calls: is not a setting; "
            "known are max_launches, calls_per_second, burst, parallel",
        ],
        id="paces that nobody can keep",
    ),
    pytest.param(
        "targets: [{url: 'http://h/metrics'}]",
        ["config.yaml:1:11: targets[0].labels: names no pool; add `pool: NAME`, so that its series have an owner"],
        id="a target without pool",
    ),
    pytest.param(
        "targets:\n- {url: 'http://h/m', labels: {pool: a}, interval: 2s, timeout: 9s}",
        ["config.yaml:2:65: targets[0].timeout: 9 s must be above 0 and at most the interval of 2 s; shorten it"],
        id="a time-out longer than the interval",
    ),
    pytest.param(
        "targets:\n- {url: 'http://h/m', labels: {pool: a}}\n- {url: 'http://h/m', labels: {pool: a}}",
        ["config.yaml:3:3: targets[1]: is the same as targets[0]; delete one of them, it would count twice"],
        id="a target given twice",
    ),
    pytest.param(
        "targets: [{labels: {pool: a}, intervall: 2s}]",
        [
            "config.yaml:1:11: targets[0].url: is missing; add it",
            "config.yaml:1:31: targets[0].intervall: is not a setting; did you mean interval?",
        ],
        id="faults inside a target",
    ),
    pytest.param(
        "targets: http://h/m",
        ["config.yaml:1:10: targets: is not a list; write items that start with '- '"],
        id="a word where a list belongs",
    ),
    pytest.param(
        "providers: [local]",
        ["config.yaml:1:12: providers: is not a mapping; write 'name: value' below it"],
        id="a list where a mapping belongs",
    ),
    pytest.param(
        "collectors:\n  scrape: {}",
        [
            "config.yaml:2:11: collectors.scrape: is always at work and needs no entry; "
            "write the pages to scrape into targets"
        ],
        id="the scraper as a collector",
    ),
    pytest.param(
        "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2",
        ["config.yaml:2:1: listen: is given twice, first in line 1; keep one of the two"],
        id="a key given twice",
    ),
]


@pytest.mark.parametrize(("text", "expected"), WRONG)
def test_a_wrong_file_is_answered_with_place_rule_and_next_step(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert faults_of(tmp_path, text) == expected


def test_an_unknown_variable_is_a_fault_with_a_suggestion(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "", {"SIGMASCALE_ROLES": "x", "SIGMASCALE_TARGETS": "y"}) == [
        "SIGMASCALE_ROLES: is not a setting; did you mean SIGMASCALE_RULES?",
        "SIGMASCALE_TARGETS:1:1: is not JSON: Expecting value; write a list or an object, as in the configuration file",
    ]


def test_a_wrong_variable_is_named_instead_of_the_file_that_it_replaced(tmp_path: Path) -> None:
    found = faults_of(tmp_path, "max_replicas: 3", {"SIGMASCALE_MAX_REPLICAS": "-3"})
    assert found == ["SIGMASCALE_MAX_REPLICAS: '-3' is negative; write 0 or more"]


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read: No such file or directory; check the path"):
        read_config(tmp_path / "none.yaml", {})


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """A folder that this user may not write; root may write anywhere, so that it becomes nobody for the time."""
    before = os.geteuid()
    tmp_path.chmod(0o555)
    if before == 0:
        os.seteuid(65534)
    yield tmp_path
    os.seteuid(before)


def test_a_data_folder_that_cannot_be_written_is_refused_before_the_start(unwritable: Path) -> None:
    with pytest.raises(InputError, match=r"data_dir: \S+/data: \S+ cannot be written by this user; change its owner"):
        Config(data_dir=unwritable / "data").check()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *[(host, True) for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST")],
        *[(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "")],
    ],
)
def test_only_loopback_addresses_and_localhost_stay_on_this_machine(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "text", ["", "h", "http://", "http://[::", "http://h:0/", "http://h:99999/", "ftp://h/x", "http:///x"]
)
def test_what_is_no_url_is_told_apart(text: str) -> None:
    assert not is_url(text)


def test_no_secret_is_in_the_repr_of_a_configuration(tmp_path: Path) -> None:
    written(tmp_path, f"admin {SECRET} ada\n", "tokens").chmod(0o600)
    text = f"tokens_file: tokens\nwebhooks: [http://u:{SECRET}@h/{SECRET}]\nproviders: {{aws: {{key: {SECRET}}}}}"
    config = read_config(written(tmp_path, text), {})
    assert SECRET not in repr(config)
    assert str(digest(SECRET)) not in repr(config)
    assert config.webhooks[0].host == "http://h"
    assert "ada" in repr(config.tokens[0])


# --- documentation ----------------------------------------------------------------------------------------------


def test_the_example_of_the_docs_names_collectors_and_settings_that_there_are() -> None:
    given = yaml.safe_load(EXAMPLE.strip().removeprefix("```yaml").removesuffix("```"))["collectors"]
    assert len(given) > 1
    for name, settings in given.items():
        assert settings.keys() <= set(plugins.fields(plugins.load("collectors", name))), name


def test_docs_config_md_is_what_the_settings_say() -> None:
    assert (DOCS / "config.md").read_text(encoding="utf-8") == reference()
    assert all(f"`{name}`" in reference() for name in Settings.model_fields)
