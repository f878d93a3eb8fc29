"""Programs from outside Python that some tests need."""

from __future__ import annotations

import os
import shutil

import pytest


def program(package: str, *names: str) -> str:
    """The first of these programs that is installed. Without one the test is skipped, naming the Debian package; with
    SIGMASCALE_PEERS=required, as in continuous integration, it fails."""
    found = next((path for name in names if (path := shutil.which(name)) is not None), None)
    if found is not None:
        return found
    reason = f"none of {', '.join(names)} is installed (package {package})"
    if os.environ.get("SIGMASCALE_PEERS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
