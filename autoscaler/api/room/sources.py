"""The sources page: who gives what, which targets do not answer, and which signals of the rules are missing or odd."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.room.asked import Asked, asked_of
from autoscaler.api.room.pages import Looking, render
from autoscaler.board import PoolView
from autoscaler.counts import Counts, TargetStatus
from autoscaler.words import counted

PER_PAGE = 50
MAX_SIGNALS = 500
WORST: dict[str, int] = {"missing": 0, "frozen": 1, "stale": 2, "partial": 3, "fresh": 4}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Target:
    """One scraped page. age_s: since it last answered, None = never."""

    url: str
    labels: str
    up: bool
    age_s: float | None
    error: str
    rejected: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """One kind of push, since the start. refused: how often and why."""

    kind: str
    taken: int
    samples: int
    refused: str


@dataclass(frozen=True, slots=True)
class Row:
    """One signal of a pool. findings: what is wrong with it, and the next step."""

    pool: str
    signal: str
    quality: str
    value: float | None
    age_s: float | None
    detail: str
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """Everything that the page shows. counts: title, number, weight."""

    targets: tuple[Target, ...]
    matching: int
    page: int
    pages: int
    pushed: tuple[Pushed, ...]
    signals: tuple[Row, ...]
    more_signals: int
    problems: tuple[str, ...]
    counts: tuple[tuple[str, int, str], ...]


ONLY = ("down", "trouble")
"""Targets that do not answer; signals that are less than fresh."""

Choice = Annotated[Asked, Depends(asked_of(ONLY))]


@router.get("/sources")
def page(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The page."""
    return render(request, deps, who, "sources.html", asked=asked, found=_found(deps, asked))


@router.get("/ui/sources")
def fragment(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The part that follows the service."""
    return render(request, deps, who, "sources_parts.html", asked=asked, found=_found(deps, asked))


def _found(deps: ApiDeps, asked: Asked) -> Heard:
    counts, now = deps.counts(), deps.clock.now()
    words = asked.text.lower().split()
    every = [_target(t, now) for t in counts.targets]
    targets = [t for t in every if _says(words, t.url, t.labels, t.error) and not (asked.only == "down" and t.up)]
    targets.sort(key=lambda t: (t.up, t.url, t.labels))
    pages = max(1, math.ceil(len(targets) / PER_PAGE))
    page = min(asked.page, pages)
    signals = [row for _, view in sorted(deps.board.pools().items()) for row in _signals(deps, view, now)]
    kept = [r for r in signals if _says(words, r.pool, r.signal, r.detail, *r.findings)]
    if asked.only == "trouble":
        kept = [r for r in kept if r.findings or r.quality != "fresh"]
    kept.sort(key=lambda r: (not r.findings, WORST.get(r.quality, 0), r.pool, r.signal))
    down = sum(not t.up for t in every)
    odd = sum(bool(r.findings) for r in signals)
    return Heard(
        targets=tuple(targets[(page - 1) * PER_PAGE : page * PER_PAGE]),
        matching=len(targets),
        page=page,
        pages=pages,
        pushed=_pushed(counts),
        signals=tuple(kept[:MAX_SIGNALS]),
        more_signals=max(0, len(kept) - MAX_SIGNALS),
        problems=deps.problems(),
        counts=(
            ("targets", len(every), ""),
            ("targets do not answer", down, "bad"),
            ("sources push", counts.push.sources if counts.push is not None else 0, ""),
            ("series in memory", counts.store.series if counts.store is not None else 0, ""),
            ("signals with a finding", odd, "warn"),
        ),
    )


def _target(t: TargetStatus, now: float) -> Target:
    labels = ", ".join(f"{name}={value}" for name, value in t.labels)
    age_s = max(0.0, now - t.last_at) if t.last_at is not None else None
    return Target(_without_user(t.url), labels, t.up, age_s, t.error, t.rejected)


def _pushed(counts: Counts) -> tuple[Pushed, ...]:
    if counts.push is None:
        return ()
    return tuple(
        Pushed(
            s.kind, s.taken, s.samples, ", ".join(f"{counted(n, 'time')}: {why}" for why, n in s.refused.items() if n)
        )
        for s in counts.push.status()
    )


def _signals(deps: ApiDeps, view: PoolView, now: float) -> Iterator[Row]:
    readings = view.decision.readings if view.decision is not None else {}
    findings: dict[str, list[str]] = {}
    for finding in deps.findings().get(view.rules.pool, ()):
        findings.setdefault(finding.signal, []).append(finding.text)
    for name in sorted({*readings, *findings}):
        r = readings.get(name)
        about = tuple(findings.get(name, ()))
        if r is None:
            yield Row(view.rules.pool, name, "not read yet", None, None, "", about)
        else:
            yield Row(view.rules.pool, name, r.quality, r.value, max(0.0, now - r.at), r.detail, about)


def _says(words: Sequence[str], *texts: str) -> bool:
    about = " ".join(texts).lower()
    return all(word in about for word in words)


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
