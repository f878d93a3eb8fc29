"""Long lists in pages. A page ends in the sort key of its last item, so that what comes or goes shifts nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from autoscaler.api.problems import Problem

T = TypeVar("T")
Key = tuple[str | float, ...]

After = Annotated[str, Query(max_length=1000, description="`next_after` of the page before")]


def page(
    items: Sequence[T], key: Callable[[T], Key], after: str, limit: int, order: str = "name"
) -> tuple[list[T], str | None]:
    """The items after a cursor, at most `limit`, and the cursor of the page after them; None = the end.

    key: of numbers and words, different for every item; the items are sorted by it here. order: names the way of
    sorting. A cursor of another one is refused with 422.
    """
    ordered = sorted(items, key=key)
    if after:
        last = _read(after, order)
        try:
            ordered = [item for item in ordered if key(item) > last]
        except TypeError:
            raise _foreign(after) from None
    shown = ordered[:limit]
    return shown, _written(key(shown[-1]), order) if len(ordered) > limit else None


def link_next(request: Request, response: Response, **changed: object) -> None:
    """The header `Link` with the address of the next page (RFC 8288): this one's with parameters changed.

    Does nothing when the page is the last one: every value is None.
    """
    if all(value is None for value in changed.values()):
        return
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in changed]
    query = urlencode([*kept, *((name, str(value)) for name, value in changed.items())])
    response.headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'


def _written(key: Key, order: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([order, *key]).encode()).decode().rstrip("=")


def _read(after: str, order: str) -> Key:
    try:
        padded = after + "=" * (-len(after) % 4)
        found = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _foreign(after) from None
    if not isinstance(found, list) or found[:1] != [order] or not all(isinstance(f, str | int | float) for f in found):
        raise _foreign(after)
    return tuple(found[1:])


def _foreign(after: str) -> Problem:
    rule = "is not the next_after of a page of this list in this order; begin without it"
    return Problem(422, f"query.after: {after[:60]!r} {rule}", [("query.after", rule)])
