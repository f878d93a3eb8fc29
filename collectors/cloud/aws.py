"""EC2's instance metadata service, version 2: a token first, then questions with it.

EC2 user guide, "Spot Instance interruption notices", "EC2 instance rebalance recommendations" and "Use IMDSv2". What is
not announced is a 404.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from collectors.cloud.exchange import TOKEN_SHAPE, Exchange, Reply, SilentError
from collectors.cloud.notices import Notices, instant

KINDS = ("terminate", "stop", "hibernate")
TOKEN_S = 21600
_ID = re.compile(r"i-[0-9a-f]{8,17}")


@dataclass(slots=True)
class Aws:
    """Questions of one machine. `now` of `look` stands for a notice that is there and says no time."""

    exchange: Exchange
    _token: str = field(default="", repr=False)
    _instance: str = ""

    def look(self, now: float) -> Notices:
        """What is announced. Raises SilentError."""
        if not self._instance:
            said = self._get("/latest/meta-data/instance-id").body.decode("ascii", "replace").strip()
            if not _ID.fullmatch(said):
                raise SilentError("no id of an EC2 instance")
            self._instance = said
        action = _fields(self._get("/latest/meta-data/spot/instance-action"))
        advice = _fields(self._get("/latest/meta-data/events/recommendations/rebalance"))
        found = {}
        if action is not None:
            kind = str(action.get("action", ""))
            # A notice that cannot be read is still a notice: the worst is meant.
            found[kind if kind in KINDS else "terminate"] = instant(action.get("time")) or now
        rebalance_at = 0.0 if advice is None else instant(advice.get("noticeTime")) or now
        return Notices(self._instance, found, rebalance_at)

    def _get(self, path: str) -> Reply:
        for _ in range(2):
            if not self._token:
                self._token = self._new_token()
            reply = self.exchange.ask("GET", path, {"X-aws-ec2-metadata-token": self._token})
            if reply.status != 401:
                break
            self._token = ""
        if reply.status not in (200, 404) or (reply.status == 404 and path.endswith("instance-id")):
            raise SilentError(f"it answers {reply.status}")
        return reply

    def _new_token(self) -> str:
        reply = self.exchange.ask("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)})
        token = reply.body.decode("latin-1").strip()
        if reply.status != 200 or not token or len(token) > 1024 or not TOKEN_SHAPE.issuperset(token):
            raise SilentError(f"it gives no token ({reply.status})")
        return token


def _fields(reply: Reply) -> dict[str, object] | None:
    """The fields of an answer, {} when they make no sense; None where nothing is announced."""
    if reply.status == 404:
        return None
    try:
        found = json.loads(reply.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        # Something else than EC2, such as a page that asks for a login, must not empty a pool.
        raise SilentError("a notice that is not JSON")
    return found
