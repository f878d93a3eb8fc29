"""Options and fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

Golden = Callable[[Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write golden files anew instead of comparing them")


@pytest.fixture(autouse=True, scope="session")
def plain_logs() -> None:
    """The default format prints every local variable of a traceback, arrays included, which takes minutes."""
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
