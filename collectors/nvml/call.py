"""One call of the driver's library, and what it gives: the contract between a lane's module and its device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from autoscaler.types import Labels


@dataclass(frozen=True, slots=True)
class Sample:
    """One value in base units; NaN = no usable value this time. labels: beside those of the GPU, sorted by name."""

    metric: str
    value: float
    labels: Labels = ()


Read = Callable[[Any, Any], Iterable[Sample]]
"""(pynvml module, device handle) -> samples; raises pynvml.NVMLError, which the device catches for each call."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function of the library, the metrics that it gives, and its older form.

    name: the NVML function, as errors name it. metrics: what can be unsupported when the call is. older: used where
    the driver does not know the newer form (codes 13, 25 and 26). needs: what the call asks of the GPU, as the reason
    why it is unsupported where it is.
    """

    name: str
    metrics: tuple[str, ...]
    read: Read
    older: Read | None = None
    needs: str = ""
