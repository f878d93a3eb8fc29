"""A store that is dead, slow, wrong or guarded: what the collector says, and that nothing waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from autoscaler.clock import SystemClock
from autoscaler.errors import InputError
from autoscaler.types import Batch, Query
from collectors.prometheus import Prometheus
from collectors.prometheus.asked import QueryStatus
from tests.conformance.collector_rigs import ONE_NUMBER, AnswersEverything
from tests.peers.pages import Answer, Pages, answer, hang, raw, until, without_waiting

QUERY = Query("chat", "orders", 5.0, 0.0, promql="sum(orders)")
OTHER = Query("chat", "visits", 5.0, 0.0, promql="sum(visits)")
JSON = "application/json"
REFUSED = b'{"status":"error","errorType":"bad_data","error":"invalid parameter \\"query\\": unexpected end"}'


@contextmanager
def asking(url: str, *queries: Query, **settings: Any) -> Iterator[Prometheus]:
    wanted = {"interval_s": 0.05, "timeout_s": 5.0, "backfill_s": 0.0, **settings}
    collector = Prometheus(SystemClock(), url, lambda: queries or (QUERY,), **wanted)
    collector.start()
    try:
        yield collector
    finally:
        collector.stop()


@contextmanager
def answering(how: Answer) -> Iterator[Pages]:
    with Pages(AnswersEverything({"/": how})) as pages:
        yield pages


def failed(collector: Prometheus, times: int = 1) -> QueryStatus:
    until(lambda: collector.status() and collector.status()[0].failures >= times, "a failure")
    return collector.status()[0]


def drip(writer: Any) -> Any:
    return raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", close=False)(writer)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param(hang, "timed out", id="a server that never answers"),
        pytest.param(drip, "does not answer", id="an answer that stops half-way"),
        pytest.param(answer(REFUSED, "400 Bad Request", JSON), "unexpected end", id="a query that is no PromQL"),
        pytest.param(answer(b"", "401 Unauthorized"), "give a token_file", id="a server that wants a token"),
        pytest.param(
            answer(b"<html>no", "404 Not Found"), "answers 404; check `url`", id="an address of something else"
        ),
        pytest.param(answer(b"over", "503 Service Unavailable"), "answers 503: over", id="a server that is not ready"),
        pytest.param(answer(b"<html>", "200 OK"), "check the URL", id="a page where an answer should be"),
        pytest.param(answer(b'{"data":{"result":[1]}}'), "gives no vector", id="an answer of another shape"),
        pytest.param(
            answer(b"", "302 Found", more="Location: http://127.0.0.1:1/\r\n"),
            "answers 302",
            id="a redirection, which is not followed with the token",
        ),
        pytest.param(answer(b"x" * 5000), "aggregate in the query", id="an answer that is too large"),
    ],
)
def test_a_question_without_an_answer_says_why_and_its_signal_is_down(how: Answer, said: str) -> None:
    with answering(how) as pages, asking(pages.url(""), timeout_s=0.3, max_answer_bytes=4096) as collector:
        status = failed(collector)
        (batch, *_) = collector.collect(0.0)
    assert said in status.error
    assert status.error.startswith(pages.url(""))
    assert isinstance(batch, Batch)
    assert (batch.state, batch.labels) == ("down", (("pool", "chat"),))


def test_a_dead_server_is_asked_with_growing_pauses_and_found_again() -> None:
    busy = answer(b"", "503 Service Unavailable", more="Retry-After: 0\r\n")
    with answering(busy) as pages, asking(pages.url("")) as collector:
        failed(collector, 2)
        pages.answers["/"] = answer(ONE_NUMBER)
        until(lambda: collector.status()[0].answers, "an answer again")
        assert collector.status()[0].error == ""


def test_while_the_server_is_down_one_query_probes_and_all_signals_are_down() -> None:
    with answering(hang) as pages, asking(pages.url(""), QUERY, OTHER, timeout_s=0.3, workers=1) as collector:
        failed(collector)
        down: set[str] = set()

        def both() -> bool:
            down.update(b.source for b in collector.collect(0.0) if isinstance(b, Batch) and b.state == "down")
            return len(down) == 2

        until(both, "both signals down")


def test_a_refused_query_does_not_keep_the_others_from_their_answers() -> None:
    with answering(answer(ONE_NUMBER)) as pages:
        bad = f"/api/v1/query?query={'sum%28orders%29'}"

        class Mixed(AnswersEverything):
            def __missing__(self, path: str) -> Answer:
                return answer(REFUSED, "400 Bad Request", JSON) if path.startswith(bad) else self["/"]

        pages.answers = Mixed(pages.answers)
        with asking(pages.url(""), QUERY, OTHER) as collector:
            until(lambda: [s for s in collector.status() if s.signal == "visits" and s.answers >= 3], "answers")
            failures = {s.signal: s.failures for s in collector.status()}
    assert failures["visits"] == 0
    assert failures["orders"] >= 1


def test_stopping_does_not_wait_for_a_hung_server() -> None:
    with answering(hang) as pages, asking(pages.url(""), timeout_s=30.0) as collector:
        until(lambda: pages.requests, "a request")
        with without_waiting(30.0):
            collector.stop()


def test_half_answers_are_refused_from_stores_that_give_them() -> None:
    with answering(answer(ONE_NUMBER)) as pages, asking(pages.url(""), params=(("tenant", "a"),)) as collector:
        until(lambda: collector.status() and collector.status()[0].answers, "an answer")
    first = pages.requests[0]
    assert "partial_response=false" in first
    assert "deny_partial_response=1" in first
    assert "tenant=a" in first


def test_the_token_is_sent_read_anew_and_never_said(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("first-secret\n")
    who: dict[str, Any] = {"token_file": secret, "headers": (("X-Scope-OrgID", "team"),)}
    forbidden = answering(answer(b"", "403 Forbidden"))
    with structlog.testing.capture_logs() as logs, forbidden as pages, asking(pages.url(""), **who) as collector:
        status = failed(collector)
        secret.write_text("second-secret\n")
        until(lambda: any("second-secret" in r for r in pages.requests), "the new token")
        shown = repr(collector) + status.error + repr(logs)
    assert "Authorization: Bearer first-secret" in pages.requests[0]
    assert "X-Scope-OrgID: team" in pages.requests[0]
    assert "secret" not in shown.replace(str(secret), "")


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        pytest.param({"url": "localhost:9090"}, "write http://HOST:PORT", id="an address that is no URL"),
        pytest.param({"url": "http://a/api/v1"}, "must end before /api/v1", id="a URL that goes too far"),
        pytest.param({"url": "http://me:word@a"}, "write username and password_file", id="a password in the URL"),
        pytest.param({"timeout_s": 0.0}, "must be above 0", id="no time at all"),
        pytest.param({"backfill_s": -1.0}, "must be 0 or more", id="a past in the future"),
        pytest.param({"username": "me"}, "belong together", id="a user without a password"),
        pytest.param({"token_file": Path("/nowhere/token")}, "cannot be read", id="a token file that is not there"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], rule: str) -> None:
    given = {"url": "http://127.0.0.1:9090", **settings}
    with pytest.raises(InputError, match=rule) as caught:
        Prometheus(SystemClock(), queries=tuple, **given)
    assert "word" not in str(caught.value).replace("password", "")
