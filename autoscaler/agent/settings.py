"""What an agent is told, from SIGMASCALE_AGENT_* variables as text, checked all at once.

Only light modules are imported here: the command line checks its flags with this before the agent itself is loaded.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from autoscaler import units
from autoscaler.agent.wanted import Wanted, clocks, power_limit
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.types import Labels

PREFIX = "SIGMASCALE_AGENT_"
TOKEN_VARIABLE = PREFIX + "TOKEN"
TOKEN_BYTES = 4096
CONTROLS_FILE = "/var/lib/sigmascale/agent-controls.jsonl"
INTERVALS_S = (0.1, 60.0)
FAST_S = (0.05, 1.0)
"""NVML's counters are not renewed more often than each 50 to 100 ms."""
Names = Literal["canonical", "dcgm", "otel"]
NAMES: tuple[Names, ...] = get_args(Names)
Lane = Literal["buffers", "gpm", "slow"]
LANES: tuple[Lane, ...] = get_args(Lane)
NO_LANES = "none"
CloudName = Literal["aws", "azure", "auto"]
CLOUDS: tuple[CloudName, ...] = get_args(CloudName)
METADATA_URL = "http://169.254.169.254"
"""Where machines of both clouds find their metadata service."""
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN = frozenset({"uuid", "gpu", "gpu_model", "mig_profile", "gi_id", "source", "host"})
"""Labels that collectors give themselves."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Everything an agent does. token: the push token from the environment; it stays out of every repr."""

    host: str
    listen: tuple[str, int] = ("127.0.0.1", 9400)
    names: tuple[Names, ...] = ("canonical",)
    interval_s: float = 1.0
    stats: bool = False
    fast_s: float | None = None
    with_gpus: bool = True
    with_host: bool = True
    lanes: tuple[Lane, ...] = LANES
    whole_machine: bool = False
    cloud: CloudName | None = None
    metadata_url: str = METADATA_URL
    labels: Labels = ()
    push: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    read_token_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    wanted: Wanted = field(default_factory=Wanted)
    controls_file: Path = Path(CONTROLS_FILE)
    log_format: Literal["console", "json"] = "console"

    @property
    def all_labels(self) -> Labels:
        """The labels of every series, sorted."""
        return tuple(sorted({**dict(self.labels), "host": self.host}.items()))


@dataclass(frozen=True, slots=True)
class Words:
    """The same as people write it. Each field is a flag, and in capitals behind PREFIX a variable; None = not given."""

    host: str | None = None
    listen: str = "127.0.0.1:9400"
    names: str = "canonical"
    interval: str = "1s"
    stats: str = "false"
    fast: str | None = None
    lanes: str = ",".join(LANES)
    no_gpus: str = "false"
    no_host: str = "false"
    whole_machine: str = "false"
    cloud: str = "none"
    metadata_url: str = METADATA_URL
    labels: str = ""
    push: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    token_file_read: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    power_limit: str | None = None
    lock_clocks: str | None = None
    controls_file: str = CONTROLS_FILE
    log_format: str = "console"

    def variables(self) -> dict[str, str]:
        """The variables that say the same."""
        pairs = ((one.name, getattr(self, one.name)) for one in fields(self))
        return {PREFIX + name.upper(): value for name, value in pairs if value is not None}


def words(environ: Mapping[str, str]) -> Words:
    """What the variables say. InputError for one of ours that no agent knows."""
    known = {PREFIX + one.name.upper(): one.name for one in fields(Words)}
    unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise InputError(*(f"{name}: is no variable of the agent; there are {', '.join(known)}" for name in unknown))
    return Words(**{name: environ[variable].strip() for variable, name in known.items() if variable in environ})


def read_settings(given: Words, machine: str) -> AgentSettings:
    """The checked settings; `machine` is the node's name where none is given. InputError with every fault at once.

    No fault repeats a token.
    """
    faults: list[str] = []

    def read(reader: Callable[[], Any], instead: Any) -> Any:
        try:
            return reader()
        except (ValueError, InputError) as error:
            faults.append(str(error))
            return instead

    token_file, read_token_file = (Path(name) if name else None for name in (given.token_file, given.token_file_read))
    settings = AgentSettings(
        host=read(lambda: _host(machine if given.host is None else given.host), ""),
        listen=read(lambda: _address(given.listen), ("", 0)),
        names=read(lambda: _choices("--names", given.names, NAMES), ()),
        interval_s=read(lambda: _within("--interval", given.interval, INTERVALS_S), 1.0),
        stats=read(lambda: _flag("--stats", given.stats), False),
        fast_s=read(partial(_within, "--fast", given.fast, FAST_S), 1.0) if given.fast else None,
        with_gpus=not read(lambda: _flag("--no-gpus", given.no_gpus), False),
        with_host=not read(lambda: _flag("--no-host", given.no_host), False),
        lanes=read(lambda: _choices("--lanes", given.lanes, LANES, NO_LANES), ()),
        whole_machine=read(lambda: _flag("--whole-machine", given.whole_machine), False),
        cloud=next(iter(read(lambda: _choices("--cloud", given.cloud, CLOUDS, "none"), ())), None),
        metadata_url=read(lambda: _metadata(given.metadata_url), METADATA_URL),
        labels=read(lambda: tuple(sorted(dict(_pairs(given.labels)).items())), ()),
        push=given.push or None,
        token=given.token or None,
        token_file=token_file,
        read_token_file=read_token_file,
        tls_cert=Path(given.tls_cert) if given.tls_cert else None,
        tls_key=Path(given.tls_key) if given.tls_key else None,
        wanted=Wanted(
            read(partial(power_limit, given.power_limit), None) if given.power_limit else None,
            read(partial(clocks, given.lock_clocks), None) if given.lock_clocks else None,
        ),
        controls_file=Path(given.controls_file or CONTROLS_FILE),
        log_format=read(lambda: _choices("--log-format", given.log_format, ("console", "json"))[0], "console"),
    )
    if given.push:
        read(partial(service, given.push), None)
    for file in (token_file, read_token_file):
        if file is not None:
            read(partial(read_token, file), "")
    faults += _contradictions(settings)
    if faults:
        raise InputError(*faults)
    return settings


