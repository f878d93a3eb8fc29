"""Behind a proxy that ends TLS, as docs/deployment.md says it must be set up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from autoscaler.config import Config
from autoscaler.service import Service
from autoscaler.tokens import Token, digest

SECRET = "a-secret-of-sixteen-or-more"
PROXIED = {"Host": "scale.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
PLAIN = {"Host": "scale.example"}
RULES = """
pool: chat
limits: {min: 1, max: 4}
signals: {load: {metric: requests_arrived_total, rate: 1m, aggregate: sum}}
replica: {capacity: 5 requests/s}
rules: [{name: enough, target: {signal: load, per_replica: auto}}]
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[httpx.Client]:
    """A service on loopback with a tokens file, and who asks it in the place of a proxy."""
    rules = tmp_path / "chat.yaml"
    rules.write_text(RULES, encoding="utf-8")
    tokens = (Token("operator", "ada", digest(SECRET)),)
    made = Service(Config(data_dir=tmp_path / "data", rules=(rules,), port=0, tokens=tokens))
    try:
        made.start()
        with httpx.Client(base_url=f"http://{made.address}", timeout=30, trust_env=False) as client:
            yield client
    finally:
        made.stop()


@pytest.mark.parametrize(
    ("headers", "secure"), [(PROXIED, True), (PLAIN, False)], ids=["https outside", "no word of it"]
)
def test_people_sign_in_under_the_name_of_the_proxy(
    service: httpx.Client, headers: dict[str, str], secure: bool
) -> None:
    """The cookie is for https only where the proxy says that it speaks https."""
    origin = f"{'https' if secure else 'http'}://scale.example"
    assert service.get("/rules", headers=headers).status_code == 303, "one is asked to sign in"
    answer = service.post("/signin", data={"token": SECRET}, headers={**headers, "Origin": origin})
    assert answer.status_code == 303, answer.text
    cookie = answer.headers["set-cookie"]
    assert ("secure" in cookie.lower().split("; ")) is secure
    # The cookie is carried by hand, since who asks here does so over plain http.
    service.cookies.clear()
    page = service.get("/rules", headers={**headers, "Cookie": cookie.split(";")[0]})
    assert page.status_code == 200


def test_a_change_from_a_page_of_another_origin_is_refused_through_the_proxy_too(service: httpx.Client) -> None:
    headers = {**PROXIED, "Origin": "https://evil.example"}
    answer = service.post("/signin", data={"token": SECRET}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
