"""The settings of the REST API: how often may be asked, and by pages of which origins."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.configfile import read_config
from autoscaler.configparts import RateLimit
from autoscaler.errors import InputError


def test_without_a_word_the_limits_are_wide_and_no_page_elsewhere_may_ask() -> None:
    config = read_config(None, {})
    assert config.rate_limit == RateLimit(200.0, 400, 10.0, 50, 1.0)
    assert (config.cors_origins, config.cors_writes) == ((), False)


def test_limits_and_origins_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(
        "rate_limit: {reads_per_second: 20, read_burst: 40, writes_per_second: 2, write_burst: 5}\n"
        "cors_origins: ['https://grafana.example.com', 'http://10.0.0.7:3000', 'http://[::1]:3000']\n"
        "cors_writes: true\n",
        encoding="utf-8",
    )
    config = read_config(file, {})
    assert config.rate_limit == RateLimit(20.0, 40, 2.0, 5, 1.0)
    assert config.cors_origins == ("https://grafana.example.com", "http://10.0.0.7:3000", "http://[::1]:3000")
    assert config.cors_writes is True


def test_a_variable_holds_them_too() -> None:
    config = read_config(
        None,
        {
            "SIGMASCALE_RATE_LIMIT": '{"reads_per_second": 50}',
            "SIGMASCALE_CORS_ORIGINS": "https://a.example, https://b.example",
        },
    )
    assert (config.rate_limit.reads_per_s, config.rate_limit.read_burst) == (50.0, 400)
    assert config.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("cors_origins: ['*']", "'*' is not an origin", id="everybody"),
        pytest.param("cors_origins: ['https://a.example/']", "is not an origin", id="a path"),
        pytest.param("cors_origins: ['a.example']", "is not an origin", id="no scheme"),
        pytest.param("cors_origins: ['https://A.example']", "small letters", id="capitals, which browsers never send"),
        pytest.param("cors_origins: ['null']", "is not an origin", id="pages without an origin"),
        pytest.param("rate_limit: {reads_per_second: 0}", "is not between 0.01 and 10000", id="no reads at all"),
        pytest.param("rate_limit: {read_burst: 0}", "is not between 1 and 100000", id="no burst"),
        pytest.param("rate_limit: {reeds: 5}", "reeds", id="a typing error"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "service.yaml"
    file.write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(InputError) as found:
        read_config(file, {})
    assert expected in str(found.value)
    assert f"{file}:1:" in str(found.value)
