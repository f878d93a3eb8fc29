"""What is different in a fleet since the last tick, of all that nobody here ordered.

What an instance was, what we did to it since and what the journal knows of its launch tell whose hand it was. A machine
that failed, and a spot machine, which its cloud may take at any time, are nobody's hand.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Fleet, Held, Instance, Launch, Operate, Override, Owned

OVERRIDE = "manual-change"
"""Name of the override that a person's change becomes; a later change replaces it."""
AUTHOR = "sigmascale: manual change"
OURS_S = 900.0
"""How long an operation of our own explains what is seen of its instance; providers are slow and answers get lost."""
IN_SIZE = ("pending", "ready")


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known at a tick besides the report.

    launches: pool of each launch that the journal knows, by action, among the actions of instances that were not there
    before; None = it cannot be read. intents: open ones and those that ended at this tick. heard: providers that
    report. asked: the most replicas that anything asked for at the last decision, None = not known. overrides: of the
    pool, in force. started_at: of this process.
    """

    now: float
    started_at: float
    launches: Mapping[str, str] | None
    intents: Sequence[Action] = ()
    heard: Collection[str] = ()
    asked: int | None = None
    overrides: tuple[Override, ...] = ()


@dataclass(slots=True)
class Change:
    """What is different, by the hand that it looks like. gone: ids with what they were. leaving: on their way out.

    stopped: at rest, to be had back. started: back in service. added: of somebody else's making. strange: carries an
    action that the journal does not know. lost: replicas that were to serve and do not any more.
    """

    gone: dict[str, Held] = field(default_factory=dict)
    leaving: list[Instance] = field(default_factory=list)
    stopped: list[Instance] = field(default_factory=list)
    started: list[Instance] = field(default_factory=list)
    added: list[Instance] = field(default_factory=list)
    strange: list[Instance] = field(default_factory=list)
    lost: int = 0


def changed(rules: RuleSet, owned: Owned, reported: Fleet, sight: Sight) -> Change:
    """The difference between what was seen at the last tick and this report."""
    change, here = Change(), {i.id: i for i in reported.instances}
    for name, held in owned.seen.items():
        if held.state in IN_SIZE and not held.offer.endswith("/spot") and name not in owned.swept:
            _lost(change, name, held, here.get(name), owned, sight)
    for i in reported.instances:
        before = owned.seen.get(i.id)
        if before is None:
            _new(change, rules, i, sight)
            continue
        if i.state in IN_SIZE and before.state in ("warm", "draining") and i.id not in owned.swept:
            if not _did(owned, i.id, "start" if before.state == "warm" else "resume"):
                change.started.append(i)
        elif i.state == "warm" and not i.rests and before.state == "stopping" and not _did(owned, i.id, "stop"):
            change.stopped.append(i)
    return change


def _lost(change: Change, name: str, held: Held, now: Instance | None, owned: Owned, sight: Sight) -> None:
    """One that was to serve at the last tick and does not any more."""
    if _did(owned, name, "terminate", "stop", "drain"):
        return
    if now is None:
        # A provider that is not asked any more takes nothing away.
        if provider_of(held) not in sight.heard:
            return
        change.gone[name] = held
    elif now.state == "warm" and not now.rests:
        change.stopped.append(now)
    elif now.state == "stopping":
        change.leaving.append(now)
    else:
        return
    change.lost += held.replicas


def _new(change: Change, rules: RuleSet, i: Instance, sight: Sight) -> None:
    """One that was not there at the last tick. A launch of ours is no news; of one that cannot be looked up nothing is
    said until it can."""
    if i.action is None:
        change.added.append(i)
    elif sight.launches is None:
        return
    elif i.action not in sight.launches:
        change.strange.append(i)
    elif sight.launches[i.action] != rules.pool:
        change.added.append(i)


def renewed(owned: Owned, reported: Fleet, change: Change, sight: Sight) -> Owned:
    """What is remembered of this report for the next tick."""
    here = {i.id for i in reported.instances}
    found = seen(reported)
    if sight.launches is None:
        # What could not be looked up is new again next time.
        found = {i.id: found[i.id] for i in reported.instances if i.id in owned.seen or i.action is None}
    silent = {k: h for k, h in owned.seen.items() if k not in here and provider_of(h) not in sight.heard}
    strange = {k: since for k, since in owned.strange.items() if k in here}
    return replace(
        owned,
        at=sight.now,
        seen=silent | found,
        strange=strange | {i.id: sight.now for i in change.strange},
        swept=tuple(k for k in owned.swept if k in here),
        aside={k: until for k, until in owned.aside.items() if k in here and until > sight.now},
        notices={k: n for k, n in owned.notices.items() if n.until > sight.now},
    )


def done_by_us(owned: Owned, sight: Sight) -> Owned:
    """With the last operation of our own on each instance, as long as it may explain something."""
    kept = {name: (kind, until) for name, (kind, until) in owned.ours.items() if until > sight.now}
    for action in sight.intents:
        if isinstance(action, Operate):
            kept[action.instance] = (action.kind, max(action.valid_until, sight.now) + OURS_S)
    return replace(owned, ours=kept)


def ordered(reported: Fleet, sight: Sight) -> int:
    """Replicas that are on order and not listed yet."""
    listed = {i.action for i in reported.instances}
    orders = (a for a in sight.intents if isinstance(a, Launch) and a.into == "serving" and a.id not in listed)
    return sum(a.offer.replicas for a in orders)


def seen(reported: Fleet) -> dict[str, Held]:
    """Every instance as it is."""
    return {i.id: Held(i.state, i.replicas, i.offer) for i in reported.instances}


def provider_of(held: Held) -> str:
    """Who hosts it."""
    return held.offer.split("/", 1)[0]


def _did(owned: Owned, instance: str, *kinds: str) -> bool:
    return owned.ours.get(instance, ("", 0.0))[0] in kinds
