"""Instances that people want gone or left alone: cordoned ones are set aside, others leave when a successor serves.

Nothing of it needs a memory of its own: who is marked, who is old and who serves tell what comes next, so a crash in
the middle of a replacement loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from autoscaler.planner.draft import Draft
from autoscaler.ruleset import RuleSet
from autoscaler.types import Instance, Mark, Memory, Roll, World
from autoscaler.windows import Window, open_until, window
from autoscaler.words import instant


@dataclass(frozen=True, slots=True)
class Aside:
    """What counts for nothing now: `cordoned` ids, and those that come `back` into service at this tick."""

    cordoned: frozenset[str] = frozenset()
    back: tuple[Instance, ...] = ()

    @property
    def ids(self) -> frozenset[str]:
        """All of them."""
        return self.cordoned | {i.id for i in self.back}


@dataclass(frozen=True, slots=True)
class Leaving:
    """Instances whose place others take.

    surge: replicas that may be ordered before they are gone. slack: instance -> replicas that may be missing from what
    is wanted when it goes. kept: those that stay for now whatever serves. old: made of settings that a roll replaces,
    so that none of them is a successor. text: how far the roll is, empty without one.
    """

    ids: frozenset[str] = frozenset()
    surge: int = 0
    slack: dict[str, int] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    old: frozenset[str] = frozenset()
    text: str = ""


def set_aside(draft: Draft, instances: Sequence[Instance], world: World) -> Aside:
    """Takes cordoned instances out of routing, and those whose cordon has ended back into it."""
    now = draft.decision.at
    cordons = {name: m for name, m in world.marks.items() if m.kind == "cordon"}
    if not cordons:
        return Aside()
    marked = [i for i in instances if i.id in cordons]
    held = frozenset(i.id for i in marked if cordons[i.id].until > now)
    for i in draft.within_reach(marked, "ready"):
        if i.id in held:
            draft.operate("drain", i, _words(cordons[i.id]))
    # One that was told to leave after its cordon had ended leaves for another reason.
    freed = [i for i in draft.within_reach(marked, "draining") if i.id not in held and i.since <= cordons[i.id].until]
    back = [i for i in freed if draft.operate("resume", i, "its cordon has ended")]
    for name in sorted(held):
        draft.note("cordon", f"{name} counts for nothing: {_words(cordons[name])}")
    return Aside(held, tuple(back))


def leaving_of(rules: RuleSet, instances: Iterable[Instance], world: World, memory: Memory) -> Leaving:
    """Who leaves by a person's word or by the roll that is under way."""
    marked = {m.instance for m in world.marks.values() if m.kind == "replace" and m.until > world.now}
    roll, rolling = world.roll, memory.rolling
    under_way = roll is not None and rolling is not None and rolling.roll == roll.id and rolling.state == "running"
    rolled = set(rolling.leaving) - marked if under_way and rolling is not None else set()
    there = [i for i in instances if i.state in ("ready", "pending")]
    surge = sum(i.replicas for i in there if i.id in marked)
    if not under_way or roll is None or rolling is None:
        return Leaving(frozenset(marked), surge)
    made = made_now(rules)
    sizes = sorted((i.replicas for i in there if i.id in rolled), reverse=True)
    slack = {i.id: roll.max_unavailable * i.replicas for i in there if i.id in rolled}
    # The first successor proves itself before anything goes, unless there may be none besides what is there.
    unproven = rolling.proven_at is None and roll.max_surge > 0
    shut = open_until(windows_of(rules, roll), world.now) is None
    return Leaving(
        ids=frozenset(marked | rolled),
        surge=surge + sum(sizes[: roll.max_surge]),
        slack=slack,
        kept=frozenset(rolled) if unproven or shut else frozenset(),
        old=frozenset(i.id for i in instances if is_old(made, roll, i)),
        text=rolling.text,
    )


def let_go(draft: Draft, alive: Sequence[Instance], want: int, leaving: Leaving) -> set[str]:
    """Drains those whose successors serve; returns the ids of all that leave now."""
    gone: set[str] = set()
    if leaving.text:
        draft.note("roll", leaving.text)
    if not leaving.ids:
        return gone
    serving = sum(i.replicas for i in alive if i.state == "ready")
    mine = [i for i in alive if i.id in leaving.ids and i.id not in leaving.kept]
    for i in sorted(draft.within_reach(mine, "ready"), key=lambda i: (i.requested_at, i.id)):
        enough = serving - i.replicas >= want - leaving.slack.get(i.id, 0)
        if enough and draft.operate("drain", i, "to be replaced, and the others are enough"):
            serving -= i.replicas
            gone.add(i.id)
    for i in draft.within_reach(mine, "pending"):
        if serving >= want and draft.operate("terminate", i, "to be replaced, and not serving yet"):
            gone.add(i.id)
    gone |= {i.id for i in draft.within_reach(mine, "warm") if draft.operate("terminate", i, "to be replaced")}
    left = sorted(i.id for i in alive if i.id in leaving.ids and i.state in ("ready", "pending") and i.id not in gone)
    for name in left:
        why = "it stays for now" if name in leaving.kept else "it serves until the others are enough"
        draft.note("replace", f"{name} is to be replaced: {why}")
    return gone


def candidates(alive: Sequence[Instance], leaving: Leaving, *, short: bool) -> list[Instance]:
    """Those that growth may bring back or start. What is to be replaced never; what is old only when replicas are
    short, since it would have to be replaced again."""
    out = leaving.ids if short else leaving.ids | leaving.old
    return [i for i in alive if i.id not in out]


def windows_of(rules: RuleSet, roll: Roll) -> tuple[Sequence[Window], ...]:
    """Groups of windows of which one each must be open."""
    return rules.disruption.windows, [window(text) for text in roll.windows]


def made_now(rules: RuleSet) -> Mapping[str, str]:
    """What each offer of the rules is made of now, by its key."""
    return {o.key: o.made_of for o in rules.offers}


def is_old(made: Mapping[str, str], roll: Roll, instance: Instance) -> bool:
    """Whether a roll replaces it: made of other settings than its offer has now, or of an offer that the rules have no
    more. One that does not say what it was made of is old when it was ordered before the roll's cut."""
    before = instance.requested_at < roll.since
    if roll.everything:
        return before
    now = made.get(instance.offer)
    return before if now is None or not instance.made_of else instance.made_of != now


def _words(mark: Mark) -> str:
    return f"cordoned until {instant(mark.until)} by {mark.author}: {mark.reason}"
