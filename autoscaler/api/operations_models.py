"""What requests on instances, rolls and rollbacks say, and what their responses show."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from autoscaler.types import InstanceState, MarkKind, Override, Roll, Rolling, Undone

InstanceId = Annotated[str, Field(min_length=1, max_length=500, description="as GET /pools/{pool} lists it")]
Author = Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
Why = Annotated[str, Field(min_length=1, max_length=500, pattern=r"\S")]
For = Annotated[str | None, Field(default=None, alias="for", max_length=40, description="such as 30m, 2h or 1d")]
Until = Annotated[float | str | None, Field(default=None, description="Unix seconds or ISO 8601 with a zone")]
Few = Annotated[int | None, Field(default=None, ge=0, le=1000)]


class Asked(BaseModel):
    """What every request says: who asks, why, and until when it holds."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    author: Author
    reason: Why
    until: Until
    for_: For


class MarkIn(Asked):
    """A cordon or a replacement of one instance. At most one of `until` and `for`; a cordon lasts 4 h when neither is
    given, a replacement may take a day."""

    instance: InstanceId
    pool: str | None = Field(default=None, max_length=200, description="only needed where two pools have the id")
    force: bool = Field(default=False, description="cordon the last instance that serves")


class MarkView(BaseModel):
    """A person's word over one instance, and how far it is."""

    pool: str
    instance: str
    kind: MarkKind
    until: float
    author: str
    reason: str
    created_at: float
    state: InstanceState | None = Field(description="of the instance; null = it is not there any more")
    text: str = Field(description="what it waits for")


class Marks(BaseModel):
    """Marks in force, oldest first. next_after: for `after`, null = the end."""

    marks: list[MarkView]
    next_after: str | None


class RollIn(Asked):
    """New settings for every instance of a pool. What is left out is as the rule file's `disruption` says."""

    to: dict[str, str] = Field(default={}, max_length=20, description="settings that the rule file must have by now")
    max_unavailable: Few
    max_surge: Few
    per_hour: Annotated[int | None, Field(default=None, ge=1, le=1000)]
    canary: str | None = Field(default=None, max_length=40, description="how long the first one must serve")
    windows: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=20)
    pause_on_failure: bool = Field(default=False, description="pause instead of ending; /roll/resume goes on")
    everything: bool = Field(default=False, description="also what is of the settings of now")


class Said(BaseModel):
    """Who asks, and why."""

    model_config = ConfigDict(extra="forbid")
    author: Author
    reason: Why


class RollView(BaseModel):
    """A pool's roll. roll null: none, or it was taken back. progress null: no tick has seen it yet."""

    pool: str
    roll: Roll | None
    progress: Rolling | None
    text: str = Field(description="how it stands, in one sentence")


class RollbackIn(Asked):
    """Back to the size of an earlier decision; without `to` and `before`, to that before the last change."""

    to: int | None = Field(default=None, ge=0, le=2**53, description="number of the decision whose size was right")
    before: str | None = Field(default=None, max_length=40, description="the size of so long ago, such as 10m")
    dry_run: bool = Field(default=False, description="only tell what it would do")
    force: bool = Field(default=False, description="shrink although requests wait")


class MoveView(BaseModel):
    """A decision that changed the size."""

    number: int
    at: float
    before: int
    after: int
    why: str


class RollbackView(BaseModel):
    """What was undone, or would be. override null: a dry run."""

    undone: Undone
    override: Override | None
    text: str
    rules_changed: str = Field(description="empty when the rules are those of then")
    moves: list[MoveView] = Field(description="the last changes of size, newest first")


class History(BaseModel):
    """The last changes of size and the rollbacks of a pool, newest first."""

    pool: str
    want: int | None
    moves: list[MoveView]
    rollbacks: list[Undone]
