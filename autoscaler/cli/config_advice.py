"""What a closer look at a configuration finds: plug-ins that refuse their settings, and what is right but unwise."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from autoscaler import plugins
from autoscaler.config import Config, Finding, is_loopback
from autoscaler.configparts import PlugInConfig
from autoscaler.errors import Fault, InputError

MOUNTS = Path("/proc/self/mounts")
FLEETING = {
    "tmpfs": "lies in memory (tmpfs), so that a restart of the machine loses the journal",
    "ramfs": "lies in memory (ramfs), so that a restart of the machine loses the journal",
    "overlay": "lies in the container's own layer, so that the journal goes with the container",
}
"""File systems that do not outlive a restart, and what that means."""


def refused(config: Config) -> Iterator[Fault]:
    """What the service would say of its plug-ins and its certificate when it starts. Nothing is started or written."""
    from autoscaler.clock import SystemClock
    from autoscaler.plugged import PlugIns

    if config.tls_cert is not None and config.tls_key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(config.tls_cert, config.tls_key)
        except (ssl.SSLError, OSError) as error:
            reason = getattr(error, "reason", None) or error.strerror
            yield config.fault("tls_cert", f"does not work with tls_key: {reason}; give a PEM chain and its own key")
    # Some plug-ins take their folder when they are made, which belongs to the service that runs.
    with TemporaryDirectory(prefix="sigmascale-check-") as folder:
        made = PlugIns(replace(config, data_dir=Path(folder)), SystemClock(), Event(), dict)
        groups: tuple[tuple[plugins.Group, tuple[PlugInConfig, ...]], ...] = (
            ("providers", config.providers),
            ("collectors", config.collectors),
        )
        for group, given in groups:
            for one in given:
                elsewhere = {name: value for name, value in one.settings.items() if name != "directory"}
                try:
                    part = made.configured(group, replace(one, settings=elsewhere))
                except InputError as error:
                    yield from error.faults
                else:
                    _let_go(part)


def _let_go(part: object) -> None:
    close = getattr(part, "close", None)
    if callable(close):
        close()


def unwise(config: Config) -> Iterator[Finding]:
    """What works, and will be regretted."""
    yield from _place_of_data(config)
    yield from _rules(config)
    yield from _doors(config)
    for number, target in enumerate(config.targets):
        if target.token_file is not None and _in_the_clear(target.url):
            yield f"targets[{number}].url", "sends its token in the clear; scrape https, or a page on this machine"
    for receiver in config.alerting.receivers:
        # An Alertmanager is reached inside of one network, by an address that is no secret.
        if receiver.kind != "alertmanager" and any(_in_the_clear(a.host) for a in receiver.addresses):
            where = "alerting" if "alerting" in config.places else "webhooks"
            yield where, f"receiver {receiver.name} is told in the clear, with the secret of its URL; use https"
    known = {*plugins.names("providers"), *(p.name for p in config.providers)}
    for name in config.paces:
        if name not in known:
            yield f"paces.{name}", f"{name} is no provider; there are {', '.join(sorted(known))}"


def _place_of_data(config: Config) -> Iterator[Finding]:
    kind = file_system(config.data_dir.absolute())
    if kind in FLEETING:
        yield "data_dir", f"{config.data_dir} {FLEETING[kind]}; name a folder on a disk or volume"


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system that a path lies on, or will once it is made; empty where the system does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    # Spaces in the paths of mounts are written as \040. Of mounts over each other the last one is seen.
    found = [line.split()[1:3] for line in lines if len(line.split()) > 2]
    points = [(Path(point.replace("\\040", " ")), kind) for point, kind in found]
    over = [(len(point.parts), number, kind) for number, (point, kind) in enumerate(points) if _holds(point, path)]
    return max(over)[2] if over else ""


def _holds(point: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(point)


def _rules(config: Config) -> Iterator[Finding]:
    from datetime import UTC, datetime

    from autoscaler.clock import SystemClock
    from autoscaler.rulefile.reader import Defaults, check_file, rule_files
    from autoscaler.words import counted
    from providers.prices import read_prices

    if not config.rules:
        yield "rules", "no rules are given; name a rule file or a folder of them here, or start with --rules"
    today = datetime.fromtimestamp(SystemClock().now(), UTC).date()
    defaults = Defaults(config.max_replicas, config.region or None, prices=read_prices(config.prices), today=today)
    for path in config.rules:
        try:
            files = rule_files(path)
        except InputError as error:
            yield "rules", f"{path} {error.faults[0].text}"
            continue
        for file in files:
            wrong = len(check_file(file, defaults=defaults).errors)
            if wrong:
                yield "rules", f"{file} has {counted(wrong, 'error')}; see them with `sigmascale check {file}`"


def _doors(config: Config) -> Iterator[Finding]:
    if not config.loopback and config.tls_cert is None:
        rule = "tokens cross the network in the clear; set tls_cert and tls_key, or let a proxy end TLS in front"
        yield "listen", f"{config.host} can be reached from other machines without TLS: {rule}"
    if config.tokens and not any(token.may("operator") for token in config.tokens):
        yield "tokens_file", "nobody may change anything: no token has the role operator or admin; add one"
    if config.tls_key is not None and config.tls_key.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield "tls_key", f"{config.tls_key} can be read by every user; run `chmod 600 {config.tls_key}`"
    if config.tokens_file is not None and os.access(config.tokens_file, os.R_OK) and _plain_tokens(config.tokens_file):
        rule = "write `sha256:` and the digest, made with `printf %s TOKEN | sha256sum`"
        yield "tokens_file", f"{config.tokens_file} holds tokens in plain text; {rule}"


def _plain_tokens(path: Path) -> bool:
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return any(len(words) == 3 and words[0][0] != "#" and not words[1].startswith("sha256:") for words in lines)


def _in_the_clear(url: str) -> bool:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")
