"""A real Prometheus and a real vmagent write to a running API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoscaler.api.serve import Server
from autoscaler.clock import SystemClock
from autoscaler.types import Batch
from benchmarks.prometheus import free_port, process
from collectors.push import Push
from tests.apiworld import SECRETS, api_world
from tests.peers.pages import Pages, answer, until
from tests.peers.programs import program
from tests.pushed import skipped

PAGE = (
    b'# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name="m"} 7\n'
    b'# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total{model_name="m"} 12345\n'
    + b"".join(b'filler{n="%d"} %d\n' % (n, n % 3) for n in range(800))
)


@contextmanager
def receiving(folder: Path) -> Iterator[tuple[str, Push, list[Batch]]]:
    """The address of an API whose push collector runs, the collector, and what a loop would collect."""
    push = Push(SystemClock())
    server = Server(api_world(folder, receiver=push).app, "127.0.0.1", 0)
    push.start()
    server.start()
    (folder / "token").write_text(SECRETS["operator"])
    try:
        yield server.url, push, []
    finally:
        server.stop()
        push.stop()


def scraping(page: Pages, **more: Any) -> dict[str, Any]:
    return {
        "global": {"scrape_interval": "1s", "external_labels": {"pool": "chat"}},
        "scrape_configs": [
            {"job_name": "engines", "static_configs": [{"targets": [page.url("").removeprefix("http://")]}]}
        ],
        **more,
    }


@pytest.mark.peer
def test_a_real_prometheus_is_understood_whether_it_sends_by_one_shard_or_by_four(tmp_path: Path) -> None:
    server = program("prometheus", "prometheus")
    with ExitStack() as stack:
        page = stack.enter_context(Pages({"/metrics": answer(PAGE)}))
        receivers, writes = [], []
        for shards in (1, 4):
            folder = tmp_path / str(shards)
            folder.mkdir()
            url, push, batches = stack.enter_context(receiving(folder))
            receivers.append((push, batches))
            writes.append(
                {
                    "url": f"{url}/api/v1/write",
                    "authorization": {"credentials_file": str(folder / "token")},
                    "queue_config": {"min_shards": shards, "batch_send_deadline": "1s", "retry_on_http_429": True},
                }
            )
        (tmp_path / "p.yml").write_text(json.dumps(scraping(page, remote_write=writes)))
        command = [server, f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/data"]
        command.append(f"--web.listen-address=127.0.0.1:{free_port()}")
        stack.enter_context(process(command, tmp_path / "p.log"))
        for push, batches in receivers:
            heard(push, batches, rows=4)
        page.answers["/metrics"] = answer(b"", "500 Internal Server Error")
        for push, batches in receivers:
            until(partial(down, push, batches), "a target that is down", 20.0)
    for push, batches in receivers:
        check(batches)
        assert skipped(push) == {}


@pytest.mark.peer
def test_a_real_vmagent_is_understood(tmp_path: Path) -> None:
    agent = program("vmagent", "vmagent")
    with receiving(tmp_path) as (url, push, batches), Pages({"/metrics": answer(PAGE)}) as page:
        (tmp_path / "v.yml").write_text(json.dumps(scraping(page)))
        command = [agent, f"-promscrape.config={tmp_path}/v.yml", f"-remoteWrite.url={url}/api/v1/write"]
        command += [f"-remoteWrite.bearerTokenFile={tmp_path}/token", f"-remoteWrite.tmpDataPath={tmp_path}/vm"]
        command.append(f"-httpListenAddr=127.0.0.1:{free_port()}")
        with process(command, tmp_path / "v.log"):
            heard(push, batches, rows=4)
            page.answers["/metrics"] = answer(b"", "500 Internal Server Error")
            until(partial(down, push, batches), "a target that is down", 8.0)
    check(batches)
    assert skipped(push) == {}


def more(push: Push, batches: list[Batch]) -> list[Batch]:
    batches += push.collect(SystemClock().now())
    return batches


def down(push: Push, batches: list[Batch]) -> bool:
    return more(push, batches)[-1].state == "down"


def heard(push: Push, batches: list[Batch], rows: int) -> None:
    until(lambda: sum(b.state == "up" for b in more(push, batches)) >= rows, "rows", 30.0)


def check(batches: list[Batch]) -> None:
    rows = [b for b in batches if b.state == "up"]
    assert len({b.source for b in rows}) == 1
    assert rows[-1].interval_s == 1.0
    assert all(a.at < b.at for a, b in pairwise(batches))
    found = {key.metric: (key, value) for key, value in zip(rows[-1].keys, rows[-1].values, strict=True)}
    assert found["requests_waiting"][1] == 7.0
    assert found["generation_tokens_total"][1] == 12345.0
    assert found["generation_tokens_total"][0].counter
    assert found["requests_waiting"][0].label("pool") == "chat"
    assert len(rows[-1].keys) >= 805
    known = [b.keys for b in rows if len(b.keys) == len(rows[-1].keys)]
    assert len({id(k) for k in known}) == 1
