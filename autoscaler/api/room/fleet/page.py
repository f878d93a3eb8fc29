"""The fleet page: a map of every GPU, a table of the worst of them, and what happened to them."""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Depends, Query, Request, Response

from autoscaler.api.deps import Deps
from autoscaler.api.problems import Problem
from autoscaler.api.room.fleet.events import GpuEvent
from autoscaler.api.room.fleet.gpus import COLOURS, Picture, pictures
from autoscaler.api.room.fleet.metrics import gpu_view
from autoscaler.api.room.fleet.table import Wanted, table_of, tiles_of
from autoscaler.api.room.pages import HEADERS, Looking, render

EVENTS_SHOWN = 25
EVENTS_MOST = 500

router = APIRouter(include_in_schema=False)

Text = Annotated[str, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader chose, as the page's address says it. One that is not known is the first of its kind."""

    wanted: Wanted
    by: str
    events: str

    def query(self, **changes: object) -> str:
        """The address's query with changes, without what is as usual."""
        w = self.wanted
        usual = {"colour": COLOURS[0].name, "by": "pool", "q": "", "only": "", "page": 1, "events": ""}
        said = {"colour": w.colour, "by": self.by, "q": w.text, "only": w.only, "page": w.page, "events": self.events}
        return urlencode({k: v for k, v in (said | changes).items() if v != usual[k]})


@dataclass(frozen=True, slots=True)
class Happened:
    """Events to show, and how many more there are. everything: as many as one page can show."""

    events: tuple[GpuEvent, ...]
    more: int
    everything: bool


def asked_of(
    colour: Text = "",
    by: Text = "",
    q: Text = "",
    only: Text = "",
    page: Annotated[int, Query(ge=1, le=100_000)] = 1,
    events: Text = "",
) -> Asked:
    """What the address says, with the usual in place of what is not known."""
    name = colour if any(c.name == colour for c in COLOURS) else COLOURS[0].name
    which = only if only in ("marked", "lost", "stale", "absent") else ""
    by = by if by in ("pool", "zone", "type") else "pool"
    return Asked(Wanted(name, q.strip(), which, page), by, "all" if events == "all" else "")


Choice = Annotated[Asked, Depends(asked_of)]


@router.get("/fleet")
def page(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The page. Everything but the map works without scripts."""
    picture = pictures(request).now(deps)
    return render(
        request,
        deps,
        who,
        "fleet.html",
        asked=asked,
        colours=COLOURS,
        table=table_of(picture, asked.wanted),
        tiles=tiles_of(picture),
        count=len(picture.gpus),
        happened=_events(picture, asked),
    )


@router.get("/ui/fleet/tiles")
def tiles(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The fleet in a few numbers, anew."""
    tiles = tiles_of(pictures(request).now(deps))
    return render(request, deps, who, "fleet_tiles.html", asked=asked, tiles=tiles)


@router.get("/ui/fleet/table")
def table(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """The table, anew."""
    picture = pictures(request).now(deps)
    found = table_of(picture, asked.wanted)
    return render(request, deps, who, "fleet_table.html", asked=asked, colours=COLOURS, table=found)


@router.get("/ui/fleet/events")
def happened(request: Request, deps: Deps, who: Looking, asked: Choice) -> Response:
    """What happened to GPUs, anew."""
    picture = pictures(request).now(deps)
    return render(request, deps, who, "fleet_events.html", asked=asked, happened=_events(picture, asked))


@router.get("/ui/fleet/gpus")
def layout(request: Request, deps: Deps, _: Looking) -> Response:
    """Which GPUs there are and where, as columns of JSON: what changes only when machines come and go."""
    picture = pictures(request).now(deps)
    body = b'{"version":"%s",%s' % (picture.version.encode(), picture.layout[1:])
    return _answer(request, body, picture.version)


@router.get("/ui/fleet/values")
def values(request: Request, deps: Deps, _: Looking, colour: Text = "") -> Response:
    """The values of one colour in the order of the layout that is named, in steps of it; null = not given.

    stale, lost, marked: rows. A reader that has another layout asks for that first.
    """
    picture = pictures(request).now(deps)
    chosen = next((c for c in COLOURS if c.name == colour), COLOURS[0])
    shade = picture.shades[chosen.name]
    none = np.isnan(shade.values)
    steps = np.where(none, 0.0, shade.values / chosen.step).round().astype(np.int64).tolist()
    for row in np.flatnonzero(none).tolist():
        steps[row] = None
    told = {
        "layout": picture.version,
        "colour": chosen.name,
        "step": chosen.step,
        "values": steps,
        "stale": np.flatnonzero(shade.stale & ~none).tolist(),
        "lost": np.flatnonzero(picture.lost).tolist(),
        "marked": sorted(picture.marked),
    }
    body = json.dumps(told, separators=(",", ":")).encode()
    return _answer(request, body, hashlib.sha256(body).hexdigest()[:16])


@router.get("/ui/fleet/gpu")
def one(request: Request, deps: Deps, who: Looking, uuid: Text, part: Text = "") -> Response:
    """Everything that is known of one GPU, for the panel beside the map."""
    picture = pictures(request).now(deps)
    row = next((n for n, gpu in enumerate(picture.gpus) if gpu.uuid == uuid and gpu.part == part), None)
    if row is None:
        raise Problem(404, f"no source tells of a GPU {uuid!r} any more; load the page again")
    return render(request, deps, who, "fleet_gpu.html", gpu=gpu_view(deps, picture, row))


def _events(picture: Picture, asked: Asked) -> Happened:
    word = asked.wanted.text.lower()
    found = [e for e in picture.events if not word or _says(e, word)]
    most = EVENTS_MOST if asked.events else EVENTS_SHOWN
    return Happened(tuple(found[:most]), max(0, len(found) - most), bool(asked.events))


def _says(event: GpuEvent, word: str) -> bool:
    return any(word in text.lower() for text in (event.pool, event.host, event.machine, event.uuid, event.what))


def _answer(request: Request, body: bytes, version: str) -> Response:
    """JSON with an ETag, shortened where the browser can read that."""
    headers = HEADERS | {"ETag": f'"{version}"', "Vary": "Accept-Encoding", "Cache-Control": "private, no-cache"}
    if f'"{version}"' in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if len(body) > 2000 and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers = gzip.compress(body, 1, mtime=0), headers | {"Content-Encoding": "gzip"}
    return Response(body, media_type="application/json", headers=headers)
