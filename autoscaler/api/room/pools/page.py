"""The first page: every pool at a glance, and what of it is new since a page was drawn."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from markupsafe import Markup

from autoscaler.api.deps import ApiDeps, Deps
from autoscaler.api.room.pages import HEADERS, Looking, render, templates
from autoscaler.api.room.pools.attention import Need, needs
from autoscaler.api.room.pools.glance import Glance
from autoscaler.api.room.pools.glances import Glances, Row
from autoscaler.api.room.pools.listing import ORDERS, Totals, Wish, listed, totals, wish
from autoscaler.api.room.pools.spark import HEIGHT, WIDTH
from autoscaler.api.room.pools.standing import WORDS

SHOWN = 8
"""Lines of what needs a person that stand open; the rest is one click away."""

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Above:
    """What stands above the list. shown: pools in it; filtered: it is not all of them."""

    totals: Totals
    needs: tuple[Need, ...]
    shown: int
    filtered: bool
    open_needs: int = SHOWN


def page(request: Request, deps: ApiDeps, who: Looking) -> Response:
    """The page; `front` answers with it where a browser asks."""
    wanted, glances = wish(request.query_params), _glances(request)
    rows = glances.fresh(deps, _draw)
    order = _order(rows, wanted)
    return render(
        request,
        deps,
        who,
        "overview.html",
        version_of_rows=glances.version,
        rows=[rows[pool] for pool in order],
        wanted=wanted,
        words=WORDS,
        orders=ORDERS,
        ruled=bool(deps.rulebook.current()),
        above=_above(deps, rows, wanted, len(order)),
    )


@router.get("/ui/pools")
def news(
    request: Request,
    deps: Deps,
    _: Looking,
    since: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """What a page lacks: the order of its rows, those that changed since `since`, and the parts above them."""
    wanted, glances = wish(request.query_params), _glances(request)
    rows = glances.fresh(deps, _draw)
    order, known = _order(rows, wanted), glances.number_of(since)
    above = _above(deps, rows, wanted, len(order))
    told = {
        "version": glances.version,
        "order": order,
        "rows": {pool: rows[pool].html for pool in order if rows[pool].number > known},
        "parts": {name: _part(f"overview_{name}.html", above) for name in ("totals", "needs", "count")},
    }
    return Response(json.dumps(told), media_type="application/json", headers=HEADERS)


def _glances(request: Request) -> Glances:
    """The rows of this application, kept from one request to the next."""
    found = request.app.state.glances
    assert isinstance(found, Glances)
    return found


def _order(rows: Mapping[str, Row], wanted: Wish) -> list[str]:
    return [g.pool for g in listed((r.glance for r in rows.values()), wanted)]


def _above(deps: ApiDeps, rows: Mapping[str, Row], wanted: Wish, shown: int) -> Above:
    waiting = needs(deps)
    return Above(totals([r.glance for r in rows.values()], waiting), waiting, shown, bool(wanted.text or wanted.state))


def _part(template: str, above: Above) -> str:
    return templates().get_template(template).render(above=above)


def _draw(g: Glance, candidate: Glance | None) -> Markup:
    row = templates().get_template("overview_row.html")
    return Markup(row.render(g=g, candidate=candidate, width=WIDTH, height=HEIGHT))  # noqa: S704 - a template's output
