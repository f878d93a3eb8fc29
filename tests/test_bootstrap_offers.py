"""How a first boot is asked for: in a rule file, in the configuration, on the command line, and on the wire to EC2."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from autoscaler import plugins
from autoscaler.cli.main import app
from autoscaler.configfile import read_config
from autoscaler.errors import InputError, ProviderError
from autoscaler.rulefile.reader import check_file
from autoscaler.types import Launch, Offer
from providers.aws import AwsProvider, order
from providers.bootstrap import Defaults, offer_faults, user_data
from tests.awsworld import IMAGE, OFFER, RUNNING, account, launch, ordered, provider, tell
from tests.bootstrapped import units, words

SERVE = (("serve.command", "vllm serve llama --port {{port}}"), ("serve.port", "9000"))
AGENT = (
    ("agent.service", "http://10.0.0.2:9377"),
    ("agent.package", "sigmascale==0.1.0"),
    ("agent.token_command", "cat /run/token"),
)
RULES = """\
pool: chat
replica: {gpus: 8, capacity: 5 requests/s}
limits: {min: 1, max: 4}
offers:
  from:
    - aws: {types: [p4d.24xlarge, p5.48xlarge], regions: us-east-1, image: ami-1, price: 20 USD/h%s}
signals:
  load: {metric: requests_arrived_total, rate: 1m}
rules:
  - {name: demand, target: {signal: load}}
"""
SERVING = ", serve: {command: [vllm, serve, llama, --port, '{{port}}'], port: 9000, environment: {HF_HOME: /srv/hf}}"


def offer(*settings: tuple[str, str]) -> Offer:
    return replace(OFFER, settings=(IMAGE, RUNNING, *settings))


def refusal(*settings: tuple[str, str]) -> str:
    with pytest.raises(InputError) as raised:
        user_data("chat", offer(*settings))
    return str(raised.value)


def test_an_offer_that_says_nothing_of_it_hands_over_nothing() -> None:
    assert user_data("chat", offer()) is None
    assert "UserData" not in order.parameters(Launch("f00d", "chat", 0.0, 1.0, offer()), "ours")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ([("serve.port", "9000")], "serve.command: is missing; write the command that serves"),
        ([("serve.command", "vllm 'serve")], "serve.command: cannot be split into words"),
        ([*SERVE, ("serve.prot", "1")], "serve.prot: is no setting; did you mean serve.port?"),
        ([*SERVE, ("serve.environment.A-B", "x")], "serve.environment.A-B: is no name of a variable"),
        ([*SERVE, ("serve.environment", "x")], "serve.environment: is no setting"),
        ([*SERVE, ("serve.user", "Root User")], "serve.user: 'Root User' is not a user's name"),
        ([*SERVE, ("serve.directory", "models")], "serve.directory: 'models' is not an absolute path"),
        ([*SERVE, ("serve.restart", "never")], "serve.restart: 'never' is not one of always, on-failure, no"),
        ([*SERVE, ("serve.memory", "80")], "serve.memory: '80' is no amount of memory; write one such as 800GiB"),
        ([*SERVE, ("serve.memory", "much")], "serve.memory: 'much'"),
        ([*SERVE, ("serve.files", "-1")], "serve.files: "),
        ([("serve", "vllm")], "serve: is a single word where a mapping belongs"),
        ([("agent.home", "/x"), ("bootstrap", "default")], "bootstrap: has nothing to start"),
        ([("agent.package", "x")], "agent.service: is missing; write http://HOST:9377"),
        ([*AGENT, ("agent.install", "x")], "agent.install: stands beside package"),
        ([AGENT[0], AGENT[2]], "agent.package: is missing"),
        ([AGENT[0], AGENT[1]], "agent.token_command: is missing"),
        ([*AGENT[1:], ("agent.service", "http://u:p@h")], "agent.service: is not the address of a service"),
        ([AGENT[0], AGENT[2], ("agent.package", "x; reboot")], "agent.package: is no one word of pip's"),
        ([*AGENT, ("agent.cloud", "gcp")], "agent.cloud: 'gcp' is not one of aws, azure, auto, none"),
        ([*AGENT, ("agent.home", "opt")], "agent.home: 'opt' is not an absolute path"),
        ([("bootstrap", "/nonexistent/boot.yaml")], "boot.yaml cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_setting_that_cannot_be_meant_is_refused(settings: list[tuple[str, str]], said: str) -> None:
    assert said in refusal(*settings)
    assert offer_faults(offer(*settings))


def test_every_fault_is_told_at_once() -> None:
    said = refusal(("serve.user", "A"), ("agent.cloud", "gcp"))
    assert [part in said for part in ("serve.command", "serve.user", "agent.service", "agent.cloud")] == [True] * 4


def test_two_ports_that_differ_are_refused() -> None:
    with pytest.raises(ProviderError, match="port: is 8001 here and 9000 in serve; keep one of the two"):
        order.parameters(Launch("f00d", "chat", 0.0, 1.0, offer(*SERVE, ("port", "8001"))), "ours")


def test_the_port_of_serving_is_the_port_that_is_asked_and_scraped() -> None:
    made = order.parameters(Launch("f00d", "chat", 0.0, 1.0, offer(*SERVE)), "ours")
    tags = {t["Key"]: t["Value"] for t in made["TagSpecifications"][0]["Tags"]}
    assert tags["sigmascale:port"] == "9000"
    assert "--port 9000" in made["UserData"]


def test_an_offers_own_words_win_over_the_configurations_key_by_key() -> None:
    defaults = Defaults(
        serve={"command": ["other"], "environment": {"A": "1", "B": "2"}}, agent={"service": "http://x:1"}
    )
    filled = dict(defaults.filled(offer(*SERVE, ("serve.environment.A", "3"))).settings)
    assert filled["serve.command"] == SERVE[0][1]
    assert (filled["serve.environment.A"], filled["serve.environment.B"]) == ("3", "2")
    assert filled["agent.service"] == "http://x:1"


def test_a_machine_of_azures_is_known_by_its_computer_name() -> None:
    azure = Offer("azure", "Standard_NC24ads_A100_v4", "eastus", settings=(*AGENT, ("dns_suffix", "internal.example")))
    for wanted, name in ((azure, 'echo "$(hostname)".internal.example'), (replace(azure, settings=AGENT), "hostname")):
        text = user_data("chat", wanted)
        assert text is not None
        assert f"address=$({name}\n" in text.replace("    ", "")
        assert "--cloud azure" in text


# --- on the wire --------------------------------------------------------------------------------------------------


def told(world: Any, instance: str) -> str:
    """What EC2 gives back as the instance's user data."""
    import boto3

    client = boto3.client("ec2", region_name="us-east-1", endpoint_url=world.wire.url)
    try:
        answer = client.describe_instance_attribute(InstanceId=instance, Attribute="userData")
    finally:
        client.close()
    return base64.b64decode(answer["UserData"]["Value"]).decode()


