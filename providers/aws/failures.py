"""What an error of EC2 or of its SDK means for the caller: which class of `errors.py` it becomes.

Codes: EC2 API reference, "Error codes for the Amazon EC2 API"; what counts as a shortage follows Karpenter's AWS
provider (`pkg/errors`). A message of AWS about credentials is never repeated: it may hold the signed request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from autoscaler.errors import (
    CapacityError,
    CredentialsError,
    ProviderError,
    QuotaError,
    ThrottledError,
    UnreachableError,
)

SHORTAGE = frozenset({
    "InsufficientAddressCapacity", "InsufficientCapacity", "InsufficientCapacityOnHost",
    "InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity", "InsufficientInstanceCapacity",
    "InsufficientReservedInstanceCapacity", "InsufficientVolumeCapacity", "MaxFleetCountExceeded",
    "MaxSpotInstanceCountExceeded", "ReservationCapacityExceeded", "SpotMaxPriceTooLow", "UnfulfillableCapacity",
    "Unsupported",
})  # fmt: skip
QUOTA = frozenset({
    "AddressLimitExceeded", "InstanceLimitExceeded", "MaxIOPSLimitExceeded", "NetworkInterfaceLimitExceeded",
    "PrivateIpAddressLimitExceeded", "QuotaExceeded", "TagLimitExceeded", "VcpuLimitExceeded", "VolumeLimitExceeded",
})  # fmt: skip
THROTTLING = frozenset({
    "ConcurrentTagAccess", "EC2ThrottledException", "PriorRequestNotComplete", "RequestLimitExceeded",
    "RequestThrottled", "RequestThrottledException", "SlowDown", "ThrottledException", "Throttling",
    "ThrottlingException", "TooManyRequestsException",
})  # fmt: skip
CREDENTIALS = frozenset({
    "AccessDenied", "AccessDeniedException", "AuthFailure", "Blocked", "ExpiredToken", "ExpiredTokenException",
    "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "MissingAuthenticationToken",
    "NotAuthorized", "OptInRequired", "PendingVerification", "RequestExpired", "SignatureDoesNotMatch",
    "UnauthorizedOperation", "UnrecognizedClientException",
})  # fmt: skip
NOT_ANSWERED = frozenset({
    "InternalError", "InternalFailure", "InternalServerError", "RequestTimeout", "RequestTimeoutException",
    "ServiceUnavailable", "ServiceUnavailableException", "Unavailable",
})  # fmt: skip
"""Nobody knows whether the call was carried out; it is repeated with its token."""
_ABSENT = re.compile(r"NotFound(Exception)?$|Malformed$")
NO_SUCH_TYPE = "InvalidInstanceType"
ANOTHER_ORDER = "IdempotentParameterMismatch"
RETRY_AFTER_S = 5.0
LONGEST_WAIT_S = 300.0
_SAID = 300
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")
_ENCODED = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)


class AbsentError(ProviderError):
    """What the offer names, a template, an image, a subnet, is not there."""


class AnotherOrderError(ProviderError):
    """The client token was used with other parameters."""


def translated(error: Exception, where: str) -> ProviderError:
    """The error of a call as the loop knows it. where: region and operation, for the message."""
    from botocore.exceptions import ClientError

    return _refused(error, where) if isinstance(error, ClientError) else _broken(error, where)


def _refused(error: Any, where: str) -> ProviderError:
    """An answer of AWS that is an error."""
    answer: Mapping[str, Any] = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    meta: Mapping[str, Any] = answer.get("ResponseMetadata", {})
    status = int(meta.get("HTTPStatusCode", 0) or 0)
    said = f"{where}: {code}: {_words(str(answer.get('Error', {}).get('Message', '')))}"
    meant: ProviderError
    if code in CREDENTIALS:
        meant = _not_allowed(where, code)
    elif code in THROTTLING or status == 429:
        meant = ThrottledError(said, _wait_s(meta.get("HTTPHeaders", {})))
    elif code in SHORTAGE:
        meant = CapacityError(said)
    elif code in QUOTA:
        meant = QuotaError(f"{said}; ask for a higher limit in Service Quotas")
    elif code == ANOTHER_ORDER:
        meant = AnotherOrderError(said)
    elif code in NOT_ANSWERED or status >= 500:
        meant = UnreachableError(f"{said}; whether it was carried out is not known")
    elif code == NO_SUCH_TYPE:
        meant = ProviderError(f"{said}; correct the type in the rule file, or take it from a region that sells it")
    elif _ABSENT.search(code):
        meant = AbsentError(f"{said}; make it in this region, or correct its name in the offer")
    else:
        meant = ProviderError(said)
    return meant


def _broken(error: Exception, where: str) -> ProviderError:
    """No answer of AWS at all: nothing was sent, or what came of it is unknown."""
    from botocore import exceptions as e

    name = type(error).__name__
    unsigned = (
        e.NoCredentialsError,
        e.PartialCredentialsError,
        e.CredentialRetrievalError,
        e.ProfileNotFound,
        e.TokenRetrievalError,
        e.SSOError,
        e.UnauthorizedSSOTokenError,
        e.MetadataRetrievalError,
    )
    if isinstance(error, unsigned):
        return _not_allowed(where, name)
    if isinstance(error, e.ParamValidationError):
        return ProviderError(f"{where}: {name}: {_words(str(error))}")
    # Among them an answer that cannot be read, of a proxy for instance; its text may be anything.
    return UnreachableError(f"{where}: {name}; whether it was carried out is not known")


def _not_allowed(where: str, code: str) -> CredentialsError:
    return CredentialsError(
        f"{where}: {code}: AWS does not accept our credentials for this; give the service credentials as boto3 finds "
        "them (environment, profile, instance role) and the permissions of docs/aws.md"
    )


def _words(message: str) -> str:
    """At most 300 characters of what AWS said, without key ids and encoded blocks."""
    plain = " ".join(_KEY_ID.sub("<key id>", _ENCODED.sub("", message)).split())
    return plain if len(plain) <= _SAID else plain[:_SAID] + "..."


def _wait_s(headers: Mapping[str, str]) -> float:
    """Seconds of a Retry-After header, which EC2 seldom sends; else 5 s."""
    try:
        asked = float(headers.get("retry-after", RETRY_AFTER_S))
    except ValueError:
        return RETRY_AFTER_S
    return min(max(asked, 0.1), LONGEST_WAIT_S) if asked == asked else RETRY_AFTER_S  # noqa: PLR0124 - NaN
