"""A plug-in is one file and one entry-point line: a package of somebody else works without any change to the core."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoscaler import plugins
from autoscaler import sim_demand as shape
from autoscaler.clock import SimClock
from autoscaler.config import Config
from autoscaler.configfile import read_config
from autoscaler.errors import InputError
from autoscaler.ports import Provider
from autoscaler.rulefile.reader import read_rules
from autoscaler.service import Service
from autoscaler.sim import SimCluster, Workload
from autoscaler.simulation import START, Simulation
from collectors.sim import SimCollector
from tests.peers.pages import until

PACKAGE = Path(__file__).parents[1] / "peers" / "third_party"
ENTRY_POINTS = """
[sigmascale.thresholds]
ceiling = shelf:Ceiling
[sigmascale.policies]
pairs = shelf:Pairs
[sigmascale.providers]
shelf = shelf:Shelf
[sigmascale.collectors]
beacon = shelf:Beacon
"""
RULES = """
pool: chat
tick: 5s
replica: {capacity: 4 requests/s}
limits: {min: 1, max: 20}
offers:
  from:
    - shelf: {type: box, price: 3 USD/h, colour: red}
signals:
  load:  {metric: requests_arrived_total, rate: 1m}
  queue: {metric: requests_waiting}
rules:
  - name: in pairs
    policy: {use: pairs, signal: load, each: 8}
  - name: a queue
    when: {queue: {above: {use: ceiling, top: 50}}}
    alert: critical
    scale_out: {by: 1}
"""


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as an installer leaves it: a distribution's metadata beside its module."""
    info = tmp_path / "site" / "shelf-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(PACKAGE))
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.delitem(sys.modules, "shelf", raising=False)


def simulation() -> tuple[Simulation, list[Provider]]:
    """The rules' pool under real control, its machines on the shelf; the cluster only makes the demand."""
    made: list[Provider] = []

    def shelf(_: SimCluster, clock: SimClock) -> Provider:
        made.append(plugins.build("providers", "shelf", {"clock": clock, "room": "12"}))
        return made[-1]

    rules = read_rules(RULES)
    cluster = SimCluster({"chat": Workload(shape.constant(21.0))}, start=START)
    return Simulation({"chat": rules}, cluster, shelf, SimCollector, SimClock(START)), made


def test_a_rule_file_names_its_threshold_policy_and_offer_and_a_loop_runs_them() -> None:
    sim, (shelf,) = simulation()
    sim.run(600)
    assert sim.loop.stats.failures == 0
    view = sim.loop.board.pools()["chat"]
    assert view.decision is not None
    by_rule = {p.source: p for p in view.decision.proposals}
    assert (by_rule["in pairs"].sense, by_rule["in pairs"].replicas % 2) == ("size", 0)
    assert "pairs" in by_rule["in pairs"].text
    # The shelf's boxes serve nothing of the simulated queue, which is above the ceiling from the first seconds on.
    assert by_rule["a queue"].sense == "raise"
    assert [a.name for a in sim.alerts] == ["a queue"]
    boxes = shelf.observe().instances
    assert len(boxes) == 12, "as many as there is room for"
    assert {(b.offer, b.usd_per_hour, b.detail) for b in boxes} == {("shelf/box/on_demand", 3.0, "red")}
    assert "shelf/box/on_demand" in sim.journal.load()["chat"].shortages, "the full shelf is remembered"


def test_its_own_checks_are_reported_where_the_rule_file_is_wrong() -> None:
    with pytest.raises(InputError, match=r"chat.yaml:14:13: rules\[0\].policy: pairs: each is -8.0, but must be above"):
        read_rules(RULES.replace("each: 8", "each: -8"), file="chat.yaml")


def configuration(folder: Path, collectors: str) -> Config:
    (folder / "chat.yaml").write_text(RULES.replace("tick: 5s", "tick: 1s"))
    path = folder / "config.yaml"
    path.write_text(f"data_dir: data\nrules: chat.yaml\nlisten: 127.0.0.1:0\n{collectors}")
    return read_config(path, {})


def test_a_service_runs_its_collector_and_its_provider_by_their_names(tmp_path: Path) -> None:
    beacon = "collectors: {beacon: {level: 80, labels: {pool: chat, instance: b}}}\nproviders: {shelf: {room: 2}}\n"
    service = Service(configuration(tmp_path, beacon))
    service.start()
    try:
        until(lambda: len(service.hands["shelf"].fleet().instances) == 2, "a full shelf")  # type: ignore[union-attr]
        until(lambda: service.board.pools()["chat"].alerts, "an alert")
        assert service.board.pools()["chat"].error == ""
    finally:
        service.stop()
    assert not any(c.running for c in service.loop.collectors if hasattr(c, "running")), "it was stopped with the rest"


def test_a_service_replays_a_trace_by_the_name_of_the_collector(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("t_s,requests\n" + "".join(f"{60 * n},960\n" for n in range(100)))
    replay = "collectors: {replay: {path: day.csv, pool: chat, speed: 2, interval_s: 1s}}\n"
    service = Service(configuration(tmp_path, replay))
    service.start()
    try:
        until(lambda: service.board.pools().get("chat"), "a first tick")

        def replayed() -> bool:
            decision = service.board.pools()["chat"].decision
            reading = decision.readings.get("load") if decision is not None else None
            return reading is not None and reading.value is not None and abs(reading.value - 32.0) < 1.0

        until(replayed, "16 requests/s at double speed")
    finally:
        service.stop()


@pytest.mark.parametrize(
    ("collectors", "messages"),
    [
        pytest.param(
            "collectors:\n  becon: {}\n",
            ["config.yaml:5:10: collectors.becon: no plug-in 'becon' in sigmascale.collectors", "did you mean beacon?"],
            id="unknown",
        ),
        pytest.param(
            "collectors:\n  beacon: {levle: 1, labels: {pool: chat}}\n",
            [
                "config.yaml:5:11: collectors.beacon: beacon has no setting 'levle'; did you mean level?",
                "config.yaml:5:11: collectors.beacon: beacon needs the setting 'level'; add it",
            ],
            id="wrong settings, all at once",
        ),
        pytest.param(
            "collectors:\n  sim: {}\n",
            ["config.yaml:5:8: collectors.sim: sim needs 'cluster', which no file can give"],
            id="a collector of simulations",
        ),
        pytest.param(
            "providers:\n  shelf: {room: big}\n",
            ["config.yaml:5:10: providers.shelf: shelf.room: 'big' is not a number"],
            id="a provider's setting",
        ),
    ],
)
def test_what_is_wrong_with_its_settings_is_said_with_their_place(
    tmp_path: Path, collectors: str, messages: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        Service(configuration(tmp_path, collectors))
    for message in messages:
        assert message in str(caught.value)
