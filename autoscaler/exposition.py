"""The page of the service's own metrics: the table of `ownmetrics.py`, filled.

Nothing is counted here: a page is rendered from the board and from what the parts of the service count anyway.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from autoscaler import poolmetrics, spending
from autoscaler.board import Board, PoolView
from autoscaler.counts import Counts
from autoscaler.measure import OUTLOOK_MAX_AGE_S, ahead_s, growth_at
from autoscaler.ownmetrics import METRICS
from autoscaler.poolmetrics import Point
from autoscaler.ruleset import RuleSet
from autoscaler.types import Learned, Mark, Memory, Override, Quality, Rolling, RollState

NOTHING = Learned()


@dataclass(frozen=True, slots=True)
class Moment:
    """Everything else that a page says."""

    now: float
    version: str
    overrides: Sequence[Override] = ()
    rule_problems: int = 0
    marks: Sequence[Mark] = ()


def render(board: Board, counts: Counts, moment: Moment) -> bytes:
    """The page in Prometheus's text format 0.0.4, every metric of the table with help and type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Page(board, counts, moment))
    return generate_latest(registry)


@dataclass(frozen=True, slots=True, eq=False)
class _Page(Collector):
    """One page's families, in the order of the table."""

    board: Board
    counts: Counts
    moment: Moment

    def collect(self) -> Iterable[Family]:
        points: dict[str, dict[tuple[str, ...], float]] = {metric.name: {} for metric in METRICS}
        counted = (_loop(self.counts), _samples(self.counts), _pushes(self.counts), _shadows(self.counts))
        for part in (self._pools(), *counted, _process(self.moment)):
            for name, labels, value in part:
                # Parts of the same name, such as two receivers on one host, are one series: their sum.
                points[name][labels] = points[name].get(labels, 0.0) + value
        for metric in METRICS:
            shape = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = shape(metric.full_name, metric.help, labels=metric.labels)
            for labels, value in sorted(points[metric.name].items()):
                family.add_metric(labels, value)
            yield family

    def _pools(self) -> Iterator[Point]:
        for pool, view in self.board.pools().items():
            if view.rules.shadow_of:  # nothing imagined counts in a sum over pools
                continue
            for name, value in _pool_numbers(view, self.moment.now):
                yield name, (pool,), value
            yield from _roll_numbers(pool, view.rolling)
            for direction in ("out", "in"):  # 0 from the start, since a first change from nothing is no increase
                yield "decision_changes_total", (pool, direction), 0.0
            yield from _signal_numbers(pool, view)
            learned = self.counts.learned.get(pool, NOTHING)
            yield from poolmetrics.numbers(pool, view, learned, self.moment.now)
            absent = {f.signal for f in self.counts.findings.get(pool, ()) if f.absent}
            for signal in view.rules.signals:
                yield "signal_absent", (pool, signal.name), float(signal.name in absent)
            yield from _learned_numbers(pool, view, learned, self.moment.now)
            for (severity, state), count in Counter((a.severity, a.state) for a in view.alerts).items():
                yield "alerts", (pool, severity, state), count
        yield from poolmetrics.providers(self.board.pools())
        for one in self.board.ownerless.values():
            yield "ownerless_instances", (one.pool,), len(one.instances)
        for (pool, kind), count in Counter((o.pool, o.kind) for o in self.moment.overrides).items():
            yield "overrides", (pool, kind), count
        for (pool, mark), count in Counter((m.pool, m.kind) for m in self.moment.marks).items():
            yield "marked_instances", (pool, mark), count


def _pool_numbers(view: PoolView, now: float) -> Iterator[tuple[str, float]]:
    yield "pool_min_replicas", view.rules.bounds.min
    yield "pool_max_replicas", view.rules.bounds.max
    yield "pool_tick_timestamp_seconds", view.at
    yield "pool_error", float(bool(view.error))
    if view.memory is not None:
        yield "pool_orphans", len(view.memory.owned.strange) + len(view.memory.owned.swept)
    if view.decision is not None:
        yield "decisions_total", view.decision.number
        yield "pool_wanted_replicas", view.decision.want
        held_until = view.decision.next_change_at
        yield "pool_held", float(held_until is not None and held_until > now)
    if view.plan is not None and view.plan.warm is not None:
        yield "pool_warm_wanted_replicas", view.plan.warm
    if view.fleet is not None:
        for state in ("ready", "pending", "draining", "warm", "failed"):
            yield f"pool_{state}_replicas", sum(i.replicas for i in view.fleet.instances if i.state == state)
        paid = (i for i in view.fleet.instances if i.state in ("ready", "pending", "draining"))
        yield "pool_spot_replicas", sum(i.replicas for i in paid if i.offer.endswith("/spot"))
        yield "pool_cost_usd_per_hour", view.fleet.usd_per_hour
        yield "pool_fleet_age_seconds", max(0.0, now - view.fleet.observed_at)
    if view.memory is not None:
        yield from _guard_numbers(view.rules, view.memory, now)


