"""What rules ask for and nothing gives, and what cannot be what its name says, is told with the next step."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from autoscaler.movement import Bounds
from autoscaler.presence import Finding, Given, check, gone
from autoscaler.ruleset import RuleSet, Signal
from collectors.pages.hints import how_to_get

NOW = 10_000.0
HERE = Given(series=2, newest_at=NOW - 5, least=0.0, most=1.0)
QUEUE = Signal("queue", "requests_waiting")
BUSY = Signal("gpu", "gpu_busy_ratio", aggregate="mean")
LOAD = Signal("load", "requests_arrived_total", rate_s=60.0)
SLOW = Signal("ttft", "time_to_first_token_seconds", quantile=0.99, over_s=60.0)


def rules(*signals: Signal, **more: object) -> RuleSet:
    return replace(RuleSet("chat", Bounds(1, 9), signals=signals, hash="h"), **more)  # type: ignore[arg-type]


def findings(
    signal: Signal,
    given: Given,
    *,
    there: set[str] | None = None,
    known: bool = False,
    value: float | None = None,
    hint: bool = False,
    **more: object,
) -> list[tuple[str, str]]:
    found = check(
        rules(signal, **more),
        {signal.name: given},
        there or set(),
        {signal.name} if known else set(),
        {signal.name: value},
        NOW,
        how_to_get if hint else lambda _: "",
    )
    assert all((f.pool, f.signal) == ("chat", signal.name) for f in found)
    return [(f.kind, f.text) for f in found]


# --- nothing gives it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "given", "there", "text"),
    [
        pytest.param(
            Signal("queue", "request_waiting"),
            Given(),
            {"requests_waiting", "requests_running"},
            "no target of pool chat gives request_waiting; the nearest that is there is requests_waiting",
            id="a name that is nearly there",
        ),
        pytest.param(
            Signal("queue", "request_waiting"),
            Given(),
            set(),
            "no target of pool chat gives request_waiting; did you mean requests_waiting?",
            id="a name that is nearly canonical",
        ),
        pytest.param(
            Signal("orders", "zzz"),
            Given(),
            set(),
            "no target of pool chat gives zzz; nothing near it is there",
            id="a name of one's own",
        ),
        pytest.param(
            replace(QUEUE, where=(("instance", "gateway"),)),
            Given(elsewhere=3),
            {"requests_waiting"},
            "3 series of requests_waiting are there, none of them with instance=gateway; compare the labels, "
            "`sigmascale signals --all`",
            id="a label that none has",
        ),
        pytest.param(
            QUEUE,
            Given(elsewhere=3),
            {"requests_waiting"},
            "3 series of requests_waiting are there without the label pool; write `match` into the rule file, or label "
            "the target",
            id="series without a pool",
        ),
        pytest.param(
            QUEUE,
            Given(series=2),
            {"requests_waiting"},
            "requests_waiting is there without a value; its source says that it has none now",
            id="series without any value",
        ),
        pytest.param(
            Signal("orders", promql="sum(orders)"),
            Given(answered=True),
            set(),
            "no collector has answered its query; configure one such as `prometheus`",
            id="a query that nobody answers",
        ),
        pytest.param(
            Signal("orders", promql="sum(orders)"),
            Given(answered=True, problem="the query gives 5 series; wrap it in sum(...)"),
            set(),
            "no collector has answered its query; the query gives 5 series; wrap it in sum(...)",
            id="a query whose store says why not",
        ),
        pytest.param(
            QUEUE,
            Given(strays=("caht",)),
            set(),
            "no target of pool chat gives requests_waiting; those labelled pool=caht do, and no rule file has that pool"
            "; label them pool=chat, or add the rule file",
            id="targets whose pool is misspelt",
        ),
    ],
)
def test_an_absent_signal_is_told_with_the_likeliest_next_step(
    signal: Signal, given: Given, there: set[str], text: str
) -> None:
    assert findings(signal, given, there=there) == [("absent", text)]


@pytest.mark.parametrize(
    ("metric", "step"),
    [
        ("requests_waiting", "sglang: start the server with --enable-metrics"),
        ("gpu_sm_active_ratio", "line `DCGM_FI_PROF_SM_ACTIVE, gauge, "),
        ("gpu_ecc_uncorrected_total", "line `DCGM_FI_DEV_ECC_DBE_VOL_TOTAL, counter, "),
        ("time_to_first_token_seconds", "--metrics-config histogram_latencies=true"),
        ("kv_cache_used_ratio", "given by vllm, sglang, trtllm, triton, dynamo, nim"),
        ("host_cpu_ratio", "the agent or the collector `host` gives it"),
        ("gpu_utilization", "line `DCGM_FI_DEV_GPU_UTIL, gauge, "),
    ],
)
def test_the_switch_that_a_source_needs_is_named(metric: str, step: str) -> None:
    ((kind, text),) = findings(Signal("s", metric), Given(), hint=True)
    assert kind == "absent"
    assert step in text


def test_a_forecast_is_not_looked_for() -> None:
    ahead = Signal("ahead", forecast="load")
    assert check(rules(ahead), {"ahead": Given()}, (), (), {}, NOW) == ()


def test_a_quantile_of_something_without_buckets_is_told_as_such() -> None:
    text = "time_to_first_token_seconds has no buckets, so it has no quantiles over time; name a histogram, or leave "
    assert findings(SLOW, Given(plain=2)) == [("kind", text + "`over` out")]


# --- it was there -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newest_at", "expected"),
    [
        pytest.param(NOW - 299.0, False, id="within what may be held"),
        pytest.param(NOW - 301.0, True, id="for longer than may be held"),
        pytest.param(math.nan, True, id="its series are forgotten"),
    ],
)
def test_a_signal_is_gone_when_it_is_older_than_may_be_held(newest_at: float, expected: bool) -> None:
    assert gone(QUEUE, Given(series=1, newest_at=newest_at), NOW) is expected


def test_a_signal_that_was_there_disappears_and_is_not_called_absent() -> None:
    old = Given(series=1, newest_at=NOW - 600.0)
    text = "requests_waiting was there and has had no value for 10 min; see which targets answer, GET /api/v1/targets"
    assert findings(QUEUE, old, known=True) == [("disappeared", text)]
    assert findings(QUEUE, old, known=False) == []
    assert findings(QUEUE, HERE, known=True) == []


# --- it cannot be what its name says ------------------------------------------------------------------------------


def shown(signal: Signal, most: float, least: float = 0.0, value: float | None = None) -> list[str]:
    return [text for _, text in findings(signal, replace(HERE, most=most, least=least), value=value)]


@pytest.mark.parametrize(
    ("signal", "most", "words"),
    [
        pytest.param(BUSY, 87.0, "a share from 0 to 1 and shows 87; the source prints percent", id="a percentage"),
        pytest.param(BUSY, 4096.0, "the source prints no share at all", id="no share at all"),
        pytest.param(Signal("t", "model_load_seconds", aggregate="max"), 1.7e9, "a time stamp", id="a time stamp"),
        pytest.param(Signal("t", "gpu_temperature_celsius"), 310.0, "it must be kelvin", id="kelvin"),
        pytest.param(Signal("p", "gpu_power_watts"), 350_000.0, "it must be milliwatts", id="milliwatts"),
    ],
)
def test_a_value_that_cannot_be_in_its_unit_is_told(signal: Signal, most: float, words: str) -> None:
    (text,) = shown(signal, most)
    assert words in text
    assert text.startswith(str(signal.metric))


@pytest.mark.parametrize(
    ("signal", "most"),
    [
        pytest.param(BUSY, 1.294, id="a share of a MIG instance"),
        pytest.param(replace(BUSY, aggregate="sum"), 1.0, id="a sum of shares is no share"),
        pytest.param(QUEUE, 1e6, id="a long queue"),
        pytest.param(Signal("t", "model_load_seconds"), 900.0, id="a slow load"),
        pytest.param(Signal("o", "orders_ratio"), 87.0, id="a metric that is not ours"),
    ],
)
def test_what_may_be_is_not_told(signal: Signal, most: float) -> None:
    assert shown(signal, most) == []


def test_a_latency_in_milliseconds_is_told_from_its_quantile() -> None:
    buckets = Given(series=9, counters=9, newest_at=NOW, least=0.0, most=1e7)
    ((kind, text),) = findings(SLOW, buckets, value=2.5e5)
    assert (kind, "seems to print milliseconds" in text) == ("unit", True)
    assert findings(SLOW, buckets, value=2.5) == []


def test_a_negative_queue_is_told() -> None:
    (text,) = shown(QUEUE, 3.0, least=-1.0)
    assert text == "requests_waiting shows -1; requests are never negative"


@pytest.mark.parametrize(
    ("signal", "counters", "words"),
    [
        pytest.param(replace(QUEUE, rate_s=60.0), 0, "is a gauge, and a rate needs a counter", id="a rate of a gauge"),
        pytest.param(replace(LOAD, rate_s=None), 2, "whose value only rises", id="a counter as it is"),
    ],
)
def test_a_counter_taken_for_a_gauge_and_the_reverse_are_told(signal: Signal, counters: int, words: str) -> None:
    ((kind, text),) = findings(signal, replace(HERE, counters=counters))
    assert kind == "kind"
    assert words in text


@pytest.mark.parametrize(
    ("signal", "given"),
    [
        pytest.param(LOAD, replace(HERE, counters=2), id="a rate of a counter"),
        pytest.param(replace(LOAD, rate_s=None, aggregate="count"), replace(HERE, counters=2), id="a count of series"),
        pytest.param(LOAD, replace(HERE, answered=True), id="a store that answers with the rate itself"),
        pytest.param(QUEUE, HERE, id="a gauge as it is"),
    ],
)
def test_a_sound_use_of_a_series_is_not_told(signal: Signal, given: Given) -> None:
    assert findings(signal, given) == []


def test_a_finding_is_a_value_that_says_whether_rules_have_nothing_to_read() -> None:
    assert Finding("chat", "queue", "absent", "t").absent
    assert Finding("chat", "queue", "disappeared", "t").absent
    assert not Finding("chat", "queue", "unit", "t").absent
