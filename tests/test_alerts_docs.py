"""docs/alerts.md: every example is a configuration that is read, and the code that verifies signatures does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autoscaler.configfile import read_config
from autoscaler.notifying.signing import signature

PAGE = (Path(__file__).parent.parent / "docs" / "alerts.md").read_text(encoding="utf-8")
KEY = "0123456789abcdef0123456789abcdef"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(blocks("yaml"))))
def test_every_example_is_a_configuration_that_is_read(tmp_path: Path, number: int) -> None:
    text = blocks("yaml")[number]
    for name in set(re.findall(r"/run/secrets/([\w-]+)", text)):
        (tmp_path / name).write_text(f"https://h.example/{KEY}\n", encoding="ascii")
    (tmp_path / "config.yaml").write_text(text.replace("/run/secrets/", f"{tmp_path}/"), encoding="utf-8")
    assert read_config(tmp_path / "config.yaml", {}).alerting.receivers


def test_there_is_an_example_for_every_kind() -> None:
    kinds = set(re.findall(r"kind: (\w+)", "".join(blocks("yaml"))))
    assert kinds == {"webhook", "alertmanager", "slack", "generic"}


def test_the_code_that_verifies_signatures_tells_ours_from_others() -> None:
    found: dict[str, Any] = {}
    exec("".join(blocks("python")), found)
    ours: Callable[[str, bytes, bytes, float], bool] = found["ours"]
    body, key = b'{"a": 1}', KEY.encode()
    header = signature(key, 1000.0, body)
    assert ours(header, body, key, 1200.0)
    assert not ours(header, body + b" ", key, 1200.0)
    assert not ours(header, body, b"another key of 32 bytes........", 1200.0)
    assert not ours(header.replace("t=1000", "t=1001"), body, key, 1200.0)
    assert not ours(header, body, key, 1400.0)
