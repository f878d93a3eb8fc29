"""Which GPUs of this machine a new process may use. A GPU is named by its UUID: indices change when one is lost."""

from __future__ import annotations

from collections.abc import Collection

from autoscaler.errors import CapacityError


def installed() -> tuple[str, ...]:
    """UUIDs of the GPUs that the driver answers for, in its order; empty where there is no driver.

    GPUs that are split (MIG mode) are left out: a process can use only one slice, which is not "n GPUs".
    """
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        found = []
        for index in range(pynvml.nvmlDeviceGetCount()):
            uuid = _uuid(index)
            if uuid is not None:
                found.append(uuid)
        return tuple(found)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def choose(present: Collection[str], taken: Collection[str], need: int) -> tuple[str, ...]:
    """The first `need` UUIDs that nobody holds. Raises CapacityError that says how many there are."""
    free = [uuid for uuid in present if uuid not in taken]
    if len(free) < need:
        raise CapacityError(
            f"needs {need} GPUs and {len(free)} of the {len(present)} here are free; "
            "wait for one to leave, or lower `gpus` of the offer"
        )
    return tuple(free[:need])


def _uuid(index: int) -> str | None:
    """UUID of one whole GPU; None if it is lost or split."""
    import pynvml

    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        uuid = pynvml.nvmlDeviceGetUUID(handle)
    except pynvml.NVMLError:
        return None
    try:
        split = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    except pynvml.NVMLError:
        # Most GPUs do not know MIG at all.
        split = False
    return None if split else str(uuid)
