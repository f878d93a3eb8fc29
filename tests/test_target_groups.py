"""Prometheus's lists of targets: what each group means, what is refused, and that a real Prometheus agrees."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from collectors.scraping.target_groups import Manner, targets_of
from collectors.scraping.targets import Target
from tests.peers.metricstores import free_port, running
from tests.peers.pages import until
from tests.peers.programs import program

MANNER = Manner((("pool", "chat"),), "/metrics", 5.0, 3.0)


def only(text: str, manner: Manner = MANNER) -> Target:
    (target,) = targets_of(text.encode(), "sd.json", manner)
    return target


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            '[{"targets": ["a:9400"]}]',
            Target("http://a:9400/metrics", (("instance", "a:9400"), ("pool", "chat")), 5.0, 3.0),
            id="an address alone",
        ),
        pytest.param(
            "- targets: ['a:9400']\n  labels: {zone: b, shard: 3}\n",
            Target(
                "http://a:9400/metrics",
                (("instance", "a:9400"), ("pool", "chat"), ("shard", "3"), ("zone", "b")),
                5.0,
                3.0,
            ),
            id="YAML with labels, a number among them",
        ),
        pytest.param(
            "- targets: ['a:1']\n  labels: {__scheme__: https, __metrics_path__: /v1/x y, __param_q: a b}\n",
            Target("https://a:1/v1/x%20y?q=a+b", (("instance", "a:1"), ("pool", "chat")), 5.0, 3.0),
            id="scheme, path and parameters",
        ),
        pytest.param(
            '[{"targets": ["a:1"], "labels": {"__scrape_interval__": "1m30s", "__scrape_timeout__": "500ms"}}]',
            Target("http://a:1/metrics", (("instance", "a:1"), ("pool", "chat")), 90.0, 0.5),
            id="interval and time-out",
        ),
        pytest.param(
            '[{"targets": ["a:1"], "labels": {"__scrape_interval__": "2s"}}]',
            Target("http://a:1/metrics", (("instance", "a:1"), ("pool", "chat")), 2.0, 2.0),
            id="the time-out is never longer than the interval",
        ),
        pytest.param(
            '[{"targets": ["a:1"], "labels": {"pool": "other", "__meta_zone": "b", "empty": ""}}]',
            Target("http://a:1/metrics", (("instance", "a:1"), ("pool", "other")), 5.0, 3.0),
            id="labels of the list win, meta and empty ones are dropped",
        ),
        pytest.param(
            '[{"targets": ["[::1]:9400"]}]',
            Target("http://[::1]:9400/metrics", (("instance", "[::1]:9400"), ("pool", "chat")), 5.0, 3.0),
            id="an IPv6 address",
        ),
    ],
)
def test_a_group_means(text: str, expected: Target) -> None:
    assert only(text) == expected


@pytest.mark.parametrize("text", ["[]", "# nothing yet\n", '[{"targets": []}]'])
def test_an_empty_list_has_no_targets(text: str) -> None:
    assert targets_of(text.encode(), "sd.json", MANNER) == ()


def test_a_target_that_is_listed_twice_is_scraped_once() -> None:
    assert len(targets_of(b'[{"targets": ["a:1", "a:1"]}, {"targets": ["a:1"]}]', "sd.json", MANNER)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('[{"targets": ["a:1"]', "sd.json: is neither JSON nor YAML", id="a list that was cut off"),
        pytest.param(
            " \n", "sd.json: is empty; write [] for a list without targets", id="a file that is being written"
        ),
        pytest.param('{"targets": []}', "sd.json: is not a list of groups; write [{targets:", id="a single group"),
        pytest.param("[1]", "sd.json: [0] is not a group", id="a number"),
        pytest.param('[{"target": ["a:1"]}]', "[0] has target; a group has only `targets` and `labels`", id="a typo"),
        pytest.param('[{"targets": "a:1"}]', "[0].targets is not a list of words", id="one word for a list"),
        pytest.param('[{"targets": [1]}]', "[0].targets is not a list of words", id="a port alone"),
        pytest.param('[{"targets": ["http://a:1/m"]}]', "leave out the scheme and the path", id="a URL"),
        pytest.param('[{"targets": ["a:1"], "labels": {"a-b": "c"}}]', "'a-b' is not a name", id="a label's name"),
        pytest.param('[{"targets": ["a:1"], "labels": {"a": true}}]', "labels.a is not a word", id="a label's value"),
        pytest.param('[{"targets": ["a:1"], "labels": [1]}]', "labels is not a mapping", id="labels in a list"),
        pytest.param(
            '[{"targets": ["a:1"], "labels": {"__scrape_interval__": "soon"}}]',
            "__scrape_interval__ is 'soon', which is not a duration above 0; write 15s",
            id="an interval that is no duration",
        ),
        pytest.param(
            '[{"targets": ["a:1"], "labels": {"__scheme__": "ftp"}}]', "is not the address of a page", id="a scheme"
        ),
        pytest.param("- !!python/object/apply:os.system ['x']\n", "neither JSON nor YAML", id="an object of a program"),
        pytest.param("\x00\x01", "neither JSON nor YAML", id="bytes that are no text"),
    ],
)
def test_a_list_that_breaks_the_format_is_refused_whole(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        targets_of(text.encode(), "sd.json", MANNER)
    assert "Traceback" not in str(caught.value)


@settings(derandomize=True, max_examples=150)
@given(
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["targets", "labels", "x"]), inner),
        max_leaves=6,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_a_list_holds_it_is_targets_or_a_clear_refusal(data: bytes) -> None:
    try:
        found: object = targets_of(data, "sd.json", MANNER)
    except InputError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.startswith(("sd.json: ", "target "))
    else:
        assert all(isinstance(target, Target) for target in found)  # type: ignore[attr-defined]


def test_a_real_prometheus_reads_the_same_targets_from_the_same_file(tmp_path: Path) -> None:
    server = program("prometheus", "prometheus")
    groups = [
        {"targets": ["127.0.0.1:1", "localhost:2"], "labels": {"zone": "b"}},
        {"targets": ["127.0.0.1:3"], "labels": {"__metrics_path__": "/own", "__scheme__": "https", "__param_a": "b"}},
        {"targets": ["127.0.0.1:4"], "labels": {"__scrape_interval__": "40s", "__meta_x": "y", "empty": ""}},
    ]
    listing, config, port = tmp_path / "sd.json", tmp_path / "p.yml", free_port()
    listing.write_text(json.dumps(groups))
    job = {"job_name": "gpu", "scrape_interval": "30s", "file_sd_configs": [{"files": [str(listing)]}]}
    config.write_text(json.dumps({"scrape_configs": [job]}))
    url = f"http://127.0.0.1:{port}"
    command = [server, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}"]
    with running([*command, f"--web.listen-address=127.0.0.1:{port}"], f"{url}/-/ready", tmp_path / "log"):
        theirs: list[dict[str, object]] = []

        def listed() -> bool:
            answer = httpx.get(f"{url}/api/v1/targets", trust_env=False).json()
            theirs[:] = answer["data"]["activeTargets"]
            return len(theirs) == 4

        until(listed, "four targets", 30.0)
    manner = Manner((("job", "gpu"),), "/metrics", 30.0, 10.0)
    ours = targets_of(listing.read_bytes(), "sd.json", manner)
    assert {t.url: dict(t.labels) for t in ours} == {_known_here(str(t["scrapeUrl"])): t["labels"] for t in theirs}
    intervals = {_known_here(str(t["scrapeUrl"])): t["scrapeInterval"] for t in theirs}
    assert {t.url: f"{t.interval_s:g}s" for t in ours} == intervals


def _known_here(url: str) -> str:
    """Prometheus shows its own machine's addresses under the machine's name."""
    parts = urlsplit(url)
    return url if parts.hostname in ("127.0.0.1", "localhost") else url.replace(str(parts.hostname), "127.0.0.1", 1)
