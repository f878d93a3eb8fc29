"""Why a body is not taken, in the words and numbers of HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from autoscaler.errors import SigmascaleError


class RefusedError(SigmascaleError):
    """The body cannot be taken as it is: the sender must change it, or wait when `retry_after_s` is given.

    reason: one word for counting. errors: every fault, as (path in the body, rule and next step).
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str,
        errors: Iterable[tuple[str, str]] = (),
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.reason = reason
        self.detail = detail
        self.errors = tuple(errors)
        self.retry_after_s = retry_after_s
