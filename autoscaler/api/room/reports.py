"""Back-test reports that lie in the data folder, and how candidates do beside the rules in force."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.pages import Looking, render

MOST = 200
MAX_SUMMARY_BYTES = 1 << 20
MAX_REPORT_BYTES = 32 << 20
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

SANDBOX = {
    # A report is a page of its own with its script inside. Here it runs without this site's origin: it can ask nothing
    # of the service, whoever wrote it.
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data:"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Report:
    """One back-test. None = its summary does not say."""

    name: str
    at: float
    law: str
    trace: str
    violated: float | None
    cost: float | None
    replica_hours: float | None
    has_page: bool


@router.get("/reports")
def page(request: Request, deps: Deps, who: Looking) -> Response:
    """The reports, newest first, and the candidates that run beside their pools."""
    found = sorted(_reports(deps), key=lambda r: -r.at)[:MOST]
    shadows = sorted(deps.shadows().items())
    folder = deps.reports or Path("sigmascale-data/reports")
    return render(request, deps, who, "reports.html", reports=found, shadows=shadows, folder=folder)


@router.get("/reports/{name}")
def report(name: str, deps: Deps, _: Looking) -> Response:
    """One report as it was written."""
    if deps.reports is None or not NAME.fullmatch(name):
        raise Problem(404, "there is no report of this name; /reports lists those there are")
    path = deps.reports / name / "report.html"
    try:
        if path.is_symlink() or path.stat().st_size > MAX_REPORT_BYTES:
            raise Problem(
                404, f"report {name} is a link or larger than {MAX_REPORT_BYTES >> 20} MiB; open the file itself"
            )
        return Response(path.read_bytes(), media_type="text/html; charset=utf-8", headers=SANDBOX)
    except OSError:
        raise Problem(404, f"there is no report {name}; /reports lists those there are") from None


def _reports(deps: ApiDeps) -> Iterator[Report]:
    if deps.reports is None:
        return
    try:
        folders = [f for f in deps.reports.iterdir() if NAME.fullmatch(f.name) and f.is_dir() and not f.is_symlink()]
    except OSError:
        return
    for folder in folders:
        summary = folder / "summary.json"
        try:
            if summary.stat().st_size > MAX_SUMMARY_BYTES:
                continue
            told = json.loads(summary.read_bytes())
            yield _shown(folder, summary.stat().st_mtime, told if isinstance(told, dict) else {})
        except (OSError, ValueError):
            # Half-written, or not one of ours: the list shows what can be read.
            continue


def _shown(folder: Path, at: float, told: dict[str, Any]) -> Report:
    trace = told.get("trace")
    return Report(
        name=folder.name,
        at=at,
        law=str(told.get("policy") or told.get("pool") or "")[:200],
        trace=str(trace.get("name", ""))[:200] if isinstance(trace, dict) else "",
        violated=_number(told.get("violated_share")),
        cost=_number(told.get("cost_over_clairvoyant")),
        replica_hours=_number(told.get("replica_hours")),
        has_page=(folder / "report.html").is_file(),
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
