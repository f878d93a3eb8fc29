"""`sigmascale import`: rule files from what other autoscalers are configured with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import JsonOption
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from autoscaler.migration.convert import Converted
    from autoscaler.migration.manifests import Part

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILES = 1000


def import_(
    paths: Annotated[list[Path], typer.Argument(help="Manifests and folders of manifests; JSON is YAML too.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the rule files, one a pool; default: print them.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make rule files of KEDA ScaledObjects and Kubernetes HorizontalPodAutoscalers.

    Every rule file ends with what is not as it was: what works differently, what was left out, what a person must
    add. A Deployment or StatefulSet among the manifests tells how many GPUs a replica takes. Files that exist are
    never overwritten. Exit code 1 when no rule file could be made.

    Examples:

      sigmascale import scaledobject.yaml

      sigmascale import k8s/ --out rules/

      kubectl get hpa,scaledobject,deploy -A -o yaml > all.yaml && sigmascale import all.yaml --out rules/
    """
    from autoscaler.migration.convert import convert, passed_over
    from autoscaler.migration.manifests import read

    manifests: list[Part] = [part for path in _files(paths) for part in read(path)]
    found = convert(manifests)
    others = list(passed_over(manifests))
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in found], indent=2, ensure_ascii=False))
    elif out is None:
        typer.echo("---\n".join(one.text for one in found), nl=False)
    if out is not None:
        _write(out, found, as_json)
    for part in others:
        typer.echo(
            f"{part.place}: {part.text('kind')} is not read; only ScaledObject and HorizontalPodAutoscaler are",
            err=True,
        )
    for one in found:
        for fault in one.checked.errors:
            typer.echo(f"{one.source}: the rule file needs work before it is taken: {fault}", err=True)
    if not found:
        kinds = sorted({part.text("kind") or "(no kind)" for part in manifests})
        seen = f"found were {', '.join(kinds[:8])}" if kinds else "they are empty"
        typer.echo(f"no ScaledObject or HorizontalPodAutoscaler among the manifests; {seen}", err=True)
        raise typer.Exit(1)


def _files(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not inside:
                raise InputError(f"{path}: holds no .yaml, .yml or .json file; name the folder of the manifests")
            found += inside
        else:
            found.append(path)
    if len(found) > MAX_FILES:
        raise InputError(f"{len(found)} files are more than {MAX_FILES}; name the folders one by one")
    return found


def _write(out: Path, found: tuple[Converted, ...], quiet: bool) -> None:
    targets = [out / f"{one.pool}.yaml" for one in found]
    there = [str(path) for path in targets if path.exists()]
    if there:
        raise InputError(
            f"--out {out}: {', '.join(there)} exist; nothing was written, remove them or name another folder"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, one in zip(targets, found, strict=True):
            path.write_text(one.text, encoding="utf-8")
            if not quiet:
                typer.echo(f"{path}: from {one.source}, {len(one.notes)} notes at its end")
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror}); name another folder") from error


def _as_json(one: Converted) -> dict[str, object]:
    return {
        "pool": one.pool,
        "source": one.source,
        "text": one.text,
        "notes": [{"kind": n.kind, "place": n.place, "text": n.text} for n in one.notes],
        "errors": [str(fault) for fault in one.checked.errors],
        "warnings": [str(fault) for fault in one.checked.warnings],
    }