def test_ec2_receives_the_document_and_gives_it_back() -> None:
    with account() as world:
        aws = provider(world)
        wanted = offer(*SERVE, *AGENT)
        made = ordered(world, aws, offer=wanted)
        document = told(world, made)
        assert document == user_data("chat", wanted, port=9000, ready="running")
        assert units(yaml.safe_load(document))["sigmascale-agent"]["ExecStart"].endswith(
            "--cloud aws --log-format json"
        )
        aws.close()


def test_a_repeated_launch_is_the_same_call_and_one_instance() -> None:
    with account() as world:
        aws = provider(world)
        action = launch(world, offer(*SERVE, *AGENT))
        first, second = tell(world, aws, action), tell(world, provider(world), action)
        assert (first.status, first.instance) == (second.status, second.instance)
        assert len(world.made) == 1
        aws.close()


def test_a_launch_whose_template_changed_meanwhile_is_still_one_instance(tmp_path: Path) -> None:
    file = tmp_path / "boot.yaml"
    with account() as world:
        aws = provider(world, bootstrap=file)
        action = launch(world, offer())
        file.write_text("#cloud-config\nruncmd: [first]\n")
        first = tell(world, aws, action)
        file.write_text("#cloud-config\nruncmd: [second]\n")
        second = tell(world, aws, action)
        assert (second.status, second.instance) == ("accepted", first.instance)
        assert second.text == "ordered before, under other settings"
        assert len(world.made) == 1
        aws.close()


