"""Writes that hold only if things are as the writer saw them: of two people none undoes the other unknowingly."""

from __future__ import annotations

import threading
from typing import Annotated

from fastapi import Header
from pydantic import TypeAdapter

from autoscaler.api.etags import listed, tag
from autoscaler.api.problems import Problem

WRITING = threading.RLock()
"""Held from the look at what is there until the write: requests are answered by several threads."""

MAX_CHARACTERS = 1000

IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=MAX_CHARACTERS, description="only if it has this ETag; `*` = if it is there"),
]
IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=MAX_CHARACTERS, description="`*` = only if it is not there yet"),
]


def tag_of(value: object) -> str:
    """The entity tag of one of the core's values."""
    return tag(TypeAdapter(type(value)).dump_json(value))


def require(what: str, current: object | None, if_match: str | None, if_none_match: str | None = None) -> None:
    """Raises a Problem, 412, unless the thing is as the request says. current: what is there now, None = nothing."""
    if current is None:
        if if_match is not None:
            raise Problem(412, f"there is no {what} any more; look at what is there and decide anew")
        return
    now = tag_of(current)
    if if_match is not None and not listed(if_match, now):
        rule = f"has been changed since you read it (its ETag is {now}); read it again and decide anew"
        raise Problem(412, f"{what} {rule}", headers={"ETag": now})
    if if_none_match is not None and listed(if_none_match, now, weakly=True):
        rule = "is there already; choose another name, or leave If-None-Match out to replace it"
        raise Problem(412, f"{what} {rule}", headers={"ETag": now})
