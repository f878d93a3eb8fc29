"""Plug-ins by name, from a real distribution that is installed into a folder of the test."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoscaler import plugins
from autoscaler.conditions import leaves
from autoscaler.errors import InputError
from autoscaler.rulefile.reader import read_rules

MODULE = """
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from autoscaler.types import Bands, Fleet, Labels


@dataclass(frozen=True, slots=True)
class Ceiling:
    top: float
    side: Literal["upper", "both"] = "upper"
    times: int = 1
    loud: bool = False
    note: str | None = None
    file: Path | str | None = None
    labels: Labels = ()
    ports: tuple[int, int] = (1, 2)
    fleet: Fleet | None = None

    def __post_init__(self) -> None:
        if self.times > 100:
            raise RuntimeError("too often")

    def bands(self, history):
        n = history.values.shape[0]
        return Bands(np.full(n, -math.inf), np.full(n, self.top))


@dataclass
class Inner:
    fleet: Fleet
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "ceilings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ceilings\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[sigmascale.thresholds]\nceiling = ceilings:Ceiling\ntorn = ceilings_torn:Torn\ngone = ceilings:Gone\n"
        "inner = ceilings:Inner\n"
    )
    (tmp_path / "ceilings.py").write_text(MODULE)
    (tmp_path / "ceilings_torn.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ceilings", raising=False)


def test_a_plug_in_is_built_from_text() -> None:
    found = plugins.build(
        "thresholds", "ceiling", {"top": "85%", "side": "both", "times": "3", "loud": "true", "note": "x"}
    )
    assert (found.top, found.side, found.times, found.loud, found.note) == (0.85, "both", 3, True, "x")


def test_paths_start_from_the_folder_and_labels_and_tuples_are_values(tmp_path: Path) -> None:
    written = {"top": "1", "file": "day.csv", "labels": {"pool": "chat", "app": "x"}, "ports": ["18", "19"]}
    found = plugins.build("thresholds", "ceiling", written, tmp_path)
    assert found.file == tmp_path / "day.csv"
    assert found.labels == (("app", "x"), ("pool", "chat"))
    assert found.ports == (18, 19)
    assert plugins.build("thresholds", "ceiling", {"top": "1", "file": "/a"}, tmp_path).file == Path("/a")


@pytest.mark.parametrize(
    ("name", "settings", "messages"),
    [
        pytest.param(
            "celing", {}, ["no plug-in 'celing' in sigmascale.thresholds", "did you mean ceiling?"], id="misspelt"
        ),
        pytest.param("xyz", {}, ["ceiling", "install the package that brings it"], id="unknown"),
        pytest.param("torn", {}, ["'torn'", "does not import", "a_library_that_is_not_there"], id="does not import"),
        pytest.param("gone", {}, ["'gone'", "does not import", "AttributeError"], id="names nothing"),
        pytest.param("ceiling", {}, ["ceiling needs the setting 'top'; add it"], id="a missing setting"),
        pytest.param(
            "ceiling", {"top": "1", "tims": "2"}, ["has no setting 'tims'; did you mean times?"], id="unknown setting"
        ),
        pytest.param(
            "ceiling",
            {"top": "high", "times": "2.5", "side": "left"},
            [
                "ceiling.top: 'high' is not a value",
                "ceiling.times: '2.5' is not a whole number",
                "not one of upper, both",
            ],
            id="every wrong setting at once",
        ),
        pytest.param(
            "ceiling",
            {"top": "1", "labels": {"pool": ["a"]}, "ports": ["x", "1"], "fleet": "big"},
            [
                "ceiling.labels: is not a mapping of labels to words; write {pool: chat}",
                "ceiling.ports: 'x' is not a number",
                "ceiling.fleet: 'big' cannot stand for it: only a program can give it; delete the setting",
            ],
            id="labels, tuples and what nobody can write",
        ),
        pytest.param("inner", {}, ["inner needs 'fleet', which no file can give"], id="only for programs"),
        pytest.param(
            "ceiling", {"top": "1", "times": "101"}, ["refuses its settings: RuntimeError: too often"], id="refusal"
        ),
    ],
)
def test_what_is_wrong_is_said(name: str, settings: dict[str, object], messages: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        plugins.build("thresholds", name, settings)
    for message in messages:
        assert message in str(caught.value)


def test_the_installed_ones_are_listed() -> None:
    assert {"ceiling", "torn", "gone"} <= set(plugins.names("thresholds"))


def test_a_rule_file_may_use_an_installed_threshold() -> None:
    text = (
        "pool: chat\nlimits: {max: 3}\nsignals: {queue: {metric: requests_waiting}}\n"
        "rules: [{name: a, when: {queue: {above: {use: ceiling, top: 50}}}, alert: info}]\n"
    )
    rules = read_rules(text)
    assert rules.rules[0].when is not None
    (leaf,) = leaves(rules.rules[0].when.test)
    assert getattr(leaf.threshold, "top", None) == 50.0


def test_a_misspelt_plug_in_in_a_rule_file_has_a_place() -> None:
    text = (
        "pool: chat\nlimits: {max: 3}\nsignals: {queue: {metric: requests_waiting}}\n"
        "rules: [{name: a, when: {queue: {above: {use: celing, top: 50}}}, alert: info}]\n"
    )
    with pytest.raises(InputError, match=r"chat.yaml:4:41: rules\[0\].when.queue.above: no plug-in 'celing'"):
        read_rules(text, file="chat.yaml")
