"""docs/aws.md says what is so: its examples are taken, its tables are complete, its policy allows what is called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from autoscaler import plugins, units
from autoscaler.configfile import read_config
from autoscaler.errors import InputError
from autoscaler.rulefile.reader import check_text
from autoscaler.types import Launch
from providers.aws import AwsProvider, failures, order

REPOSITORY = Path(__file__).parent.parent
PAGE = (REPOSITORY / "docs" / "aws.md").read_text(encoding="utf-8")
CONFIGURATION, RULES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
CLIENT_CALL = re.compile(r"""(?:call|pages)\(\s*"([a-z_]+)\"""")


def section(title: str) -> str:
    return PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line.strip("|").split(" | ") for line in section(title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line] for line in lines]


def test_the_configuration_that_is_shown_makes_the_provider(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGURATION)
    (given,) = read_config(path, {}).providers
    made = plugins.build("providers", given.plug_in, given.settings)
    assert isinstance(made, AwsProvider)
    assert (made.regions, made.owner) == (("us-east-1", "us-west-2"), "inference-prod")
    made.close()


def test_the_rules_that_are_shown_are_offers_that_can_be_launched() -> None:
    checked = check_text(RULES, file="chat.yaml")
    assert checked.rules is not None, checked.faults
    offers = checked.rules.offers
    assert len(offers) == 9
    for offer in offers:
        assert order.parameters(Launch("f00d", "chat-70b", 0.0, 1.0, offer), "ours")["MaxCount"] == 1


def test_the_table_of_the_provider_is_complete_and_its_defaults_are_so() -> None:
    named = {name.strip("`"): default.strip("`") for name, default, _ in rows("Settings of the provider")}
    fields = plugins.fields(AwsProvider)
    assert named.keys() == fields.keys() - {"clock", "offers"}
    for name, default in named.items():
        is_so = AwsProvider.__dataclass_fields__[name].default
        if isinstance(is_so, float):
            assert units.duration_s(default) == is_so, name
        elif is_so not in ("", (), None):
            assert default == (str(is_so).lower() if isinstance(is_so, bool) else str(is_so)), name


def test_the_table_of_an_offer_is_the_table_of_the_code() -> None:
    assert {name.strip("`"): meaning for name, meaning in rows("Settings of an offer")} == dict(order.SETTINGS)


@pytest.mark.parametrize(
    ("row", "codes"),
    [(0, failures.SHORTAGE), (1, failures.QUOTA), (2, failures.THROTTLING), (3, failures.CREDENTIALS)],
    ids=["shortages", "quotas", "throttling", "credentials"],
)
def test_the_codes_of_the_failure_table_mean_what_it_says(row: int, codes: frozenset[str]) -> None:
    named = set(re.findall(r"`([A-Za-z0-9]+)`", rows("Failures")[row][0]))
    assert named
    assert named <= codes


def test_the_policy_allows_every_call_and_no_other() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    allowed: set[str] = set()
    for statement in json.loads(text)["Statement"]:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    code = "".join(file.read_text() for file in (REPOSITORY / "providers" / "aws").glob("*.py"))
    called = {f"ec2:{''.join(word.title() for word in name.split('_'))}" for name in CLIENT_CALL.findall(code)}
    called = {"servicequotas:GetServiceQuota" if name == "ec2:GetServiceQuota" else name for name in called}
    assert len(called) == 14
    assert allowed == called | {"iam:PassRole"}


def test_what_is_written_in_the_configuration_is_checked(tmp_path: Path) -> None:
    settings = yaml.safe_load("{regoins: [us-east-1], read_timeout_s: soon, address: internal}")
    with pytest.raises(InputError) as raised:
        plugins.build("providers", "aws", settings, tmp_path)
    said = str(raised.value)
    assert "did you mean regions?" in said
    assert "'internal' is not one of private, public" in said
