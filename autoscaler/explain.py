"""A decision in plain words: what was decided, who asked for what, which limits applied, on which data.

Everything said here comes from the decision and its plan, so a decision read from the journal months later explains
itself exactly as it did then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from autoscaler.types import Decision, Judged, Launch, Plan, Proposal, Reading, Verdict
from autoscaler.words import replicas

_SENSES = {
    "raise": "wants at least {}",
    "size": "sizes the pool at {}",
    "lower": "wants only {}",
    "hold": "holds at {}",
    "floor": "sets the minimum to {}",
    "ceiling": "sets the maximum to {}",
}
_QUALITIES = {
    "fresh": "",
    "partial": "partial: may only raise",
    "stale": "stale: a lower bound, never lowers the count",
    "frozen": "frozen: looks stuck, not used",
    "missing": "missing: unknown, not zero",
}


HOLDING = ("burst", "stabilization", "cool_off", "rates", "flap", "override", "pause", "zero", "bounds")
"""Limits that may have set the number last; what else ends a decision's reasons is a rule or the state found."""


def explain(decision: Decision, plan: Plan | None = None) -> str:
    """What was decided and why, in paragraphs of lines. Instants are UTC; ages are as of the decision."""
    paragraphs = [
        [headline(decision)],
        ["Steps, in order:", *(f"  {step}" for step in _steps(decision))],
        ["Asked for:", *(f"  {_proposal(p)}" for p in decision.proposals)]
        if decision.proposals
        else _silence(decision),
        ["Rules with a condition:", *(f"  {_verdict(v, decision)}" for v in decision.verdicts)],
        ["Conditions:", *(f"  {_condition(j)}" for j in decision.judged)] if decision.judged else [],
        ["Data:", *(f"  {_reading(n, r, decision.at)}" for n, r in sorted(decision.readings.items()))],
        ["Plan:", *(f"  {line}" for line in _plan(plan))] if plan is not None else [],
        list(_closing(decision)),
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if len(lines) > 1 or (lines and lines[0][-1] != ":"))


def headline(decision: Decision) -> str:
    """The decision in one sentence, with the step that set the number."""
    d = decision
    last = d.reasons[-1]
    if d.want > d.current:
        what = f"scale out from {d.current} to {d.want} replicas"
    elif d.want < d.current:
        what = f"scale in from {d.current} to {d.want} replicas"
    else:
        what = f"stay at {d.current} replica{'s' if d.current != 1 else ''}"
    why = "nothing asks for a change" if last.source == "current" else f"{last.source}: {last.text}"
    return f"{d.pool}, decision {d.number} at {clock_text(d.at)}: {what} ({d.ready} ready, {d.pending} pending). {why}."


def clock_text(at: float) -> str:
    """An instant as people read it, UTC to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def number_text(value: float) -> str:
    """A value with four significant digits, without an exponent where people would not write one."""
    return f"{value:.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _steps(decision: Decision) -> Iterator[str]:
    before: int | None = None
    for number, reason in enumerate(decision.reasons, start=1):
        if before is None:
            change = f"{reason.replicas}"
        elif reason.replicas == before:
            change = f"{before} stays"
        else:
            change = f"{before} -> {reason.replicas}"
        yield f"{number}. {reason.source}: {change}: {reason.text}"
        before = reason.replicas


def _silence(decision: Decision) -> list[str]:
    if decision.blind:
        return ["No rule was asked: the fleet is unknown, and unknown changes nothing."]
    return ["No rule asked for anything."]


def _proposal(proposal: Proposal) -> str:
    return f"{proposal.source} {_SENSES[proposal.sense].format(proposal.replicas)}: {proposal.text}"


def _verdict(verdict: Verdict, decision: Decision) -> str:
    if verdict.met is None:
        state = "cannot be judged, so nothing shrinks"
    elif not verdict.met:
        state = "not met"
    elif not verdict.held:
        state = "met, but not for long enough yet"
    elif any(p.source == verdict.rule for p in decision.proposals):
        state = "met"
    else:
        state = "met, and asks for no replicas"
    return f"{verdict.rule}: {state}: {verdict.text}"


def _condition(judged: Judged) -> str:
    met = {True: "holds", False: "does not hold", None: "cannot be judged"}[judged.met]
    value = "" if judged.value is None else f" (value {number_text(judged.value)}{_band(judged.lower, judged.upper)})"
    detail = f": {judged.text}" if judged.text else ""
    return f"{judged.key}: {met}{value}{detail}"


def _band(lower: float | None, upper: float | None) -> str:
    if lower is not None and upper is not None:
        return f", normal is {number_text(lower)} to {number_text(upper)}"
    if lower is not None:
        return f", lower bound {number_text(lower)}"
    return "" if upper is None else f", upper bound {number_text(upper)}"


def _reading(name: str, reading: Reading, at: float) -> str:
    value = "unknown" if reading.value is None else number_text(reading.value)
    age = "" if reading.quality == "missing" else f", {max(0.0, at - reading.at):.1f} s old"
    notes = [note for note in (_QUALITIES[reading.quality], reading.detail) if note]
    return f"{name} = {value}{age}, {'; '.join(notes) or 'fresh'}"


def _plan(plan: Plan) -> Iterator[str]:
    """Orders of one kind together, then what is done to single instances and why, then what was left undone."""
    orders = Counter(_order(action) for action in plan.actions if isinstance(action, Launch))
    yield from (f"{count} x {order}" if count > 1 else order for order, count in orders.items())
    told = [reason for reason in plan.reasons if reason.source != "launch"]
    for action in plan.actions:
        if not isinstance(action, Launch):
            line = f"{action.kind} {action.instance}"
            why = next((r for r in told if r.source == action.kind and r.text.startswith(f"{line}:")), None)
            yield line if why is None else why.text
            told = [r for r in told if r is not why]
    yield from (f"{reason.source}: {reason.text}" for reason in told)
    if not plan.actions and not plan.reasons:
        yield "nothing to do: the fleet is what was decided"


def _order(launch: Launch) -> str:
    into = " into the warm pool" if launch.into == "warm" else ""
    again = f", attempt {launch.attempt}" if launch.attempt > 1 else ""
    return f"launch {launch.offer.key}{into} ({replicas(launch.offer.replicas)}{again})"


def _closing(decision: Decision) -> Iterator[str]:
    if decision.next_change_at is None:
        holds = decision.reasons[-1].source
        if holds in HOLDING:
            yield f"What holds the number ({holds}) has no known end: it depends on what is measured next."
        else:
            yield "Nothing holds the number back: the next tick may change it."
    else:
        wait_s = max(0.0, decision.next_change_at - decision.at)
        yield f"Next possible change: {clock_text(decision.next_change_at)}, {wait_s:.0f} s after this decision."
    if decision.rules_hash:
        yield f"Rules in force: {decision.rules_hash}."
    if decision.versions:
        yield "Learned values used: " + ", ".join(f"{k} {v}" for k, v in sorted(decision.versions.items())) + "."
