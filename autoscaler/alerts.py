"""Alerts: judged conditions followed through inactive, pending, firing and resolved. Pure; `notifying` delivers.

An alert on a rule follows the rule's verdict. An alert on raw series judges every series of a metric in one call and
then touches only those that breach or are under way, so that its cost is that of the trouble, not of the fleet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoscaler.ruleset import Rule, RuleSet, SeriesAlert
from autoscaler.sight import Sight, View
from autoscaler.types import Alert, Frame, HandKind, Keys, Labels, Newest, Notice, Severity, Verdict

FOLLOWED = 1000
"""Series that one alert follows by themselves. More at once is one event, told by one alert that counts the rest: a
threshold that is wrong for a whole fleet must not cost a tick seconds, nor send 100,000 messages."""

SIGNAL_LOST = "signal lost"
"""Name of the alert on a signal that was there and is gone; its label `signal` says which."""

MOVED = "learned value changed"
"""Name of the alert on a capacity or a lead time that is not what it was; its label `of` says which."""

QUOTA = "quota reached"
"""Name of the alert on a quota that refused a launch; its label `of` says which."""

SICK = "too many sick machines"
"""Name of the alert on a pool in which nothing is removed or replaced any more; its label `of` names the pool."""

BY_HAND = "manual change"
"""Name of the alert on a fleet that changed without an order of ours; its label `change` says how."""


GUARDS: tuple[tuple[str, Severity], ...] = ((QUOTA, "warning"), (SICK, "critical"))

OVER = {
    MOVED: "is steady again",
    QUOTA: "is lifted, or nobody ran into it for a day",
    SICK: "has enough machines that serve again",
}
"""What is said of the subject of an alert when it is over."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a condition must hold, how long an alert outlives it, and how long it then stays silent."""

    for_s: float = 0.0
    keep_firing_for_s: float = 0.0
    silence_s: float = 0.0


def follow(
    rules: RuleSet,
    verdicts: Sequence[Verdict],
    series: Mapping[str, Frame | Newest],
    before: Mapping[str, Alert],
    now: float,
    lost: Mapping[str, str] | None = None,
    moved: Mapping[str, str] | None = None,
    notices: Mapping[HandKind, Notice] | None = None,
    guards: Mapping[str, Mapping[str, str]] | None = None,
) -> Mapping[str, Alert]:
    """Every alert of the pool that is not inactive, by key, after this tick.

    verdicts: as in a decision; a rule without one cannot be judged, which keeps its alert as it is. series: what is
    known of each series alert's metric, by name; what is left out stays as it is. before: the result of the tick
    before. lost: signal -> since when and why it has had no value for longer than it may be held, empty =
    it is there; a signal that is left out cannot be judged. moved: learned value -> how it changed; one left out
    did not. None of either: nothing can be judged. notices: what was done to the fleet by hand and is still to be told.
    guards: alert -> what it is about -> its text, as `guards.guarded` says; a name that is left out cannot be judged.
    """
    by_name: dict[str, dict[str, Alert]] = {}
    of_rules = {r.name: before[r.name] for r in rules.rules if r.alert is not None and r.name in before}
    for key, alert in before.items():
        if key not in of_rules:
            by_name.setdefault(alert.name, {})[key] = alert
    after: dict[str, Alert] = {}
    held = {v.rule: v for v in verdicts}
    for rule in rules.rules:
        if rule.alert is not None:
            found = of_rules.get(rule.name) or _blank(rule.name, rules.pool, rule.name, rule.alert)
            after |= _kept([_follow_rule(rule, rule.alert, found, held.get(rule.name), now)])
    for spec in rules.alerts:
        after |= _kept(_follow_series(spec, rules.pool, series.get(spec.name), by_name.pop(spec.name, {}), now))
    after |= _kept(_follow_signals(rules, lost or {}, by_name.pop(SIGNAL_LOST, {}), now))
    after |= _kept(_follow_told(rules.pool, MOVED, "warning", moved, by_name.pop(MOVED, {}), now))
    for name, severity in GUARDS:
        told = (guards or {}).get(name)
        after |= _kept(_follow_told(rules.pool, name, severity, told, by_name.pop(name, {}), now))
    after |= _kept(_follow_hands(rules.pool, notices or {}, by_name.pop(BY_HAND, {}), now))
    for orphans in by_name.values():
        after |= _kept(_ended(alert, now, "its rule was taken out of the rule file") for alert in orphans.values())
    return after


def due(before: Mapping[str, Alert], after: Mapping[str, Alert]) -> tuple[Alert, ...]:
    """What receivers must hear of now: alerts announced by this tick, and the end of those they had heard of."""
    return tuple(alert for key, alert in after.items() if _news(before.get(key), alert))


