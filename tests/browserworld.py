"""Real browsers before real services: what the tests of the control room in Chromium share.

One simulated fleet and one Chromium serve all tests in `test_browser_*.py` of a test process; they begin with the first
of them and end with the last. Each test has windows of its own, which know nothing of each other's.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

import httpx
import pytest

from tests.peers.pages import until
from tests.peers.programs import program

if TYPE_CHECKING:
    # Every test process reads this file, and few open a browser.
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request

WITHIN_S = 45.0
"""How long a start, a page or a change may take where everything else of the machine runs too."""

ENDS_S = 20.0
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Scheme = Literal["light", "dark"]


@dataclass(frozen=True, slots=True)
class Room:
    """A service whose pages are looked at. token: of the person at its machine."""

    url: str
    token: str
    process: subprocess.Popen[bytes]
    log: Path

    def ask(self, path: str, token: str = "") -> Any:
        """The JSON of a REST resource, as the bearer of a token."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        answer = httpx.get(f"{self.url}/api/v1{path}", headers=headers, timeout=WITHIN_S, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def cookies(self, token: str) -> dict[str, str]:
        """The session of a bearer who signed in."""
        fields = {"token": token, "next": "/"}
        answer = httpx.post(f"{self.url}/signin", data=fields, timeout=WITHIN_S, trust_env=False)
        assert answer.status_code == 303, answer.text
        return dict(answer.cookies)


@contextmanager
def running(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], Path, Path]]:
    """`sigmascale WORDS` as a process, the file of its output, and that of its log; it ends with the `with` block."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGMASCALE_")}
    said, log = folder / "said", folder / f"log-{len(list(folder.glob('log-*')))}"
    with said.open("wb") as out, log.open("wb") as errors:
        command = [sys.executable, "-m", "autoscaler.cli.main", *words]
        process = subprocess.Popen(command, stdout=out, stderr=errors, env={**clean, "TMPDIR": str(folder)})
    try:
        yield process, said, log
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, and ends it when it does not."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(ENDS_S)
        return
    process.kill()
    process.wait(ENDS_S)


def free_port() -> int:
    """A port of loopback that nobody listens on just now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def simulated(folder: Path) -> Iterator[Room]:
    """The fleet of `sigmascale simulate --serve`: four pools, about forty GPUs, six hours of demand remembered."""
    words = ("simulate", "--serve", "--json", "--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0", "--speed", "2")
    with running(folder, *words) as (process, said, log):
        until(lambda: said.read_text().endswith("\n") or process.poll() is not None, "a fleet that serves", WITHIN_S)
        assert process.poll() is None, log.read_text()
        told = json.loads(said.read_text())
        room = Room(told["api"], Path(told["token_file"]).read_text().strip(), process, log)
        until(lambda: httpx.get(f"{room.url}/readyz", trust_env=False).status_code == 200, "readiness", WITHIN_S)
        yield room


@contextmanager
def served(folder: Path, config: Path) -> Iterator[Room]:
    """`sigmascale run` with a configuration whose tokens file is given there; its local token is not used."""
    with running(folder, "run", "--log-format", "json", "--config", str(config)) as (process, _, log):
        until(lambda: '"started"' in log.read_text() or process.poll() is not None, "a started service", WITHIN_S)
        assert process.poll() is None, log.read_text()
        (line,) = [line for line in log.read_text().splitlines() if '"started"' in line]
        yield Room(json.loads(line)["api"], "", process, log)


