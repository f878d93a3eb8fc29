"""docs/bootstrap.md says what is so: its examples are taken, and its tables are those of the code."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from autoscaler.agent.settings import Words, read_settings
from autoscaler.onboard import LOSSES
from autoscaler.rulefile.drainhook import FIELDS
from autoscaler.rulefile.reader import check_text
from autoscaler.signals import metric
from collectors.cloud import aws, azure
from providers.bootstrap import SECTIONS, Values, read_template, user_data
from providers.bootstrap.render import COMPUTED, LIMITS
from providers.bootstrap.settings import AGENT, SERVE
from providers.catalog import read_catalog

PAGE = (Path(__file__).parent.parent / "docs" / "bootstrap.md").read_text(encoding="utf-8")
RULES, TEMPLATE, HOOK = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def table(title: str) -> dict[str, str]:
    """The first two cells of a section's rows."""
    section = re.split(r"\n##+ ", PAGE.partition(f"# {title}\n")[2])[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[1] for row in rows}


def test_the_rules_that_are_shown_hand_over_a_document() -> None:
    checked = check_text(RULES, file="chat.yaml")
    assert checked.rules is not None, checked.faults
    assert [w.text for w in checked.warnings if "bootstrap" in w.where] == []
    (offer,) = checked.rules.offers
    assert offer.type in {m.type for m in read_catalog()}
    text = user_data("chat-70b", offer)
    assert text is not None
    assert "docker run --rm --gpus all -p 8000:8000" in text


def test_the_template_that_is_shown_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "boot.yaml"
    file.write_text(TEMPLATE)
    (offer,) = check_text(RULES, file="chat.yaml").rules.offers  # type: ignore[union-attr]
    settings = (*(pair for pair in offer.settings if pair[0] != "bootstrap"), ("bootstrap", str(file)))
    text = user_data("chat-70b", type(offer)("aws", offer.type, "us-east-1", "us-east-1a", settings=settings))
    assert text is not None
    assert yaml.safe_load(text)["write_files"][1]["content"] == "chat-70b in us-east-1a"
    assert read_template(file).document["package_update"] is False


def test_the_hook_that_is_shown_is_taken() -> None:
    checked = check_text(f"pool: chat\nlimits: {{max: 4}}\n{HOOK}", file="/etc/rules/chat.yaml")
    assert checked.rules is not None, checked.faults
    hook = checked.rules.scale_in.hook
    assert hook is not None
    assert (hook.url, hook.timeout_s, hook.every_s) == ("http://{address}/drain", 10.0, 2.0)
    assert hook.header_files == (("Authorization", "/etc/rules/drain-token"),)
    assert set(re.findall(r"`\{(\w+)\}`", PAGE)) == set(FIELDS)


@pytest.mark.parametrize(("title", "known"), [("`serve`", SERVE), ("`agent`", AGENT)])
def test_the_tables_are_those_of_the_code(title: str, known: dict[str, str]) -> None:
    assert table(title) == dict(known)
    assert title.strip("`") in SECTIONS


def test_every_placeholder_has_a_row() -> None:
    named = {name for cell in table("Templates of your own") for name in re.findall(r"\w+", cell)}
    assert named == {*Values("p", "o").plain(), *COMPUTED}


def test_limits_kinds_and_metrics_are_those_of_the_code() -> None:
    assert [str(limit) in PAGE for limit in LIMITS.values()] == [True, True]
    kinds = {kind for row in re.findall(r"\| (?:EC2|Azure) \|.*\|(.*)\|", PAGE) for kind in re.findall(r"\w+", row)}
    assert kinds - {"advice"} == {*aws.KINDS, *azure.KINDS}
    assert set(LOSSES) == kinds - {"advice", "freeze"}
    for name in table("Notices on the machine"):
        assert metric(name.partition("{")[0]) is not None


@pytest.mark.parametrize("cloud", ["aws", "azure", "auto", "none"])
def test_the_agent_takes_the_clouds_that_are_named(cloud: str) -> None:
    assert read_settings(Words(cloud=cloud), "node").cloud == (None if cloud == "none" else cloud)
    assert f"`{cloud}`" in (Path(__file__).parent.parent / "docs" / "agent.md").read_text()


@pytest.mark.peer
def test_cloud_init_itself_takes_our_document(tmp_path: Path) -> None:
    """A peer that may be missing everywhere: the published schema, which other tests use, says nearly the same."""
    found = shutil.which("cloud-init")
    if found is None:
        pytest.skip("cloud-init is not installed (package cloud-init)")
    (offer,) = check_text(RULES, file="chat.yaml").rules.offers  # type: ignore[union-attr]
    file = tmp_path / "user-data"
    file.write_text(user_data("chat-70b", offer) or "")
    command = [found, "schema", "--config-file", str(file)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
