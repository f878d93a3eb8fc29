"""Settings of a GPU that we may change where a person allowed it: told before they are changed, given back after."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

import structlog

from autoscaler.errors import InputError, SigmascaleError
from collectors.nvml import codes

log = structlog.get_logger(__name__)

Setting = Literal["power_limit_watts", "locked_clocks_hertz", "compute_mode", "mig_mode"]
COMPUTE_MODES = {"default": 0, "prohibited": 2, "exclusive_process": 3}
"""NVML_COMPUTEMODE_* of nvml.h."""
NOT_DONE = (
    codes.UNINITIALIZED,
    codes.INVALID_ARGUMENT,
    codes.NOT_SUPPORTED,
    codes.NO_PERMISSION,
    codes.FUNCTION_NOT_FOUND,
)
"""After these codes nothing was changed; after others nobody knows."""
CLOCKS_MOST_HZ = 1e10
Value = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Act:
    """One change of one setting, told before it is made. before, after: in base units; empty = the driver decides.

    restores: it takes back what we did. A record that holds acts without the one that restores them tells whoever
    starts next what was left behind.
    """

    uuid: str
    setting: Setting
    before: Value
    after: Value
    restores: bool = False


class RefusedError(InputError):
    """The driver refused, and nothing was changed."""


@dataclass(eq=False)
class Controls:
    """Changes settings of GPUs, and gives back what it found at the end of its `with` block or at `end`.

    Made only where a person opted in. gpus: the handle of a UUID; KeyError for another. record: is given each change
    before it is made, and what it raises stops it; and each setting that was given back, afterwards. Every method
    raises InputError with the reason when the driver refuses; setting anything needs root.
    """

    nvml: Any
    gpus: Callable[[str], Any]
    record: Callable[[Act], object]
    _done: dict[tuple[str, Setting], Act] = field(default_factory=dict, init=False, repr=False)
    _ended: bool = field(default=False, init=False)
    _pid: int = field(default_factory=os.getpid, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def set_power_limit(self, uuid: str, watts: float) -> None:
        """Cap the power draw, within the limits of the board."""
        handle = self._handle(uuid)
        with self._explained(uuid, "power limit"):
            least, most = (mw / 1000 for mw in self.nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle))
            before = self.nvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000
        if not least <= watts <= most:
            raise InputError(f"power limit of {uuid}: {watts:g} W is not within {least:g} to {most:g} W of this board")
        self._change(Act(uuid, "power_limit_watts", (before,), (watts,)))

    def lock_clocks(self, uuid: str, least_hertz: float, most_hertz: float) -> None:
        """Keep the clock of the multiprocessors within bounds; restored to none, as the driver does not tell them."""
        self._handle(uuid)
        if not 0 < least_hertz <= most_hertz <= CLOCKS_MOST_HZ:
            raise InputError(f"clocks of {uuid}: {least_hertz:g} to {most_hertz:g} Hz is no range of a GPU's clock")
        self._change(Act(uuid, "locked_clocks_hertz", (), (least_hertz, most_hertz)))

    def set_compute_mode(self, uuid: str, mode: str) -> None:
        """Say who may use the GPU: default (everybody), exclusive_process (one process) or prohibited."""
        if mode not in COMPUTE_MODES:
            raise InputError(f"compute mode of {uuid}: {mode!r} is none; choose of {', '.join(COMPUTE_MODES)}")
        handle = self._handle(uuid)
        with self._explained(uuid, "compute mode"):
            before = self.nvml.nvmlDeviceGetComputeMode(handle)
        self._change(Act(uuid, "compute_mode", (float(before),), (float(COMPUTE_MODES[mode]),)))

    def set_mig_mode(self, uuid: str, enabled: bool) -> None:
        """Switch MIG on or off; the GPU must be idle, and boards before Hopper need a reset until it holds."""
        handle = self._handle(uuid)
        with self._explained(uuid, "MIG mode"):
            before = self.nvml.nvmlDeviceGetMigMode(handle)[1]
        self._change(Act(uuid, "mig_mode", (float(before),), (float(enabled),)))

    def restore(self) -> tuple[str, ...]:
        """Give every setting its first value back, the last change first; what could not be restored, as sentences.

        May be called again and again; a setting that was restored is not touched a second time. In a process that was
        forked from the one that made the changes it does nothing: they are not that process's to take back.
        """
        left = []
        with self._lock:
            for key, act in reversed(tuple(self._done.items()) if os.getpid() == self._pid else ()):
                try:
                    self._give_back(act)
                    del self._done[key]
                except InputError as error:
                    log.warning("gpu setting left behind", uuid=act.uuid, setting=act.setting, reason=str(error))
                    left.append(str(error))
        return tuple(left)

    def undo(self, acts: tuple[Act, ...]) -> tuple[str, ...]:
        """Restore what an earlier process recorded and did not take back, as after a crash; see `restore`."""
        with self._lock:
            for act in acts:
                key = act.uuid, act.setting
                if act.restores:
                    self._done.pop(key, None)
                else:
                    # The first act of several knows the value that was there before any of them.
                    first = self._done.get(key, act)
                    self._done[key] = Act(act.uuid, act.setting, first.before, act.after)
        return self.restore()

    def end(self) -> tuple[str, ...]:
        """Give everything back, and change nothing more; see `restore`."""
        with self._lock:
            self._ended = True
            return self.restore()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _change(self, act: Act) -> None:
        if act.before == act.after:
            return
        with self._lock:
            if self._ended:
                raise InputError(
                    f"{act.setting.replace('_', ' ')} of {act.uuid}: settings are being given back already"
                )
            handle = self._handle(act.uuid)
            self.record(act)
            key = act.uuid, act.setting
            earlier = self._done.get(key)
            # The first act of several knows the value that was there before any of them.
            self._done[key] = act if earlier is None else Act(act.uuid, act.setting, earlier.before, act.after)
            try:
                self._set(handle, act)
            except RefusedError:
                # Whoever reads the record must not take back what never was. After any other error nobody knows.
                if earlier is None:
                    self._tell_restored(Act(act.uuid, act.setting, act.after, act.before, restores=True))
                    del self._done[key]
                else:
                    self._done[key] = earlier
                raise

    def _give_back(self, act: Act) -> None:
        back = Act(act.uuid, act.setting, act.after, act.before, restores=True)
        self._set(self._handle(act.uuid), back)
        # Told afterwards, unlike a change: a record that says so must be true, and to give back twice is no harm.
        self._tell_restored(back)

    def _set(self, handle: Any, act: Act) -> None:
        with self._explained(act.uuid, act.setting.replace("_", " ")):
            match act.setting:
                case "power_limit_watts":
                    self.nvml.nvmlDeviceSetPowerManagementLimit(handle, round(act.after[0] * 1000))
                case "locked_clocks_hertz" if act.after:
                    least, most = (round(hertz / 1e6) for hertz in act.after)
                    self.nvml.nvmlDeviceSetGpuLockedClocks(handle, least, most)
                case "locked_clocks_hertz":
                    self.nvml.nvmlDeviceResetGpuLockedClocks(handle)
                case "compute_mode":
                    self.nvml.nvmlDeviceSetComputeMode(handle, int(act.after[0]))
                case "mig_mode":
                    status = self.nvml.nvmlDeviceSetMigMode(handle, int(act.after[0]))
                    if status:
                        raise self.nvml.NVMLError(status)
        log.info("gpu setting changed", uuid=act.uuid, setting=act.setting, after=act.after, restores=act.restores)

    def _tell_restored(self, act: Act) -> None:
        try:
            self.record(act)
        except (OSError, SigmascaleError):
            # A setting that stays changed is worse than one that was given back without a record.
            log.exception("restored without a record", uuid=act.uuid, setting=act.setting)

    def _handle(self, uuid: str) -> Any:
        try:
            return self.gpus(uuid)
        except KeyError:
            raise InputError(f"there is no GPU {uuid} on this machine; `sigmascale signals` lists them") from None

    def _explained(self, uuid: str, what: str) -> _Explained:
        return _Explained(self.nvml, f"{what} of {uuid}")


@dataclass(frozen=True, slots=True)
class _Explained:
    """Turns a refusal of the driver into a sentence with the next step."""

    nvml: Any
    what: str

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, self.nvml.NVMLError):
            return
        code = int(getattr(error, "value", -1))
        if code == codes.NO_PERMISSION:
            text = f"{self.what}: the driver allows it to root only; run as root or leave controls off"
        else:
            text = f"{self.what}: the driver refuses ({error}, NVML error {code})"
        raise (RefusedError if code in NOT_DONE else InputError)(text) from None
