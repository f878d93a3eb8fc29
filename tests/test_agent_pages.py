"""The agent's pages: the text format, our own names, and when a page is made."""

from __future__ import annotations

import gzip
import itertools
import math
import subprocess
from collections.abc import Iterable

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.agent import canonical, own
from autoscaler.agent.current import Current, Snapshot
from autoscaler.agent.families import Family, escape, number, prefix, render
from autoscaler.agent.pages import Pages
from autoscaler.agent.settings import NAMES
from autoscaler.signals import all_metrics
from autoscaler.types import SeriesKey
from collectors.pages import grammar
from collectors.pages.reader import PageReader
from tests.agentpages import BOARD, UUID, batch, key, page, samples
from tests.peers.programs import program

# --- the text format ----------------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8"), max_size=40))
@settings(derandomize=True, max_examples=300)
def test_any_label_value_is_read_back_as_it_was(value: str) -> None:
    (sample,) = grammar.samples(f"{prefix('a', (('b', value),))}1\n")
    assert dict(sample.labels)["b"] == value


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(derandomize=True)
def test_a_number_keeps_all_its_digits(value: float) -> None:
    assert float(number(value)) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (300.0, "300"),
        (0.57, "0.57"),
        (15152422938.0, "15152422938"),
        (1e15, "1000000000000000"),
        (1e22, "1e+22"),
        (-2.5, "-2.5"),
    ],
)
def test_a_number_is_written_as_people_read_it(value: float, text: str) -> None:
    assert number(value) == text


def test_what_has_a_meaning_in_the_format_is_escaped() -> None:
    assert escape('a "b" \\ c\nd') == r"a \"b\" \\ c\nd"
    text = render((Family("a", "gauge", "one\\two\nthree", canonical.families((key("gpu_up"),))[0].lines),), [1.0])
    assert text.startswith("# HELP a one\\\\two\\nthree\n")


def test_a_family_without_a_value_is_not_announced() -> None:
    assert page({key("gpu_power_watts"): math.nan}) == ""


# --- canonical names ----------------------------------------------------------------------------------------------


def everything() -> dict[SeriesKey, float]:
    """A value for every metric of the table, with the labels that it has."""
    values: dict[SeriesKey, float] = {}
    for n, known in enumerate(known for known in all_metrics() if known.kind != "histogram"):
        board = known.name.startswith("gpu_")
        values[key(known.name, BOARD if board else (("host", "node-1"),))] = n / 200 if known.ratio else float(n)
    return values


def test_every_canonical_metric_is_shown_with_its_kind_and_what_it_means() -> None:
    text = page(everything())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for known in all_metrics():
        if known.kind == "histogram":
            continue
        family = families[known.name.removesuffix("_total") if known.kind == "counter" else known.name]
        assert family.type == ("counter" if known.kind == "counter" else "gauge"), known.name
        assert known.help in family.documentation
        assert known.unit in family.documentation
    assert "tells idle from busy, not busy from full" in families["gpu_busy_ratio"].documentation


def test_the_canonical_page_is_read_back_as_it_was() -> None:
    values = everything()
    read = PageReader("agent", (), 1.0).read(page(values).encode(), 100.0)
    assert dict(zip(read.keys, read.values.tolist(), strict=True)) == values


# --- whole pages --------------------------------------------------------------------------------------------------


def pages(values: dict[SeriesKey, float], names: Iterable[str] = ("canonical",)) -> tuple[Pages, list[float]]:
    """Pages over fixed values, and when somebody looked at these."""
    looked: list[float] = []
    known = batch(values)

    def look() -> Snapshot:
        looked.append(100.0)
        now = Current(3.0)
        now.add([known], 100.0)
        return now.snapshot(100.25)

    own_page = own.render([("agent_series", (), 1.0)], ())
    return Pages(tuple(names), look, lambda: own_page, (("host", "node-1"),)), looked  # type: ignore[arg-type]


def test_a_page_is_rendered_once_a_second_however_many_ask() -> None:
    made, looked = pages(everything())
    first = [made.page("/metrics", 100.0 + n / 100) for n in range(100)]
    assert len({id(page) for page in first}) == 1
    assert made.page("/metrics/dcgm", 100.5).text
    assert len(looked) == 1, "pages of one second show the same moment"
    assert made.page("/metrics", 101.0) is not first[0]
    assert made.page("/metrics", 50.0).text, "a clock that went back"
    assert len(looked) == 3


def test_the_compressed_page_says_the_same() -> None:
    made, _ = pages(everything())
    found = made.page("/metrics", 100.0)
    assert gzip.decompress(found.packed) == found.text
    assert len(found.packed) < len(found.text) / 4


@pytest.mark.parametrize("names", [*itertools.combinations(NAMES, 1), *itertools.combinations(NAMES, 2), NAMES])
def test_the_main_page_has_the_names_that_were_chosen(names: tuple[str, ...]) -> None:
    made, _ = pages({key("gpu_power_watts"): 300.0}, names)
    text = made.page("/metrics", 100.0).text.decode()
    there = {
        "canonical": "\ngpu_power_watts{" in text,
        "dcgm": "\nDCGM_FI_DEV_POWER_USAGE{" in text,
        "otel": "\nhw_power_watts{" in text,
    }
    assert {name for name, found in there.items() if found} == set(names)
    assert "\nsigmascale_agent_series 1\n" in text
    for one in NAMES:
        assert made.page(f"/metrics/{one}", 100.0).text, "pages by name are there whatever was chosen"
    with pytest.raises(KeyError):
        made.page("/metrics/other", 100.0)


def test_the_age_of_a_gpus_newest_sample_is_told_as_of_the_page() -> None:
    made, _ = pages({key("gpu_power_watts"): 300.0, key("gpu_sample_age_seconds", source="gauge"): 9.0})
    found = samples(made.page("/metrics", 100.0).text.decode())
    ages = {k: v for k, v in found.items() if k[0] == "gpu_sample_age_seconds"}
    assert ages == {("gpu_sample_age_seconds", (("host", "node-1"), ("source", "nvml"), ("uuid", UUID))): 0.25}


@pytest.mark.peer
@pytest.mark.parametrize("names", ["canonical", "otel"])
def test_promtool_finds_nothing_to_complain_about(names: str) -> None:
    values = {**everything(), key("gpu_power_watts_max"): 420.0}
    made, _ = pages(values, (names,))
    text = made.page("/metrics", 100.0).text
    told = subprocess.run(
        [program("prometheus", "promtool"), "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_every_metric_of_the_agent_itself_is_rendered_with_help_and_type() -> None:
    points = [(m.name, ("x",) * len(m.labels), 1.0) for m in own.METRICS]
    text = own.render(points, (("host", "node-1"),))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert len(families) == len(own.METRICS)
    assert all(sample.labels["host"] == "node-1" for family in families.values() for sample in family.samples)
    assert all((m.kind == "counter") == m.name.endswith("_total") for m in own.METRICS)


def test_what_the_kernel_does_not_tell_of_the_agent_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container without /proc gets a page all the same."""
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nowhere")
    assert list(own.process_points("1.2.3")) == [("agent_build_info", ("1.2.3",), 1.0)]
    monkeypatch.undo()
    assert len(list(own.process_points("1.2.3"))) == 5
