"""The signature of a message, by which a receiver knows that it is ours and that it is not an old one sent again."""

from __future__ import annotations

import hashlib
import hmac

HEADER = "X-Sigmascale-Signature"
SHORTEST_KEY = 16


def signature(key: bytes, at: float, body: bytes) -> str:
    """`t=SECONDS,v1=HEX`: HMAC-SHA256 with the key over the seconds, a dot and the body."""
    seconds = str(int(at))
    digest = hmac.new(key, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"