def advance(alert: Alert, sight: Sight, terms: Terms, now: float) -> Alert:
    """The alert after one more sight of its condition. Hold times run on the times of the samples.

    A condition that stays true is announced once. Firing again within `silence_s` of the last announcement is not
    announced, unless it still fires when the silence ends.
    """
    if alert.notified_at is not None and alert.notified_at > now:
        alert = replace(alert, notified_at=None)  # the clock went back; better to announce twice than never
    if sight.met is None:
        return _settled(alert, terms, now)
    if sight.met:
        return _met(alert, sight, terms, now)
    if alert.state == "firing":
        calm_since = min(alert.calm_since if alert.calm_since is not None else sight.at, sight.at)
        if sight.at - calm_since < terms.keep_firing_for_s:
            return replace(alert, calm_since=calm_since)
        return replace(alert, state="resolved", since=now, text=sight.text, value=sight.value, calm_since=None)
    if alert.state == "pending":
        alert = replace(alert, state="resolved", since=now, text=sight.text, value=sight.value)
    return _settled(alert, terms, now)


def _met(alert: Alert, sight: Sight, terms: Terms, now: float) -> Alert:
    alert = replace(alert, text=sight.text, value=sight.value, calm_since=None)
    if alert.state != "firing":
        since = alert.since if alert.state == "pending" else sight.at
        since = min(since if sight.since is None else sight.since, sight.at)
        if sight.at - since < terms.for_s:
            return replace(alert, state="pending", since=since, started_at=None)
        alert = replace(alert, state="firing", since=now, started_at=now)
    if not _heard(alert) and not _silent(alert, terms, now):
        alert = replace(alert, notified_at=now)
    return alert


def _settled(alert: Alert, terms: Terms, now: float) -> Alert:
    """A resolved alert is remembered only for as long as it silences its next firing."""
    if alert.state == "resolved" and not _silent(alert, terms, now):
        return replace(alert, state="inactive")
    return alert


def _silent(alert: Alert, terms: Terms, now: float) -> bool:
    return alert.notified_at is not None and now - alert.notified_at < terms.silence_s


def _heard(alert: Alert) -> bool:
    """Receivers were told of the present (or last) firing."""
    return alert.notified_at is not None and alert.started_at is not None and alert.notified_at >= alert.started_at


def _news(was: Alert | None, alert: Alert) -> bool:
    if not _heard(alert):
        return False
    if alert.state == "firing":
        return was is None or was.notified_at != alert.notified_at
    return alert.state == "resolved" and was is not None and was.state == "firing"


def _ended(alert: Alert, now: float, why: str) -> Alert:
    """The alert when there is nothing left to judge."""
    if alert.state == "firing":
        return replace(alert, state="resolved", since=now, text=why, value=None, calm_since=None)
    return replace(alert, state="inactive")


def _kept(alerts: Iterable[Alert]) -> dict[str, Alert]:
    return {a.key: a for a in alerts if a.state != "inactive"}


def _blank(key: str, pool: str, name: str, severity: Severity, labels: Labels = ()) -> Alert:
    return Alert(key, pool, name, severity, "inactive", 0.0, "", labels)


def _follow_signals(rules: RuleSet, lost: Mapping[str, str], before: Mapping[str, Alert], now: float) -> list[Alert]:
    """The alerts on signals that were there and are gone."""
    found, terms = dict[str, Alert](), Terms(silence_s=600.0)
    for signal in rules.signals:
        labels = (("signal", signal.name),)
        key = _key(SIGNAL_LOST, labels)
        alert = before.get(key) or _blank(key, rules.pool, SIGNAL_LOST, "warning", labels)
        text = lost.get(signal.name)
        sight = Sight(None, now) if text is None else Sight(bool(text), now, text or f"{signal.name} is there again")
        found[key] = advance(alert, sight, terms, now)
    ended = [a for key, a in before.items() if key not in found]
    return [*found.values(), *(_ended(a, now, "the signal was taken out of the rule file") for a in ended)]


def _follow_told(
    pool: str,
    name: str,
    severity: Severity,
    told: Mapping[str, str] | None,
    before: Mapping[str, Alert],
    now: float,
) -> Iterable[Alert]:
    """The alerts of one name on what others judge: what each is about -> its text. None: nothing can be judged."""
    if told is None:
        return before.values()
    found, terms = dict[str, Alert](), Terms(silence_s=3600.0)
    subjects = dict.fromkeys([*told, *(dict(a.labels)["of"] for a in before.values())])
    for subject in subjects:
        labels = (("of", subject),)
        key = _key(name, labels)
        alert = before.get(key) or _blank(key, pool, name, severity, labels)
        text = told.get(subject, "")
        sight = Sight(bool(text), now, text or f"{subject} {OVER[name]}")
        found[key] = advance(alert, sight, terms, now)
    return found.values()


