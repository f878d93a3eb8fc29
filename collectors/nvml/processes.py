"""The processes on one GPU: how many, how much of it each takes, and which container each belongs to."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from autoscaler.types import Labels
from collectors.nvml.call import Call, Sample

SERIES_LIMIT = 64
"""Processes of one GPU that get series of their own; the smaller ones count as one with the pid `other`."""
OWNERS_LIMIT = 1024
CGROUP_BYTES = 65536
NO_INSTANCE = 0xFFFFFFFF
AHEAD_S = 5.0
"""No sample is dated so far ahead of us."""
SUCCESS, NOT_FOUND, NO_DATA = 0, 6, 21
HOST_PID_NAMESPACE = 0xEFFFFFFC
"""Inode of the first PID namespace (PROC_PID_INIT_INO in include/linux/proc_ns.h of the kernel)."""
_CONTAINER = re.compile(r"(?:^|[/:-])([0-9a-f]{64})(?:\.scope)?(?=/|$)")
_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})")

Confidence = Literal["high", "low", "none"]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose process it is. container: id; pod: its UID; each empty where the control group does not name it.

    confidence: high = the driver's number and ours are of one PID namespace. low = that could not be checked, so that
    the number may be another process's. none = not attributed: another namespace, a process that is gone, or a control
    group that may not be read.
    """

    container: str = ""
    pod: str = ""
    confidence: Confidence = "none"

    @property
    def labels(self) -> Labels:
        """What the process's samples carry, sorted; the id of a container is cut to 12 digits as people know it."""
        told = {"container_id": self.container[:12], "owner_confidence": self.confidence, "pod_uid": self.pod}
        return tuple((label, value) for label, value in told.items() if value)


NOBODY = Owner()


def in_cgroup(text: str, confidence: Confidence = "high") -> Owner:
    """The owner that a process's /proc/PID/cgroup names, of any layout: v1, v2, containerd, CRI-O, Docker, Kubernetes.

    A process of no container has the given confidence and no names.
    """
    container = pod = ""
    for line in text.splitlines():
        path = line.split(":", 2)[-1]
        # The innermost container counts where containers run in containers.
        containers, pods = _CONTAINER.findall(path), _POD.findall(path)
        container, pod = (containers[-1] if containers else container), (pods[-1] if pods else pod)
    return Owner(container, pod.replace("_", "-"), confidence)


@dataclass(eq=False)
class Owners:
    """Looks up and remembers the owners of processes. proc: where /proc is mounted.

    The driver's numbers are those of the host: inside another PID namespace they name other processes or none, so
    nothing is attributed there.
    """

    proc: Path = Path("/proc")
    _known: dict[int, tuple[str, Owner]] = field(default_factory=dict, init=False, repr=False)

    def of(self, pid: int) -> Owner:
        """The owner of a process by the host's number."""
        confidence = self._namespace()
        if confidence == "none":
            return NOBODY
        try:
            with (self.proc / str(pid) / "stat").open("rb") as file:
                # A number is used again: the time of the start (field 22, behind the name in brackets) tells apart.
                born = file.read(4096).rpartition(b")")[2].split()[19].decode()
            known = self._known.get(pid)
            if known is not None and known[0] == born:
                return known[1]
            with (self.proc / str(pid) / "cgroup").open("rb") as file:
                owner = in_cgroup(file.read(CGROUP_BYTES).decode(errors="replace"), confidence)
        except (OSError, IndexError):
            return NOBODY
        if len(self._known) >= OWNERS_LIMIT:
            self._known.clear()
        self._known[pid] = born, owner
        return owner

    def _namespace(self) -> Confidence:
        try:
            own = (self.proc / "self" / "ns" / "pid").stat().st_ino
        except OSError:
            return "low"
        return "high" if own == HOST_PID_NAMESPACE else "none"


@dataclass(frozen=True, slots=True)
class Process:
    """One process on a GPU. memory_bytes: NaN where the driver does not tell. gi_id: of its MIG instance, or None."""

    pid: int
    memory_bytes: float
    gi_id: int | None = None


def _process(told: Any) -> Process:
    memory = math.nan if told.usedGpuMemory is None else float(told.usedGpuMemory)
    return Process(told.pid, memory, None if told.gpuInstanceId == NO_INSTANCE else told.gpuInstanceId)


def running(nvml: Any, handle: Any, older: bool = False) -> tuple[Process, ...]:
    """The compute processes, one for each PID and MIG instance; empty when the driver says so, NVMLError otherwise.

    older: ask as drivers before 510 want to be asked. Without a version the bindings raise what is no NVMLError.
    """
    ask = nvml.nvmlDeviceGetComputeRunningProcesses_v2 if older else nvml.nvmlDeviceGetComputeRunningProcesses_v3
    return _merged(_listed(nvml, lambda: ask(handle)))


