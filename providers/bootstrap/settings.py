"""What offers and the provider's configuration say of the first boot: `serve`, `agent`, and what placeholders mean."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from autoscaler import units

HOME = "/opt/sigmascale"
SERVE: Mapping[str, str] = {
    "command": "what serves, as words; no shell reads it. Placeholders such as `{{port}}` are filled in",
    "port": "port at which it serves; the offer's `port`, or 8000, when left out",
    "user": "who it runs as; root when left out. Made when it is not there",
    "directory": "folder it is started in",
    "environment": "a mapping of variables; nothing secret",
    "environment_file": "file on the machine with more variables, such as one that `before` fetches",
    "before": "command that must succeed before each start",
    "restart": "`always`, `on-failure` or `no`; `always` when left out",
    "memory": "the most memory it may take, such as 800GiB",
    "files": "files and connections it may hold open; 1048576 when left out",
}
"""Keys of `serve`, and what each means; docs/bootstrap.md says the same."""
AGENT: Mapping[str, str] = {
    "service": "address of the service that the agent pushes to, such as http://10.0.0.2:9377",
    "package": "what pip installs: a package with its version, or the URL of a wheel",
    "install": "shell command that installs the agent, instead of `package`",
    "command": "the installed program; `HOME/venv/bin/sigmascale` when left out",
    "token_command": "shell command, run as root on the machine, that prints the push token",
    "token_file": "where the token lies on the machine; `HOME/push-token` when left out",
    "address": "shell command that prints the address under which the machine serves; when left out that of its route "
    "to the service, on Azure its computer name",
    "cloud": "whose notices the agent reads: aws, azure, auto or none; that of the provider when left out",
    "flags": "further flags of `sigmascale agent`",
    "home": f"folder of the agent on the machine; `{HOME}` when left out",
}
"""Keys of `agent`."""
_PATH = re.compile(r"/[\w+\-=.:@/]{1,200}")
_ANY_PATH = f"an absolute path; write one such as {HOME}"
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESTARTS = ("always", "on-failure", "no")
_CLOUDS = ("aws", "azure", "auto", "none")

Finding = tuple[str, str]
"""A setting by its name, such as `serve.port`, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Serve:
    """The serving command as a service of the machine. words: split, placeholders not filled in. memory_bytes 0: no
    limit."""

    words: tuple[str, ...]
    user: str = ""
    directory: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    environment_file: str = ""
    before: tuple[str, ...] = ()
    restart: str = "always"
    memory_bytes: int = 0
    files: int = 1 << 20


@dataclass(frozen=True, slots=True)
class Agent:
    """The agent as a service of the machine. package, install: one of them, or neither where the image has it."""

    service: str
    package: str = ""
    install: str = ""
    command: str = f"{HOME}/venv/bin/sigmascale"
    token_command: str = ""
    token_file: str = f"{HOME}/push-token"
    address: str = ""
    cloud: str = "none"
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Values:
    """What placeholders stand for: the same for every machine of one offer and pool, so that a call can be repeated."""

    pool: str
    offer: str
    provider: str = ""
    type: str = ""
    region: str = ""
    zone: str = ""
    purchase: str = ""
    replicas: int = 1
    port: int = 8000
    ready: str = "/health"
    home: str = HOME
    serve: Serve | None = None
    agent: Agent | None = None

    def plain(self) -> dict[str, str]:
        """The placeholders that commands may hold; an empty text where there is no value."""
        known = {one.name: str(getattr(self, one.name)) for one in fields(self) if one.name not in ("serve", "agent")}
        return {**known, "service": self.agent.service if self.agent is not None else ""}