def _guard_numbers(rules: RuleSet, memory: Memory, now: float) -> Iterator[tuple[str, float]]:
    """What keeps the pool from growing, or from replacing what it has."""
    yield "pool_spent_usd", spending.of_day(memory.spending, now)
    most, _ = spending.most(rules.bounds, memory.spending, now)
    if math.isfinite(most):
        yield "pool_budget_usd_per_hour", most
    if rules.bounds.usd_per_day is not None:
        yield "pool_budget_usd_per_day", rules.bounds.usd_per_day
    yield "pool_launches", sum(n for at, n in memory.launches if at > now - 3600.0)
    yield "pool_offers_short", len(memory.shortages)
    yield "pool_quotas_reached", sum(q.most <= q.had for q in memory.quotas.values())
    yield "pool_halted", float(memory.halted_since is not None)


def _roll_numbers(pool: str, rolling: Rolling | None) -> Iterator[Point]:
    if rolling is None:
        return
    yield "roll_instances", (pool, "left"), len(rolling.old)
    yield "roll_instances", (pool, "gone"), rolling.gone
    for state in get_args(RollState):
        yield "roll_state", (pool, state), float(state == rolling.state)


def _signal_numbers(pool: str, view: PoolView) -> Iterator[Point]:
    if view.decision is None:
        return
    for signal, reading in view.decision.readings.items():
        if reading.value is not None:
            yield "signal_value", (pool, signal), reading.value
        if reading.quality != "missing":
            yield "signal_age_seconds", (pool, signal), max(0.0, view.decision.at - reading.at)
        for quality in get_args(Quality):
            yield "signal_quality", (pool, signal, quality), float(quality == reading.quality)


def _learned_numbers(pool: str, view: PoolView, learned: Learned, now: float) -> Iterator[Point]:
    readings = view.decision.readings if view.decision is not None else {}
    for signal in view.rules.signals:
        outlook = learned.outlooks.get(signal.name)
        level = readings.get(signal.forecast or "")
        if outlook is None:
            continue
        yield "forecast_age_seconds", (pool, signal.name), max(0.0, now - outlook.at)
        if level is None or level.value is None or now - outlook.at > OUTLOOK_MAX_AGE_S:
            continue
        horizon_s = ahead_s(signal, view.rules, learned.lead_times)
        yield "forecast_horizon_seconds", (pool, signal.name), horizon_s
        for quantile in outlook.quantiles:
            value = max(level.value, outlook.floor) * growth_at(outlook, horizon_s, quantile)
            if math.isfinite(value):
                yield "forecast_value", (pool, signal.name, f"{quantile:g}"), value
    if learned.capacity is not None:
        yield "replica_capacity", (pool, "0.2"), learned.capacity.low
        yield "replica_capacity", (pool, "0.5"), learned.capacity.median
    for offer, time in learned.lead_times.items():
        yield "lead_time_seconds", (pool, offer, "0.5"), time.p50_s
        yield "lead_time_seconds", (pool, offer, "0.9"), time.p90_s
    for name in learned.moved or ():
        yield "learned_value_moved", (pool, name), 1.0


