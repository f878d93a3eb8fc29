"""Where the service says that the control room is."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.api.room.address import address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("http://127.0.0.1:9377", "http://127.0.0.1:9377/", id="this machine"),
        pytest.param("https://scaler.example:9377", "https://scaler.example:9377/", id="a name, with TLS"),
        pytest.param("https://0.0.0.0:9377", "https://127.0.0.1:9377/", id="every address"),
        pytest.param("https://[::]:9377", "https://[::1]:9377/", id="every address of IPv6 too"),
        pytest.param("http://[::1]:9377", "http://[::1]:9377/", id="this machine over IPv6"),
    ],
)
def test_the_address_is_one_that_a_browser_here_can_open(url: str, expected: str) -> None:
    said = address(url, None, Path("data/token"))
    assert said == f"control room: {expected}, to change things sign in with the token in the file data/token"


def test_with_tokens_everybody_signs_in_with_their_own() -> None:
    said = address("https://scaler:9377", Path("/etc/sigmascale/tokens"), Path("data/token"))
    assert said == "control room: https://scaler:9377/, sign in with a token of /etc/sigmascale/tokens"
