"""From a template and values to the document that a cloud hands to the machine."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from autoscaler.errors import InputError
from providers.bootstrap import machine, secretlike
from providers.bootstrap.settings import Values
from providers.bootstrap.template import DEEPEST, HEADER, MOST_NODES, PLACEHOLDER, Template

LIMITS: Mapping[str, int] = {"aws": 16 << 10, "azure": 65535}
"""Bytes that a cloud takes, before it is written in base64: EC2's user data 16 KiB (EC2 user guide, "Run commands when
you launch an EC2 instance"), Azure's custom data 65535 (REST reference of virtual machines, osProfile.customData)."""
COMPUTED = ("serve_unit", "agent_unit", "setup")
_SHOWN = 5


def render(template: Template, values: Values) -> str:
    """The document, the same for the same template and values for ever: a call with it can be repeated.

    Raises InputError with everything that is wrong: unknown placeholders, text that looks like a secret, too large for
    the provider of `values`.
    """
    filling = _Filling(template.name, *_known(values, template.name))
    document = {key: filling.fill(inner, 1) for key, inner in template.document.items()}
    faults = filling.faults
    if not faults:
        faults = [f"{template.name}: {text}; fetch it on the machine" for text in secretlike.found(document)]
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise InputError(*(f"bootstrap: {text}" for text in [*faults[:_SHOWN], *more]))
    text = f"{HEADER}\n{yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 20)}"
    limit, size = LIMITS.get(values.provider), len(text.encode())
    if limit is not None and size > limit:
        raise InputError(
            f"bootstrap: {template.name} makes {size} bytes, {values.provider} takes at most {limit}; put what is "
            "large into the image, or fetch it from runcmd"
        )
    return text


def _known(values: Values, name: str) -> tuple[dict[str, str], list[str]]:
    """Every placeholder with its text; empty = without a value. And what is wrong in the commands of `values`."""
    plain = values.plain()
    inner = _Filling(f"{name}: serve", plain, [])
    serve = values.serve
    if serve is not None:
        serve = replace(
            serve,
            words=tuple(inner.text(w) for w in serve.words),
            before=tuple(inner.text(w) for w in serve.before),
            environment=tuple((n, inner.text(v)) for n, v in serve.environment),
        )
    made = {
        "serve_unit": machine.serve_unit(serve, values) if serve is not None else "",
        "agent_unit": machine.agent_unit(values.agent, values) if values.agent is not None else "",
        "setup": machine.setup(values) if serve is not None or values.agent is not None else "",
    }
    return plain | made, inner.faults


_LEFT_OUT = object()


@dataclass(slots=True)
class _Filling:
    """One walk over a document. It counts what it visits: aliases let a few lines stand for millions."""

    name: str
    known: Mapping[str, str]
    faults: list[str] = field(default_factory=list)
    nodes: int = 0

    def fill(self, value: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MOST_NODES or depth > DEEPEST:
            raise InputError(
                f"bootstrap: {self.name} has more than {MOST_NODES} parts or {DEEPEST} levels; write less into it"
            )
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list):
            filled = [self.fill(inner, depth + 1) for inner in value]
            return [inner for inner in filled if inner is not _LEFT_OUT]
        return self.text(value) if isinstance(value, str) else value

    def text(self, text: str) -> str:
        """A text with its placeholders filled in."""
        return PLACEHOLDER.sub(lambda found: self._value(found[1]), text)

    def _mapping(self, value: dict[Any, Any], depth: int) -> Any:
        content = value.get("content")
        whole = PLACEHOLDER.fullmatch(content.strip()) if isinstance(content, str) else None
        if whole is not None and "path" in value and self.known.get(whole[1]) == "" and whole[1] in COMPUTED:
            return _LEFT_OUT
        filled = {key: self.fill(inner, depth + 1) for key, inner in value.items()}
        return {key: inner for key, inner in filled.items() if inner is not _LEFT_OUT}

    def _value(self, name: str) -> str:
        if name not in self.known:
            close = difflib.get_close_matches(name, self.known, n=1)
            hint = f"did you mean {{{{{close[0]}}}}}?" if close else f"known are {', '.join(self.known)}"
            self._fault(f"{{{{{name}}}}} is no placeholder; {hint}")
            return ""
        found = self.known[name]
        if not found and name not in ("region", "zone"):
            where = {"serve_unit": "serve", "setup": "serve or agent"}.get(name, "agent")
            self._fault(f"{{{{{name}}}}} has no value; write {where} into the offer or the provider's configuration")
        return found

    def _fault(self, text: str) -> None:
        told = f"{self.name}: {text}"
        if told not in self.faults:
            self.faults.append(told)


class _Dumper(yaml.SafeDumper):
    """Scripts and units in blocks, as people would write them; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
