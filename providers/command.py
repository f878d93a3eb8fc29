"""What an offer of the local provider says about its replicas: which command, how it shows that it is ready."""

from __future__ import annotations

import os
import shlex
import string
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autoscaler.errors import ProviderError
from autoscaler.types import Offer

FIELDS = ("port", "host", "pool", "instance", "gpu", "python")
"""What a command may mention in braces. `python` is the interpreter that runs the service."""

SETTINGS = ("command", "ready", "gpus", "cwd", "max")
"""Settings of an offer, besides `env.NAME`."""

# What the service itself was given and a worker has no business with: our tokens, and systemd's sockets and pipes.
_PRIVATE = ("SIGMASCALE_", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET")

ACTION = "SIGMASCALE_ACTION"
"""The environment variable that tells a worker, and people, which launch it came from."""

MARK = "SIGMASCALE_STATE"
"""The one by which a process is found again: its state file, which no other service on this machine has."""


@dataclass(frozen=True, slots=True)
class Template:
    """How one replica of an offer is run.

    words: the command, split as a shell would, fields not filled in yet. ready: path of the readiness probe. gpus: GPUs
    per process. most: processes of this offer at once, None = only the provider's own limit.
    """

    words: tuple[str, ...]
    ready: str = "/health"
    gpus: int = 0
    env: tuple[tuple[str, str], ...] = ()
    cwd: str | None = None
    most: int | None = None


def template(offer: Offer) -> Template:
    """The settings of an offer, checked. Raises ProviderError that names the setting and what it may be."""
    settings = dict(offer.settings)
    env = {name.removeprefix("env."): text for name, text in settings.items() if name.startswith("env.")}
    unknown = sorted(name for name in settings if name not in SETTINGS and not name.startswith("env."))
    if unknown:
        raise ProviderError(
            f"{offer.key}: unknown setting {unknown[0]!r}; the local provider knows {', '.join(SETTINGS)} and env.NAME"
        )
    if not all(name and "=" not in name and "\0" not in name + text for name, text in env.items()):
        raise ProviderError(f"{offer.key}: env.NAME needs a name without '=' and a text without NUL characters")
    command = settings.get("command", "")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise ProviderError(f"{offer.key}: command: {error}; close every quote") from None
    if not words or "\0" in command:
        raise ProviderError(f"{offer.key}: command is missing; write one such as 'python -m server --port {{port}}'")
    for word in words:
        _check(offer.key, word)
    ready = settings.get("ready", "/health")
    if not ready.startswith("/") or any(c.isspace() for c in ready):
        raise ProviderError(f"{offer.key}: ready: {ready!r} is not a path; write one such as /health")
    return Template(
        words=words,
        ready=ready,
        gpus=_count(offer.key, "gpus", settings.get("gpus", "0")),
        env=tuple(sorted(env.items())),
        cwd=settings.get("cwd"),
        most=_count(offer.key, "max", settings["max"]) if "max" in settings else None,
    )


def expand(words: tuple[str, ...], fields: Mapping[str, str]) -> list[str]:
    """The command with its fields filled in. No shell sees it, so a value cannot become a second word."""
    return [word.format(**fields) for word in words]


def environment(template: Template, action: str, state: Path, gpus: tuple[str, ...]) -> dict[str, str]:
    """The environment of a replica: ours without what is private, then what GPUs it may see, then the offer's own.

    A replica without GPUs sees none, so that it cannot take memory on those of another.
    """
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(_PRIVATE)}
    marks = {ACTION: action, MARK: str(state)}
    return {**inherited, "CUDA_VISIBLE_DEVICES": ",".join(gpus), **dict(template.env), **marks}


def fields(host: str, port: int, pool: str, instance: str, gpus: tuple[str, ...]) -> dict[str, str]:
    """The values of FIELDS for one replica."""
    return {
        "host": host,
        "port": str(port),
        "pool": pool,
        "instance": instance,
        "gpu": ",".join(gpus),
        "python": sys.executable,
    }


def _check(offer: str, word: str) -> None:
    """Only plain names of FIELDS in braces: no attributes, indices, conversions or widths."""
    try:
        parts = list(string.Formatter().parse(word))
    except ValueError as error:
        raise ProviderError(f"{offer}: command: {error}; write {{{{ and }}}} for literal braces") from None
    for _, name, width, conversion in parts:
        if name is None:
            continue
        if name not in FIELDS or width or conversion:
            known = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise ProviderError(
                f"{offer}: command: unknown field {{{name}}}; known are {known}; write {{{{ and }}}} for literal braces"
            )


def _count(offer: str, name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise ProviderError(f"{offer}: {name}: {text!r} is not a count; write 0, 1, 2 ...")
    return int(text)
