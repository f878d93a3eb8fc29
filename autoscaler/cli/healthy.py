"""`python -m autoscaler.cli.healthy`: exit code 0 when the service, or the agent, in this container is alive.

The container's health check. HEALTH_URL says who is asked; the default is the service on its usual port.
"""

from __future__ import annotations

import os
import ssl
import sys
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from autoscaler.config import is_loopback

USUAL = "http://127.0.0.1:9377/healthz"
TIMEOUT_S = 4.0


def complaint(url: str, timeout_s: float = TIMEOUT_S) -> str:
    """What is wrong with the answer of a loopback address; empty for a 200."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not is_loopback(parts.hostname or ""):
        return f"HEALTH_URL {url!r} is not on this machine; write one such as {USUAL}"
    # A certificate names the service, not 127.0.0.1, and nobody is between a container and itself.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            return "" if answer.status == 200 else f"{url} answered {answer.status}"
    except (URLError, OSError) as error:
        return f"{url}: {error}"


def main() -> int:
    """Exit code 0 = healthy, 1 = not, with one line that says why."""
    wrong = complaint(os.environ.get("HEALTH_URL", USUAL))
    if wrong:
        sys.stdout.write(f"{wrong}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
