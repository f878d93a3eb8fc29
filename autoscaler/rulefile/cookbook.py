"""docs/cookbook.md, from the recipes themselves: one rule file a situation, its title and when to use it on top."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EDITOR = "# yaml-language-server:"
HEAD = """\
# Cookbook

One recipe a situation: a whole rule file to copy, each with tests beside it. Rename the pool, put in your own offers,
limits and capacity, and ask `sigmascale check` and `sigmascale test` before the service does. What each key means is in
[rules.md](rules.md).

Written by `make docs` from `rules/cookbook/`; do not edit.
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """One file: its title, when it is right, and the rules as they stand in it."""

    path: Path
    title: str
    when: str
    rules: str


def recipes(folder: Path) -> tuple[Recipe, ...]:
    """Those of a folder by title. Raises ValueError for a file without a heading."""
    files = (path for path in folder.glob("*.yaml") if not path.name.endswith(".test.yaml"))
    return tuple(sorted(map(_read, files), key=lambda recipe: recipe.title))


def reference(folder: Path) -> str:
    """The page."""
    return "\n".join([HEAD, *_contents(folder), *(line for r in recipes(folder) for line in _shown(r))])


def _read(path: Path) -> Recipe:
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("#") and not line.startswith(EDITOR)]
    told = [line.removeprefix("#").strip() for line in head[: _length(lines)]]
    if len(told) < 3 or told[1] or not told[2].startswith("When: "):
        raise ValueError(f"{path}: begins with a title, an empty comment line and 'When: '; write them")
    rules = lines[1 + len(told) :]
    return Recipe(path, told[0], " ".join(told[2:]).removeprefix("When: "), "\n".join(rules).strip())


def _length(lines: list[str]) -> int:
    """How many lines the heading has: comments up to the first key."""
    return next(n for n, line in enumerate(lines) if not line.startswith("#")) - 1


def _contents(folder: Path) -> Iterator[str]:
    for recipe in recipes(folder):
        yield f"- [{recipe.title}](#{_anchor(recipe.title)})"
    yield ""


def _anchor(title: str) -> str:
    return "-".join("".join(c if c.isalnum() or c in "- " else "" for c in title.lower()).split())


def _shown(recipe: Recipe) -> Iterator[str]:
    when = recipe.when[0].upper() + recipe.when[1:]
    yield from (f"## {recipe.title}", "", when, "", f"`rules/cookbook/{recipe.path.name}`:", "")
    yield from ("```yaml", recipe.rules, "```", "")
