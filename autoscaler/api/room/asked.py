"""What a reader chose on a page that is filtered and turned: a text, one kind, and which page."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query

Text = Annotated[str, Query(max_length=200)]
Number = Annotated[int, Query(ge=1, le=100_000)]


@dataclass(frozen=True, slots=True)
class Asked:
    """As the page's address says it. only: a kind; empty = all of them."""

    text: str
    only: str
    page: int

    def query(self, **changes: object) -> str:
        """The address's query with changes."""
        said = {"q": self.text, "only": self.only, "page": self.page} | changes
        return urlencode({name: value for name, value in said.items() if value not in ("", 1)})


def asked_of(kinds: Collection[str]) -> Callable[..., Asked]:
    """A dependency that reads it; a kind that is none of `kinds` is none."""

    def asked(q: Text = "", only: Text = "", page: Number = 1) -> Asked:
        return Asked(q.strip(), only if only in kinds else "", page)

    return asked
