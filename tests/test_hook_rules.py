"""What people may write of hooks and notices: rule files, the service's configuration, the agent's flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.agent.build import collectors
from autoscaler.agent.settings import METADATA_URL, Words, read_settings
from autoscaler.clock import SystemClock
from autoscaler.configfile import read_config
from autoscaler.errors import InputError
from autoscaler.movement import Disruption, DrainHook
from autoscaler.rulefile.reader import check_text, read_rules
from autoscaler.ruleset import RuleSet
from collectors.cloud import Cloud


def rules(section: str) -> RuleSet:
    return read_rules(f"pool: chat\nlimits: {{max: 4}}\n{section}", file="/etc/rules/chat.yaml")


@pytest.mark.parametrize(
    ("section", "hook"),
    [
        pytest.param("scale_in: {drain: 1m}", None, id="no hook"),
        pytest.param(
            "scale_in: {drain_hook: {http: 'http://{host}:9000/drain'}}",
            DrainHook(url="http://{host}:9000/drain"),
            id="a URL",
        ),
        pytest.param(
            "scale_in: {drain_hook: {http: 'https://drain.example.com/{instance}', timeout: 3s, every: 500ms}}",
            DrainHook(url="https://drain.example.com/{instance}", timeout_s=3.0, every_s=0.5),
            id="a fixed host",
        ),
        pytest.param(
            "scale_in: {drain_hook: {command: [drain, '{address}', '{{x}}']}}",
            DrainHook(words=("drain", "{address}", "{{x}}")),
            id="a command",
        ),
        pytest.param("scale_in: {drain_hook: {command: drain}}", DrainHook(words=("drain",)), id="one word"),
        pytest.param(
            "scale_in: {drain_hook: {http: 'http://{address}/', header_files: {A: key, B: /run/key}, "
            "header_variables: {C: KEY}}}",
            DrainHook(
                url="http://{address}/",
                header_files=(("A", "/etc/rules/key"), ("B", "/run/key")),
                header_variables=(("C", "KEY"),),
            ),
            id="headers, whose files lie beside the rules",
        ),
    ],
)
def test_a_hook_reaches_its_value(section: str, hook: DrainHook | None) -> None:
    assert rules(section).scale_in.hook == hook


def test_advice_to_move_is_only_told_unless_the_rules_say_otherwise() -> None:
    assert rules("").disruption.rebalance == Disruption().rebalance == "tell"
    assert rules("disruption: {rebalance: replace}").disruption.rebalance == "replace"
    (fault,) = check_text("pool: chat\nlimits: {max: 4}\ndisruption: {rebalance: now}", file="x").errors
    assert "'now' is not one of tell, replace" in fault.text


def test_hosts_that_hooks_may_ask_are_named_in_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("hook_hosts: [Drain.example.com, 10.0.0.9]\n")
    assert read_config(path, {}).hook_hosts == ("drain.example.com", "10.0.0.9")
    assert read_config(path, {"SIGMASCALE_HOOK_HOSTS": "a, b"}).hook_hosts == ("a", "b")
    assert read_config(None, {}).hook_hosts == ()


@pytest.mark.parametrize("host", ["http://drain", "drain:9000", "*", "-x", "a b"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"hook_hosts: ['{host}']\n")
    with pytest.raises(InputError, match=r"config.yaml:1:13: hook_hosts: '.*' is not a host; write one such as"):
        read_config(path, {})


def test_an_agent_reads_notices_only_when_it_is_told_to() -> None:
    plain = read_settings(Words(), "node")
    assert (plain.cloud, plain.metadata_url) == (None, METADATA_URL)
    told = read_settings(Words(no_gpus="true", no_host="true", cloud="azure", labels="pool=chat"), "node")
    (made,) = collectors(told, SystemClock()).values()
    assert isinstance(made, Cloud)
    assert (made.cloud, made.labels) == ("azure", (("host", "node"), ("pool", "chat")))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Words(cloud="gcp"), "--cloud: 'gcp' is not one of aws, azure, auto"),
        (Words(metadata_url="https://x"), "--metadata-url: 'https://x' is not http://HOST:PORT"),
        (Words(metadata_url="http://u:p@x"), "--metadata-url: "),
        (Words(metadata_url="http://x/?a"), "--metadata-url: "),
        (Words(no_gpus="true", no_host="true"), "nothing is left to collect"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(given: Words, said: str) -> None:
    with pytest.raises(InputError) as raised:
        read_settings(given, "node")
    assert said in str(raised.value)
