"""The `drain_hook` section: what is called when an instance leaves routing."""

from __future__ import annotations

import re
import string
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from autoscaler.movement import DrainHook
from autoscaler.rulefile.section import Faults, Section, key, wrong
from autoscaler.rulefile.words import Labels, Span, Text, Words

FIELDS = ("address", "host", "port", "instance", "pool", "offer")
"""What a URL or a command may hold in braces."""
LONGEST_S = 60.0
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


class DrainHookSection(Section):
    """Called when an instance leaves routing, until it has answered: a URL or a command."""

    http: Text | None = Field(
        None,
        description="URL that is posted to, such as http://{address}/drain. Fields: " + ", ".join(FIELDS) + ".",
    )
    command: Words | None = Field(None, description="Program and its arguments, with the same fields; no shell.")
    timeout: Span = key("10s", "Longest that one call may take; at most 60s.")
    every: Span = key("2s", "How often it is called while its answers count requests in flight, or after a failure.")
    header_files: Labels = key({}, "Headers whose values are in files, such as {Authorization: drain-token}.")
    header_variables: Labels = key({}, "Headers whose values are in variables of the service's environment.")

    @model_validator(mode="after")
    def _sound(self) -> DrainHookSection:
        faults: Faults = []
        if (self.http is None) == (self.command is None):
            faults.append((() if self.http is None else ("command",), "needs http or command; write one of the two"))
        if self.http is not None:
            faults += [(("http",), text) for text in _url_faults(self.http)]
        for index, word in enumerate(self.command or ()):
            faults += [(("command", index), text) for text in _field_faults(word)]
        if self.timeout > LONGEST_S:
            faults.append((("timeout",), f"{self.timeout:g} s is more than {LONGEST_S:g} s; write 10s"))
        for name in ("header_files", "header_variables"):
            if self.command is not None and getattr(self, name):
                faults.append(((name,), "is for http only; a command reads its own files"))
            wrong_ones = [h for h in getattr(self, name) if not _HEADER.fullmatch(h)]
            faults += [((name, h), f"{h!r} is no name of a header; write Authorization") for h in wrong_ones]
        if faults:
            raise wrong(*faults)
        return self


def drain_hook(section: DrainHookSection | None) -> DrainHook | None:
    """The value that the section means."""
    if section is None:
        return None
    return DrainHook(
        url=section.http or "",
        words=tuple(section.command or ()),
        timeout_s=section.timeout,
        every_s=section.every,
        header_files=tuple(sorted(section.header_files.items())),
        header_variables=tuple(sorted(section.header_variables.items())),
    )


def _url_faults(url: str) -> list[str]:
    faults = _field_faults(url)
    if faults:
        return faults
    scheme, _, rest = url.partition("://")
    place = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if "@" in place:  # not repeated
        return ["holds a user or a password; write header_files instead"]
    if scheme not in ("http", "https") or not rest:
        return [f"{url!r} is not a URL; write http://{{address}}/drain"]
    own = re.fullmatch(r"\{address\}|\{host\}(:(\d{1,5}|\{port\}))?", place)
    if own is None and "{" in place:
        return [f"{place!r} makes a host of a name; write {{address}} or {{host}}:PORT, or a fixed host"]
    try:
        parts = urlsplit(url if own is None else f"{scheme}://10.0.0.1/")
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    return [] if good else [f"{url!r} is not a URL; write http://{{address}}/drain"]


def _field_faults(text: str) -> list[str]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        return [f"{text!r}: {error}; write {{{{ and }}}} for literal braces"]
    for _, name, width, conversion in parts:
        if name in FIELDS and (width or conversion):
            return [f"{{{name}}} is filled in as it is; write nothing behind its name"]
        if name is not None and name not in FIELDS:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            return [f"{{{name}}} is no field; known are {known}; write {{{{ and }}}} for literal braces"]
    return []
