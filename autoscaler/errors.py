"""Errors, named by what the caller should do.

SigmascaleError
 +- InputError            tell the person: their file, request or flag is wrong (carries every fault at once)
 +- StorageError          the disk or database refused; keep running, report, retry
 +- ProviderError         a provider refused or did not answer
     +- CapacityError     try the next offer
     +- QuotaError        ask a person
     +- ThrottledError    wait `retry_after_s`
     |   +- BusyError     the same, but only one thing of the provider is busy, not all of it
     +- CredentialsError  stop using this provider until a person acts
     +- UnreachableError  nothing is known: the same call may be repeated
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with what a person wrote, and the next step. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    where: str
    text: str
    severity: str = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.where}: {self.text}" if self.where else f"{place}: {self.text}"


class SigmascaleError(Exception):
    """Root of everything that is raised on purpose."""


class InputError(SigmascaleError):
    """A person's file, request or flag is wrong. The message lists every fault, one a line."""

    def __init__(self, *faults: Fault | str) -> None:
        self.faults = tuple(f if isinstance(f, Fault) else Fault("", 0, 0, "", f) for f in faults)
        super().__init__("\n".join(str(f) if f.file else f.text for f in self.faults))


class StorageError(SigmascaleError):
    """A disk or database refused; the message names the file and the next step."""


class ProviderError(SigmascaleError):
    """A provider refused or did not answer. `code` goes into outcomes."""

    code = "provider"


class CapacityError(ProviderError):
    """The offer cannot be had now: try the next one."""

    code = "capacity"


class QuotaError(ProviderError):
    """An account limit: only a person can lift it."""

    code = "quota"


class ThrottledError(ProviderError):
    """Too many calls: wait `retry_after_s`."""

    code = "throttled"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BusyError(ThrottledError):
    """One thing of a provider takes no change now, because it is being changed: wait `retry_after_s`. Other calls are
    as welcome as ever."""

    code = "busy"


class CredentialsError(ProviderError):
    """Not allowed: stop until a person acts."""

    code = "credentials"


class UnreachableError(ProviderError):
    """No answer: what happened is unknown."""

    code = "unreachable"
