"""One reader of the query API, with limits of our own: prometheus-api-client has no time-out and retries for seconds.

The library's time-out bounds each wait for bytes; a server that drips them would hold a thread for ever, so its session
is given a deadline and a size as well. Nothing here is retried: who asks again, and when, is the collector's decision.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.types import Labels

if TYPE_CHECKING:
    from requests import Response, Session

PIECE_BYTES = 1 << 16
DETAIL_CHARACTERS = 300
COMPLETE: Mapping[str, str] = {"partial_response": "false", "deny_partial_response": "1"}
"""A half answer is worse than none: Thanos and VictoriaMetrics' cluster are asked to fail when a store is away.
Prometheus and Mimir know no half answers and ignore both parameters."""


class QueryError(Exception):
    """Why a question was not answered. down: ask the server later. refused: this query is wrong and stays so."""

    def __init__(self, kind: Literal["down", "refused"], text: str, retry_after_s: float | None = None) -> None:
        super().__init__(text)
        self.kind = kind
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Point:
    """One element of an instant vector: its labels, its value and the time of the evaluation."""

    labels: Labels
    value: float
    at: float


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks. Secrets come from files and are read at each call, so that a rotated one is used at once."""

    token_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    ca_file: Path | None = None
    headers: Labels = ()

    def __post_init__(self) -> None:
        if self.token_file is not None and self.username:
            raise InputError("prometheus: token_file and username are two ways to say who asks; delete one of them")
        if bool(self.username) != (self.password_file is not None):
            raise InputError("prometheus: username and password_file belong together; give both or neither")
        for path in (self.token_file, self.password_file, self.ca_file):
            if path is not None:
                _secret(path)

    def sent(self) -> dict[str, str]:
        """The headers of a request. Raises InputError when a secret's file has gone."""
        found = dict(self.headers)
        if self.token_file is not None:
            found["Authorization"] = f"Bearer {_secret(self.token_file)}"
        return found

    def basic(self) -> tuple[str, str] | None:
        """User and password, or None."""
        return None if self.password_file is None else (self.username, _secret(self.password_file))


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"prometheus: {path} cannot be read ({why}); name a file that this user may read") from None


class Client:
    """Asks one server; thread-safe as long as each thread has its own. Every question ends within `timeout_s`."""

    def __init__(self, url: str, access: Access, timeout_s: float, max_bytes: int, params: Labels = ()) -> None:
        from prometheus_api_client import PrometheusConnect
        from urllib3.util.retry import Retry

        self._access = access
        self._params = {**COMPLETE, **dict(params)}
        self._session = _bounded_session(timeout_s, max_bytes)
        self._session.verify = True if access.ca_file is None else str(access.ca_file)
        self._api = PrometheusConnect(
            url.rstrip("/"), session=self._session, retry=Retry(total=0), timeout=math.ceil(timeout_s)
        )

    def instant(self, expression: str, at: float) -> tuple[Point, ...]:
        """The value of an expression at a time; a scalar comes as one element without labels. Raises QueryError."""
        result = self._ask(self._api.custom_query, expression, params={**self._params, "time": f"{at:.3f}"})
        if len(result) == 2 and not isinstance(result[0], Mapping):
            return (Point((), float(result[1]), float(result[0])),)
        return tuple(
            Point(_labels(element.get("metric")), float(element["value"][1]), float(element["value"][0]))
            for element in _elements(result, "value")
        )

    def range(self, expression: str, since: float, until: float, step_s: float) -> tuple[tuple[Labels, Any], ...]:
        """(labels, [[at, value as text], ...]) of each series of an expression between two times. Raises QueryError."""
        found = self._ask(
            self._api.custom_query_range,
            expression,
            datetime.fromtimestamp(since, UTC),
            datetime.fromtimestamp(until, UTC),
            f"{step_s:g}",
            params=dict(self._params),
        )
        return tuple((_labels(element.get("metric")), element["values"]) for element in _elements(found, "values"))

    def close(self) -> None:
        """Let go of the connections."""
        self._session.close()

    def _ask(self, question: Any, *words: Any, params: Mapping[str, str]) -> Any:
        from prometheus_api_client.exceptions import PrometheusApiClientException
        from requests import RequestException

        try:
            self._api.headers, self._api.auth = self._access.sent(), self._access.basic()
            return question(*words, params=params)
        except PrometheusApiClientException as error:
            raise _answered_badly(str(error), self._session) from None
        except InputError as error:
            raise QueryError("down", str(error)) from None
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"[:DETAIL_CHARACTERS]
            text = f"answers, but not as a Prometheus does ({reason}); check the URL, it ends before /api/v1"
            raise QueryError("down", text) from None
        except (RequestException, OSError) as error:
            raise QueryError("down", f"does not answer ({_reason(error)}); check `url` and whether it runs") from None


