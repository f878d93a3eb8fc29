"""The GPUs as a table, the worst first: what the map shows, for readers who want words and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autoscaler.api.room.fleet.events import told_in_short
from autoscaler.api.room.fleet.gpus import COLOURS, Colour, Picture
from autoscaler.words import seconds

PER_PAGE = 25


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to show. only: marked, lost, stale (of the colour), absent (the colour is not given), empty = all."""

    colour: str
    text: str = ""
    only: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """One value. note: why it is less than fresh; empty text = the GPU does not give it."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One GPU. trouble: what is wrong with it, empty = nothing known. weight: of that, bad or warn."""

    uuid: str
    number: str
    machine: str
    host: str
    pool: str
    model: str
    cells: tuple[Cell, ...]
    trouble: str
    weight: str
    lost: bool


@dataclass(frozen=True, slots=True)
class Table:
    """One page of the table. first, last: numbers of the rows shown, from 1; found: rows that match, of all `count`."""

    rows: tuple[Row, ...]
    first: int
    last: int
    found: int
    count: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Tile:
    """One number about the whole fleet. only: the filter that shows what it counts."""

    text: str
    title: str
    weight: str = ""
    only: str = ""


def table_of(picture: Picture, wanted: Wanted) -> Table:
    """The page of the table that was asked for: GPUs with trouble first, then the highest values of the colour."""
    count = len(picture.gpus)
    shade = picture.shades[wanted.colour]
    marks = np.zeros(count)
    for row, events in picture.marked.items():
        marks[row] = 2.0 if any(e.weight == "bad" for e in events) else 1.0
    marks[picture.lost] = 3.0
    order = np.lexsort((-np.nan_to_num(shade.values, nan=-math.inf), -marks))
    order = order[_kept(picture, wanted, marks)[order]]
    pages = max(1, math.ceil(order.size / PER_PAGE))
    page = min(wanted.page, pages)
    shown = order[(page - 1) * PER_PAGE : page * PER_PAGE].tolist()
    rows = tuple(_row(picture, row) for row in shown)
    first = (page - 1) * PER_PAGE + 1 if rows else 0
    return Table(rows, first, first + len(rows) - 1 if rows else 0, order.size, count, page, pages)


def tiles_of(picture: Picture) -> tuple[Tile, ...]:
    """The fleet in a few numbers; means are over the GPUs that give the value and not too long ago."""
    lost = int(np.count_nonzero(picture.lost))
    marked = sum(row not in set(np.flatnonzero(picture.lost).tolist()) for row in picture.marked)
    tiles = [
        Tile(f"{len(picture.gpus):,}", "GPUs"),
        Tile(f"{len(picture.machines):,}", "machines with GPUs"),
        Tile(f"{lost:,}", "do not answer or are lost", "bad" if lost else "", "lost"),
        Tile(f"{marked:,}", "others with a fault", "warn" if marked else "", "marked"),
    ]
    for colour in COLOURS[:4]:
        shade = picture.shades[colour.name]
        known = ~np.isnan(shade.values) & ~shade.stale
        text = colour.shown(float(np.mean(shade.values[known]))) if known.any() else "–"
        few = f", of {np.count_nonzero(known):,}" if known.sum() < len(picture.gpus) else ""
        tiles.append(Tile(text, f"mean {colour.title.lower()}{few}"))
    return tuple(tiles)


def cell(picture: Picture, colour: Colour, row: int) -> Cell:
    """One GPU's value of a colour."""
    shade = picture.shades[colour.name]
    value = float(shade.values[row])
    if math.isnan(value):
        return Cell("")
    old = f"{seconds(max(0.0, picture.at - float(shade.at[row])))} old" if shade.stale[row] else ""
    return Cell(colour.shown(value), old)


def _kept(picture: Picture, wanted: Wanted, marks: NDArray[np.float64]) -> NDArray[np.bool_]:
    shade = picture.shades[wanted.colour]
    kept = {
        "": np.ones(len(picture.gpus), np.bool_),
        "marked": marks > 0,
        "lost": picture.lost,
        "stale": shade.stale & ~np.isnan(shade.values),
        "absent": np.isnan(shade.values),
    }[wanted.only]
    if not wanted.text:
        return kept
    return kept & _matching(picture, wanted.text.lower().split())


def _matching(picture: Picture, words: Sequence[str]) -> NDArray[np.bool_]:
    """Rows in whose names every word stands."""
    about = [" ".join((m.pool, m.name, m.host, m.zone, m.type, m.state)).lower() for m in picture.machines]
    found = np.zeros(len(picture.gpus), np.bool_)
    for row, gpu in enumerate(picture.gpus):
        place = about[picture.place[row]]
        found[row] = all(w in place or w in gpu.uuid.lower() or w in _model(picture, row).lower() for w in words)
    return found


def _model(picture: Picture, row: int) -> str:
    return dict(picture.gpus[row].labels).get("gpu_model", "")


def _row(picture: Picture, row: int) -> Row:
    machine, events = picture.machine(row), picture.marked.get(row, ())
    lost = bool(picture.lost[row])
    trouble = told_in_short(events) or ("does not answer" if lost else "")
    return Row(
        uuid=picture.gpus[row].uuid,
        number=picture.number(row),
        machine=machine.name,
        host=machine.host,
        pool=machine.pool,
        model=_model(picture, row),
        cells=tuple(cell(picture, colour, row) for colour in COLOURS),
        trouble=trouble,
        weight="bad" if lost or any(e.weight == "bad" for e in events) else "warn",
        lost=lost,
    )
