"""What the API says of alerts, silences and messages, and what it takes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from autoscaler.types import AlertState, MessageState, Severity

SilenceState = Literal["active", "pending", "ended"]


class AlertView(BaseModel):
    """One alert of a pool. `since` is when it entered its state; `notified_at` when it was last announced."""

    key: str
    pool: str
    name: str
    severity: Severity
    state: AlertState
    since: float
    text: str
    labels: list[tuple[str, str]] = Field(description="those of its series; name, pool and severity are beside it")
    value: float | None
    started_at: float | None = Field(description="when it began to fire")
    notified_at: float | None
    calm_since: float | None = Field(description="since when a firing one is calm again and only kept firing")
    silenced_by: list[str] = Field(description="ids of the silences that mute it now")
    inhibited_by: str = Field(description="name of the critical alert of its pool that mutes it, empty = none does")
    receivers: list[str] = Field(description="names of the receivers that it is for")


class Alerts(BaseModel):
    """Alerts of every pool. left_out: so many more match; ask for one pool or state."""

    alerts: list[AlertView]
    left_out: int


class MatcherView(BaseModel):
    """One condition on a label: `=`, `!=`, or an expression (RE2) for the whole value, `=~`, `!~`."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(max_length=100)
    op: Literal["=", "!=", "=~", "!~"] = "="
    value: str = Field(max_length=500)


class SilenceIn(BaseModel):
    """Alerts that nobody is told of for a while: exactly one of `until` and `for` says when it ends."""

    model_config = ConfigDict(
        extra="forbid",
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "matchers": ['pool="chat"', 'alertname=~"power.*"'],
                    "for": "2h",
                    "author": "ada",
                    "comment": "power supply is exchanged",
                }
            ]
        },
    )
    matchers: list[str | MatcherView] = Field(
        min_length=1, max_length=20, description='all must hold; text such as pool="chat", or an object'
    )
    starts: float | str | None = Field(default=None, description="Unix seconds or ISO 8601 with a zone; null = now")
    until: float | str | None = Field(default=None, description="Unix seconds or ISO 8601 with a zone")
    for_: str | None = Field(default=None, alias="for", max_length=40, description="from its start on, such as 2h")
    author: str = Field(min_length=1, max_length=100, pattern=r"\S")
    comment: str = Field(min_length=1, max_length=500, pattern=r"\S")


class SilenceView(BaseModel):
    """One silence. alerts: how many alerts it mutes now."""

    id: str
    matchers: list[MatcherView]
    text: str = Field(description="the matchers as people write them")
    state: SilenceState
    starts_at: float
    ends_at: float
    author: str
    comment: str
    created_at: float
    ended_by: str = Field(description="who ended it before its time, empty = nobody did")
    alerts: int


class Silences(BaseModel):
    """Silences in force and to come, oldest first, then those that are over."""

    silences: list[SilenceView]


class DeliveryView(BaseModel):
    """One message to one address of a receiver. `number` is its place in the journal."""

    number: int
    id: str = Field(description="the same in every attempt; sent as X-Sigmascale-Delivery")
    receiver: str
    kind: str = Field(description="webhook, alertmanager, slack or generic; empty = no such receiver any more")
    host: str = Field(description="scheme, host and port; the rest of a URL is often a secret")
    group: str = Field(description="labels of the group of alerts that it tells of")
    summary: str
    firing: int
    resolved: int
    state: MessageState
    attempts: int
    last_error: str
    made_at: float
    next_at: float | None = Field(description="when it is tried next, null = never again")
    ended_at: float | None
    expires_at: float


class ReceiverView(BaseModel):
    """How one address of a receiver does, since the start of the service."""

    receiver: str
    kind: str
    host: str
    queued: int
    delivered: int
    failed_attempts: int
    refused: int
    expired: int
    dropped: int
    last_delivered_at: float | None
    last_error: str


class Deliveries(BaseModel):
    """Messages, newest first. next_before: what `before` must be for the next page, null = the end.

    problem: why messages are kept in memory only, empty = they are in the journal.
    """

    deliveries: list[DeliveryView]
    receivers: list[ReceiverView]
    next_before: int | None
    problem: str
