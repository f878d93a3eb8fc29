"""One call of one GPU, and what became of it so far."""

from __future__ import annotations

import math
from dataclasses import dataclass

from collectors.nvml import codes
from collectors.nvml.call import Call, Read

FIRST_BACK_OFF_S, LAST_BACK_OFF_S = 2.0, 60.0


@dataclass(eq=False, slots=True)
class Probe:
    """A call with its standing. refused: the code for which it is not asked again. detail: why there is nothing.

    paused: who holds it, empty = nobody. took_s: how long the last try took. rest_until: not asked before.
    """

    call: Call
    refused: int | None = None
    detail: str = ""
    paused: str = ""
    took_s: float = 0.0
    rest_until: float = -math.inf
    _older: bool = False
    _rest_s: float = FIRST_BACK_OFF_S

    @property
    def read(self) -> Read:
        """The form of the call that the driver knows."""
        return self.call.older if self._older and self.call.older is not None else self.call.read

    def due(self, now: float) -> bool:
        """Whether to ask; a clock that went back ends a rest."""
        return self.refused is None and (now >= self.rest_until or now < self.rest_until - LAST_BACK_OFF_S)

    def fall_back(self) -> bool:
        """Use the older form from now on; False when there is none or it is in use."""
        if self._older or self.call.older is None:
            return False
        self._older = True
        return True

    def refuse(self, code: int) -> None:
        """Do not ask again."""
        self.refused = code
        row = codes.meaning(code)
        needed = self.call.needs and row.remedy != "no_permission"
        self.detail = f"needs {self.call.needs}" if needed else f"{self.call.name}: {row.text} ({row.name})"

    def back_off(self, now: float) -> None:
        """Ask later, and later still after each failure."""
        self.rest_until = now + self._rest_s
        self._rest_s = min(2 * self._rest_s, LAST_BACK_OFF_S)

    def answered(self) -> None:
        """It gave an answer."""
        self.paused, self.detail, self._rest_s = "", "", FIRST_BACK_OFF_S