def _loop(counts: Counts) -> Iterator[Point]:
    loop = counts.loop
    if loop is not None:
        yield "ticks_total", (), loop.ticks
        yield "tick_failures_total", (), loop.failures
        yield "tick_duration_seconds", (), loop.last_pass_s
        yield "tick_duration_max_seconds", (), loop.slowest_pass_s
        yield "tick_late_seconds", (), loop.late_s
        yield "journal_commit_seconds", (), loop.journal_s
        yield "journal_failures_total", (), loop.journal_failures
        for (pool, change), count in loop.by_hand.items():
            yield "manual_changes_total", (pool, change), count
        for (pool, direction), count in loop.changes.items():
            yield "decision_changes_total", (pool, direction), count
        for (pool, source), count in loop.sources.items():
            yield "decision_reasons_total", (pool, source), count
    made = counts.forecasts
    if made is not None:
        yield "forecast_fits_total", (), made.fits
        yield "forecast_fit_seconds_total", (), made.fit_s
        yield "forecasts_total", (), made.outlooks
        for failed, count in made.failures.items():
            yield "forecast_failures_total", (failed,), count
    for name, calls in counts.providers.items():
        yield "provider_calls_total", (name, "observe"), calls.observed
        yield "provider_calls_total", (name, "apply"), calls.applied
        yield "provider_failures_total", (name, "observe"), calls.observe_failures
        yield "provider_failures_total", (name, "apply"), calls.apply_failures
        yield "provider_report_seconds", (name,), calls.observe_s
        yield "provider_calls_held_total", (name,), calls.held
        yield "provider_throttled_total", (name,), calls.throttled
        yield "provider_dead", (name,), float(calls.dead)


def _samples(counts: Counts) -> Iterator[Point]:
    up = sum(target.up for target in counts.targets)
    yield "scrape_targets", ("up",), up
    yield "scrape_targets", ("down",), len(counts.targets) - up
    yield "scrape_duration_max_seconds", (), max((t.duration_s for t in counts.targets), default=0.0)
    yield "lines_rejected", (), sum(target.rejected for target in counts.targets)
    store = counts.store
    if store is not None:
        yield "samples_total", (), store.stored
        yield "samples_repeated_total", (), store.repeated
        for reason in ("unusable", "late", "over_limit", "malformed"):
            yield "samples_refused_total", (reason,), getattr(store, reason)
        yield "store_series", (), store.series
        yield "store_memory_bytes", (), store.memory_bytes
        yield "store_unwritten_points", (), store.waiting
        yield "store_lost_points_total", (), store.lost
    for r in counts.receivers:
        yield "notifications_queued", (r.receiver,), r.queued
        for outcome in ("delivered", "failed_attempts", "refused", "expired", "dropped"):
            yield "notifications_total", (r.receiver, outcome), getattr(r, outcome)


def _pushes(counts: Counts) -> Iterator[Point]:
    if counts.push is None:
        return
    yield "push_queued_batches", (), counts.push.queued
    yield "push_sources", (), counts.push.sources
    for status in counts.push.status():
        yield "push_requests_total", (status.kind, "taken"), status.taken
        yield "push_samples_total", (status.kind,), status.samples
        for reason, count in status.refused.items():
            yield "push_requests_total", (status.kind, reason), count
        for reason, count in status.skipped.items():
            yield "push_skipped_total", (status.kind, reason), count


def _shadows(counts: Counts) -> Iterator[Point]:
    for pool, shadow in counts.shadows.items():
        yield "shadow_problem", (pool,), float(bool(shadow.problem))
        for side, view in (("active", shadow.active), ("candidate", shadow.candidate)):
            if view is not None and view.decision is not None:
                yield "shadow_wanted_replicas", (pool, side), view.decision.want
            if view is not None and view.fleet is not None:
                yield "shadow_ready_replicas", (pool, side), view.fleet.ready
        if shadow.account is not None:
            for side, sums in (("active", shadow.account.active), ("candidate", shadow.account.candidate)):
                yield "shadow_replica_seconds_total", (pool, side), sums.replica_s
                yield "shadow_launches_total", (pool, side), sums.launches
                yield "shadow_changes_total", (pool, side), sums.changes
                yield "shadow_unserved_work_total", (pool, side), sums.above_work
                yield "shadow_queued_work", (pool, side), sums.queue_work


def _process(moment: Moment) -> Iterator[Point]:
    yield "rule_problems", (), moment.rule_problems
    yield "build_info", (moment.version,), 1
    process = psutil.Process()
    with process.oneshot():
        times = process.cpu_times()
        yield "process_cpu_seconds_total", (), times.user + times.system
        yield "process_resident_memory_bytes", (), process.memory_info().rss
        yield "process_threads", (), process.num_threads()
        yield "process_open_fds", (), process.num_fds()
