"""`alerting` in the configuration: what it means, and what is said of wrong settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.alerting import Receiver
from autoscaler.config import Config
from autoscaler.configfile import read_config
from autoscaler.errors import InputError
from autoscaler.types import Matcher

SECRET = "T0P-s3cret-path"


def written(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    return folder / "config.yaml"


def read(folder: Path, text: str) -> Config:
    return read_config(written(folder, text), {})


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(folder, text)
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def test_the_short_form_is_told_of_every_alert_soon_under_the_name_of_its_host(tmp_path: Path) -> None:
    found = read(tmp_path, "webhooks: [https://h/a, https://h/b, http://i/c]").alerting.receivers
    assert [r.name for r in found] == ["https://h", "https://h#2", "http://i"]
    assert {(r.kind, r.group_wait_s, r.group_interval_s, r.send_resolved) for r in found} == {("webhook", 0, 5, True)}


def test_every_key_of_a_receiver_reaches_the_value(tmp_path: Path) -> None:
    for name in ("url", "key", "ca.pem", "token"):
        (tmp_path / name).write_text(f"https://pager.example/{SECRET}\n# no\n", encoding="utf-8")
    text = """
        alerting:
          group_by: [pool]
          group_wait: 5s
          repeat_interval: 2h
          inhibit: true
          allowed_hosts: [pager.example, '*.corp.example', 10.0.0.0/8]
          external_url: https://scale.example/
          receivers:
            - name: on call
              kind: generic
              url_file: url
              match: [severity="critical", 'pool=~"chat.*"']
              group_interval: 1m
              send_resolved: false
              timeout: 3s
              expires: 1d
              headers: {X-Team: ml}
              header_files: {Authorization: token}
              hmac_secret_file: key
              ca_file: ca.pem
              template: '{"text": {{ status | tojson }}}'
            - {name: am, kind: alertmanager, url: ['http://10.0.0.1:9093', 'http://10.0.0.2:9093']}
    """
    alerting = read(tmp_path, text).alerting
    first, second = alerting.receivers
    assert first == Receiver(
        name="on call",
        kind="generic",
        addresses=first.addresses,
        match=(Matcher("severity", "=", "critical"), Matcher("pool", "=~", "chat.*")),
        group_by=("pool",),
        group_wait_s=5.0,
        group_interval_s=60.0,
        repeat_interval_s=7200.0,
        send_resolved=False,
        timeout_s=3.0,
        expires_s=86400.0,
        headers=(("X-Team", "ml"),),
        header_files=(("Authorization", tmp_path / "token"),),
        hmac_file=tmp_path / "key",
        ca_file=tmp_path / "ca.pem",
        template='{"text": {{ status | tojson }}}',
    )
    assert [a.read() for a in first.addresses] == [f"https://pager.example/{SECRET}"]
    assert first.addresses[0].host == "https://pager.example"
    assert (len(second.addresses), second.group_wait_s, second.group_interval_s) == (2, 0.0, 0.0)
    assert (alerting.inhibit, alerting.external_url) == (True, "https://scale.example")
    assert SECRET not in repr(alerting)


R = "alerting: {receivers: [{name: a, url: 'http://h/x', %s}]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "alerting: {recievers: []}",
            ["config.yaml:1:12: alerting.recievers: is not a setting; did you mean receivers?"],
            id="an unknown key",
        ),
        pytest.param(
            R % "grup_by: [pool]",
            ["config.yaml:1:53: alerting.receivers[0].grup_by: is not a setting; did you mean group_by?"],
            id="an unknown key of a receiver",
        ),
        pytest.param(
            "alerting: {receivers: [{url: 'http://h/'}]}",
            ["config.yaml:1:24: alerting.receivers[0].name: is missing; add it"],
            id="no name",
        ),
        pytest.param(
            "alerting: {receivers: [{name: a, url: 'http://h/'}, {name: a, url: 'http://i/'}]}",
            [
                "config.yaml:1:60: alerting.receivers[1].name: 'a' is also the name of receivers[0]; name each "
                "differently"
            ],
            id="a name twice",
        ),
        pytest.param(
            "alerting: {receivers: [{name: a}]}",
            ["config.yaml:1:24: alerting.receivers[0]: names no address; add url or url_file"],
            id="no address",
        ),
        pytest.param(
            f"alerting: {{receivers: [{{name: a, url: 'hooks.example/{SECRET}'}}]}}",
            ["config.yaml:1:39: alerting.receivers[0].url: is not a URL; write http://HOST/PATH or https://HOST/PATH"],
            id="no URL, which is not repeated",
        ),
        pytest.param(
            "alerting: {receivers: [{name: a, url_file: nowhere}]}",
            [
                "config.yaml:1:44: alerting.receivers[0].url_file: nowhere cannot be read (No such file or "
                "directory); name a file that this user may read"
            ],
            id="a file that is not there",
        ),
        pytest.param(
            "alerting: {receivers: [{name: a, url: ['http://h/', 'http://i/']}]}",
            [
                "config.yaml:1:39: alerting.receivers[0].url: 2 URLs: only an Alertmanager has several; write a "
                "receiver for each"
            ],
            id="two URLs of a webhook",
        ),
        pytest.param(
            R % "kind: email",
            [
                "config.yaml:1:59: alerting.receivers[0].kind: 'email' is not one of 'webhook', 'alertmanager', "
                "'slack' or 'generic'; write one of them"
            ],
            id="an unknown kind",
        ),
        pytest.param(
            R % "match: ['pool=~\"(\"']",
            [
                "config.yaml:1:61: alerting.receivers[0].match[0]: '(' is not an expression of RE2 (unclosed "
                "group); write one such as chat-.*|embed"
            ],
            id="a wrong expression",
        ),
        pytest.param(
            R % "group_wait: 2h, timeout: 0s",
            [
                "config.yaml:1:65: alerting.receivers[0].group_wait: 7200 s is not between 0 s and 3600 s; 30s is "
                "usual",
                "config.yaml:1:78: alerting.receivers[0].timeout: 0 s is not between 0.1 s and 120 s; 10s is usual",
            ],
            id="times out of bounds",
        ),
        pytest.param(
            R % "kind: alertmanager, group_by: [pool]",
            [
                "config.yaml:1:83: alerting.receivers[0].group_by: an Alertmanager groups and repeats by itself; "
                "write it into its own route"
            ],
            id="an Alertmanager that is to be grouped for",
        ),
        pytest.param(
            R % "headers: {Authorization: x}",
            [
                "config.yaml:1:78: alerting.receivers[0].headers.Authorization: is a secret, which a configuration "
                "must not hold; write it into a file and name that in header_files"
            ],
            id="a secret in a header",
        ),
        pytest.param(
            R % "headers: {Host: x}",
            ["config.yaml:1:69: alerting.receivers[0].headers.Host: Host is set by sigmascale itself; leave it out"],
            id="a header of ours",
        ),
        pytest.param(
            R % "hmac_secret_file: config.yaml",
            [],
            id="a key that is long enough",
        ),
        pytest.param(
            R % "kind: generic",
            ["config.yaml:1:24: alerting.receivers[0]: kind generic needs a template or template_file"],
            id="no template",
        ),
        pytest.param(
            R % "kind: generic, template: '{{ statsu }}'",
            [
                "config.yaml:1:78: alerting.receivers[0].template: 'statsu' is not known; there are receiver, status, "
                "alerts, groupLabels, commonLabels, commonAnnotations, externalURL, version, groupKey, truncatedAlerts"
            ],
            id="a wrong template",
        ),
        pytest.param(
            R % "template: '{}'",
            [
                "config.yaml:1:63: alerting.receivers[0].template: kind webhook has a format of its own; write "
                "kind: generic"
            ],
            id="a template that nobody reads",
        ),
        pytest.param(
            "alerting: {allowed_hosts: ['http://h'], receivers: []}",
            [
                "config.yaml:1:27: alerting.allowed_hosts: 'http://h' is not a host; write hooks.example.com, "
                "*.example.com or 10.0.0.0/8, without scheme and port"
            ],
            id="an allowed host that is a URL",
        ),
        pytest.param(
            "webhooks: [http://w/]\nalerting: {allowed_hosts: [i], receivers: [{name: a, url: 'http://h/x'}]}",
            [
                "config.yaml:1:12: webhooks[0]: host w is not in allowed_hosts; add it there, or correct the URL",
                "config.yaml:2:59: alerting.receivers[0].url: host h is not in allowed_hosts; add it there, or "
                "correct the URL",
            ],
            id="hosts that are not allowed",
        ),
        pytest.param(
            "alerting: {external_url: scale}",
            ["config.yaml:1:26: alerting.external_url: 'scale' is not a URL; write https://HOST"],
            id="an address that is none",
        ),
        pytest.param(
            "alerting: {group_by: ['a b', ...]}",
            [],
            id="labels are looked at where somebody is told",
        ),
        pytest.param(
            "alerting: {group_by: ['a b'], receivers: [{name: a, url: 'http://h/'}]}",
            [
                "config.yaml:1:22: alerting.group_by: 'a b' is not a label; write names such as alertname, pool, "
                "severity or instance"
            ],
            id="a label that is none",
        ),
    ],
)
def test_a_wrong_setting_is_told_with_place_rule_and_next_step(tmp_path: Path, text: str, expected: list[str]) -> None:
    if expected:
        assert faults(tmp_path, text) == expected
    else:
        read(tmp_path, text)
    assert SECRET not in "\n".join(expected)


def test_a_short_key_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("short", encoding="ascii")
    (fault,) = faults(tmp_path, R % "hmac_secret_file: key")
    assert fault == (
        "config.yaml:1:71: alerting.receivers[0].hmac_secret_file: key holds fewer than 16 bytes; make a key with "
        "`openssl rand -hex 32`"
    )


def test_receivers_can_come_from_a_variable(tmp_path: Path) -> None:
    given = '{"receivers": [{"name": "a", "url": "http://h/", "send_resolved": false}]}'
    (found,) = read_config(None, {"SIGMASCALE_ALERTING": given}).alerting.receivers
    assert (found.name, found.send_resolved) == ("a", False)
