"""Styles, scripts and what they are made of, as files that never change under one address."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response

from autoscaler.api.problems import Problem

SERVED = {
    "room/static": (".css", ".js", ".svg"),
    "vendor/htmx": (".js",),
    "vendor/uplot": (".js", ".css"),
}
"""Folders below web/ and the kinds of files in them; nothing else can be asked for."""

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

router = APIRouter(include_in_schema=False)


@router.get("/static/{folder}/{part}/{name}")
def static(folder: str, part: str, name: str) -> Response:
    """One file. Its address holds a hash of its content, so that no browser asks twice."""
    kind = name[name.rfind(".") :]
    place = f"{folder}/{part}"
    if kind not in SERVED.get(place, ()) or "/" in name or name.startswith("."):
        raise Problem(404, "there is no such file; the page that names it is of another version, load it again")
    found = files("autoscaler").joinpath("web", folder, part, name)
    if not found.is_file():
        raise Problem(404, "there is no such file; the page that names it is of another version, load it again")
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(found.read_bytes(), media_type=f"{TYPES[kind]}; charset=utf-8", headers=headers)
