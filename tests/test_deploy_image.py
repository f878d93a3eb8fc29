"""The image: its steps make a program that runs on a root file system nobody can write, from pinned packages alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoscaler import __version__
from tests.imagebuild import Image, Step, files_below, left_in, steps

REPOSITORY = Path(__file__).parent.parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
IGNORE = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8")
LIMIT_S = 120.0
pytestmark = pytest.mark.timeout(400)  # a machine without these packages in a cache loads them first
RULES = """
pool: chat
limits: {min: 1, max: 4}
signals: {load: {metric: requests_arrived_total, rate: 1m, aggregate: sum}}
replica: {capacity: 5 requests/s}
rules: [{name: enough, target: {signal: load, per_replica: auto}}]
"""


def checkout() -> list[str]:
    """Every file of the checkout that could be sent to a build."""
    skipped = {".git", ".venv", ".venv-lstm", ".mypy_cache", ".ruff_cache", ".hypothesis"}
    found = []
    for where, folders, names in os.walk(REPOSITORY):
        folders[:] = [name for name in folders if name not in skipped]
        found += [str(Path(where, name).relative_to(REPOSITORY)) for name in names]
    return found


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image with the extra `aws`, from a context that .dockerignore has thinned out."""
    folder = tmp_path_factory.mktemp("image")
    context = folder / "context"
    for name in left_in(REPOSITORY, IGNORE, checkout()):
        (context / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, context / name)
    made = Image(context, folder / "root", {"EXTRAS": "aws"})
    made.root.mkdir()
    made.build(DOCKERFILE)
    return made


