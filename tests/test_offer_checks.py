"""Offers are checked when a rule file is read: at the place of the slip, with the provider's own words."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from autoscaler import plugins
from autoscaler.cli.main import app
from autoscaler.errors import InputError
from autoscaler.rulefile.reader import Checked, Defaults, check_text
from autoscaler.rulefile.watch import RuleBook
from autoscaler.types import Offer, OfferFault
from tests.awsworld import account
from tests.peers.strict_moto import StrictMoto

HEAD = "pool: chat\nlimits: {max: 4}\nreplica: {gpus: 1}\noffers:\n  from:\n"
GOOD = "{type: g5.xlarge, region: us-east-1, launch_template: gpu, price: 1 USD/h}"
AZURE = "{type: NC24ads_A100_v4, region: eastus, scale_set: chat, price: 3 USD/h%s}"


def read(*entries: str) -> Checked:
    return check_text(HEAD + "".join(f"    - {entry}\n" for entry in entries), file="chat.yaml")


def aws(more: str) -> str:
    return f"aws: {{type: g5.xlarge, region: us-east-1, launch_template: gpu, price: 1 USD/h, {more}}}"


@pytest.mark.parametrize(
    ("entry", "where", "words"),
    [
        pytest.param(aws("launch_templat: x"), "aws.launch_templat", "did you mean launch_template?", id="a slip"),
        pytest.param(aws("port: 99999"), "aws.port", "write 1 to 65535", id="a port that is none"),
        pytest.param(aws("ready: soon"), "aws.ready", "neither a path", id="a readiness that is none"),
        pytest.param(aws("max_price: cheap"), "aws.max_price", "USD/h", id="a price that is none"),
        pytest.param(aws("purchase: reserved"), "aws.purchase", "cr-...", id="reserved without a reservation"),
        pytest.param(aws("zone: z, subnet: {y: s}"), "aws.subnet", "only for y", id="no subnet for the zone"),
        pytest.param(
            aws("tags: {'sigmascale:owner': me}"), "aws.tags.sigmascale:owner", "tag of ours", id="a tag of ours"
        ),
        pytest.param("aws: {type: p4d.24xlarg, image: a, price: 1 USD/h}", "aws.type", "p4d.24xlarge?", id="a type"),
        pytest.param("aws: {type: m5.large, image: a, price: 1 USD/h}", "aws.type", "write `gpus`", id="no GPU type"),
        pytest.param(f"azure: {AZURE % ', redy: /'}", "azure.redy", "did you mean ready?", id="a slip for azure"),
        pytest.param(f"azure: {AZURE % ', purchase: reserved'}", "azure.purchase", "on_demand", id="no such purchase"),
        pytest.param(f"azure: {AZURE % ', create: true'}", "azure.create", "needs image", id="what making needs"),
        pytest.param(
            "azure: {type: N C6, region: e, scale_set: x, gpus: 1}", "azure.type", "no size", id="a size that is none"
        ),
    ],
)
def test_a_wrong_offer_is_an_error_at_its_own_place(entry: str, where: str, words: str) -> None:
    found = [f for f in read(entry).errors if words in f.text]
    assert [f.where for f in found] == [f"offers.from[0].{where}"]
    assert (found[0].file, found[0].line) == ("chat.yaml", 6)


def test_the_one_of_several_types_that_is_wrong_is_pointed_at() -> None:
    (fault,) = read("aws: {types: [g5.xlarge, g5.xlrge], image: a, price: 1 USD/h}").errors
    assert (fault.where, fault.column) == ("offers.from[0].aws.types[1]", 32)


def test_what_is_wrong_with_many_offers_of_one_entry_is_said_once() -> None:
    checked = read(aws("zones: [a, b, c], purchase: [spot, on_demand], port: 0"))
    assert len(checked.errors) == 1


def test_everything_is_said_at_once_with_what_else_is_wrong() -> None:
    checked = check_text("pool: chat\nlimits: {min: 5, max: 4}\n" + HEAD[27:] + f"    - {aws('port: 0')}\n", file="c")
    assert len(checked.errors) >= 2


def test_what_the_configuration_may_still_say_is_a_warning() -> None:
    checked = read("aws: {type: g5.xlarge, price: 1 USD/h}")
    assert checked.errors == ()
    assert any("write launch_template or image" in f.text for f in checked.warnings)


def test_a_short_dialect_has_no_place_for_settings_so_it_is_only_warned() -> None:
    text = (
        "auto_scaling:\n  metrics:\n    - queue_length: {threshold: 50, scale_up: {step: 1, cooldown: 600}}\n"
        "  cloud_providers:\n    - {type: aws, instance_types: [p3.8xlarge]}\n"
        "    - {type: azure, instance_types: [NC6s_v3]}\n"
    )
    checked = check_text(text, file="short.yaml", defaults=Defaults(max=4))
    assert checked.errors == ()
    said = " ".join(f.text for f in checked.warnings)
    assert "scale_set is missing" in said
    assert "write launch_template or image" in said


def test_offers_that_are_right_say_nothing() -> None:
    checked = read(f"aws: {GOOD}", f"azure: {AZURE % ''}")
    assert checked.errors == ()
    assert not [f for f in checked.warnings if "aws" in f.where or "azure" in f.where]


def test_a_reload_with_a_wrong_offer_keeps_the_last_good_rules_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "chat.yaml"
    file.write_text(HEAD + f"    - aws: {GOOD}\n")
    book = RuleBook(file, Defaults())
    before = book.current()["chat"]
    file.write_text(HEAD + f"    - {aws('prot: 80')}\n")
    changes = [*book.poll(), *book.poll()]
    assert [c.kind for c in changes] == ["broken"]
    assert "did you mean port?" in str(changes[0].faults[0])
    assert book.current()["chat"] == before


class Bare:
    """A provider of somebody else's, from before there was a check."""


