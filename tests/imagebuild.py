"""Builds the image of the Dockerfile without a container engine: its COPY and RUN steps in a temporary root.

Absolute paths of the image (/src, /opt, /wheel) lie below that root; the build context holds what .dockerignore
leaves. RUN steps of the last stage, which make users and folders, are told and not run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

OURS = ("/src", "/opt/build", "/opt/sigmascale", "/wheel")
"""Folders of the image that the build makes."""
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: its word in capitals and the rest, continuation lines joined."""

    word: str
    rest: str


def steps(text: str) -> list[list[Step]]:
    """The stages of a Dockerfile, each with its instructions; what stands before the first FROM is a stage too."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    found: list[list[Step]] = [[]]
    for line in re.sub(r"\\\n\s*", " ", lines).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word.upper() == "FROM":
            found.append([])
        if word:
            found[-1].append(Step(word.upper(), rest.strip()))
    return found


def left_in(context: Path, ignore: str, names: list[str]) -> list[str]:
    """Those files that .dockerignore leaves in the build: the last pattern that fits it or a folder of it wins."""
    patterns = [line.strip() for line in ignore.splitlines() if line.strip() and not line.startswith("#")]
    kept = []
    for name in names:
        ignored = False
        ways = [str(part) for part in (Path(name), *Path(name).parents)][:-1]
        for pattern in patterns:
            plain = pattern.removeprefix("!").rstrip("/")
            if any(_fits(way, plain) for way in ways):
                ignored = not pattern.startswith("!")
        if not ignored:
            kept.append(name)
    assert context.is_dir()
    return kept


def _fits(way: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch(Path(way).name, pattern.removeprefix("**/"))
    return way.count("/") == pattern.count("/") and fnmatch(way, pattern)


@dataclass
class Image:
    """What is built. `root` stands for /; `env` is that of the last stage."""

    context: Path
    root: Path
    args: Mapping[str, str]
    env: dict[str, str] = field(default_factory=dict)
    config: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def build(self, dockerfile: str) -> None:
        """Carry out the stage `build`, then read what the last stage says."""
        _, first, last = steps(dockerfile)
        known = {"EXTRAS": "", **self.args}
        folder = self.root
        for step in first[1:]:
            if step.word == "WORKDIR":
                folder = self.inside(step.rest)
                folder.mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY":
                self._copy(step.rest, folder)
            elif step.word == "RUN":
                self._run(step.rest, folder, known)
            elif step.word not in ("ENV", "ARG"):
                raise AssertionError(f"{step.word}: tests/imagebuild.py does not know this instruction")
        for step in last[1:]:
            if step.word == "RUN":
                self.told.append(step.rest)
            elif step.word == "ENV":
                self.env |= dict(pair.split("=", 1) for pair in shlex.split(step.rest))
            else:
                self.config[step.word] = f"{self.config.get(step.word, '')} {step.rest}".strip()

    def inside(self, path: str) -> Path:
        """Where a path of the image lies here."""
        return self.root / path.lstrip("/")

    def words(self, instruction: str) -> list[str]:
        """ENTRYPOINT, CMD or the like in its JSON form."""
        import json

        words: list[str] = json.loads(self.config[instruction])
        return words

    def environment(self) -> dict[str, str]:
        """The variables that a container would have, paths of ours below the root; no HOME."""
        paths = self.env["PATH"].replace("${PATH}", os.environ["PATH"])
        return {**self.env, "PATH": self._rooted(paths), "LANG": "C.UTF-8"}

    def _copy(self, rest: str, folder: Path) -> None:
        *sources, target = rest.split()
        assert not [s for s in sources if s.startswith("--")], "only the last stage copies from another one"
        for source in sources:
            found = self.context / source
            into = folder / target / Path(source).name if target.endswith("/") else folder / target
            into.parent.mkdir(parents=True, exist_ok=True)
            if found.is_dir():
                shutil.copytree(found, into, dirs_exist_ok=True)
            else:
                shutil.copy2(found, into)

    def _run(self, command: str, folder: Path, args: Mapping[str, str]) -> None:
        led = ("SIGMASCALE_", "PYTHON", "VIRTUAL_ENV", "HOME")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(led)}
        # The image's python is the one that runs this; `python` and `python3` lie beside each other there.
        base = Path(sys.base_prefix) / "bin"
        env = clean | dict(args) | {"PATH": f"{base}:{os.environ['PATH']}", "HOME": str(self.root / "home")}
        env |= {name: os.environ[name] for name in ("UV_CACHE_DIR",) if name in os.environ}
        env.setdefault("UV_CACHE_DIR", str(Path("~/.cache/uv").expanduser()))
        ended = subprocess.run(
            ["sh", "-c", self._rooted(command)],
            check=False, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}\n{ended.stdout}{ended.stderr}"

    def _rooted(self, text: str) -> str:
        for path in OURS:
            text = re.sub(rf"(?<![\w./]){re.escape(path)}(?=[/\s:]|$)", str(self.root) + path, text)
        return text


def files_below(folder: Path) -> Iterator[tuple[str, int]]:
    """Every file below a folder with the time of its last change in nanoseconds."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(folder)), path.stat().st_mtime_ns