def inside(image: Image, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    """A command as the image's user would run it, away from the checkout."""
    environment = image.environment() | more
    program = shutil.which(str(words[0]), path=environment["PATH"])
    assert program is not None
    return subprocess.run(
        [program, *map(str, words[1:])],
        check=False, cwd=image.root, env=environment, capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip


def pinned() -> set[tuple[str, str]]:
    """Names and versions of the lock file; some packages have one version for each Python."""
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    return set(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", lock, re.MULTILINE))


# --- what the files say -----------------------------------------------------------------------------------------


def test_the_context_holds_the_packages_and_nothing_of_a_person_or_a_test() -> None:
    sent = left_in(REPOSITORY, IGNORE, [*checkout(), "deploy/compose/secrets/tokens", ".env", "data/journal.db"])
    tops = {name.split("/")[0] for name in sent}
    assert tops == {
        "pyproject.toml", "requirements.lock", "deploy", "README.md", "LICENSE", "NOTICE",
        "autoscaler", "collectors", "providers", "rules", "dashboards",
    }  # fmt: skip
    assert [name for name in sent if name.startswith("deploy/")] == ["deploy/requirements-build.lock"]
    assert not [name for name in sent if "__pycache__" in name or name.endswith(".pyc")]


def test_every_step_that_installs_checks_hashes_or_installs_nothing_from_outside() -> None:
    runs = [
        step.rest for step in steps(DOCKERFILE)[1] if step.word == "RUN" and re.search(r"\binstall\b|build ", step.rest)
    ]
    assert len(runs) == 4
    assert [run for run in runs if "--require-hashes" not in run and "--no-deps" not in run] == []


def test_the_image_runs_as_a_fixed_user_that_is_not_root_and_writes_to_one_volume() -> None:
    last = steps(DOCKERFILE)[2]
    said: dict[str, list[str]] = {}
    for step in last:
        said.setdefault(step.word, []).append(step.rest)
    assert said["USER"] == ["10001:10001"]
    assert last.index(Step("USER", "10001:10001")) < last.index(Step("ENTRYPOINT", '["sigmascale"]'))
    assert "useradd --uid 10001 --gid 10001" in said["RUN"][0]
    assert "install -d -o 10001 -g 10001 -m 0700 /var/lib/sigmascale" in said["RUN"][0]
    assert said["VOLUME"] == ["/var/lib/sigmascale"]
    assert said["COPY"] == ["--from=build /opt/sigmascale /opt/sigmascale"], "nothing else comes from the build"
    assert 'org.opencontainers.image.licenses="Apache-2.0"' in said["LABEL"][0]
    assert re.search(r"ARG VERSION=(\S+)", DOCKERFILE)[1] == __version__  # type: ignore[index]


# --- what they make ---------------------------------------------------------------------------------------------


def test_the_environment_holds_pinned_packages_of_the_base_and_the_extra_and_none_of_developers(image: Image) -> None:
    listing = "import json; from importlib.metadata import distributions as d; "
    listing += "print(json.dumps({x.name.lower().replace('_', '-'): x.version for x in d()}))"
    found = json.loads(inside(image, "python", "-c", listing).stdout)
    assert found.pop("sigmascale") == __version__
    assert set(found.items()) <= pinned()
    assert "boto3" in found
    assert not {"pytest", "hypothesis", "moto", "mypy", "ruff", "azure-mgmt-compute", "uv", "pip"} & found.keys()


def test_modules_are_compiled_already_since_nobody_may_write_beside_them(image: Image) -> None:
    (packages,) = image.inside("/opt/sigmascale/lib").glob("python3*/site-packages")
    for package in ("autoscaler", "numpy", "fastapi"):
        assert list((packages / package / "__pycache__").glob("*.pyc")), package


def test_the_command_of_the_image_says_its_version_and_checks_a_configuration(image: Image, tmp_path: Path) -> None:
    assert inside(image, "sigmascale", "--version").stdout == f"sigmascale {__version__}\n"
    path = tmp_path / "config.yaml"
    path.write_text("lissten: x\n", encoding="utf-8")
    told = inside(image, "sigmascale", "config", "check", path)
    assert told.returncode == 1
    assert "lissten: is not a setting; did you mean listen?" in told.stdout


def test_health_is_bad_while_nobody_listens_and_only_this_machine_is_asked(image: Image) -> None:
    check = image.config["HEALTHCHECK"].partition("CMD ")[2]
    refused = inside(image, *json.loads(check), HEALTH_URL=f"http://127.0.0.1:{free_port()}/healthz")
    assert refused.returncode == 1
    assert "refused" in refused.stdout
    elsewhere = inside(image, *json.loads(check), HEALTH_URL="http://192.0.2.1/healthz")
    assert (elsewhere.returncode, elsewhere.stdout.count("is not on this machine")) == (1, 1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def read_only(data: Path, tmp: Path) -> list[str]:
    """Words before a command that give it a root file system which it can only read, besides two folders.

    Empty where this user may not make such a view of the files.
    """
    script = 'mount --make-rprivate / && for d in "$1" "$2"; do mount --bind "$d" "$d" || exit 1; done; '
    script += 'mount -o remount,ro,bind / && cd "$1" && shift 2 && exec "$@"'
    for unshare in (["unshare", "-m"], ["unshare", "-r", "-m"]):
        words = [*unshare, "sh", "-c", script, "sh", str(data), str(tmp)]
        if (
            shutil.which("unshare")
            and subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0
        ):
            return words
    return []


@pytest.fixture
def running(image: Image, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The image's command on its volume, without HOME, on files that it may not change; and the page of its health."""
    data, tmp, port = image.inside("/var/lib/sigmascale"), tmp_path / "tmp", free_port()
    for folder in (data, tmp):
        folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "chat.yaml").write_text(RULES, encoding="utf-8")
    config = tmp_path / "config.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\nrules: chat.yaml\nlog_format: json\n", encoding="utf-8")
    environment = image.environment() | {"SIGMASCALE_CONFIG": str(config), "TMPDIR": str(tmp)}
    program = shutil.which(image.words("ENTRYPOINT")[0], path=environment["PATH"])
    assert program is not None
    command = [*read_only(data, tmp), program, *image.words("CMD")]
    with subprocess.Popen(command, cwd=data, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process, f"http://127.0.0.1:{port}/healthz"
        finally:
            process.kill()


def test_the_service_runs_on_a_root_that_it_cannot_write_and_ends_when_told_to(
    image: Image, running: tuple[subprocess.Popen[str], str]
) -> None:
    """It becomes healthy by the image's own check, keeps its state in the volume, and leaves no other file anywhere."""
    process, url = running
    before = dict(files_below(image.root / "opt"))
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if '"started"' in line:
            break
    assert process.poll() is None, "".join(lines)
    check = json.loads(image.config["HEALTHCHECK"].partition("CMD ")[2])
    told = inside(image, *check, HEALTH_URL=url)
    assert told.returncode == 0, told.stdout
    process.send_signal(signal.SIGTERM)
    rest = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == 0, rest
    assert "Read-only" not in "".join(lines) + rest
    kept = dict(files_below(image.inside("/var/lib/sigmascale")))
    assert "sigmascale-data/journal.db" in kept
    assert dict(files_below(image.root / "opt")) == before
