"""How calls of Azure's SDK are made: nothing is repeated, operations are not waited for, lists have an end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from autoscaler.errors import ProviderError

PAGES = 200
NO_RETRY: dict[str, Any] = {"retry_total": 0, "retry_connect": 0, "retry_read": 0, "retry_status": 0}


def begin() -> dict[str, Any]:
    """How a long-running operation is begun."""
    return {**NO_RETRY, "polling": _polling()}


def _polling() -> Any:
    """A polling method that does not poll: it keeps where the operation can be asked for."""
    from azure.core.polling import PollingMethod

    class Held(PollingMethod):  # type: ignore[type-arg]
        asked_at: str | None = None

        def initialize(self, client: Any, initial_response: Any, deserialization_callback: Any) -> None:
            headers = initial_response.http_response.headers
            self.asked_at = headers.get("Azure-AsyncOperation") or headers.get("Location")

        def run(self) -> None:
            """Nothing: whoever wants to know asks once, with `look`."""

        def status(self) -> str:
            return "InProgress"

        def finished(self) -> bool:
            return True

        def resource(self) -> None:
            return None

    return Held()


def token_of(poller: Any) -> str | None:
    """Where an operation that was begun so can be asked for."""
    asked_at = poller.polling_method().asked_at
    return None if asked_at is None else str(asked_at)


def bounded(paged: Any, what: str) -> Iterator[Any]:
    """Everything on all pages. Raises ProviderError when they have no end."""
    for count, page in enumerate(paged.by_page()):
        if count >= PAGES:
            raise ProviderError(f"{what}: more than {PAGES} pages; use fewer, smaller resource groups")
        yield from page
