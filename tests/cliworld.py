"""Runs the command line inside the test's process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from autoscaler.cli.main import main

Say = Callable[..., tuple[int, str, str]]
"""Runs `sigmascale WORDS`: exit code, standard output, standard error."""


def speaker(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    """A `Say` in an environment without SIGMASCALE_ variables."""
    for variable in [name for name in os.environ if name.startswith("SIGMASCALE_")]:
        monkeypatch.delenv(variable)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sigmascale", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run
