"""Matchers on the labels of alerts, as Alertmanager writes them: name="x", name!="x", name=~"x|y", name!~"x.*".

An expression must match the whole value. Expressions are those of RE2 (Rust's regex crate, which pydantic brings): they
take time in proportion to the text, so that no expression that a person writes can hold the interpreter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import cast

from pydantic_core import SchemaError, SchemaValidator, core_schema

from autoscaler.types import Matcher, MatchOp

MAX_MATCHERS = 20
MAX_VALUE = 500
EXAMPLE = 'severity="critical" or pool=~"chat-.*"'

_WRITTEN = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]{0,99})\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\s]*))\s*')
_ESCAPED = {'"': '"', "\\": "\\", "n": "\n"}


def parsed(text: str) -> Matcher:
    """A matcher from its text. Raises ValueError with the rule and the next step."""
    found = _WRITTEN.fullmatch(text) if len(text) <= 2 * MAX_VALUE else None
    if found is None:
        raise ValueError(f"{text[:80]!r} is not a matcher; write one such as {EXAMPLE}")
    name, op, quoted, bare = found.groups()
    value = bare if quoted is None else re.sub(r"\\(.)", lambda m: _ESCAPED.get(m[1], m[0]), quoted)
    matcher = Matcher(name, cast("MatchOp", op), value)
    check(matcher)
    return matcher


def check(matcher: Matcher) -> None:
    """Raises ValueError for a value that is too long or an expression that is none."""
    if len(matcher.value) > MAX_VALUE:
        raise ValueError(f"the value of {matcher.name} has more than {MAX_VALUE} characters; write a shorter one")
    if matcher.op in ("=~", "!~"):
        try:
            _compiled(matcher.value)
        except SchemaError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip().startswith("error: ")]
            why = lines[-1].removeprefix("error: ") if lines else "it is too large"
            rule = f"is not an expression of RE2 ({why}); write one such as chat-.*|embed"
            raise ValueError(f"{matcher.value[:80]!r} {rule}") from None


def selects(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether all matchers hold for these labels; without any, everything is selected."""
    return all(holds(m, labels.get(m.name, "")) for m in matchers)


def holds(matcher: Matcher, value: str) -> bool:
    """Whether a matcher holds for the value of its label, empty = the label is not there."""
    if matcher.op == "=":
        return value == matcher.value
    if matcher.op == "!=":
        return value != matcher.value
    return _compiled(matcher.value).isinstance_python(value) is (matcher.op == "=~")


@lru_cache(maxsize=2000)
def _compiled(expression: str) -> SchemaValidator:
    # By itself first: `a)|(b` is none, though it would be one between brackets.
    _validator(expression)
    return _validator(rf"\A(?:{expression})\z")


def _validator(expression: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=expression, regex_engine="rust-regex"))