def _follow_hands(
    pool: str, notices: Mapping[HandKind, Notice], before: Mapping[str, Alert], now: float
) -> Iterable[Alert]:
    """The alerts on what was done to the fleet by hand; each is over when its time is."""
    found, terms = dict[str, Alert](), Terms(silence_s=600.0)
    for kind in dict.fromkeys([*notices, *(dict(a.labels)["change"] for a in before.values())]):
        labels = (("change", str(kind)),)
        key = _key(BY_HAND, labels)
        alert = before.get(key) or _blank(key, pool, BY_HAND, "warning", labels)
        told = {str(name): notice.text for name, notice in notices.items()}.get(str(kind), "")
        if told and alert.state == "firing" and alert.text != told:
            # Another change of the same kind is news of its own.
            alert = replace(alert, notified_at=None)
        found[key] = advance(alert, Sight(bool(told), now, told or "nobody changed the fleet since"), terms, now)
    return found.values()


def _follow_rule(rule: Rule, severity: Severity, alert: Alert, verdict: Verdict | None, now: float) -> Alert:
    terms = Terms(rule.when.for_s if rule.when else 0.0, rule.keep_firing_for_s, rule.silence_s)
    alert = replace(alert, severity=severity)
    if verdict is None:
        return _settled(alert, terms, now)
    at = now if verdict.at is None else verdict.at
    return advance(alert, Sight(verdict.met, at, verdict.text, None, verdict.since), terms, now)


def _follow_series(
    spec: SeriesAlert, pool: str, series: Frame | Newest | None, before: Mapping[str, Alert], now: float
) -> Iterable[Alert]:
    """The alerts of one metric: those of the series that breach, then those that were under way and do not."""
    terms = Terms(spec.for_s, spec.keep_firing_for_s, spec.silence_s)
    view = None if series is None else View.of(spec, series)
    if view is None:
        return [_settled(alert, terms, now) for alert in before.values()]
    found: dict[str, Alert] = {}
    rest = _rest(spec, pool, before)
    before = {key: alert for key, alert in before.items() if key != rest.key}
    followed, more = _within_limit(view.breaching(), view.keys, before)
    for row in followed:
        labels = view.keys[row].labels
        key = _key(spec.name, labels)
        alert = before.get(key) or _blank(key, pool, spec.name, spec.severity, labels)
        alert = alert if alert.labels is labels else replace(alert, labels=labels)
        found[key] = advance(alert, view.sight(row), terms, now)
    quiet = {a.labels: a for key, a in before.items() if key not in found}
    active = [labels for labels, a in quiet.items() if a.state in ("pending", "firing")]
    rows = view.keys.rows(active)
    for labels, alert in quiet.items():
        if alert.state == "resolved":
            found[alert.key] = _settled(alert, terms, now)
        elif labels in rows:
            found[alert.key] = advance(alert, view.sight(rows[labels]), terms, now)
        else:
            found[alert.key] = _ended(alert, now, f"{spec.metric} of this series is no longer reported")
    text = f"{more:,} more series of {spec.metric} breach than the {FOLLOWED:,} that are followed one by one"
    over = more > 0 if more or np.isfinite(view.value).any() else None
    found[rest.key] = advance(rest, Sight(over, view.at, text, float(more)), terms, now)
    return found.values()


def _rest(spec: SeriesAlert, pool: str, before: Mapping[str, Alert]) -> Alert:
    """The alert that stands for all series beyond the limit; it has no labels of a series."""
    key = _key(spec.name, ())
    return before.get(key) or _blank(key, pool, spec.name, spec.severity)


def _within_limit(breaching: list[int], keys: Keys, before: Mapping[str, Alert]) -> tuple[list[int], int]:
    """The breaching rows to follow, those with an alert first, and how many others there are."""
    if len(breaching) + len(before) <= FOLLOWED:
        return breaching, 0
    known = set(keys.rows(a.labels for a in before.values()).values())
    old = [row for row in breaching if row in known]
    new = [row for row in breaching if row not in known][: max(0, FOLLOWED - len(before))]
    return old + new, len(breaching) - len(old) - len(new)


def _key(name: str, labels: Labels) -> str:
    return f"{name}{{{','.join(f'{label}={value!r}' for label, value in labels)}}}"