def _contradictions(settings: AgentSettings) -> Iterator[str]:
    if settings.token_file is not None and settings.push is None:
        yield "--token-file: is sent with pushes only; give --push, or --token-file-read to ask scrapers for a token"
    if (settings.tls_cert is None) != (settings.tls_key is None):
        yield "--tls-cert and --tls-key: one is useless without the other; give both"
    if settings.wanted and not settings.with_gpus:
        yield "--power-limit and --lock-clocks: are set on GPUs; leave --no-gpus out"
    if not (settings.with_gpus or settings.with_host or settings.cloud):
        yield "--no-gpus and --no-host: nothing is left to collect; leave one of them out"


def service(url: str) -> SplitResult:
    """The address of a service. InputError for anything but http://HOST:PORT or https://HOST:PORT."""
    try:
        split = urlsplit(url)
        good = split.scheme in ("http", "https") and bool(split.hostname) and split.port != 0
    except ValueError:
        good = False
    if not good or split.username is not None or split.query or split.fragment:
        # The URL is not repeated: somebody may have put a password into it.
        raise InputError("--push: is not the address of a service; write http://HOST:PORT, without a password")
    return split


def read_token(path: Path) -> str:
    """The token in a file. InputError when it cannot be read, is empty, or lies open to other users."""
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            text = file.read(TOKEN_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"token file {path}: cannot be read ({why}); name a readable text file") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        shown = f"{stat.S_IMODE(mode):04o}"
        raise InputError(
            f"token file {path}: its mode {shown} lets other users read or change it; run `chmod 600 {path}`"
        )
    if not text or len(text) > TOKEN_BYTES or not text.isascii() or len(text.split()) != 1:
        raise InputError(f"token file {path}: holds no token; write one word of ASCII characters into it")
    return text


def _host(text: str) -> str:
    if not text or not text.isprintable() or len(text) > 253:
        raise ValueError(f"--host: {text!r} is not a name; write one such as node-1")
    return text


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65536):
        raise ValueError(f"--listen: {text!r} is not HOST:PORT; write 127.0.0.1:9400, or 0.0.0.0:9400 for everybody")
    return host, int(port)


def _metadata(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme == "http" and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        good = False
    if not good or re.search(r"[^!-~]|[?#]", url):
        raise ValueError(f"--metadata-url: {url!r} is not http://HOST:PORT; leave it out to ask the cloud's own")
    return url


def _choices(flag: str, text: str, known: Sequence[str], nothing: str = "") -> tuple[str, ...]:
    """Which of the known words are listed, in their own order; `nothing` alone lists none."""
    listed = _listed(text)
    if nothing and listed == [nothing]:
        return ()
    for word in listed or [text]:
        if word not in known:
            raise ValueError(f"{flag}: {word!r} is not one of {', '.join(known)}; write {flag} {known[0]}")
    return tuple(one for one in known if one in listed)


def _flag(flag: str, text: str) -> bool:
    if text not in ("true", "false", "1", "0", ""):
        raise ValueError(f"{flag}: {text!r} is not true or false; write true or false")
    return text in ("true", "1")


def _within(flag: str, text: str, limits: tuple[float, float]) -> float:
    try:
        seconds = units.duration_s(text)
    except ValueError as error:
        raise ValueError(f"{flag}: {error}") from None
    if not limits[0] <= seconds <= limits[1]:
        first, last = (units.duration_text(limit) for limit in limits)
        raise ValueError(f"{flag}: {text!r} is out of range; write a duration from {first} to {last}")
    return seconds


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in _listed(text):
        name, equals, value = pair.partition("=")
        if not (equals and value and _LABEL.fullmatch(name)):
            raise ValueError(f"--labels: {pair!r} is not NAME=VALUE; write node_pool=a100")
        if name in _TAKEN or name.startswith("__"):
            raise ValueError(f"--labels: the label {name!r} is the agent's own; choose another name")
        yield name, value


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
