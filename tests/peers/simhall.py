"""simhall (PyPI, Apache-2.0): a virtual GPU hall by somebody else, whose exporters can be made to fail.

It is kept in an environment of its own, made on first use under the user's cache folder: its metadata asks for Python
3.12, and it works with 3.11. Where it cannot be had (no network, no venv module) tests are skipped with the reason;
under SIGMASCALE_SIMHALL=required they fail. SIGMASCALE_PEERS=required does not ask for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.peers.pages import until

VERSION = "0.1.0"
INSTALL_S = 180.0
START_S = 30.0
STALL_S = 2.0
"""How long a node stalls before it answers 504."""


@cache
def _executable() -> tuple[str, str]:
    """The program, or why there is none."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for place in (home, Path(tempfile.gettempdir())):
        folder = place / "sigmascale-tests" / f"simhall-{VERSION}-python{version}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        with (folder.parent / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            program, done = folder / "bin" / "simhall", folder / "complete"
            why = "" if done.exists() else _install(folder, program)
            if not why:
                done.touch()
                return str(program), ""
        return "", why
    return "", "neither the cache folder nor the one for temporary files can be written"


def _install(folder: Path, program: Path) -> str:
    """Make the environment; why that failed."""
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "10")
    steps = (
        (sys.executable, "-m", "venv", "--clear", str(folder)),
        (*pip, "--ignore-requires-python", f"simhall=={VERSION}"),
    )
    for step in steps:
        try:
            ran = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{step[0]} {step[2]}: {error}"
        if ran.returncode:
            return f"{step[2]} ended with {ran.returncode}: {(ran.stderr or ran.stdout).strip()[-300:]}"
    return "" if program.exists() else f"{program} was not installed"


class Hall:
    """A running hall. `url(node)` is the page of one of its nodes, node1 to node18, each with four GPUs."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"

    def url(self, node: str) -> str:
        return f"{self.root}/dev/{node}/metrics"

    def fault(self, **what: Any) -> str:
        """Let something fail; its id."""
        found = json.loads(self._ask("POST", "/sim/faults", what))
        return str(found["id"])

    def clear(self, fault: str) -> None:
        self._ask("DELETE", f"/sim/faults/{fault}")

    def reset(self) -> None:
        """As it was served first."""
        self._ask("POST", "/sim/reset")

    def _ask(self, method: str, path: str, body: object = None) -> str:
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self.root + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(asked, timeout=10.0) as answer:
            return str(answer.read().decode())


@contextmanager
def hall() -> Iterator[Hall]:
    """A hall of its own; the test is skipped where simhall cannot be had."""
    program, why = _executable()
    if not program:
        reason = f"simhall {VERSION} cannot be had: {why}"
        if os.environ.get("SIGMASCALE_SIMHALL") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = (program, "serve", "--golden", "hall-b", "--port", str(port), "--timeout-sleep", f"{STALL_S:g}")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen((*words, "--log-level", "warning"), stdout=output, stderr=subprocess.STDOUT)
        made = Hall(port)
        try:
            until(lambda: process.poll() is not None or _answers(made), "the hall answers", START_S)
            if process.poll() is not None:
                output.seek(0)
                pytest.fail(f"simhall ended with {process.returncode}: {output.read()[-500:]!r}")
            yield made
        finally:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(made: Hall) -> bool:
    try:
        with urllib.request.urlopen(made.url("node1"), timeout=5.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
