"""The fleet's pages: every GPU once, absent is not zero, trouble is named, and the map's data are columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoscaler.board import PoolView
from autoscaler.store import Store
from autoscaler.types import Alert, Batch, Mark
from collectors.nvml.advice import advise
from tests.apiworld import ApiWorld, api_world, some_fleet
from tests.gpuworld import Node, told, uuid
from tests.roomworld import Browser, words
from tests.worlds import NOW, instance

EVIL = '<script>alert("x")</script>'


def browser_of(folder: Path, *rounds: Batch, **changes: Any) -> Browser:
    """A viewer of a service that heard these."""
    world = api_world(folder, store=told(*rounds) if rounds else Store(None), advise=advise, **changes)
    return Browser(world).sign_in("viewer")


def values(browser: Browser, colour: str = "saturation") -> dict[str, Any]:
    found: dict[str, Any] = browser.page(f"/ui/fleet/values?colour={colour}").json()
    return found


def layout(browser: Browser) -> dict[str, Any]:
    found: dict[str, Any] = browser.page("/ui/fleet/gpus").json()
    return found


def test_a_service_without_gpus_says_how_to_get_them(tmp_path: Path) -> None:
    text = words(browser_of(tmp_path).page("/fleet"))
    assert "No source tells of a GPU yet." in text
    assert "sigmascale agent" in text


def test_the_table_shows_the_worst_first_and_trouble_before_everything(tmp_path: Path) -> None:
    node = Node("a").gpu(0, {"gpu_saturation_ratio": 0.2}).gpu(1, {"gpu_saturation_ratio": 0.95})
    lost = Node("b").gpu(0, {"gpu_saturation_ratio": 0.1, "gpu_up": 0.0, "gpu_lost": 1.0})
    page = browser_of(tmp_path, node.batch(), lost.batch()).page("/ui/fleet/table")
    places = [page.text.index(uuid(*name)) for name in (("b", 0), ("a", 1), ("a", 0))]
    assert places == sorted(places)
    assert "the GPU is not listed any more" in words(page)


def test_absent_is_told_apart_from_zero_and_old_from_new(tmp_path: Path) -> None:
    never = Node("a").gpu(0, {"gpu_saturation_ratio": None})
    idle = Node("b").gpu(0, {"gpu_saturation_ratio": 0.0})
    old = Node("c").gpu(0, {"gpu_saturation_ratio": 0.4})
    browser = browser_of(tmp_path, never.batch(), idle.batch(), old.batch(NOW - 100))
    found, names = values(browser), layout(browser)["gpu"]["uuid"]
    by_name = dict(zip(names, found["values"], strict=True))
    assert by_name == {uuid("a", 0): None, uuid("b", 0): 0, uuid("c", 0): 400}
    assert [names[row] for row in found["stale"]] == [uuid("c", 0)]
    text = words(browser.page("/ui/fleet/table"))
    assert "not given" in text
    assert "0 %" in text
    assert "1 min 40 s old" in text
    for only, name in (("absent", "a"), ("stale", "c")):
        shown = browser.page(f"/ui/fleet/table?only={only}").text
        assert uuid(name, 0) in shown
        assert uuid("b", 0) not in shown


@pytest.mark.parametrize(
    ("colour", "expected"),
    [("saturation", 50.0), ("memory", 70.0), ("power", 50.0), ("temperature", 60.0), ("busy", 90.0)],
)
def test_each_colour_has_its_values_in_steps(tmp_path: Path, colour: str, expected: float) -> None:
    found = values(browser_of(tmp_path, Node("a").gpu(0).batch()), colour)
    assert found["values"][0] * found["step"] == pytest.approx(expected)


def test_power_without_a_limit_and_memory_without_a_size_are_not_given(tmp_path: Path) -> None:
    bare = Node("a").gpu(0, {"gpu_power_limit_watts": 0.0, "gpu_memory_used_ratio": None})
    sized = Node("b").gpu(0, {"gpu_memory_used_ratio": None, "gpu_memory_used_bytes": 20.0})
    sized.gpu(0, {"gpu_memory_total_bytes": 80.0})
    browser = browser_of(tmp_path, bare.batch(), sized.batch())
    assert values(browser, "power")["values"] == [None, 500]
    assert values(browser, "memory")["values"] == [None, 250]


def test_the_map_s_data_are_columns_that_say_when_they_changed(tmp_path: Path) -> None:
    world = api_world(tmp_path, store=told(Node("b").gpu(0).gpu(1).batch(), Node("a", "embed").gpu(0).batch()))
    browser = Browser(world).sign_in("viewer")
    found = layout(browser)
    assert found["pools"] == ["chat", "embed"]
    assert found["machine"]["name"] == ["b", "a"]
    assert (found["gpu"]["machine"], found["gpu"]["number"]) == ([0, 0, 1], ["0", "1", "0"])
    first = browser.page("/ui/fleet/values")
    assert first.json()["layout"] == found["version"]
    again = browser.ask("GET", "/ui/fleet/values", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    world.deps.store.add(Node("c").gpu(0).batch(NOW + 2))
    world.clock.at += 2
    changed = browser.ask("GET", "/ui/fleet/values", headers={"if-none-match": first.headers["etag"]})
    assert changed.json()["layout"] == layout(browser)["version"] != found["version"]


def test_machines_are_the_instances_that_providers_list(tmp_path: Path) -> None:
    node = Node("10.0.0.1").gpu(0)
    world = api_world(tmp_path, store=told(node.batch()))
    fleet = replace(some_fleet(), instances=(instance(1, "draining", address="10.0.0.1:8000"),))
    world.deps.board.publish(replace(world.deps.board.pools()["chat"], fleet=fleet))
    browser = Browser(world).sign_in("viewer")
    found = layout(browser)
    assert found["machine"]["name"] == ["chat-1"]
    assert found["states"] == ["draining"]
    page = words(browser.page("/fleet/chat-1"))
    assert "draining" in page
    assert "$2.00 an hour" in page


def faulty(at: float, faults: float) -> Batch:
    """One GPU with a fault of the board, one whose process erred, both counted from the first batch on."""
    node = Node("a").gpu(0).gpu(1).gpu(2)
    node.gpu(0, {"gpu_xid_events_total": faults}, xid="79").gpu(1, {"gpu_xid_events_total": faults}, xid="13")
    return node.gpu(2, {"gpu_ecc_uncorrected_total": 2 * faults}).batch(at)


def test_a_driver_fault_says_what_it_means_what_to_do_and_marks_only_what_is_the_board_s(tmp_path: Path) -> None:
    browser = browser_of(tmp_path, faulty(NOW - 100, 0.0), faulty(NOW - 1, 1.0))
    text = words(browser.page("/ui/fleet/events"))
    assert "XID 79: GPU has fallen off the bus replace the machine" in text
    assert "XID 13: graphics engine exception look at the process on the GPU" in text
    assert "2 uncorrected memory errors in all" in text
    names = layout(browser)["gpu"]["uuid"]
    assert [names[row] for row in values(browser)["marked"]] == [uuid("a", 0), uuid("a", 2)]


def test_a_fault_marks_its_gpu_for_an_hour_and_stays_in_the_list(tmp_path: Path) -> None:
    world = api_world(tmp_path, store=told(faulty(NOW - 100, 0.0), faulty(NOW - 1, 1.0)), advise=advise)
    browser = Browser(world).sign_in("viewer")
    world.clock.at += 3700
    assert values(browser)["marked"] == []
    assert "XID 79" in words(browser.page("/ui/fleet/events"))


def test_what_was_so_when_it_was_first_heard_is_told_with_that_time(tmp_path: Path) -> None:
    browser = browser_of(tmp_path, faulty(NOW - 1, 1.0))
    assert "or before: it was so when it was first heard" in words(browser.page("/ui/fleet/events"))
    assert values(browser)["marked"] == []


@pytest.mark.parametrize(
    ("metric", "value", "labels", "says"),
    [
        pytest.param("gpu_row_remap_pending", 1.0, {}, "a memory row waits to be replaced", id="a pending row"),
        pytest.param("gpu_row_remap_failed", 1.0, {}, "a memory row could not be replaced", id="a failed row"),
        pytest.param("gpu_recovery_action", 2.0, {}, "the driver asks to reboot the machine", id="a recovery action"),
        pytest.param("gpu_health", 20.0, {"system": "memory"}, "verdict on its memory: failed", id="a verdict"),
        pytest.param(
            "gpu_clock_event_active", 1.0, {"reason": "thermal_hardware"}, "held down: thermal hardware", id="heat"
        ),
        pytest.param("gpu_up", 0.0, {}, "the GPU does not answer", id="no answer"),
    ],
)
def test_each_kind_of_trouble_is_told_and_marked(
    tmp_path: Path, metric: str, value: float, labels: dict[str, str], says: str
) -> None:
    node = Node("a").gpu(0, {"gpu_lost": None}).gpu(0, {metric: value}, **labels)
    browser = browser_of(tmp_path, node.batch())
    assert says in words(browser.page("/ui/fleet/events"))
    assert values(browser)["marked"] == [0]


def test_trouble_that_ended_is_over_and_marks_nothing(tmp_path: Path) -> None:
    gone, back = {"gpu_up": 0.0, "gpu_lost": 1.0}, {"gpu_up": 1.0, "gpu_lost": 0.0}
    node = Node("a")
    browser = browser_of(tmp_path, node.gpu(0, gone).batch(NOW - 50), node.gpu(0, back).batch())
    assert "the GPU is not listed any more (not any more)" in words(browser.page("/ui/fleet/events"))
    assert (values(browser)["marked"], values(browser)["lost"]) == ([], [])


def test_an_alert_on_a_series_of_a_gpu_stands_among_its_events(tmp_path: Path) -> None:
    world = api_world(tmp_path, store=told(Node("a").gpu(0).batch()))
    labels = (("uuid", uuid("a", 0)),)
    alert = Alert("k", "chat", "hot", "warning", "firing", NOW - 5, "95 is above 90", labels)
    view = world.deps.board.pools()["chat"]
    world.deps.board.publish(replace(view, alerts=(alert, replace(alert, key="o", state="resolved", name="old"))))
    text = words(Browser(world).sign_in("viewer").page("/ui/fleet/events"))
    assert "alert hot: 95 is above 90" in text
    assert "alert old" not in text


def test_names_and_labels_stay_text_everywhere(tmp_path: Path) -> None:
    node = Node(EVIL, EVIL).gpu(0).gpu(0, {"gpu_xid_events_total": 1.0}, xid=EVIL)
    node.own[("host_load1", (("device", EVIL),))] = 1.0
    browser = browser_of(tmp_path, node.batch())
    machine = browser.page("/fleet/" + EVIL.replace("/", "%2F").replace('"', "%22").replace("<", "%3C"))
    assert machine.status_code == 200
    pages = [browser.page(f"/fleet?q={EVIL}"), browser.page("/fleet"), browser.page("/ui/fleet/events"), machine]
    pages.append(browser.ask("GET", "/ui/fleet/gpu", params={"uuid": uuid(EVIL, 0)}))
    for answer in pages:
        assert answer.status_code == 200
        assert EVIL not in answer.text
        assert EVIL.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in answer.text


def test_the_panel_of_one_gpu_tells_everything_and_what_would_give_the_rest(tmp_path: Path) -> None:
    node = Node("a").gpu(0, {"gpu_saturation_ratio": None, "gpu_sm_clock_hertz": 1.7e9})
    browser = browser_of(tmp_path, node.batch(), how_to_get=lambda metric: f"ask for {metric}")
    text = words(browser.ask("GET", "/ui/fleet/gpu", params={"uuid": uuid("a", 0)}))
    assert "Temperature 60 °C" in text
    assert "gpu_sm_clock_hertz 1,700 MHz" in text
    assert "Saturation is not given: ask for gpu_saturation_ratio." in text
    assert browser.ask("GET", "/ui/fleet/gpu", params={"uuid": "GPU-none"}).status_code == 404


def test_a_machine_s_page_shows_metrics_wiring_host_and_marks(tmp_path: Path) -> None:
    node = Node("chat-1")
    for number in range(4):
        wires = {"gpu_nvlink_links_up": 18.0, "gpu_pcie_link_width": 16.0, "gpu_pcie_link_generation": 5.0}
        node.gpu(number, {**wires, "gpu_numa_node": float(number // 2)})
    node.own.update({("host_cpu_ratio", ()): 0.42, ("requests_running", ()): 7.0})
    world = api_world(tmp_path, store=told(node.batch()))
    mark = Mark("chat-1", "chat", "cordon", NOW + 600, "ada", "a fan is loud", NOW)
    world.deps.journal.operations.put_mark(mark)
    page = Browser(world).sign_in("viewer").page("/fleet/chat-1")
    text = words(page)
    assert "cordon by ada: a fan is loud" in text
    assert "18 generation 5, 16 lanes 0" in text
    assert "GPU 0 · same other other" in text
    assert "host_cpu_ratio 42 %" in text
    assert "requests_running 7" in text
    assert "gpu_power_watts 350 W 350 W 350 W 350 W" in text


def test_a_machine_without_gpus_has_a_page_and_one_that_is_nowhere_is_told(tmp_path: Path) -> None:
    browser = browser_of(tmp_path)
    known = browser.page("/fleet/chat-1")
    assert known.status_code == 200
    assert "No source tells of a GPU of this machine." in words(known)
    unknown = browser.page("/fleet/nobody")
    assert unknown.status_code == 404
    assert "look for it in the fleet" in words(unknown)


def test_filters_find_by_pool_machine_model_and_uuid_and_pages_end(tmp_path: Path) -> None:
    nodes = [Node(f"node-{n:02d}", "embed" if n < 2 else "chat").gpu(0).gpu(1) for n in range(20)]
    browser = browser_of(tmp_path, *(node.batch() for node in nodes))
    assert "1 to 25 of 40" in words(browser.page("/ui/fleet/table"))
    assert "26 to 40 of 40" in words(browser.page("/fleet?page=99"))
    for text, count in (("embed", 4), ("node-07", 2), ("h100 embed", 4), (uuid("node-03", 1).lower(), 1)):
        assert f"of {count} that match, of 40 in all" in words(browser.page(f"/ui/fleet/table?q={text}"))
    assert "No GPU matches." in words(browser.page("/ui/fleet/table?q=nothing-like-it"))


@pytest.mark.parametrize("path", ["/fleet", "/fleet/chat-1", "/ui/fleet/gpus", "/ui/fleet/values", "/ui/fleet/table"])
def test_a_stranger_sees_none_of_it(tmp_path: Path, path: str) -> None:
    assert Browser(api_world(tmp_path)).page(path).status_code in (303, 401)


@pytest.mark.parametrize("query", ["colour=nothing", "by=nothing", "only=nothing", "events=nothing"])
def test_a_choice_that_is_not_known_is_the_usual_one(tmp_path: Path, query: str) -> None:
    browser = browser_of(tmp_path, Node("a").gpu(0).batch())
    assert browser.page(f"/fleet?{query}").status_code == 200


def test_shadow_pools_own_no_machine(tmp_path: Path) -> None:
    world: ApiWorld = api_world(tmp_path, store=told(Node("x").gpu(0).batch()))
    view = world.deps.board.pools()["chat"]
    shadow = PoolView(replace(view.rules, pool="chat shadow", shadow_of="chat"), NOW, fleet=view.fleet)
    world.deps.board.publish(shadow)
    assert layout(Browser(world).sign_in("viewer"))["pools"] == ["chat"]