def test_a_document_that_is_refused_buys_nothing(tmp_path: Path) -> None:
    file = tmp_path / "boot.yaml"
    file.write_text(f"#cloud-config\nx: {'y' * 20000}\n")
    with account() as world:
        aws = provider(world, bootstrap=file)
        outcome = tell(world, aws, launch(world, offer()))
        assert outcome.status == "failed"
        assert "aws takes at most 16384" in outcome.text
        assert world.made == []
        aws.close()


def test_the_configuration_says_it_for_all_offers(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "providers:\n  aws:\n    regions: [us-east-1]\n    serve: {command: [serve, it], environment: {A: b}}\n"
    )
    (given,) = read_config(path, {}).providers
    made = plugins.build("providers", given.plug_in, given.settings, given.folder)
    assert isinstance(made, AwsProvider)
    text = user_data("chat", made._filled(offer()))
    assert text is not None
    assert words(units(yaml.safe_load(text))["sigmascale-serve"]["ExecStart"]) == ["/usr/bin/env", "serve", "it"]
    made.close()


# --- rule files and the command -----------------------------------------------------------------------------------


def rules(folder: Path, more: str) -> Path:
    path = folder / "chat.yaml"
    path.write_text(RULES % more)
    return path


def test_a_template_lies_beside_the_rule_file_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "boot.yaml").write_text("#cloud-config\nruncmd: ['echo {{pool}} {{replicas}}']\n")
    checked = check_file(rules(tmp_path, ", bootstrap: boot.yaml"))
    assert checked.rules is not None, checked.faults
    assert user_data("chat", checked.rules.offers[0]) == "#cloud-config\nruncmd:\n- echo chat 1\n"


@pytest.mark.parametrize(
    ("more", "where", "said"),
    [
        (", bootstrap: gone.yaml", "offers.from[0].aws.bootstrap", "gone.yaml cannot be read"),
        (", serve: {command: x, prot: 1}", "offers.from[0].aws.serve.prot", "did you mean serve.port?"),
        (", serve: {command: 'x {{prot}}'}", "offers.from[0].aws.serve", "{{prot}} is no placeholder"),
    ],
)
def test_a_rule_file_is_told_what_is_wrong_at_its_place(tmp_path: Path, more: str, where: str, said: str) -> None:
    checked = check_file(rules(tmp_path, more))
    assert checked.rules is None
    (fault,) = checked.errors
    assert said in fault.text
    assert fault.where.startswith(where.rpartition(".")[0])
    assert fault.line == 6


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["bootstrap", *arguments])


def test_the_command_prints_what_a_machine_would_get(tmp_path: Path) -> None:
    shown = run(str(rules(tmp_path, SERVING)))
    assert shown.exit_code == 0, shown.output
    assert yaml.safe_load(shown.stdout)["runcmd"] == [["/bin/sh", "/opt/sigmascale/setup.sh"]]
    assert shown.stdout.startswith("#cloud-config\n")
    assert "aws/p4d.24xlarge/us-east-1/on_demand: " in shown.stderr
    assert "bytes of at most 16384; other offers: aws/p5.48xlarge/us-east-1/on_demand" in shown.stderr


def test_the_command_takes_an_offer_and_what_the_configuration_says(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("max_replicas: 3\nproviders:\n  aws: {regions: [us-east-1], bootstrap: boot.yaml}\n")
    (tmp_path / "boot.yaml").write_text("#cloud-config\nruncmd: ['echo {{offer}}']\n")
    key = "aws/p5.48xlarge/us-east-1/on_demand"
    shown = run(str(rules(tmp_path, "")), "--config", str(config), "--offer", key)
    assert shown.stdout == f"#cloud-config\nruncmd:\n- echo {key}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no offer says bootstrap, serve or agent"),
        (["--offer", "aws/p3"], "has no offer 'aws/p3'; it has aws/p4d.24xlarge/us-east-1/on_demand, "),
    ],
)
def test_the_command_says_what_it_cannot_do(tmp_path: Path, arguments: list[str], said: str) -> None:
    shown = run(str(rules(tmp_path, "")), *arguments)
    assert isinstance(shown.exception, InputError)
    assert said in str(shown.exception)
