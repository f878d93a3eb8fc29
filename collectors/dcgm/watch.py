"""Fields that a host engine reads for us at its own pace, and what it kept of them since we asked last."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from collectors.dcgm.modules import Modules
from collectors.nvml.codes import Availability

INT64_BLANK = 0x7FFFFFFFFFFFFFF0
INT32_BLANKS = range(0x7FFFFFF0, 0x7FFFFFF4)
FP64_BLANK = 140737488355328.0
"""Blanks of dcgm_structs.h. Of integers that once were shorter only the four codes are blanks, no range of values."""
PERIOD_FLOOR_S = 0.1
SAMPLES_LIMIT = 1000
"""Samples of one field of one entity that the engine keeps for us at most, beside the limit in time."""


@dataclass
class Drained:
    """What was new: samples by (kind, number, field), oldest first, NaN = blank; Unix seconds of the newest."""

    samples: dict[tuple[int, int, int], list[float]] = field(default_factory=dict)
    newest_at: float = -math.inf


class Watch:
    """One field group of one group of entities."""

    def __init__(self, dcgm: Modules, handle: Any, group: Any, lane: str, numbers: Sequence[int]) -> None:
        self.lane = lane
        self._dcgm = dcgm
        self._handle = handle
        self._group = group
        self._numbers = list(numbers)
        self._fields: Any = None
        self._since = 0

    def begin(self, period_s: float, keep_s: float) -> None:
        """Have the engine read every `period_s` and keep `keep_s` of it. Raises DCGMError.

        The engine takes the period in microseconds and the age in seconds, and keeps for ever what has no bound.
        """
        agent = self._dcgm.agent
        self._fields = agent.dcgmFieldGroupCreate(self._handle, self._numbers, f"sigmascale-{self.lane}-{os.getpid()}")
        period_us = round(1e6 * max(PERIOD_FLOOR_S, period_s))
        kept = min(SAMPLES_LIMIT, math.ceil(keep_s / period_s) + 1)
        try:
            agent.dcgmWatchFields(self._handle, self._group, self._fields, period_us, keep_s, kept)
        except self._dcgm.structs.DCGMError:
            agent.dcgmFieldGroupDestroy(self._handle, self._fields)
            self._fields = None
            raise

    def drain(self) -> Drained:
        """Everything since the last call; at first, everything that the engine has. Raises DCGMError."""
        drained = Drained()
        # Made anew for each call and kept until it returns: the library calls it meanwhile.
        callback = self._dcgm.agent.dcgmFieldValueEntityEnumeration_f(self._taker(drained))
        agent = self._dcgm.agent
        since = agent.dcgmGetValuesSince_v2(self._handle, self._group, self._fields, self._since, callback, None)
        self._since = int(since)
        return drained

    def end(self) -> None:
        """Have the engine stop reading. Raises DCGMError."""
        if self._fields is not None:
            fields, self._fields = self._fields, None
            self._dcgm.agent.dcgmUnwatchFields(self._handle, self._group, fields)
            self._dcgm.agent.dcgmFieldGroupDestroy(self._handle, fields)

    def _taker(self, drained: Drained) -> Any:
        def take(kind: int, number: int, values: Any, count: int, user: Any) -> int:
            del user
            for place in range(count):
                one = values[place]
                key = (int(kind), int(number), int(one.fieldId))
                told = value_of(one)
                if told is not None:
                    drained.samples.setdefault(key, []).append(told)
                    drained.newest_at = max(drained.newest_at, int(one.ts) / 1e6)
            return 0

        return take


def value_of(one: Any) -> float | None:
    """The number in a c_dcgmFieldValue; NaN for the blanks of its type, None for what is no number."""
    kind = chr(one.fieldType) if isinstance(one.fieldType, int) else str(one.fieldType)
    if kind not in ("d", "i", "t"):
        return None
    if one.status:
        return math.nan
    if kind == "d":
        double = float(one.value.dbl)
        return math.nan if double >= FP64_BLANK else double
    integer = int(one.value.i64)
    return math.nan if integer >= INT64_BLANK or integer in INT32_BLANKS else float(integer)


def refusal(dcgm: Modules, error: Exception) -> tuple[Availability, str]:
    """What it means that the profiling fields cannot be watched, and what to do."""
    structs, code = dcgm.structs, dcgm.code(error)

    def is_one_of(*names: str) -> bool:
        return any(getattr(structs, f"DCGM_ST_{name}", None) == code for name in names)

    if is_one_of("REQUIRES_ROOT", "NO_PERMISSION"):
        return "no_permission", f"{error}; run the host engine as root, or give the container SYS_ADMIN"
    if is_one_of("IN_USE", "PAUSED"):
        return "paused", f"{error}; another client is profiling these GPUs, or profiling is paused"
    return "unsupported", f"{error} (DCGM error {code})"
