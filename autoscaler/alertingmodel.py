"""The keys of `alerting` in the configuration file, as pydantic reads them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from autoscaler import units
from autoscaler.alerting import GROUP_BY, Receiver


def _listed(value: object) -> object:
    """A single word stands for a list of one."""
    return [value] if isinstance(value, str) else value


Duration = Annotated[float, BeforeValidator(units.duration_s)]
Flag = Annotated[bool, BeforeValidator(units.flag)]
Words = Annotated[list[str], BeforeValidator(_listed)]

USUAL = Receiver("", "webhook", ())


class ReceiverIn(BaseModel):
    """One receiver of alerts."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(description="shown in messages, metrics and lists; unique")
    kind: Literal["webhook", "alertmanager", "slack", "generic"] = Field(
        default="webhook",
        description="webhook: Alertmanager's format, version 4; alertmanager: its API v2; slack: Slack, Mattermost and "
        "others alike; generic: your own template",
    )
    url: Words = Field(default=[], description="where messages go; of an Alertmanager cluster the URLs of all members")
    url_file: str | None = Field(default=None, description="file with one such URL a line, when they are secret")
    match: Words = Field(
        default=[],
        description='which alerts it is for, such as `severity="critical"`; all must hold; none = all alerts',
    )
    group_by: Words | None = Field(default=None, description="overrides that of `alerting`")
    group_wait: Duration | None = Field(default=None, description="overrides that of `alerting`")
    group_interval: Duration | None = Field(default=None, description="overrides that of `alerting`")
    repeat_interval: Duration | None = Field(default=None, description="overrides that of `alerting`")
    send_resolved: Flag = Field(default=True, description="tell of ends too")
    timeout: Duration = Field(default=USUAL.timeout_s, description="longest time of one attempt, all of it")
    expires: Duration = Field(default=USUAL.expires_s, description="how long a message is tried")
    headers: dict[str, str] = Field(default={}, description="headers of every message; no secrets")
    header_files: dict[str, str] = Field(
        default={}, description="headers whose values are in files, such as `Authorization: /run/secrets/pager`"
    )
    hmac_secret_file: str | None = Field(default=None, description="file with the key that messages are signed with")
    ca_file: str | None = Field(default=None, description="PEM file of the authority that signed an https receiver")
    template: str = Field(default="", description="of kind generic: a Jinja template that gives JSON")
    template_file: str | None = Field(default=None, description="file with the template")


class AlertingIn(BaseModel):
    """Who is told of alerts."""

    model_config = ConfigDict(extra="forbid")
    group_by: Words = Field(
        default=list(GROUP_BY), description="labels whose values make a group, which is one message; `...` = all labels"
    )
    group_wait: Duration = Field(default=USUAL.group_wait_s, description="how long a new group waits for more alerts")
    group_interval: Duration = Field(
        default=USUAL.group_interval_s, description="shortest time between two messages on a group"
    )
    repeat_interval: Duration = Field(
        default=USUAL.repeat_interval_s, description="an unchanged group that fires is told again after so long"
    )
    inhibit: Flag = Field(default=False, description="a critical alert that fires mutes the others of its pool")
    allowed_hosts: Words = Field(
        default=[],
        description="hosts that messages may go to: names, `*.suffix`, CIDR; none = those of the receivers' URLs",
    )
    external_url: str = Field(default="", description="address of this service in messages, for people to follow")
    receivers: list[ReceiverIn] = Field(default=[], description="who is told; every receiver gets what it matches")
