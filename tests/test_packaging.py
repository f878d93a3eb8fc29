"""The wheel, installed with its real dependencies into an environment that has never seen the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

from autoscaler import __version__

REPOSITORY = Path(__file__).parent.parent
PACKAGES = ("autoscaler", "collectors", "providers")
GROUPS = ("providers", "thresholds", "policies", "forecasters", "collectors")
LIMIT_S = 150.0

IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
for name in ("autoscaler", "collectors", "providers"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        importlib.import_module(module.name)
print("\\n".join(sorted({m.__file__ for m in sys.modules.values() if getattr(m, "__file__", None)})))
"""
LOAD_PLUGINS = """
import json, sys
from autoscaler import plugins
print(json.dumps({g: {n: plugins.load(g, n).__module__ for n in plugins.names(g)} for g in sys.argv[1:]}))
"""
SHARED_RULES = "from importlib.resources import files; print(files('autoscaler') / 'share' / 'rules')"
DEMO_RULES = "from autoscaler.demo.run import rule_file; print(rule_file())"


@dataclass(frozen=True, slots=True)
class Installed:
    """A fresh environment with the wheel in it, and a folder outside of the checkout to work in."""

    wheel: Path
    environment: Path
    folder: Path

    def run(self, program: str, *words: object) -> str:
        """What a program of the environment prints; it must end with 0."""
        return run([self.environment / "bin" / program, *words], self.folder)


def run(command: list[object], folder: Path) -> str:
    """Standard output of a command that must end with 0, without any variable that could lead it to the checkout."""
    led = ("SIGMASCALE_", "PYTHON", "VIRTUAL_ENV")
    clean = {k: v for k, v in os.environ.items() if not k.startswith(led)} | {"COLUMNS": "200"}
    words = [str(word) for word in command]
    ended = subprocess.run(words, check=False, cwd=folder, env=clean, capture_output=True, text=True, timeout=LIMIT_S)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The wheel of this checkout in an environment of its own; its dependencies in the versions that run this test."""
    folder = tmp_path_factory.mktemp("packaging")
    environment, pins = folder / "environment", folder / "pins.txt"
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    # Pinned, so that a release of somebody else cannot break this test on its own.
    found = {d.name: d.version for d in distributions() if d.name != "sigmascale"}
    pins.write_text("".join(f"{name}=={version}\n" for name, version in sorted(found.items())), encoding="utf-8")
    if find_spec("uv") is not None:
        run([sys.executable, "-m", "uv", "venv", "--python", sys.executable, environment], folder)
        install: list[object] = [sys.executable, "-m", "uv", "pip", "install", "--python", environment / "bin/python"]
    else:
        run([sys.executable, "-m", "venv", environment], folder)
        install = [environment / "bin/python", "-m", "pip", "install", "--disable-pip-version-check"]
    run([*install, "--quiet", "--constraint", pins, wheel], folder)
    work = folder / "work"
    work.mkdir()
    return Installed(wheel, environment, work)


def test_the_wheel_holds_rules_demo_data_with_its_licence_dashboards_and_types_and_no_tests(
    installed: Installed,
) -> None:
    """Every file that is shipped beside the code is in the wheel, and nothing that is only for developers."""
    names = set(zipfile.ZipFile(installed.wheel).namelist())
    shared = {
        f"autoscaler/share/{path.relative_to(REPOSITORY)}"
        for folder in ("rules", "dashboards")
        for path in (REPOSITORY / folder).rglob("*")
        if path.is_file()
    }
    data = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "autoscaler/demo/data").iterdir()}
    assert "autoscaler/demo/data/CC-BY-4.0.txt" in data
    assert {"autoscaler/share/rules/demo.yaml", "autoscaler/share/rules/chat.yaml"} <= shared
    assert shared | data | {f"{package}/py.typed" for package in PACKAGES} <= names
    web = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "autoscaler/web").rglob("*") if p.is_file()}
    assert {"autoscaler/web/vendor/uplot/LICENSE", "autoscaler/web/vendor/uplot/uPlot.iife.min.js"} <= web <= names
    licences = f"sigmascale-{__version__}.dist-info/licenses"
    assert {f"{licences}/LICENSE", f"{licences}/NOTICE"} <= names
    assert {name.split("/")[0] for name in names} == {*PACKAGES, f"sigmascale-{__version__}.dist-info"}
    code = {name for name in names if name.endswith(".py")}
    assert not [name for name in code if Path(name).name.startswith(("test_", "conftest")) or "/tests/" in name]


def test_every_module_imports_without_development_tools_and_from_the_environment_alone(installed: Installed) -> None:
    """Nothing in the three packages needs a package that only developers install, nor the checkout."""
    files = installed.run("python", "-c", IMPORT_EVERYTHING).splitlines()
    ours = [f for f in files if f"/site-packages/{PACKAGES[0]}/" in f]
    assert len(ours) > 80
    assert not [f for f in files if Path(f).is_relative_to(REPOSITORY)]
    assert not [f for f in files if "/hypothesis/" in f or "/pytest/" in f]


def test_every_entry_point_loads(installed: Installed) -> None:
    """The plug-ins that come with us are found by name, each in our packages."""
    loaded = json.loads(installed.run("python", "-c", LOAD_PLUGINS, *GROUPS))
    assert set(loaded["providers"]) >= {"local", "sim", "shadow"}
    assert set(loaded["thresholds"]) >= {"static", "sigma", "robust"}
    assert set(loaded["policies"]) >= {"step", "target", "schedule"}
    assert set(loaded["collectors"]) >= {"scrape", "replay", "sim"}
    assert {module.split(".")[0] for group in loaded.values() for module in group.values()} == set(PACKAGES)


def test_the_installed_command_says_its_version_and_explains_the_demo(installed: Installed) -> None:
    assert installed.run("sigmascale", "--version") == f"sigmascale {__version__}\n"
    shown = installed.run("sigmascale", "demo", "--help")
    assert "--headless" in shown
    assert "--duration" in shown


def test_the_shipped_rules_are_found_and_right(installed: Installed) -> None:
    """They are package data, which is where the demo takes its own from."""
    rules = Path(installed.run("python", "-c", SHARED_RULES).strip())
    assert rules.is_relative_to(installed.environment)
    assert Path(installed.run("python", "-c", DEMO_RULES).strip()) == rules / "demo.yaml"
    installed.run("sigmascale", "check", rules)


def test_the_shipped_demo_rules_can_be_simulated(installed: Installed) -> None:
    rules = Path(installed.run("python", "-c", SHARED_RULES).strip())
    told = installed.run("sigmascale", "simulate", rules / "demo.yaml", "--for", "5m", "--boot", "8s", "--json")
    result = json.loads(told)
    assert result["score"]["requests_sent"] > 1000
    assert result["score"]["launches"] >= 1
    assert max(change["want"] for change in result["changes"]) > 1


@pytest.mark.alone
@pytest.mark.timeout(240)
def test_the_installed_demo_runs(installed: Installed, tmp_path: Path) -> None:
    """Service, gateway and workers, all from the wheel: what a person sees who installed it and asks for the demo."""
    installed.run("sigmascale", "demo", "--duration", "30s", "--headless", "--json", tmp_path / "demo.json")
    told = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
    assert told["requests_ok"] == told["requests_sent"] > 100
    assert told["peak_replicas"] >= 2
