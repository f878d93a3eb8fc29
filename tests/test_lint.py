"""What is legal and unwise is said, once, with the reason; what is sound is not."""

from __future__ import annotations

import pytest

from autoscaler.errors import Fault
from autoscaler.rulefile.reader import Defaults, check_text

HEAD = "pool: chat\nlimits: {min: 1, max: 9}\nreplica: {gpus: 0}\noffers: {from: [{local: {lead_time: 2m}}]}\n"
SIGNALS = """signals:
  gpu: {metric: gpu_sm_active_ratio, aggregate: mean}
  cache: {metric: kv_cache_used_ratio, aggregate: mean}
  memory: {metric: gpu_memory_used_bytes}
  queue: {metric: requests_waiting}
  load: {metric: requests_arrived_total, rate: 1m}
"""
TARGET = "  - {name: size, target: {signal: load, per_replica: 10}}\n"


def warnings(text: str, *, head: str = HEAD, defaults: Defaults | None = None) -> tuple[Fault, ...]:
    checked = check_text(head + text, file="chat.yaml", defaults=defaults)
    assert checked.errors == ()
    assert all(w.severity == "warning" for w in checked.warnings)
    return checked.warnings


def step(when: str, more: str = "cooldown: 2m") -> str:
    return f"  - {{name: step, when: {when}, scale_out: {{by: 1}}, {more}}}\n"


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        pytest.param(
            SIGNALS + "rules:\n" + step("{gpu: {above: 85%}}") + "scale_in: {when: {gpu: {below: 20%}}}\n",
            "rules",
            "only gpu (gpu_sm_active_ratio) can scale out, which says nothing more once it is at its limit; "
            "add a rule on requests_waiting or requests_arrived_total",
            id="a saturating signal alone",
        ),
        pytest.param(
            SIGNALS
            + "rules:\n"
            + step("{any: [{gpu: {above: 85%}}, {cache: {above: 90%}}]}")
            + TARGET.replace("load", "gpu").replace("10", "0.5"),
            "rules",
            "only cache (kv_cache_used_ratio), gpu (gpu_sm_active_ratio) can scale out, which says nothing more once "
            "it is at its limit; add a rule on requests_waiting or requests_arrived_total",
            id="several saturating signals are no better",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + step("{queue: {above: 50}}") + "scale_in: {when: {memory: {below: 20GiB}}}\n",
            "scale_in.when.memory",
            "memory does not fall when load does: engines keep their memory; scale in by load instead",
            id="memory as a signal to scale in",
        ),
        pytest.param(
            SIGNALS + "rules:\n  - {name: size, target: {signal: memory, per_replica: 80GiB}}\n",
            "rules[0].target.signal",
            "memory does not fall when load does: engines keep their memory; size by load",
            id="memory as a target",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + step("{queue: {above: 50}}") + "scale_in: {when: {queue: {below: 48}}}\n",
            "scale_in.when.queue.below",
            "48 is inside the dead band below 50, where queue scales out; fewer replicas would cross it again, "
            "write less than 45",
            id="a scale-in threshold inside the dead band",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + TARGET + step("{queue: {above: 50}}", "cooldown: 30s"),
            "rules[1].cooldown",
            "30s is short: the rule orders again before its first order serves, which takes 2m; "
            "write cooldown: 2m, or state the offer's lead_time",
            id="a cooldown shorter than the lead time",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + TARGET + step("{queue: {above: 50}}", "alert: info"),
            "rules[1]",
            "has no cooldown: the rule orders again before its first order serves, which takes 2m; "
            "write cooldown: 2m, or state the offer's lead_time",
            id="no cooldown at all",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + step("{queue: {above: 50}}"),
            "rules",
            "step rules alone never scale in, so the pool only grows; add a rule with a target, or scale_in.when",
            id="nothing scales in",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + TARGET + "scale_in: {when: {queue: {below: 1}}}\n",
            "scale_in.when",
            "has no effect: the target already says how few replicas are enough; remove it",
            id="scale_in.when beside a target",
        ),
        pytest.param(
            "signals: {queue: {metric: requests_waitng}}\n",
            "signals.queue.metric",
            "requests_waitng is not a metric that a collector provides; did you mean requests_waiting?",
            id="a metric that no collector provides",
        ),
        pytest.param(
            "signals: {orders: {metric: shop_orders_open}}\n",
            "signals.orders.metric",
            "shop_orders_open is not a metric that a collector provides; "
            "it counts as long as a target exports that very name",
            id="a metric of one's own",
        ),
        pytest.param(
            "signals: {gpu: {metric: gpu_sm_active_ratio}}\n",
            "signals.gpu.metric",
            "gpu_sm_active_ratio is a share, and shares of several series are added up unless you say otherwise; "
            "write aggregate: mean",
            id="a sum of shares that nobody asked for",
        ),
        pytest.param(
            "alerts: [{each: gpu_powr_watts, outside: 3 sigma}]\n",
            "alerts[0].each",
            "gpu_powr_watts is not a metric that a collector provides; did you mean gpu_power_watts?",
            id="an alert on a misspelt metric",
        ),
    ],
)
def test_what_is_unwise_is_a_warning(text: str, where: str, message: str) -> None:
    assert [(w.where, w.text) for w in warnings(text)] == [(where, message)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SIGNALS + "rules:\n" + TARGET, id="a target on arrivals"),
        pytest.param(
            SIGNALS + "rules:\n" + TARGET + step("{gpu: {above: 85%}}"), id="a saturating signal beside a true demand"
        ),
        pytest.param(
            SIGNALS + "rules:\n" + TARGET + step("{all: [{gpu: {above: 85%}}, {queue: {above: 50}}]}"),
            id="a saturating signal together with a queue",
        ),
        pytest.param(
            SIGNALS + "rules:\n" + step("{queue: {above: 50}}") + "scale_in: {when: {queue: {below: 20}}}\n",
            id="thresholds that are far apart",
        ),
        pytest.param(SIGNALS + "rules: [{name: a, when: {gpu: {above: 85%}}, alert: info}]\n", id="a mere alert"),
    ],
)
def test_what_is_sound_is_not_warned_about(text: str) -> None:
    assert warnings(text) == ()


def test_the_prior_of_an_offer_is_its_lead_time_when_it_states_none() -> None:
    head = HEAD.replace("lead_time: 2m", "ready: /health")
    (warning,) = warnings(SIGNALS + "rules:\n" + TARGET + step("{queue: {above: 50}}", "cooldown: 5m"), head=head)
    assert warning.text.startswith("5m is short: the rule orders again before its first order serves, which takes 6m")


def test_a_pool_that_can_launch_nothing_is_warned_about() -> None:
    (warning,) = warnings("", head="pool: chat\nlimits: {max: 9}\n")
    assert (warning.where, warning.line) == ("offers", 1)
    assert warning.text.startswith("nothing can be launched")


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        pytest.param("gke", "no provider gke is installed, so nothing is launched by it", id="an unknown cloud"),
        pytest.param(
            "locall",
            "no provider locall is installed, so nothing is launched by it; did you mean local?",
            id="a slip of a known one",
        ),
    ],
)
def test_an_offer_of_a_provider_that_is_not_installed_is_warned_about(provider: str, message: str) -> None:
    head = f"pool: chat\nlimits: {{max: 3}}\noffers: {{from: [{{{provider}: {{type: g, region: us-east-1}}}}]}}\n"
    found = warnings(SIGNALS + "rules:\n" + TARGET, head=head)
    assert [(f.where, f.text) for f in found if "installed" in f.text] == [(f"offers.from[0].{provider}", message)]
