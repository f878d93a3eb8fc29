"""Options and fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

Golden = Callable[[Path, str], None]

pytest_plugins = ("tests.browserworld",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write golden files anew instead of comparing them")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of tests that wait for processes, threads and pages get a second go; the summary names who needed it.

    What they wait for comes late on a machine that does too much at once; that is no fault of what they test. Files of
    tests that only compute get none.
    """
    for item in items:
        if hasattr(getattr(item, "module", None), "until") or item.get_closest_marker("peer"):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    """The default format prints every local variable of a traceback, arrays included, which takes minutes; and what a
    command that was tried in this process set up must not outlive its test."""
    structlog.reset_defaults()
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares a text with the golden file at a path; with --rewrite-golden writes it instead."""
    rewrite = bool(request.config.getoption("--rewrite-golden"))

    def compare(path: Path, text: str) -> None:
        if rewrite:
            path.write_text(text)
        assert path.exists(), f"{path} does not exist; run pytest with --rewrite-golden and review the file"
        assert text == path.read_text(), f"{path} is out of date; run pytest with --rewrite-golden and review the file"

    return compare
