"""The warm pool in a rule file: what it means, and what is legal and leaves it empty."""

from __future__ import annotations

import pytest

from autoscaler.movement import Refill, WarmPool
from autoscaler.rulefile.reader import check_text
from autoscaler.windows import window

HEAD = """pool: chat
limits: {min: 1, max: 9}
replica: {capacity: 4 requests/s}
signals:
  load: {metric: requests_arrived_total, rate: 1m}
  %s
rules: [{name: load, target: {signal: load}}]
offers: {from: [%s]}
"""
AHEAD = "ahead: {forecast: load, quantile: 0.95}"
AWS = "{aws: {region: us-east-1, types: [p4d.24xlarge], purchase: [on_demand, spot], image: ami-1, ready: running%s}}"
LOCAL = "{local: {command: sleep 9}}"
SET = "{azure: {region: eastus, types: [NC24ads_A100_v4], scale_set: chat, resource_group: gpus, ready: running}}"


def checked(section: str, offers: str = AWS % "", signal: str = AHEAD) -> tuple[WarmPool, list[str]]:
    found = check_text(HEAD % (signal, offers) + f"warm_pool: {section}\n", file="chat.yaml")
    assert found.rules is not None, [str(e) for e in found.errors]
    return found.rules.warm_pool, [str(w) for w in found.warnings if "warm_pool" in str(w)]


def test_every_key_has_its_meaning() -> None:
    found, warnings = checked(
        "{size: forecast, min: 1, max: 6, keep: 30m, max_age: 14d, "
        "refill: {machines: 2, per: 20m, between: 22:00-06:00 Asia/Shanghai}}"
    )
    refill = Refill(2, 1200.0, (window("22:00-06:00 Asia/Shanghai"),))
    assert found == WarmPool(1, "forecast", "stopped", 6, 1800.0, 14 * 86400.0, refill)
    assert found.given
    assert warnings == []


def test_without_a_section_there_is_no_warm_pool() -> None:
    assert not checked("{}")[0].given
    assert checked("{max: 0}")[0].given, "told to be empty"


@pytest.mark.parametrize(
    ("section", "offers", "signal", "text"),
    [
        pytest.param("{size: forecast, min: 1}", AWS % "", "", "no signal is a forecast, so the pool stays at min 1",
                     id="nothing forecasts"),
        pytest.param("{min: 1}", (AWS % "").replace("on_demand, ", ""), "", "every offer is spot", id="spot alone"),
        pytest.param("{min: 1, state: running}", AWS % "", "", "aws stop what is warm", id="a cloud stops"),
        pytest.param("{min: 1}", LOCAL, "", "local machines go on running while they are warm", id="local"),
        pytest.param("{min: 1, state: hibernated}", SET, "", "azure machines are stopped, they do not hibernate",
                     id="scale sets do not hibernate"),
        pytest.param("{min: 1, state: hibernated}", AWS % "", "", "add 'hibernate: true' to the offer",
                     id="an image that was not told to hibernate"),
    ],
)  # fmt: skip
def test_what_would_leave_it_empty_or_otherwise_is_warned_of(section: str, offers: str, signal: str, text: str) -> None:
    (warning,) = checked(section, offers, signal)[1]
    assert text in warning
    assert ";" in warning, "the next step"


@pytest.mark.parametrize(
    ("section", "offers"),
    [
        pytest.param("{min: 1, state: hibernated}", AWS % ", hibernate: true", id="an image that hibernates"),
        pytest.param("{min: 1, state: running}", LOCAL, id="local machines that run"),
        pytest.param("{max: 0}", (AWS % "").replace("on_demand, ", ""), id="a pool that is to be empty"),
        pytest.param("{}", LOCAL, id="no pool at all"),
    ],
)
def test_what_is_sound_is_not_warned_of(section: str, offers: str) -> None:
    assert checked(section, offers, "")[1] == []
