"""How soon the control room's pages of 500 pools and 10,000 GPUs are there, and how soon what changes is shown.

Debian's Chromium without a screen looks at `sigmascale simulate --serve`; pages are asked for as the person at the
machine, nothing is in the browser's cache, and each load has a window of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from autoscaler.clock import SystemClock, monotonic
from benchmarks.table import Row, show

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST_PAINT_MS = 1000.0
UPDATE_MS = 100.0
START_S = 240.0
PATIENCE_S = 180.0
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")
PAGES = {
    "/": ("#pools tbody", "#pools", "/ui/pools?"),
    "/fleet": ("#gpu-map[data-ready=yes]", "#gpu-map", "/ui/fleet/values?"),
}
"""What is looked at: what tells that its scripts are done, what changes, and what is asked for before that."""

WATCH = """([changing, asked]) => {
  window.updates = [];
  let due = false, last = 0;
  performance.setResourceTimingBufferSize(10000);
  new MutationObserver(() => {
    if (due) return;
    due = true;
    // A frame with the change is on the screen when the task after it runs.
    requestAnimationFrame(() => setTimeout(() => {
      due = false;
      const answer = performance.getEntriesByType("resource").filter((entry) => entry.name.includes(asked)).at(-1);
      if (!answer || answer.responseEnd === last) return;
      last = answer.responseEnd;
      window.updates.push([performance.now() - answer.responseEnd, performance.now() - answer.startTime]);
    }));
  }).observe(document.querySelector(changing), { childList: true, subtree: true, attributes: true });
}"""
"""Collects ms from the end of an answer, and from its request, to the frame that shows what it changed."""

PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ANSWERED = "performance.getEntriesByType('navigation')[0].responseEnd"


def measure(pools: int = 500, gpus: int = 10_000, loads: int = 7, updates: int = 20) -> tuple[Row, ...]:
    """First paint of both pages, and their updates."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no chromium is installed (package chromium), so that no page can be opened")
    with _served(pools, gpus) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        rows = [row for path in PAGES for row in _page(browser, url, path, loads, updates)]
        browser.close()
    return tuple(rows)


def run() -> list[Row]:
    """All rows at the size that is promised."""
    return list(measure())


def _page(browser: Browser, url: str, path: str, loads: int, updates: int) -> Iterator[Row]:
    painted, answered, drawn = [], [], []
    for _ in range(loads):
        began = monotonic()
        page = _opened(browser, url, path)
        drawn.append((monotonic() - began) * 1000)
        _until(page, f"{PAINTED} !== undefined")
        painted.append(page.evaluate(PAINTED))
        answered.append(page.evaluate(ANSWERED))
        page.context.close()
    yield from _both(f"{path} first paint", painted, FIRST_PAINT_MS)
    yield from _both(f"{path} of that: the service's answer", answered)
    yield from _both(f"{path} all of it drawn, scripts included", drawn)
    page = _opened(browser, url, path)
    _, changing, asked = PAGES[path]
    page.evaluate(WATCH, [changing, asked])
    _until(page, f"window.updates.length >= {updates}")
    shown, whole = zip(*page.evaluate("window.updates"), strict=True)
    yield from _both(f"{path} update, answer to changed page", shown, UPDATE_MS)
    yield from _both(f"{path} update, request to changed page", whole)
    page.context.close()


def _until(page: Page, holds: str) -> None:
    """Asked from outside: a page that waits by itself evaluates a text, which its policy forbids."""
    deadline = monotonic() + PATIENCE_S
    while not page.evaluate(holds):
        if monotonic() > deadline:
            raise SystemExit(f"{page.url}: not within {PATIENCE_S:g} s: {holds}")
        page.wait_for_timeout(250)


def _both(what: str, taken_ms: Sequence[float], target: float | None = None) -> tuple[Row, Row]:
    return (
        Row(f"{what}, median of {len(taken_ms)}", statistics.median(taken_ms), "ms", target, None, True),
        Row(f"{what}, worst", max(taken_ms), "ms", None, None, True),
    )


def _opened(browser: Browser, url: str, path: str) -> Page:
    page = browser.new_context(viewport={"width": 1320, "height": 900}).new_page()
    page.set_default_timeout(60_000)
    page.goto(url + path, wait_until="load")
    page.locator(PAGES[path][0]).first.wait_for()
    return page


@contextmanager
def _served(pools: int, gpus: int) -> Iterator[str]:
    """The address of a simulated fleet of this size, once every pool was judged."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGMASCALE_")}
    words = ["simulate", "--serve", "--json", "--listen", "127.0.0.1:0", "--pages", "127.0.0.1:0"]
    words += ["--pools", str(pools), "--gpus", str(gpus)]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "autoscaler.cli.main", *words],
            stdout=subprocess.PIPE,
            stderr=log,
            env={**clean, "TMPDIR": folder},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"the simulated fleet does not start: {(Path(folder) / 'log').read_text()[-500:]}")
            told = json.loads(line)
            _settle(told["api"], pools)
            yield told["api"]
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(60)


def _settle(url: str, pools: int) -> None:
    """Return when the machines of all pools are there: what a fleet does that just begins says little of its days."""
    import httpx

    clock, deadline = SystemClock(), monotonic() + START_S
    while monotonic() < deadline:
        text = httpx.get(f"{url}/metrics", timeout=60, trust_env=False).text
        judged = sum(line.startswith("sigmascale_pool_capacity{") for line in text.splitlines())
        if judged >= pools:
            clock.wait(clock.now() + 30)
            return
        clock.wait(clock.now() + 2)
    raise SystemExit(f"not every pool was judged within {START_S:g} s")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--pools", type=int, default=500)
    arguments.add_argument("--gpus", type=int, default=10_000)
    arguments.add_argument("--loads", type=int, default=7, help="of each page")
    arguments.add_argument("--updates", type=int, default=20, help="of each page")
    given = arguments.parse_args()
    show(measure(given.pools, given.gpus, given.loads, given.updates), "control room")
