"""A message for a Slack-compatible incoming webhook: a line of text, and a block for each alert beside a colour.

Limits and escapes are those of Slack's documentation ("Formatting text for app surfaces", "Block Kit: section").
Mattermost and Rocket.Chat read the same `text` and `attachments`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from autoscaler.notifying.groups import Note
from autoscaler.notifying.identity import started_at
from autoscaler.types import Alert

SHOWN = 10
"""Alerts of one message; a channel is read by people."""
MAX_SECTION = 2900
COLOURS = {"critical": "#c62828", "warning": "#ef6c00", "info": "#1565c0", "resolved": "#2e7d32"}


def payload(note: Note, external_url: str = "") -> str:
    """The JSON of one message."""
    firing = [a for a in note.alerts if a.state == "firing"]
    status = f"FIRING {len(firing)}" if firing else f"RESOLVED {len(note.alerts)}"
    group = " ".join(value for _, value in note.labels if value) or "sigmascale"
    title = f"[{status}] {escaped(group)}"
    linked = f"<{external_url}|{title}>" if external_url else title
    blocks = [_section(f"*{linked}*"), *(_section(_told(a)) for a in note.alerts[:SHOWN])]
    if len(note.alerts) > SHOWN:
        blocks.append(_section(f"and {len(note.alerts) - SHOWN} more"))
    worst = next((s for s in ("critical", "warning", "info") if any(a.severity == s for a in firing)), "resolved")
    return json.dumps({"text": title, "attachments": [{"color": COLOURS[worst], "fallback": title, "blocks": blocks}]})


def escaped(text: str) -> str:
    """Text in which nothing is a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def _told(alert: Alert) -> str:
    since = datetime.fromtimestamp(started_at(alert), UTC).strftime("%Y-%m-%d %H:%M UTC")
    state = "resolved" if alert.state == "resolved" else alert.severity
    series = ", ".join(f"{escaped(name)}={escaped(value)}" for name, value in alert.labels)
    head = f"*{escaped(alert.name)}* in {escaped(alert.pool)}: {state}, since {since}"
    return "\n".join(_cut(line) for line in (head, escaped(alert.text), series) if line)


def _cut(text: str) -> str:
    """A line within a third of what a section takes, without half an escape at its end."""
    limit = MAX_SECTION // 3
    if len(text) <= limit:
        return text
    cut = text[:limit]
    return cut[: cut.rfind("&")] + "..." if "&" in cut[-6:] and ";" not in cut[cut.rfind("&") :] else cut + "..."