def mps_clients(nvml: Any, handle: Any, older: bool = False) -> tuple[Process, ...]:
    """The clients of the Multi-Process Service."""
    ask = nvml.nvmlDeviceGetMPSComputeRunningProcesses_v2 if older else nvml.nvmlDeviceGetMPSComputeRunningProcesses_v3
    return _merged(_listed(nvml, lambda: ask(handle)))


def _listed(nvml: Any, ask: Callable[[], Iterable[Any]]) -> Iterable[Any]:
    try:
        return ask()
    except nvml.NVMLError as error:
        # The bindings raise a success that has nothing to list; code 6 is the driver's own word for an empty list.
        if error.value in (SUCCESS, NOT_FOUND):
            return ()
        raise


def _merged(told: Iterable[Any]) -> tuple[Process, ...]:
    merged: dict[tuple[int, int | None], Process] = {}
    for process in map(_process, told):
        merged.setdefault((process.pid, process.gi_id), process)
    return tuple(merged.values())


def calls(
    owners: Owners, profiles: Callable[[int], str] = lambda gi_id: "", now: Callable[[], float] = lambda: math.inf
) -> tuple[Call, ...]:
    """The calls of one GPU; they remember the time of the last sample, so that a GPU found again needs new ones.

    profiles: the MIG profile of a GPU instance, empty where it is not known. now: Unix seconds, as the driver dates.
    """
    last_us = 0

    def labels(process: Process) -> Labels:
        told = {**dict(owners.of(process.pid).labels), "pid": str(process.pid)}
        if process.gi_id is not None:
            told |= {"gi_id": str(process.gi_id), "mig_profile": profiles(process.gi_id)}
        return tuple(sorted((label, value) for label, value in told.items() if value))

    def memory(nvml: Any, handle: Any, older: bool = False) -> Iterator[Sample]:
        found = running(nvml, handle, older)
        yield Sample("gpu_processes", float(len({process.pid for process in found})))
        ranked = sorted(found, key=lambda process: (math.isnan(process.memory_bytes), -process.memory_bytes))
        for process in ranked[:SERIES_LIMIT]:
            yield Sample("gpu_process_memory_bytes", process.memory_bytes, labels(process))
        rest = [process.memory_bytes for process in ranked[SERIES_LIMIT:]]
        if rest:
            yield Sample("gpu_process_memory_bytes", math.fsum(rest), (("pid", "other"),))

    def clients(nvml: Any, handle: Any, older: bool = False) -> tuple[Sample, ...]:
        return (Sample("gpu_mps_clients", float(len({process.pid for process in mps_clients(nvml, handle, older)}))),)

    def use(nvml: Any, handle: Any) -> Iterator[Sample]:
        nonlocal last_us
        if last_us / 1e6 > now() + AHEAD_S:
            # The clock went back: until it is as late again nothing would be new.
            last_us = round(now() * 1e6)
        newest: dict[int, tuple[int, int]] = {}
        for told in _news(nvml, handle, last_us):
            # Entries that the driver left empty have no time; a share above 100 % is a known slip of the counter.
            if told.timeStamp > max(last_us, newest.get(told.pid, (0, 0))[0]) and told.smUtil <= 100:
                newest[told.pid] = told.timeStamp, told.smUtil
        last_us = max([last_us, *(at for at, _ in newest.values())])
        ranked = sorted(newest.items(), key=lambda item: -item[1][1])
        for pid, (_, percent) in ranked[:SERIES_LIMIT]:
            yield Sample("gpu_process_sm_ratio", percent / 100, labels(Process(pid, math.nan)))

    return (
        Call(
            "nvmlDeviceGetComputeRunningProcesses",
            ("gpu_processes", "gpu_process_memory_bytes"),
            memory,
            lambda nvml, handle: memory(nvml, handle, older=True),
        ),
        Call(
            "nvmlDeviceGetMPSComputeRunningProcesses",
            ("gpu_mps_clients",),
            clients,
            lambda nvml, handle: clients(nvml, handle, older=True),
        ),
        Call("nvmlDeviceGetProcessUtilization", ("gpu_process_sm_ratio",), use, needs="no MIG"),
    )


def _news(nvml: Any, handle: Any, since_us: int) -> Iterable[Any]:
    """Samples of processes newer than `since_us`; none where no process used the GPU since."""
    try:
        return tuple(nvml.nvmlDeviceGetProcessUtilization(handle, since_us))
    except nvml.NVMLError as error:
        if error.value in (SUCCESS, NOT_FOUND, NO_DATA):
            return ()
        raise
