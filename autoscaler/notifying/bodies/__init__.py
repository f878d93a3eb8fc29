"""What is written to each kind of receiver. Pure: a note in, the body's text out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from autoscaler.alerting import Receiver
from autoscaler.notifying.bodies import alertmanager, slack, template, webhook
from autoscaler.notifying.groups import Note

SUMMARY = 300
"""Characters of a summary, which people read in a list."""


@dataclass(frozen=True, slots=True)
class Body:
    """One body, how many alerts it tells of, and what went wrong with its template."""

    text: str
    summary: str
    firing: int
    resolved: int
    fault: str = ""


def bodies(receiver: Receiver, note: Note, now: float, external_url: str) -> Iterator[Body]:
    """What is sent of a note: one body, or several to an Alertmanager that is told of very many alerts."""
    if receiver.kind == "alertmanager":
        for first in range(0, len(note.alerts), alertmanager.AT_ONCE):
            some = replace(note, alerts=note.alerts[first : first + alertmanager.AT_ONCE])
            yield _body(alertmanager.payload(some.alerts, now, external_url), some)
    elif receiver.kind == "slack":
        yield _body(slack.payload(note, external_url), note)
    elif receiver.kind == "generic":
        try:
            yield _body(template.rendered(receiver.template, receiver.name, note, external_url), note)
        except template.TemplateFaultError as error:
            # Better told in other words than not at all.
            plain = _body(webhook.payload(note, receiver.name, external_url), note)
            yield replace(plain, fault=f"the template failed, Alertmanager's format was sent: {error}")
    else:
        yield _body(webhook.payload(note, receiver.name, external_url), note)


def _body(text: str, note: Note) -> Body:
    firing = sum(a.state == "firing" for a in note.alerts)
    shown = ", ".join(f"{a.name} ({a.pool}): {a.text}" for a in note.alerts[:3])
    more = f" and {len(note.alerts) - 3} more" if len(note.alerts) > 3 else ""
    return Body(text, f"{shown[: SUMMARY - len(more)]}{more}", firing, len(note.alerts) - firing)
