"""What people choose at the top of a dashboard, and marks on its graphs."""

from __future__ import annotations

from autoscaler.dashboards.panels import Note, Variable

POOLS = Variable(
    "pool",
    "Pool",
    "Pools of the service; All is every one of them.",
    "label_values(sigmascale_pool_max_replicas, pool)",
)
POOL = Variable(
    "pool", "Pool", "The pool that this page is about.", "label_values(sigmascale_pool_max_replicas, pool)", multi=False
)
SIGNAL = Variable(
    "signal",
    "Signal",
    "The signal that is drawn with its band.",
    'label_values(sigmascale_signal_quality{pool="$pool"}, signal)',
    multi=False,
)
HOST = Variable("host", "Host", "Machines with GPUs of these pools.", 'label_values(gpu_up{pool=~"$pool"}, host)')
INSTANCE = Variable(
    "instance", "Instance", "Services that are scraped.", "label_values(sigmascale_build_info, instance)"
)
PROVIDER = Variable(
    "provider", "Provider", "Where machines come from.", "label_values(sigmascale_provider_calls_total, provider)"
)


def or_zero(expr: str, pool: str = 'pool=~"$pool"') -> str:
    """0 for a pool that the service knows and that has no such series; nothing while the service is not heard."""
    return f"({expr}) or 0 * max by (pool) (sigmascale_pool_max_replicas{{{pool}}})"


def none_is_zero(expr: str) -> str:
    """0 while nothing of it is exported by a service that is heard; nothing while it is not."""
    return f"({expr}) or 0 * sum(sigmascale_build_info)"


def _changes(direction: str, color: str) -> Note:
    counter = f'sigmascale_decision_changes_total{{pool=~"$pool", direction="{direction}"}}'
    return Note(
        f"Scale {direction}",
        f"max by (pool) (increase({counter}[1m])) > 0",
        color,
        f"Scale {direction}: {{{{pool}}}}",
        f"The wanted size of {{{{pool}}}} went {'up' if direction == 'out' else 'down'}; "
        "the decision's reasons are on the pool's page of the service.",
    )


NOTES = (
    _changes("out", "blue"),
    _changes("in", "purple"),
    Note(
        "Alerts of pools",
        'max by (pool, severity) (sigmascale_alerts{pool=~"$pool", state="firing"}) > 0',
        "red",
        "Alert: {{pool}}",
        "At least one {{severity}} alert of {{pool}} fires.",
        shown=False,
    ),
    Note(
        "GPU faults",
        'sum by (pool, host, xid) (increase(gpu_xid_events_total{pool=~"$pool"}[1m])) > 0',
        "orange",
        "XID {{xid}} on {{host}}",
        "A GPU of {{pool}} on {{host}} reported XID {{xid}}.",
    ),
    Note(
        "Interruption notices",
        'max by (pool, host) (instance_interruption_timestamp_seconds{pool=~"$pool"}) > 0',
        "yellow",
        "Interruption: {{host}}",
        "The cloud announced that it takes {{host}} of {{pool}} back.",
    ),
    Note(
        "Service started",
        "max by (instance) (resets(sigmascale_ticks_total[1m])) > 0",
        "text",
        "Start of {{instance}}",
        "The service on {{instance}} was started anew.",
    ),
)
