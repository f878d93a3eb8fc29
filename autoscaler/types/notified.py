"""What is said to people about alerts, and what they want to hear: matchers, silences, messages on their way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from autoscaler.types.decision import Alert

MatchOp = Literal["=", "!=", "=~", "!~"]
MessageState = Literal["waiting", "delivered", "refused", "expired", "dropped", "superseded"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label of an alert; a label that is not there is empty. Expressions match the whole value."""

    name: str
    op: MatchOp
    value: str

    def __str__(self) -> str:
        quoted = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op}"{quoted}"'


@dataclass(frozen=True, slots=True)
class Silence:
    """Alerts that match all of `matchers` are not sent from `starts_at` until `ends_at`. ended_by: who ended it."""

    id: str
    matchers: tuple[Matcher, ...]
    starts_at: float
    ends_at: float
    author: str
    comment: str
    created_at: float
    ended_by: str = ""

    def active(self, now: float) -> bool:
        """Whether it mutes anything now."""
        return self.starts_at <= now < self.ends_at


@dataclass(frozen=True, slots=True)
class Told:
    """What one receiver was last told of one group of alerts, so that nothing is told twice or forgotten.

    key: of the group. firing: alerts it believes to fire. muted: pool, key and severity of those that were muted since.
    ended: alerts that ended and are still repeated. since: when the group had its first news that is not told yet; at:
    when a message was last made, None = none was.
    """

    receiver: str
    key: str
    labels: tuple[tuple[str, str], ...] = ()
    firing: tuple[Alert, ...] = ()
    muted: tuple[tuple[str, str, str], ...] = ()
    ended: tuple[Alert, ...] = ()
    since: float | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one address of a receiver. `id` is the same in every attempt, so that a receiver can tell
    repetitions; `next_at` is when it is tried next. The body is what is sent, byte by byte;
    it is dropped when the message is done with."""

    id: str
    receiver: str
    address: int
    group: str
    summary: str
    firing: int
    resolved: int
    body: str
    made_at: float
    expires_at: float
    state: MessageState = "waiting"
    attempts: int = 0
    next_at: float = 0.0
    last_error: str = ""
    ended_at: float | None = None