class Broken:
    """One whose check breaks."""

    @staticmethod
    def offer_faults(offer: Offer) -> tuple[OfferFault, ...]:
        raise ZeroDivisionError(offer.type)


@pytest.mark.parametrize(("kind", "warnings"), [(Bare, 0), (Broken, 1)], ids=["no check", "a check that breaks"])
def test_a_provider_without_a_working_check_is_taken_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, kind: type, warnings: int
) -> None:
    monkeypatch.setattr(plugins, "load", lambda group, name: kind)
    monkeypatch.setattr(plugins, "names", lambda group: ("aws", "other"))
    checked = read("other: {type: x, price: 1 USD/h, whatever: 7}")
    assert checked.errors == ()
    assert len([f for f in checked.warnings if "could not check" in f.text]) == warnings


def test_a_provider_whose_package_does_not_import_stops_no_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(group: str, name: str) -> Any:
        raise InputError(f"{name} does not import")

    monkeypatch.setattr(plugins, "load", refuses)
    assert read(f"aws: {GOOD}").errors == ()


# --- with the clouds themselves ------------------------------------------------------------------------------------


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


def checked_live(world: StrictMoto, folder: Path, entry: str, **settings: Any) -> Any:
    (folder / "chat.yaml").write_text(HEAD + f"    - {entry}\n")
    given = {"regions": ["us-east-1"], "endpoint_url": world.wire.url, "quotas_endpoint_url": world.wire.url}
    config = {"rules": "chat.yaml", "providers": {"aws": given | settings}}
    (folder / "config.yaml").write_text(json.dumps(config))
    flags = ["--live", "--config", str(folder / "config.yaml"), "--json"]
    # What configures the tests is no setting of the service, which refuses variables that it does not know.
    ours = {name: None for name in os.environ if name.startswith("SIGMASCALE_")}
    done = CliRunner().invoke(app, ["check", str(folder / "chat.yaml"), *flags], env=ours)
    return json.loads(done.stdout.splitlines()[-1])


def test_check_live_says_what_the_cloud_says_and_changes_nothing(world: StrictMoto, tmp_path: Path) -> None:
    good = "aws: {type: g5.xlarge, region: us-east-1, image: ami-1, price: 1 USD/h}"
    assert checked_live(world, tmp_path, good)["errors"] == 0
    world.limits["L-DB2E81BA"] = 0.0
    found = checked_live(world, tmp_path, good)
    assert found["errors"] == 1
    assert "ask for more in Service Quotas" in json.dumps(found)
    missing = checked_live(world, tmp_path, "aws: {type: g5.xlarge, launch_template: nope, price: 1 USD/h}")
    assert "no launch template nope" in json.dumps(missing)
    assert world.made == []


@pytest.mark.parametrize("code", ["AuthFailure", "ExpiredToken"])
def test_check_live_with_credentials_that_aws_refuses_says_what_to_do(
    world: StrictMoto, tmp_path: Path, code: str
) -> None:
    world.fault("*", "error", code=code, status=403, times=99)
    found = checked_live(world, tmp_path, "aws: {type: g5.xlarge, image: ami-1, price: 1 USD/h}")
    assert found["errors"] == 1
    assert "give the service credentials" in json.dumps(found)


def test_check_live_where_nobody_answers_ends_and_says_so(world: StrictMoto, tmp_path: Path) -> None:
    found = checked_live(
        world, tmp_path, "aws: {type: g5.xlarge, image: a, price: 1 USD/h}", endpoint_url="http://127.0.0.1:9"
    )
    assert found["errors"] == 1
    assert "describe_instances" in json.dumps(found)
