"""What is wrong with a wish to roll a pool, before anything is done."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from autoscaler.planner.replacing import is_old, made_now, windows_of
from autoscaler.ruleset import RuleSet
from autoscaler.types import Fleet, Instance, Roll
from autoscaler.windows import next_open
from autoscaler.words import counted, instant

SHOWN = 5


def refused(rules: RuleSet, roll: Roll, fleet: Fleet, now: float) -> str:
    """Why the roll cannot be begun and what to do, empty when it can."""
    if not rules.offers:
        return f"the rules of pool {rules.pool!r} have no offers, so no successor can be ordered; add offers to them"
    if roll.max_surge == 0 and roll.max_unavailable == 0:
        return "max_surge 0 with max_unavailable 0 lets nothing be replaced; raise one of the two"
    wrong = "; ".join(_differs(rules, roll.to))
    if wrong:
        return wrong
    if not old_ones(rules, roll, fleet):
        what = "before now" if roll.everything else "of other settings than the rule file has now"
        hint = "" if roll.everything else "; change the file first, or replace all of them with --all"
        return f"nothing to do: no instance of pool {rules.pool!r} was ordered {what}{hint}"
    return _shut(rules, roll, now)


def _shut(rules: RuleSet, roll: Roll, now: float) -> str:
    at = next_open(windows_of(rules, roll), now)
    if at is None:
        return "the windows of the roll and of the rule file are never open at the same time; give another window"
    if at >= roll.until:
        return f"the next window opens at {instant(at)}, after the roll's end at {instant(roll.until)}; end it later"
    return ""


def old_ones(rules: RuleSet, roll: Roll, fleet: Fleet) -> Sequence[Instance]:
    """The instances that a roll would replace."""
    made = made_now(rules)
    there = ("ready", "pending", "warm", "draining")
    return [i for i in fleet.instances if i.state in there and is_old(made, roll, i)]


def begun(rules: RuleSet, roll: Roll, fleet: Fleet, now: float) -> str:
    """What a roll is going to do, in one sentence."""
    count = len(old_ones(rules, roll, fleet))
    at = next_open(windows_of(rules, roll), now)
    when = "now" if at is None or at <= now else f"at {instant(at)}"
    return f"{counted(count, 'instance')} to replace, the first {when}"


def _differs(rules: RuleSet, to: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Settings that the rule file does not have, with what it has."""
    file = rules.file or "the rule file"
    by_name: dict[str, dict[str, list[str]]] = {}
    for o in rules.offers:
        for name, value in o.settings:
            by_name.setdefault(name, {}).setdefault(value, []).append(o.key)
    known: Mapping[str, set[str]] = {name: set(values) for name, values in by_name.items()}
    for name, value in to:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"they have {', '.join(sorted(known)) or 'none'}"
            yield f"no offer of {file} has the setting {name!r}; {hint}"
        elif known[name] != {value}:
            others = sorted(v for v in known[name] if v != value)
            who = [key for v in others for key in by_name[name][v]][:SHOWN]
            says = f"{file} has {name} {', '.join(others[:SHOWN])} for {', '.join(who)}"
            yield f"{says}, not {value}; write {name}: {value} there, it is read at once, and roll again"
