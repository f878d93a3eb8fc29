"""What an agent is told, by flags and variables, and what is refused."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from autoscaler.agent import own
from autoscaler.agent.settings import LANES, PREFIX, Words, read_settings, words
from autoscaler.errors import InputError
from tests.test_agent import REPOSITORY


def test_every_flag_has_a_variable_and_back() -> None:
    given = Words(host="a", names="dcgm,otel", interval="500ms", fast="100ms", lanes="gpm", labels="b=2,a=1", stats="1")
    assert words(given.variables()) == given
    settings = read_settings(given, "machine")
    assert (settings.names, settings.interval_s, settings.fast_s) == (("dcgm", "otel"), 0.5, 0.1)
    assert (settings.lanes, settings.stats, settings.labels) == (("gpm",), True, (("a", "1"), ("b", "2")))
    assert settings.all_labels == (("a", "1"), ("b", "2"), ("host", "a"))


def test_what_is_not_given_is_the_default() -> None:
    settings = read_settings(words({"PATH": "/bin", "SIGMASCALE_CONFIG": "the service's"}), "machine")
    assert (settings.host, settings.listen, settings.names) == ("machine", ("127.0.0.1", 9400), ("canonical",))
    assert (settings.lanes, settings.fast_s, settings.push) == (LANES, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[::1]:9400", ("::1", 9400)), ("0.0.0.0:0", ("0.0.0.0", 0)), ("node-1:80", ("node-1", 80))],
)
def test_an_address_may_be_of_any_kind(text: str, expected: tuple[str, int]) -> None:
    assert read_settings(Words(listen=text), "a").listen == expected


def test_no_lane_at_all_is_a_choice() -> None:
    assert read_settings(Words(lanes="none"), "a").lanes == ()


@pytest.mark.parametrize("text", ["", "two words", "é"])
def test_a_token_file_without_a_token_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(text)
    with pytest.raises(InputError, match=r"token file .*: holds no token; write one word of ASCII characters into it"):
        read_settings(Words(push="http://a:1", token_file=str(file)), "a")


def test_the_documentation_lists_every_flag_and_metric() -> None:
    page = (REPOSITORY / "docs" / "agent.md").read_text(encoding="utf-8")
    for row in own.reference():
        assert row in page.splitlines()
    flags = {
        variable.removeprefix(PREFIX).lower().replace("_", "-")
        for variable in Words(*["x"] * len(fields(Words))).variables()
    }
    missing = [flag for flag in flags - {"token"} if f"`--{flag}" not in page]
    assert missing == []
    assert "`SIGMASCALE_AGENT_TOKEN`" in page
