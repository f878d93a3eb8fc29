"""Bodies that people write themselves: a Jinja template in a sandbox, which must give JSON.

A template sees what Alertmanager's webhook payload holds, under the same names: status, alerts, groupLabels, ... It is
tried with an example when the configuration is read; what it lacks in a real alert is empty, not a failure.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from autoscaler.notifying.bodies import webhook
from autoscaler.notifying.groups import Note, group_key
from autoscaler.types import Alert

if TYPE_CHECKING:
    from jinja2 import Environment, Template

MAX_TEMPLATE = 20_000
MAX_BODY = 1 << 20


class TemplateFaultError(Exception):
    """A template that cannot be read, cannot be filled in, or gives no JSON; the text says where and why."""


def rendered(source: str, receiver: str, note: Note, external_url: str) -> str:
    """The body. Raises TemplateFaultError."""
    from jinja2 import TemplateError

    try:
        text = "".join(_limited(_compiled(source), webhook.contents(note, receiver, external_url)))
    except (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
        line = getattr(error, "lineno", None)
        raise TemplateFaultError(f"{f'line {line}: ' if line else ''}{error}") from None
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TemplateFaultError(f"it gives no JSON ({error}); write values as {{{{ value | tojson }}}}") from None
    return text


def tried(source: str, receiver: str) -> None:
    """Fills a template in with an example of a firing and of a resolved alert. Raises TemplateFaultError."""
    from jinja2 import TemplateError, meta

    if len(source) > MAX_TEMPLATE:
        raise TemplateFaultError(f"it has more than {MAX_TEMPLATE:,} characters; write a shorter one")
    pairs = (("alertname", "power"), ("pool", "chat"))
    text = 'gpu_power_watts 520 is above its band 370 to 430, "quoted"'
    alert = Alert("k", "chat", "power", "warning", "firing", 1.7e9, text, (("gpu", "0"),), 520.0, 1.7e9, 1.7e9)
    over = Alert("k", "chat", "power", "critical", "resolved", 1.7e9, "over", (), None, 1.7e9, 1.7e9)
    try:
        names = meta.find_undeclared_variables(_environment().parse(source))
    except TemplateError as error:
        raise TemplateFaultError(f"line {getattr(error, 'lineno', 1)}: {error}") from None
    known = webhook.contents(Note(group_key(pairs), pairs, (alert,)), receiver, "")
    for name in sorted(names - known.keys() - {"range", "dict", "namespace"}):
        raise TemplateFaultError(f"{name!r} is not known; there are {', '.join(known)}")
    for alerts in ((alert,), (alert, over), (over,)):
        rendered(source, receiver, Note(group_key(pairs), pairs, alerts), "https://scale.example")


def _limited(template: Template, context: dict[str, object]) -> list[str]:
    found, size = [], 0
    for piece in template.generate(context):
        size += len(piece)
        if size > MAX_BODY:
            raise ValueError(f"it gives more than {MAX_BODY:,} characters; say less of each alert")
        found.append(piece)
    return found


@lru_cache(maxsize=100)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import ChainableUndefined, Undefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Sealed(ImmutableSandboxedEnvironment):
        """A sandbox that says what it refuses, and multiplies numbers only: a text times a billion is no message."""

        intercepted_binops = frozenset(["*", "**"])

        def unsafe_undefined(self, obj: object, attribute: str) -> Undefined:
            raise SecurityError(f"{attribute!r} may not be asked for")

        def call_binop(self, context: object, operator: str, left: object, right: object) -> object:
            if operator == "**" or not (isinstance(left, int | float) and isinstance(right, int | float)):
                raise SecurityError(f"{operator} works on numbers only, and ** not at all")
            return left * right

    def dumps(value: object, **more: object) -> str:
        def plain(other: object) -> object:
            return None if isinstance(other, Undefined) else str(other)

        return json.dumps(value, default=plain, **more)  # type: ignore[arg-type]

    made = Sealed(undefined=ChainableUndefined, autoescape=False)
    made.policies["json.dumps_function"] = dumps
    return made
