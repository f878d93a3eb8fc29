"""From the words of `alerting` to receivers, with everything that is wrong about them and the next step."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from autoscaler.alerting import (
    MAX_ADDRESSES,
    MAX_RECEIVERS,
    Address,
    Alerting,
    Receiver,
    UnreadableError,
    of_webhooks,
    secret_text,
    url_lines,
)
from autoscaler.alertingmodel import AlertingIn, ReceiverIn
from autoscaler.configparts import Webhook, is_url
from autoscaler.notifying.bodies import template
from autoscaler.notifying.hosts import HostRules
from autoscaler.notifying.matching import MAX_MATCHERS, parsed
from autoscaler.notifying.signing import SHORTEST_KEY
from autoscaler.types import Matcher

Finding = tuple[str, str]
"""The path of a setting, and what is wrong with it."""
Findings = list[Finding]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,62}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}|\.\.\.")
RESERVED = (
    "content-type",
    "content-length",
    "host",
    "transfer-encoding",
    "connection",
    "user-agent",
    "idempotency-key",
)
DAY_S = 86400.0


def read(given: AlertingIn | None, folder: Path, webhooks: tuple[Webhook, ...]) -> tuple[Alerting, Findings]:
    """The receivers of `webhooks` and of `alerting`; paths are relative to `folder`. What is wrong is in the list."""
    said, wrong = given or AlertingIn(), Findings()
    try:
        rules = HostRules.of(said.allowed_hosts)
    except ValueError as error:
        wrong.append(("alerting.allowed_hosts", str(error)))
        rules = HostRules()
    if said.external_url and not is_url(said.external_url):
        wrong.append(("alerting.external_url", f"{said.external_url!r} is not a URL; write https://HOST"))
    if len(said.receivers) > MAX_RECEIVERS:
        rule = f"{len(said.receivers)} receivers are more than {MAX_RECEIVERS}; let an Alertmanager tell the others"
        wrong.append(("alerting.receivers", rule))
    found = list(of_webhooks(tuple(w for w in webhooks if is_url(w.url))))
    seen: dict[str, int] = {}
    for number, one in enumerate(said.receivers):
        where = f"alerting.receivers[{number}]"
        receiver = _receiver(said, one, folder, where, wrong)
        first = seen.setdefault(one.name, number)
        if first != number:
            rule = f"{one.name!r} is also the name of receivers[{first}]; name each differently"
            wrong.append((f"{where}.name", rule))
        wrong += _unreachable(receiver, rules, where)
        found.append(receiver)
    if rules.listed:
        for number, receiver in enumerate(found[: len(found) - len(said.receivers)]):
            wrong += _unreachable(receiver, rules, f"webhooks[{number}]")
    return Alerting(tuple(found), tuple(said.allowed_hosts), said.inhibit, said.external_url.rstrip("/")), wrong


def _receiver(said: AlertingIn, one: ReceiverIn, folder: Path, where: str, wrong: Findings) -> Receiver:
    if not _NAME.fullmatch(one.name):
        rule = "is not a name; write up to 63 letters, digits, dots, dashes and blanks"
        wrong.append((f"{where}.name", f"{one.name[:80]!r} {rule}"))
    times = {
        name: getattr(said, name) if getattr(one, name) is None else getattr(one, name)
        for name in ("group_wait", "group_interval", "repeat_interval")
    }
    wrong += _timing(one, times, where)
    wrong += _grouping(said, one, where)
    is_manager = one.kind == "alertmanager"
    return Receiver(
        name=one.name,
        kind=one.kind,
        addresses=_addresses(one, folder, where, wrong),
        match=_matchers(one, where, wrong),
        group_by=tuple(said.group_by if one.group_by is None else one.group_by),
        group_wait_s=0.0 if is_manager else times["group_wait"],
        group_interval_s=0.0 if is_manager else times["group_interval"],
        repeat_interval_s=times["repeat_interval"],
        send_resolved=one.send_resolved,
        timeout_s=one.timeout,
        expires_s=one.expires,
        headers=_headers(one, where, wrong),
        header_files=_header_files(one, folder, where, wrong),
        hmac_file=_key_file(one, folder, where, wrong),
        ca_file=_ca_file(one, folder, where, wrong),
        template=_template(one, folder, where, wrong),
    )


def _timing(one: ReceiverIn, times: dict[str, float], where: str) -> Iterator[Finding]:
    bounds = {"group_wait": (0.0, 3600.0), "group_interval": (0.0, DAY_S), "repeat_interval": (60.0, 30 * DAY_S)}
    usual = {"group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h", "timeout": "10s", "expires": "4h"}
    bounds |= {"timeout": (0.1, 120.0), "expires": (60.0, 7 * DAY_S)}
    for name, value in (times | {"timeout": one.timeout, "expires": one.expires}).items():
        least, most = bounds[name]
        if not least <= value <= most:
            given = name in ("timeout", "expires") or getattr(one, name) is not None
            place = f"{where}.{name}" if given else f"alerting.{name}"
            yield place, f"{value:g} s is not between {least:g} s and {most:g} s; {usual[name]} is usual"


def _grouping(said: AlertingIn, one: ReceiverIn, where: str) -> Iterator[Finding]:
    if one.kind == "alertmanager":
        for name in ("group_by", "group_wait", "group_interval", "repeat_interval"):
            if getattr(one, name) is not None:
                yield f"{where}.{name}", "an Alertmanager groups and repeats by itself; write it into its own route"
        return
    labels = said.group_by if one.group_by is None else one.group_by
    place = "alerting.group_by" if one.group_by is None else f"{where}.group_by"
    for label in labels:
        if not _LABEL.fullmatch(label):
            yield place, f"{label[:80]!r} is not a label; write names such as alertname, pool, severity or instance"
    if "..." in labels and len(labels) > 1:
        yield place, "... stands for all labels; leave the others out"


def _addresses(one: ReceiverIn, folder: Path, where: str, wrong: Findings) -> tuple[Address, ...]:
    if bool(one.url) == bool(one.url_file):
        rule = "both url and url_file; delete one of them" if one.url else "no address; add url or url_file"
        wrong.append((where, f"names {rule}"))
        return ()
    if one.url_file is not None:
        path = folder / Path(one.url_file).expanduser()
        try:
            lines, place = url_lines(path), f"{where}.url_file"
        except UnreadableError as error:
            wrong.append((f"{where}.url_file", str(error).removeprefix("url_file ")))
            return ()
        found = tuple(Address(file=path, line=n) for n in range(len(lines)))
    else:
        lines, place = one.url, f"{where}.url"
        found = tuple(Address(url) for url in one.url)
    for line in lines:
        if not is_url(line):
            # The text is not repeated: a URL pasted with a typo still holds its secret.
            wrong.append((place, "is not a URL; write http://HOST/PATH or https://HOST/PATH"))
    if len(lines) > 1 and one.kind != "alertmanager":
        wrong.append((place, f"{len(lines)} URLs: only an Alertmanager has several; write a receiver for each"))
    elif not 1 <= len(lines) <= MAX_ADDRESSES:
        wrong.append((place, f"{len(lines)} URLs; write 1 to {MAX_ADDRESSES}"))
    return found


def _unreachable(receiver: Receiver, rules: HostRules, where: str) -> Iterator[Finding]:
    for address in receiver.addresses:
        try:
            host = urlsplit(address.read()).hostname or ""
        except (UnreadableError, ValueError):
            continue
        if host and rules.refuses_name(host):
            place = (
                where if where.startswith("webhooks") else f"{where}.{'url' if address.file is None else 'url_file'}"
            )
            yield place, f"host {host} is not in allowed_hosts; add it there, or correct the URL"


def _matchers(one: ReceiverIn, where: str, wrong: Findings) -> tuple[Matcher, ...]:
    found = []
    if len(one.match) > MAX_MATCHERS:
        wrong.append((f"{where}.match", f"{len(one.match)} matchers are more than {MAX_MATCHERS}; write fewer"))
    for number, text in enumerate(one.match):
        try:
            found.append(parsed(text))
        except ValueError as error:
            wrong.append((f"{where}.match[{number}]", str(error)))
    return tuple(found)


def _headers(one: ReceiverIn, where: str, wrong: Findings) -> tuple[tuple[str, str], ...]:
    for name, value in one.headers.items():
        wrong += _header_name(name, f"{where}.headers.{name}")
        if name.lower() in ("authorization", "cookie", "proxy-authorization", "x-api-key"):
            rule = (
                "is a secret, which a configuration must not hold; write it into a file and name that in header_files"
            )
            wrong.append((f"{where}.headers.{name}", rule))
        elif not value.isascii() or not value.isprintable() or len(value) > 1000:
            rule = "its value is not one line of up to 1000 ASCII characters; shorten it"
            wrong.append((f"{where}.headers.{name}", rule))
    return tuple(one.headers.items())


def _header_files(one: ReceiverIn, folder: Path, where: str, wrong: Findings) -> tuple[tuple[str, Path], ...]:
    found = []
    for name, text in one.header_files.items():
        path = folder / Path(text).expanduser()
        wrong += _header_name(name, f"{where}.header_files.{name}")
        try:
            secret_text(path, "file")
        except UnreadableError as error:
            wrong.append((f"{where}.header_files.{name}", str(error)))
        found.append((name, path))
    return tuple(found)


def _header_name(name: str, where: str) -> Iterator[Finding]:
    if not _HEADER.fullmatch(name):
        yield where, f"{name[:80]!r} is not the name of a header; write one such as Authorization"
    elif name.lower() in RESERVED or name.lower().startswith("x-sigmascale-"):
        yield where, f"{name} is set by sigmascale itself; leave it out"


def _key_file(one: ReceiverIn, folder: Path, where: str, wrong: Findings) -> Path | None:
    if one.hmac_secret_file is None:
        return None
    path = folder / Path(one.hmac_secret_file).expanduser()
    try:
        if len(secret_text(path, "file").encode()) < SHORTEST_KEY:
            rule = f"holds fewer than {SHORTEST_KEY} bytes; make a key with `openssl rand -hex 32`"
            wrong.append((f"{where}.hmac_secret_file", f"{path} {rule}"))
    except UnreadableError as error:
        wrong.append((f"{where}.hmac_secret_file", str(error)))
    return path


def _ca_file(one: ReceiverIn, folder: Path, where: str, wrong: Findings) -> Path | None:
    if one.ca_file is None:
        return None
    path = folder / Path(one.ca_file).expanduser()
    if not (path.is_file() and os.access(path, os.R_OK)):
        wrong.append((f"{where}.ca_file", f"{path} is not a readable file; name a PEM file that this user may read"))
    return path


def _template(one: ReceiverIn, folder: Path, where: str, wrong: Findings) -> str:
    key = "template" if one.template_file is None else "template_file"
    given = bool(one.template) + (one.template_file is not None)
    if one.kind != "generic":
        if given:
            wrong.append((f"{where}.{key}", f"kind {one.kind} has a format of its own; write kind: generic"))
        return ""
    if given != 1:
        rule = "names both template and template_file; delete one" if given else "needs a template or template_file"
        wrong.append((where, f"kind generic {rule}"))
        return ""
    source = one.template
    try:
        if one.template_file is not None:
            with (folder / Path(one.template_file).expanduser()).open("rb") as opened:
                source = opened.read(template.MAX_TEMPLATE * 4).decode("utf-8")
        template.tried(source, one.name)
    except template.TemplateFaultError as error:
        wrong.append((f"{where}.{key}", str(error)))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        wrong.append((f"{where}.{key}", f"{one.template_file} cannot be read ({why}); name a file of text"))
    return source