@dataclass(slots=True)
class Reader:
    """Reads `serve.NAME` and `agent.NAME` of one offer; what is wrong is left in `faults`."""

    given: Mapping[str, str]
    provider: str
    faults: list[Finding] = field(default_factory=list)

    def serve(self) -> Serve | None:
        """None where nothing is said of it."""
        some = self._section("serve", SERVE)
        if not some:
            return None
        words = self._words("serve.command", some.get("command", ""))
        if not words:
            self.faults.append(("serve.command", "is missing; write the command that serves"))
        user = self._matching(some, "serve.user", _USER, "a user's name; write one such as serving")
        environment = [(n.removeprefix("environment."), v) for n, v in some.items() if n.startswith("environment.")]
        self.faults += [
            (f"serve.environment.{name}", "is no name of a variable; write letters, digits and '_'")
            for name, _ in environment
            if not _VARIABLE.fullmatch(name)
        ]
        return Serve(
            words=words,
            user="" if user == "root" else user,
            directory=self._matching(some, "serve.directory", _PATH, "an absolute path; write one such as /srv/model"),
            environment=tuple(sorted(environment)),
            environment_file=self._matching(
                some, "serve.environment_file", _PATH, "an absolute path; write one such as /run/serve.env"
            ),
            before=self._words("serve.before", some.get("before", "")),
            restart=self._one_of("serve.restart", some.get("restart", "always"), _RESTARTS),
            memory_bytes=self._bytes("serve.memory", some.get("memory", "")),
            files=self._count("serve.files", some.get("files", str(1 << 20))),
        )

    def agent(self, home: str) -> Agent | None:
        """None where nothing is said of it."""
        some = self._section("agent", AGENT)
        if not some or set(some) == {"home"}:
            return None
        service = some.get("service", "")
        if not _is_service(service):
            text = "is missing" if not service else "is not the address of a service"
            self.faults.append(("agent.service", f"{text}; write http://HOST:9377, without a password"))
        if "package" in some and "install" in some:
            self.faults.append(("agent.install", "stands beside package; keep one of the two"))
        if not {"package", "install", "command"} & set(some):
            self.faults.append(("agent.package", "is missing; write what pip installs, install, or command"))
        if not {"token_command", "token_file"} & set(some):
            text = "is missing; write a command that prints the push token, or token_file if the image has it"
            self.faults.append(("agent.token_command", text))
        if re.search(r"[\s;|&<>`$\\\"']", some.get("package", "")) or some.get("package", "").startswith("-"):
            self.faults.append(("agent.package", "is no one word of pip's; write sigmascale==0.1.0 or a URL"))
        own = self.provider if self.provider in _CLOUDS else "auto"
        return Agent(
            service=service,
            package=some.get("package", ""),
            install=some.get("install", ""),
            command=self._matching(some, "agent.command", _PATH, _ANY_PATH) or f"{home}/venv/bin/sigmascale",
            token_command=some.get("token_command", ""),
            token_file=self._matching(some, "agent.token_file", _PATH, _ANY_PATH) or f"{home}/push-token",
            address=some.get("address", ""),
            cloud=self._one_of("agent.cloud", some.get("cloud", own), _CLOUDS),
            flags=self._words("agent.flags", some.get("flags", "")),
        )

    def home(self) -> str:
        """The agent's folder."""
        return self._matching(self.given, "agent.home", _PATH, _ANY_PATH, prefixed=True) or HOME

    def _section(self, name: str, known: Mapping[str, str]) -> dict[str, str]:
        some = {n.removeprefix(f"{name}."): text for n, text in self.given.items() if n.startswith(f"{name}.")}
        for key in some:
            first, _, rest = key.partition(".")
            if first not in known or (bool(rest) != (first == "environment")):
                close = difflib.get_close_matches(first, known, n=1)
                hint = (
                    f"did you mean {name}.{close[0]}?" if close and close[0] != key else f"known are {', '.join(known)}"
                )
                self.faults.append((f"{name}.{key}", f"is no setting; {hint}"))
        return some

    def _words(self, name: str, text: str) -> tuple[str, ...]:
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            self.faults.append((name, f"cannot be split into words ({error}); close every quote"))
            return ()
        if "\0" in text:
            self.faults.append((name, "holds a NUL character; remove it"))
        return words

    def _matching(
        self, some: Mapping[str, str], name: str, shape: re.Pattern[str], what: str, *, prefixed: bool = False
    ) -> str:
        text = some.get(name if prefixed else name.partition(".")[2], "")
        if text and not shape.fullmatch(text):
            self.faults.append((name, f"{text!r} is not {what}"))
        return text

    def _one_of(self, name: str, text: str, known: tuple[str, ...]) -> str:
        if text not in known:
            self.faults.append((name, f"{text!r} is not one of {', '.join(known)}; write {known[0]}"))
        return text

    def _bytes(self, name: str, text: str) -> int:
        if not text:
            return 0
        try:
            found = units.quantity(text)
        except ValueError as error:
            self.faults.append((name, str(error)))
            return 0
        if found.unit != "bytes" or found.value < 1:
            self.faults.append((name, f"{text!r} is no amount of memory; write one such as 800GiB"))
        return int(found.value)

    def _count(self, name: str, text: str) -> int:
        try:
            return units.count(text)
        except ValueError as error:
            self.faults.append((name, str(error)))
            return 0


def flattened(section: str, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A mapping of the configuration as the settings of an offer are: `serve.environment.NAME` and its text."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from flattened(f"{section}.{name}", value)
        elif isinstance(value, list | tuple):
            yield f"{section}.{name}", shlex.join(map(str, value))
        else:
            yield f"{section}.{name}", str(value)


def _is_service(url: str) -> bool:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return good and parts.username is None and not parts.query and not re.search(r"[\s'\"\\$`%]", url)
