"""docs/errors.md: what goes wrong, how it is told, and what to do, from the classes and statuses themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from autoscaler import errors

HEAD = """\
# Errors

A message names the thing, its value, the rule that it broke and the next step. Written by `make docs`; do not edit.

## Messages about what people write

`FILE:LINE:COLUMN: KEY: TEXT`, every fault of a file at once. A variable or flag stands in the place of file and line.
Line and column count from 1.

## Commands

| exit code | meaning |
|--:|---|
| 0 | done |
| 1 | it could not be done, or a check found errors: the message on standard error says which |
| 2 | what was asked for is wrong: a flag, a file or a value; nothing was done |

## REST

Errors are problem details (RFC 9457, `application/problem+json`): `status`, `title`, `detail`, and `errors` with the
path of every fault.
"""

STATUSES = (
    (400, "the body cannot be read", "send JSON in UTF-8"),
    (401, "no token, or one that is not known", "send `Authorization: Bearer TOKEN`"),
    (403, "the token's role may not, or a page of another site asks", "ask with a token that may, from our own page"),
    (404, "there is no such pool, decision, instance ...", "the detail names what there is"),
    (405, "the path does not know the method", "the header `Allow` lists those it does"),
    (408, "the request came too slowly", "send it again at once"),
    (409, "it contradicts what is under way", "the detail says what; wait for it, or end it"),
    (412, "somebody changed it since it was read", "read it again, then write with its new ETag"),
    (413, "the body is larger than the limit", "send it in parts"),
    (414, "the address is too long", "put fewer parameters into it"),
    (415, "the body is of a kind that is not taken here", "send the kind that the detail names"),
    (422, "a value breaks a rule", "`errors` lists every fault; correct them"),
    (429, "more requests than the limit allows", "wait as long as `Retry-After` says"),
    (431, "the headers are too large", "send fewer or shorter ones"),
    (500, "a defect of the service", "its log has the traceback; please report it"),
    (502, "a provider that had to be asked did not answer", "ask again; the detail names it"),
    (503, "a disk refuses, or something is not known yet", "ask again after `Retry-After`"),
)
"""Status, what it means here, what to do."""


def reference() -> str:
    """The page."""
    rows = [f"| {status} | {meaning} | {step} |" for status, meaning, step in STATUSES]
    return "\n".join([HEAD, "| status | meaning | what to do |", "|--:|---|---|", *rows, "", *_outcomes(), ""])


def _outcomes() -> Iterator[str]:
    yield from ("## Outcomes of actions", "")
    yield from (
        "When a provider refuses or does not answer, the outcome in the journal has the class of the failure and the",
        "provider's own words.",
        "",
        "| class | meaning, and what the service does |",
        "|---|---|",
    )
    for found in vars(errors).values():
        if inspect.isclass(found) and issubclass(found, errors.ProviderError):
            yield f"| `{found.code}` | {' '.join(inspect.getdoc(found).split())} |"  # type: ignore[union-attr]
