"""The page on sources shows configurations that are taken as they stand, and names every setting there is."""

import json
import re
from pathlib import Path

import pytest

from autoscaler import plugins
from autoscaler.configfile import read_config
from collectors.prometheus import Prometheus
from collectors.scraping.target_groups import Manner, targets_of

PAGE = (Path(__file__).parent.parent / "docs" / "sources.md").read_text(encoding="utf-8")
FILLED = {"clock", "queries", "wake"}


@pytest.mark.parametrize("snippet", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_a_configuration_that_is_shown_is_taken(snippet: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(snippet)
    for name in re.findall(r"(?:token|ca)_file: ([\w./-]+)", snippet):
        if not name.startswith("/"):
            (tmp_path / name).write_text("made up for this test\n")
    config = read_config(path, {})
    for collector in config.collectors:
        known = plugins.fields(plugins.load("collectors", collector.plug_in))
        assert collector.settings.keys() <= known.keys() - FILLED


def test_the_list_that_is_shown_is_taken() -> None:
    (listing,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(listing)
    assert len(targets_of(listing.encode(), "sd.json", Manner())) == 2


def test_every_setting_of_the_collector_is_in_its_table() -> None:
    table = PAGE.partition("| setting |")[2].partition("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", table))
    assert plugins.fields(Prometheus).keys() - FILLED <= named


def test_every_collector_is_in_the_table_of_sources() -> None:
    table = PAGE.partition("| source |")[2].partition("\n\n")[0]
    missing = [name for name in plugins.names("collectors") if f"`{name}`" not in table]
    assert set(missing) <= {"push", "scrape", "sim"}
