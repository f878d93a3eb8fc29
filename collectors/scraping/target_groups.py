"""Prometheus's format for lists of targets, which file_sd files and http_sd answers share, read into targets. Pure.

A list of groups, each with `targets` (host:port) and `labels`. Labels that begin with two underscores say how to scrape
(`__scheme__`, `__metrics_path__`, `__scrape_interval__`, `__scrape_timeout__`, `__param_NAME`) or are dropped.
Format: https://prometheus.io/docs/prometheus/latest/http_sd/ and configuration/#file_sd_config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import yaml

from autoscaler.errors import InputError
from autoscaler.types import Labels
from collectors.scraping.targets import Target

MAX_TARGETS = 50_000
MAX_LABELS = 100
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/?#@\[\]]+)(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Manner:
    """How the targets of one list are scraped unless a group says otherwise. `labels` are added to each of them."""

    labels: Labels = ()
    path: str = "/metrics"
    interval_s: float = 5.0
    timeout_s: float = 3.0
    token_file: Path | None = None
    ca_file: Path | None = None


def targets_of(data: bytes, place: str, manner: Manner) -> tuple[Target, ...]:
    """The targets of a list in JSON or YAML. Raises InputError, naming `place`, for a list that breaks the format.

    A list is taken as a whole or not at all: half of it would look like a fleet that shrank.
    """
    if not data.strip():
        # Whoever writes a file in its place empties it first.
        raise InputError(f"{place}: is empty; write [] for a list without targets")
    try:
        groups = yaml.load(data, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{place}: is neither JSON nor YAML ({_first_line(error)}); correct the list") from None
    if groups is None:
        return ()
    if not isinstance(groups, list):
        raise InputError(f"{place}: is not a list of groups; write [{{targets: [HOST:PORT], labels: {{pool: NAME}}}}]")
    found: dict[Target, None] = {}
    for number, group in enumerate(groups):
        for target in _group(group, f"{place}: [{number}]", manner):
            found[target] = None
            if len(found) > MAX_TARGETS:
                raise InputError(f"{place}: has more than {MAX_TARGETS} targets; split the list over several services")
    return tuple(found)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _group(group: object, place: str, manner: Manner) -> list[Target]:
    if not isinstance(group, Mapping):
        raise InputError(f"{place} is not a group; write {{targets: [HOST:PORT], labels: {{pool: NAME}}}}")
    unknown = sorted(map(str, group.keys() - {"targets", "labels"}))
    if unknown:
        raise InputError(f"{place} has {', '.join(unknown)}; a group has only `targets` and `labels`")
    addresses, labels = group.get("targets"), group.get("labels") or {}
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
        raise InputError(f"{place}.targets is not a list of words; write [HOST:PORT, ...]")
    if not isinstance(labels, Mapping) or not all(isinstance(n, str) for n in labels) or len(labels) > MAX_LABELS:
        raise InputError(
            f"{place}.labels is not a mapping of at most {MAX_LABELS} names to words; write {{pool: NAME}}"
        )
    words = {name: _word(value, f"{place}.labels.{name}") for name, value in labels.items()}
    return [_target(address, words, f"{place}.targets", manner) for address in addresses]


def _word(value: object, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise InputError(f"{place} is not a word; put it into quotes")
    return str(value)


def _target(address: str, labels: Mapping[str, str], place: str, manner: Manner) -> Target:
    if not _ADDRESS.fullmatch(address):
        raise InputError(f"{place}: {address!r} is not HOST:PORT; leave out the scheme and the path, labels give them")
    for name in labels:
        if not _LABEL.fullmatch(name):
            raise InputError(f"{place}: the label {name!r} is not a name; use letters, digits and underscores")
    scheme = labels.get("__scheme__", "http")
    path = labels.get("__metrics_path__", manner.path)
    asked = {n.removeprefix("__param_"): v for n, v in labels.items() if n.startswith("__param_")}
    query = f"?{urlencode(asked)}" if asked else ""
    own = {n: v for n, v in labels.items() if not n.startswith("__") and v}
    interval_s = _seconds(labels, "__scrape_interval__", manner.interval_s, place)
    timeout_s = min(interval_s, _seconds(labels, "__scrape_timeout__", manner.timeout_s, place))
    pairs = {"instance": address, **dict(manner.labels), **own}
    url = f"{scheme}://{address}{quote(path, safe='/%~:@!$&()*+,;=-._')}{query}"
    return Target(url, tuple(sorted(pairs.items())), interval_s, timeout_s, manner.token_file, manner.ca_file)


def _seconds(labels: Mapping[str, str], name: str, default: float, place: str) -> float:
    text = labels.get(name)
    if text is None:
        return default
    found = _DURATION.fullmatch(text)
    seconds = 0.0
    if found is not None:
        hours, minutes, whole, milli = (int(part or 0) for part in found.groups())
        seconds = 3600.0 * hours + 60.0 * minutes + whole + milli / 1000.0
    if not seconds > 0:
        raise InputError(f"{place}: {name} is {text!r}, which is not a duration above 0; write 15s")
    return seconds
