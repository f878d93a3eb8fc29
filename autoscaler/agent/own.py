"""What the agent says about itself: proof of what it costs, and of what it lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from autoscaler.agent.families import head, number, prefix
from autoscaler.ownmetrics import PREFIX, Metric
from autoscaler.types import Labels

METRICS: tuple[Metric, ...] = (
    Metric("agent_build_info", "gauge", "1, with the version that runs.", ("version",)),
    Metric("agent_process_cpu_seconds_total", "counter", "CPU time of the agent itself, user and system."),
    Metric("agent_process_resident_memory_bytes", "gauge", "Resident memory of the agent itself."),
    Metric("agent_process_threads", "gauge", "Threads of the agent itself."),
    Metric("agent_process_open_fds", "gauge", "File descriptors that the agent holds open."),
    Metric("agent_collect_duration_seconds", "gauge", "Time that the last round over all collectors took here."),
    Metric("agent_collect_failures_total", "counter", "Rounds in which a collector broke.", ("collector",)),
    Metric("agent_collector_state", "gauge", "1, with the state that a collector reports.", ("collector", "state")),
    Metric("agent_metric_availability", "gauge", "GPUs and metrics by whether they can be had.", ("availability",)),
    Metric("agent_gpu_caps", "gauge", "GPUs by whether what was asked to be set on them is set.", ("outcome",)),
    Metric("agent_sample_age_seconds", "gauge", "Time since a source last spoke; the oldest of its GPUs.", ("source",)),
    Metric("agent_series", "gauge", "Series that are known now."),
    Metric("agent_series_refused_total", "counter", "Series that came when there were too many already."),
    Metric("agent_requests_total", "counter", "Answered HTTP requests by status.", ("code",)),
    Metric("agent_connections", "gauge", "HTTP connections that are open now."),
    Metric("agent_connections_refused_total", "counter", "Connections beyond the limit, which were closed."),
    Metric("agent_render_duration_seconds", "gauge", "Time that rendering the last page took."),
    Metric("agent_pushes_total", "counter", "Pushes to the service by what became of them.", ("outcome",)),
    Metric("agent_pushed_samples_total", "counter", "Samples that the service took."),
    Metric("agent_push_dropped_total", "counter", "Pushes that were thrown away because too many waited."),
    Metric("agent_push_queue", "gauge", "Pushes that wait for the service."),
)

Point = tuple[str, tuple[str, ...], float]
"""Name without prefix, label values in the order of the table, value."""
_BY_NAME = {metric.name: metric for metric in METRICS}


@dataclass(slots=True)
class Counts:
    """What the agent counts while it runs. Each number is written by one thread only."""

    collect_s: float = 0.0
    render_s: float = 0.0
    collector_failures: dict[str, int] = field(default_factory=dict)


def render(points: Iterable[Point], labels: Labels) -> str:
    """The page of the agent's own metrics, each with these labels too (those of the node)."""
    found: dict[str, list[str]] = {}
    for name, values, value in points:
        metric = _BY_NAME[name]
        pairs = tuple(sorted({**dict(labels), **dict(zip(metric.labels, values, strict=True))}.items()))
        found.setdefault(name, []).append(f"{prefix(metric.full_name, pairs)}{number(float(value))}\n")
    return "".join(
        head(metric.full_name, metric.kind, metric.help) + "".join(found[metric.name])
        for metric in METRICS
        if metric.name in found
    )


def process_points(version: str) -> Iterable[Point]:
    """What this process uses, as far as the kernel tells: a container without /proc says nothing of it."""
    import psutil

    yield "agent_build_info", (version,), 1.0
    try:
        process = psutil.Process()
        with process.oneshot():
            times = process.cpu_times()
            used = (
                ("cpu_seconds_total", round(times.user + times.system, 2)),
                ("resident_memory_bytes", process.memory_info().rss),
                ("threads", process.num_threads()),
                ("open_fds", process.num_fds()),
            )
    except (psutil.Error, OSError):
        return
    for name, value in used:
        yield f"agent_process_{name}", (), value


def reference() -> Sequence[str]:
    """The rows of the table in docs/agent.md."""
    return [f"| `{PREFIX}{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.help.removesuffix('.')} |" for m in METRICS]
