"""Pool signals asked of a real Prometheus and a real VictoriaMetrics: values, ages, what is missing, and the past."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from autoscaler.clock import SystemClock
from autoscaler.measure import newest
from autoscaler.movement import Bounds
from autoscaler.queries import queries
from autoscaler.ruleset import RuleSet, Signal
from autoscaler.store import Store
from autoscaler.types import Batch, Past, Query, Reading
from collectors.prometheus import Prometheus
from tests.peers.metricstores import Series, prometheus, victoriametrics
from tests.peers.pages import until

STEP_S = 5.0
SPAN_S = 900.0
NOW = SystemClock().now()
TIMES = np.arange(NOW - SPAN_S, NOW + SPAN_S, STEP_S)
"""On both sides of now: tests run a while after this line."""
OLD_S = 120.0


def steady(name: str, value: float, until_s: float = -SPAN_S) -> Series:
    return Series(name, tuple((at, value) for at in TIMES if at <= NOW - until_s))


def rising(name: str, per_s: float) -> Series:
    return Series(name, tuple((at, per_s * (at - TIMES[0])) for at in TIMES))


def at(instance: str, more: str = "", app: str = "chat") -> str:
    return f'{{app="{app}",instance="{instance}"{more}}}'


DATA = (
    *(steady(f"up{at(i)}", 1.0) for i in "ab"),
    steady(f"up{at('c', app='half')}", 1.0),
    steady(f"up{at('d', app='half')}", 0.0),
    steady(f"vllm:num_requests_waiting{at('a')}", 3.0),
    steady(f"vllm:num_requests_waiting{at('b')}", 5.0),
    steady(f"vllm:num_requests_waiting{at('c', app='half')}", 4.0),
    steady(f"vllm:num_requests_running{at('a')}", 8.0, until_s=OLD_S),
    # One cache under two names, as a release prints them that renames a metric.
    steady(f"vllm:kv_cache_usage_perc{at('a')}", 0.5),
    steady(f"vllm:gpu_cache_usage_perc{at('a')}", 0.5),
    steady(f"vllm:kv_cache_usage_perc{at('b')}", 0.7),
    # Ranks of one engine.
    *(
        steady(f"sglang:num_running_reqs{at('s', f',tp_rank={chr(34)}{rank}{chr(34)}', 'ranks')}", 6.0)
        for rank in "012"
    ),
    rising(f"vllm:generation_tokens_total{at('a')}", 40.0),
    rising(f"vllm:generation_tokens_total{at('b')}", 60.0),
    *(
        rising(f"vllm:time_to_first_token_seconds_bucket{at(i, f',le={chr(34)}{le}{chr(34)}')}", per_s)
        for i in "ab"
        for le, per_s in (("0.1", 5.0), ("0.5", 9.0), ("+Inf", 10.0))
    ),
    # A board's value on every MIG instance.
    *(
        steady(
            f"DCGM_FI_DEV_POWER_USAGE{at('n', f',UUID={chr(34)}G{chr(34)},GPU_I_ID={chr(34)}{g}{chr(34)}', 'mig')}",
            300.0,
        )
        for g in "123"
    ),
    steady(f"DCGM_FI_DEV_GPU_UTIL{at('n', ',UUID=' + chr(34) + 'G' + chr(34), 'gpu')}", 80.0),
    steady(f"nv_inference_queue_duration_us{at('t', '', 'triton')}", 2e6),
    rising('orders_total{shop="x"}', 2.0),
    rising('orders_total{shop="y"}', 3.0),
)


@pytest.fixture(scope="module", params=["prometheus", "victoriametrics"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    start: Callable[..., Any] = {"prometheus": prometheus, "victoriametrics": victoriametrics}[request.param]
    # Other tests may have run for minutes since this module was read, and stores look back five.
    late_s = SystemClock().now() - NOW
    data = tuple(replace(one, points=tuple((when + late_s, value) for when, value in one.points)) for one in DATA)
    with start(data, tmp_path_factory.mktemp(request.param)) as url:
        yield url


@contextmanager
def asking(url: str, *wanted: Query, **settings: Any) -> Iterator[Prometheus]:
    collector = Prometheus(SystemClock(), url, lambda: wanted, interval_s=0.2, **settings)
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()


def rules(*signals: Signal, app: str = "chat") -> RuleSet:
    return RuleSet("chat", Bounds(1, 9), match=(("app", app),), signals=signals, tick_s=5.0)


def read(url: str, *signals: Signal, app: str = "chat", **settings: Any) -> dict[str, Reading]:
    """Each signal through the collector and the store, as of now, once every query has an answer or an error."""
    ruled, store, clock = rules(*signals, app=app), Store(None), SystemClock()
    with asking(url, *queries(ruled), backfill_s=0.0, **settings) as collector:
        until(lambda: all(s.answers + s.failures for s in collector.status()) and collector.status(), "answers")
        for found in collector.collect(clock.now()):
            assert isinstance(found, Batch)
            store.add(found)
    now = clock.now()
    return {name: newest(frame, now) for name, frame in store.read(ruled, now).items()}


def asked(promql: str) -> Signal:
    return Signal("it", promql=promql, max_age_s=1e4)


def metric(name: str, aggregate: Any = "sum", **more: Any) -> Signal:
    return Signal("it", metric=name, aggregate=aggregate, max_age_s=1e4, **more)


@pytest.mark.parametrize(
    ("app", "signal", "expected"),
    [
        pytest.param("chat", metric("requests_waiting"), 8.0, id="a sum over the targets"),
        pytest.param("chat", metric("requests_waiting", "mean"), 4.0, id="their mean"),
        pytest.param("chat", metric("requests_waiting", "max"), 5.0, id="their maximum"),
        pytest.param("chat", metric("requests_waiting", "min"), 3.0, id="their minimum"),
        pytest.param("chat", metric("requests_waiting", "count"), 2.0, id="how many they are"),
        pytest.param("chat", metric("requests_waiting", "quantile", quantile=0.5), 4.0, id="a quantile across them"),
        pytest.param("chat", metric("kv_cache_used_ratio", "mean"), 0.6, id="two names of one metric are not added"),
        pytest.param("ranks", metric("requests_running"), 6.0, id="ranks of one engine count once"),
        pytest.param("chat", metric("generation_tokens_total", rate_s=60.0), 100.0, id="a rate, summed"),
        pytest.param("chat", metric("time_to_first_token_seconds", quantile=0.9, over_s=60.0), 0.5, id="a quantile"),
        pytest.param("mig", metric("gpu_power_watts"), 300.0, id="a board's power counts once under MIG"),
        pytest.param("gpu", metric("gpu_busy_ratio", "mean"), 0.8, id="a percentage is a ratio here"),
        pytest.param("triton", metric("request_queue_time_seconds_sum"), 2.0, id="microseconds are seconds here"),
        pytest.param("chat", asked("sum(rate(orders_total[1m]))"), 5.0, id="a query that a person wrote"),
        pytest.param("chat", asked("scalar(sum(rate(orders_total[1m])))"), 5.0, id="a scalar"),
    ],
)
def test_a_signal_is_aggregated_where_the_data_lie(server: str, app: str, signal: Signal, expected: float) -> None:
    reading = read(server, signal, app=app)["it"]
    assert reading.quality == "fresh", reading.detail
    assert reading.value == pytest.approx(expected, rel=0.02)


def test_a_silent_target_makes_the_answer_partial_with_bounds(server: str) -> None:
    reading = read(server, metric("requests_waiting"), app="half")["it"]
    assert (reading.quality, reading.value) == ("partial", 4.0)
    assert (reading.lower, reading.upper) == (4.0, 8.0)
    assert "some targets of the pool do not answer" in reading.detail


def test_an_answer_is_as_old_as_its_newest_sample_not_as_the_question(server: str) -> None:
    reading = read(server, replace(metric("requests_running"), max_age_s=None))["it"]
    assert reading.quality == "stale"
    assert SystemClock().now() - reading.at >= OLD_S - STEP_S


@pytest.mark.parametrize(
    ("signal", "why"),
    [
        pytest.param(Signal("it", promql="sum(no_such_metric)"), "the query finds no series", id="no such series"),
        pytest.param(
            Signal("it", promql="vllm:num_requests_waiting"), "wrap it in sum(...)", id="more series than a number has"
        ),
        pytest.param(Signal("it", promql="sum(rate(orders_total[1m])"), "refuses the query", id="not PromQL"),
        pytest.param(
            Signal("it", metric="gpu_sm_active_ratio"), "no target of the pool has this metric", id="no metric"
        ),
        pytest.param(Signal("it", promql="sum(orders_total) / 0"), "a division by nothing", id="no finite number"),
    ],
)
def test_what_gives_no_number_is_missing_and_says_why(server: str, signal: Signal, why: str) -> None:
    ruled = rules(signal)
    store, clock = Store(None), SystemClock()
    with asking(server, *queries(ruled), backfill_s=0.0) as collector:
        until(lambda: any(s.error != "not asked yet" for s in collector.status()), "an answer")
        (status,) = collector.status()
        for found in collector.collect(clock.now()):
            assert isinstance(found, Batch)
            store.add(found)
    assert why in status.error
    assert newest(store.read(ruled, clock.now())["it"], clock.now()).quality == "missing"


def test_the_past_of_a_signal_is_read_once_and_fills_the_history(server: str) -> None:
    signal = metric("requests_waiting")
    ruled, store, clock = rules(signal), Store(None), SystemClock()
    (query,) = queries(ruled)
    with asking(server, query, backfill_s=600.0) as collector:
        found: list[Batch | Past] = []

        def more() -> object:
            found.extend(collector.collect(clock.now()))
            return collector.status() and collector.status()[0].answers >= 3

        until(more, "three answers")
    pasts = [f for f in found if isinstance(f, Past)]
    assert len(pasts) == 1
    assert store.fill(pasts[0]) == pytest.approx(600.0, rel=0.05)
    times, values = store.history("chat", "it", NOW - SPAN_S, NOW + SPAN_S)
    assert set(values.tolist()) == {8.0}
    assert np.diff(times).max() <= 2.0


def test_signals_in_metrics_are_left_alone_without_push_down(server: str) -> None:
    wanted = queries(rules(metric("requests_waiting"), Signal("orders", promql="sum(orders_total)")))
    with asking(server, *wanted, push_down=False) as collector:
        until(lambda: any(s.answers for s in collector.status()), "an answer")
        assert [s.signal for s in collector.status()] == ["orders"]