@dataclass
class Window:
    """One page of one visitor, and whatever went wrong in it. Without slots: Playwright hangs names on who listens."""

    page: Page
    room: Room
    wrong: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = self.page.context
        context.on("request", self._asked)
        context.on("requestfailed", self._failed)
        context.on("weberror", lambda error: self.wrong.append(f"script: {error.error}"))
        context.on("console", lambda said: self.wrong.append(f"console: {said.text}") if said.type == "error" else None)

    def open(self, path: str) -> Page:
        """The page at a path, loaded."""
        self.page.goto(self.room.url + path, wait_until="load")
        return self.page

    def find(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def clean(self) -> None:
        """Fails when the page said that something went wrong, or asked anybody but the service."""
        assert self.wrong == []
        assert self.strangers == []

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and parts.netloc != urlsplit(self.room.url).netloc:
            self.strangers.append(request.url)

    def _failed(self, request: Request) -> None:
        # What a page asked for and does not wait for any more, since it is left.
        given_up = request.failure == "net::ERR_ABORTED" and urlsplit(request.url).path.startswith("/ui/")
        if not given_up:
            self.wrong.append(f"request: {request.url}: {request.failure}")


class Windows(Protocol):
    """Opens windows. as_: the token whose bearer looks, None = nobody. room: that of the simulated fleet if none."""

    def __call__(
        self,
        room: Room | None = None,
        *,
        as_: str | None = None,
        scheme: Scheme = "light",
        width: int = 1320,
        scripts: bool = True,
    ) -> Window: ...


class Stage:
    """The simulated fleet and the browser, begun when first asked for."""

    def __init__(self, folder: Callable[[], Path]) -> None:
        self._folder = folder
        self._ends = ExitStack()
        self._room: Room | None = None
        self._browser: Browser | None = None

    @property
    def room(self) -> Room:
        if self._room is None:
            self._room = self._ends.enter_context(simulated(self._folder()))
        return self._room

    @property
    def browser(self) -> Browser:
        if self._browser is None:
            path = program("chromium", "chromium")
            from playwright.sync_api import expect, sync_playwright

            playwright = self._ends.enter_context(sync_playwright())
            expect.set_options(timeout=WITHIN_S * 1000)
            self._browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
            self._ends.callback(self._browser.close)
        return self._browser

    def log(self) -> str:
        """The last lines of the fleet's log."""
        return "" if self._room is None else "\n".join(self._room.log.read_text().splitlines()[-60:])

    def end(self) -> None:
        self._room = self._browser = None
        self._ends.close()


STAGE = pytest.StashKey[Stage]()


@pytest.fixture
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """What all tests in a browser share; without Chromium they are skipped before anything is started."""
    program("chromium", "chromium")
    stash = request.config.stash
    if STAGE not in stash:
        stash[STAGE] = Stage(lambda: tmp_path_factory.mktemp("room"))
    return stash[STAGE]


@pytest.fixture
def room(stage: Stage) -> Room:
    """The simulated fleet."""
    return stage.room


@pytest.fixture
def windows(stage: Stage) -> Iterator[Windows]:
    """Opens windows, each of a visitor of its own; they are closed after the test."""
    opened: list[BrowserContext] = []

    def made(
        room: Room | None = None,
        *,
        as_: str | None = None,
        scheme: Scheme = "light",
        width: int = 1320,
        scripts: bool = True,
    ) -> Window:
        browser, place = stage.browser, room or stage.room
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=scripts
        )
        opened.append(context)
        context.set_default_timeout(WITHIN_S * 1000)
        if as_ is not None:
            kept = place.cookies(as_).items()
            context.add_cookies([{"name": name, "value": value, "url": place.url} for name, value in kept])
        return Window(context.new_page(), place)

    yield made
    for context in opened:
        context.close()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """The stage ends after the last test in a browser: it costs a tenth of a core, and Playwright's event loop would be
    taken for theirs by tests that run one in the same thread."""
    if nextitem is None or not nextitem.path.name.startswith("test_browser_"):
        _end(item.config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run that stops at its first failure, or because somebody asked for it, has a next test that never comes."""
    _end(session.config)


def _end(config: pytest.Config) -> None:
    if STAGE in config.stash:
        config.stash[STAGE].end()
        del config.stash[STAGE]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test in a browser shows what the service said."""
    report = yield
    if report.failed and STAGE in item.config.stash:
        report.sections.append(("log of the simulated fleet", item.config.stash[STAGE].log()))
    return report
