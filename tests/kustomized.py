"""The manifests of deploy/kubernetes as plain values: each file as it is written, and an overlay as kubectl builds it.

Without kubectl a small part of kustomize stands in: resources, components, generated ConfigMaps by their names.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parent.parent / "deploy" / "kubernetes"
BASE, EXAMPLE = FOLDER / "base", FOLDER / "overlays" / "example"
MONITORING = FOLDER / "components" / "monitoring"
Manifest = dict[str, Any]


def documents(text: str) -> list[Manifest]:
    return [document for document in yaml.safe_load_all(text) if document is not None]


def kustomize() -> str:
    """A kubectl whose kustomize knows components and labels. Skips the test without one: Debian 12 has an older one.

    What the manifests must keep is tested without it too, by `read`.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    asked = subprocess.run([kubectl, "version", "--client", "-o", "json"], check=False, capture_output=True, text=True)
    version = json.loads(asked.stdout or "{}").get("kustomizeVersion", "before v4")
    if not (version[1:2].isdigit() and int(version[1:].split(".")[0]) >= 5):
        pytest.skip(f"kubectl carries kustomize {version}; version 5 is needed")
    return kubectl


def built(kubectl: str, folder: Path) -> list[Manifest]:
    """What `kubectl kustomize` makes of a folder; no cluster is asked."""
    ended = subprocess.run([kubectl, "kustomize", str(folder)], check=False, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    return documents(ended.stdout)


def read(folder: Path) -> list[Manifest]:
    """The manifests of a folder and of all that it names, with its ConfigMaps, before any patch."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    found: dict[tuple[str, str], Manifest] = {}
    for name in (*kustomization.get("resources", ()), *kustomization.get("components", ())):
        path = folder / name
        some = read(path) if path.is_dir() else documents(path.read_text(encoding="utf-8"))
        found |= {(one["kind"], one["metadata"]["name"]): one for one in some}
    for made in kustomization.get("configMapGenerator", ()):
        data = {Path(name).name: (folder / name).read_text(encoding="utf-8") for name in made["files"]}
        old = found.get(("ConfigMap", made["name"]), {}).get("data", {}) if made.get("behavior") == "merge" else {}
        found["ConfigMap", made["name"]] = {
            "kind": "ConfigMap", "metadata": {"name": made["name"]}, "data": old | data,
        }  # fmt: skip
    return list(found.values())


def of_kind(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [one for one in manifests if one["kind"] == kind]


def one(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The manifest of a kind whose name is this, or begins with it where kustomize adds a hash."""
    (found,) = [
        m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name or m["metadata"]["name"][:-11] == name
    ]
    return found


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name and template of everything that runs containers."""
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "DaemonSet"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]
