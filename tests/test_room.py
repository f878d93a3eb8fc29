"""What there is no room for is refused, counted and said, with the setting that would help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from tests.peers.pages import Pages, answer, until
from tests.serviceworld import ServiceWorld

SERIES = 1600


def test_a_ready_service_says_which_limit_refuses_series(tmp_path: Path) -> None:
    """1600 series where pages may have 1250 and the store takes 1000 of them, 750 of one pool."""
    world = ServiceWorld(tmp_path, "127.0.0.47")
    world.write_rules(least=0, most=1)
    page = b"".join(b'some_gauge{n="%d"} 1\n' % n for n in range(SERIES)) + b"requests_waiting 0\n"

    def warnings(client: Any) -> list[str]:
        told = httpx.get(f"http://{client.address}/readyz", trust_env=False).json()
        return [text for text in told.get("warnings", []) if "max_series" in text]

    try:
        with Pages({"/m": answer(page)}) as pages:
            target = {"url": pages.url("/m"), "labels": {"pool": "chat", "instance": "gateway"}, "interval": "1s"}
            with world.running(targets=[target], max_series=1000) as client:
                until(lambda: len(warnings(client)) == 2, "both warnings")
                stored, pages_limit = warnings(client)
                metrics = httpx.get(f"http://{client.address}/metrics", trust_env=False).text
    finally:
        world.end()
    assert "takes at most 1000 in all and 750 of one pool" in stored
    assert "all pages together have 1250 series, the limit is 1250" in pages_limit
    assert "sigmascale_store_series 750.0" in metrics
