"""What Azure refuses, as errors that say what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from autoscaler.errors import (
    CapacityError,
    CredentialsError,
    ProviderError,
    QuotaError,
    ThrottledError,
    UnreachableError,
)

CAPACITY = (
    "SkuNotAvailable",
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
)
QUOTA = ("QuotaExceeded",)
BUSY = ("Conflict", "OperationPreempted", "AnotherOperationInProgress", "RetryableError", "TooManyRequests")
WAIT_S = 30.0
TEXT_LIMIT = 300
_DEPTH = 5


class StaleError(ProviderError):
    """Somebody else wrote first (412): read again, decide again."""


class GoneError(ProviderError):
    """What was named does not exist (404)."""


def of_code(code: str, text: str) -> ProviderError:
    """The error that a code of Azure's stands for, wherever it was found: in an answer, an operation, a status."""
    said = f"{code}: {text}"[:TEXT_LIMIT]
    if code in CAPACITY:
        return CapacityError(said)
    if code in QUOTA or (code == "OperationNotAllowed" and "quota" in text.lower()):
        return QuotaError(f"{said}; ask for more quota in the portal, or lower the pool's maximum")
    if code in BUSY:
        return ThrottledError(said, WAIT_S)
    return ProviderError(said)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of the SDK as ours. Nothing of the request is repeated in a text, so no token can be."""
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ServiceRequestError,
        ServiceResponseError,
    )

    try:
        yield
    except ClientAuthenticationError as error:
        if getattr(error, "response", None) is None:
            text = "Azure gave no token; check the identity of this service (environment, managed identity, az login)"
            raise CredentialsError(f"{what}: {text}: {type(error).__name__}") from None
        raise _of_answer(what, error) from None
    except HttpResponseError as error:
        raise _of_answer(what, error) from None
    except (ServiceRequestError, ServiceResponseError) as error:
        raise UnreachableError(f"{what}: no answer from Azure ({type(error).__name__})") from None
    except AzureError as error:
        raise UnreachableError(f"{what}: {type(error).__name__}, nothing is known") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        # An answer that the SDK cannot read, from a proxy or a page of maintenance, tells nothing.
        raise UnreachableError(f"{what}: the answer makes no sense ({type(error).__name__})") from error


def _of_answer(what: str, error: Any) -> ProviderError:
    status = error.status_code or 0
    code, text = told(getattr(error, "error", None))
    text = f"{text or error.reason or 'no reason given'}"[:TEXT_LIMIT]
    wait_s = retry_after_s(getattr(error, "response", None))
    fixed: dict[int, ProviderError] = {
        401: CredentialsError(f"{what}: {code or status}: {text}; renew the credentials"),
        403: CredentialsError(f"{what}: {code or status}: {text}; give its identity the role of docs/azure.md"),
        404: GoneError(f"{what}: {code or 'NotFound'}: {text}; check subscription, resource_group and scale_set"),
        412: StaleError(f"{what}: changed by somebody else meanwhile"),
        429: ThrottledError(f"{what}: Azure asks to wait ({code or 'TooManyRequests'})", wait_s),
    }
    if status in fixed:
        return fixed[status]
    if status < 400:
        # Carried out or not: what came back cannot be read.
        return UnreachableError(f"{what}: HTTP {status} with an answer that cannot be read; nothing is known")
    known = of_code(code, text) if code else ProviderError(f"HTTP {status}: {text}")
    if isinstance(known, CapacityError | QuotaError):
        return type(known)(f"{what}: {known}")
    if status >= 500 or status == 408:
        return UnreachableError(f"{what}: HTTP {status} {code}, nothing is known")
    return (
        ThrottledError(f"{what}: {known}", wait_s)
        if isinstance(known, ThrottledError)
        else type(known)(f"{what}: {known}")
    )


def told(error: Any, depth: int = 0) -> tuple[str, str]:
    """Code and text of an error of ARM's; one that means something to us may stand in its details."""
    if error is None or depth > _DEPTH:
        return "", ""
    outer = (str(error.code or ""), str(error.message or ""))
    if outer[0] in (*CAPACITY, *QUOTA):
        return outer
    for inner in (error.details or ())[:20]:
        found = told(inner, depth + 1)
        if found[0] in (*CAPACITY, *QUOTA) or "quota" in found[1].lower():
            return found
    return outer


def retry_after_s(response: Any) -> float:
    """Seconds that an answer asks to wait, at most an hour; 30 when it does not say."""
    text = response.headers.get("Retry-After", "") if response is not None else ""
    return min(3600.0, max(1.0, float(text))) if text.isascii() and text.isdigit() else WAIT_S