def _elements(result: Any, field: str) -> Sequence[Any]:
    if not isinstance(result, list) or not all(isinstance(e, Mapping) and field in e for e in result):
        raise QueryError("refused", f"the query gives no vector with a {field}; write one that gives numbers")
    return result


def _labels(metric: Any) -> Labels:
    return tuple(sorted((str(name), str(value)) for name, value in (metric or {}).items()))


def _answered_badly(text: str, session: Session) -> QueryError:
    """What a status other than 200 means: 400 and 422 blame the query, everything else is the server's state."""
    found = re.match(r"HTTP Status Code (\d+)", text)
    status = int(found.group(1)) if found else 0
    body = getattr(session, "last_body", b"")
    detail = _said(body)
    if status in (400, 422):
        return QueryError("refused", f"refuses the query: {detail}")
    if status in (401, 403):
        return QueryError("down", f"answers {status}; give a token_file, or username and password_file, that may query")
    retry_after = getattr(session, "retry_after", "")
    if status == 404:
        return QueryError(
            "down", "answers 404; check `url`: it ends before /api/v1, with the prefix of Mimir or a proxy"
        )
    return QueryError("down", f"answers {status}: {detail}", float(retry_after) if retry_after.isdigit() else None)


def _said(body: bytes) -> str:
    try:
        found = json.loads(body)
        text = str(found["error"])
    except (ValueError, KeyError, TypeError):
        text = body.decode("utf-8", "replace")
    return " ".join(text.split())[:DETAIL_CHARACTERS] or "nothing"


def _reason(error: Exception) -> str:
    """What went wrong without the URL, which may hold a password."""
    text = str(error)
    for sign in ("Connection refused", "timed out", "Name or service not known", "certificate verify failed"):
        if sign in text:
            return sign.lower()
    return text if isinstance(error, _LimitError) else type(error).__name__


class _LimitError(OSError):
    """An answer that took too long or is too large."""


def _bounded_session(timeout_s: float, max_bytes: int) -> Session:
    import requests

    class BoundedSession(requests.Session):
        """A session whose answers are read within a time and a size."""

        last_body = b""
        retry_after = ""

        def request(self, *args: Any, **kwargs: Any) -> Response:
            deadline = monotonic() + timeout_s
            kwargs.update(stream=True, timeout=timeout_s, allow_redirects=False)
            response = super().request(*args, **kwargs)
            body = bytearray()
            with response:
                for piece in response.iter_content(PIECE_BYTES):
                    body += piece
                    if len(body) > max_bytes:
                        raise _LimitError(f"an answer of more than {max_bytes >> 20} MiB; aggregate in the query")
                    if monotonic() > deadline:
                        raise _LimitError(f"no whole answer within {timeout_s:g} s")
            response._content = bytes(body)
            self.last_body, self.retry_after = response._content, response.headers.get("Retry-After", "")
            return response

    session = BoundedSession()
    # Proxies and .netrc of whoever started the service must not decide where the questions and the token go.
    session.trust_env = False
    return session
