"""A fleet as the stand-in's library shows it: a file that tests write and the library reads at every call."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import tempfile
import time
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Self

from tests.peers.nvml import faults, layout, loading
from tests.peers.nvml.gpu import Gpu
from tests.peers.nvml.symbols import SYMBOLS, number
from tests.peers.nvml.words import Text, Word, Words

FOR_GOOD = 2**32 - 1
SIZE = ctypes.sizeof(layout.ScenarioData)


@dataclass(frozen=True, slots=True)
class Act:
    """A setter that somebody called: which, on which GPU, with which numbers, in which process."""

    call: str
    gpu: int
    arguments: tuple[int, int]
    pid: int


class Scenario:
    """Describes the fleet. Every change is seen by the next call, in this process or another.

    The file lives until `close`, the end of a `with` block or of this process. At first it has no GPUs; see models.py.
    """

    generation, root, stale_code, gpm_refusal_code, cuda_version = Word(), Word(), Word(), Word(), Word()
    gpm_least_us, count = Word(), Word()
    driver_version, nvml_version = Text(), Text()
    topology, p2p = Words(), Words()

    def __init__(self, path: Path | None = None) -> None:
        """A new scenario, or with `path` the one that another process made."""
        self._own = path is None
        if path is None:
            descriptor, name = tempfile.mkstemp(prefix="sigmascale-nvml-", suffix=".scenario")
            path = Path(name)
            os.truncate(descriptor, SIZE)
        else:
            descriptor = os.open(path, os.O_RDWR)
        self.path = path
        try:
            self._map = mmap.mmap(descriptor, SIZE)
        finally:
            os.close(descriptor)
        self.data = layout.ScenarioData.from_buffer(self._map)
        if self._own:
            self._finalizer = weakref.finalize(self, path.unlink, missing_ok=True)
            self._describe()
        self.gpus: tuple[Gpu, ...] = tuple(Gpu(self, n) for n, gpu in enumerate(self.data.gpus) if gpu.present)

    def _describe(self) -> None:
        self.data.size = SIZE
        self.driver_version, self.nvml_version, self.cuda_version = "550.163.01", "12.550.163.01", 12040
        self.stale_code, self.root = 1, 1
        # The header asks for more than 100 ms between two GPM samples; which code refuses less is not documented.
        self.gpm_least_us, self.gpm_refusal_code = 100_000, 27
        self.data.magic = layout.MAGIC

    def close(self) -> None:
        """Remove the file; whoever has it mapped goes on seeing it."""
        if self._own:
            self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- who uses it ----------------------------------------------------------------------------------------------

    def environment(self, without: Sequence[str] = ()) -> dict[str, str]:
        """The environment of a child process whose bindings shall load the stand-in with this scenario."""
        folders = [str(loading.library(without)), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders), loading.VARIABLE: str(self.path)}

    @contextlib.contextmanager
    def loaded(self, without: Sequence[str] = ()) -> Iterator[ModuleType]:
        """The bindings of this process use the stand-in with this scenario; gives the module, not yet initialised.

        Afterwards the library is shut down and the bindings have forgotten it, functions and all.
        """
        previous = os.environ.get(loading.VARIABLE)
        os.environ[loading.VARIABLE] = str(self.path)
        try:
            yield loading.load(without)
        finally:
            loading.unload()
            if previous is None:
                del os.environ[loading.VARIABLE]
            else:
                os.environ[loading.VARIABLE] = previous

    # -- the fleet ------------------------------------------------------------------------------------------------

    def add_gpu(self) -> Gpu:
        """One more GPU, all zero, last in the list; see models.py for how one is filled in."""
        if len(self.gpus) == layout.GPUS:
            raise ValueError(f"a scenario has room for {layout.GPUS} GPUs")
        gpu = Gpu(self, len(self.gpus))
        gpu.data.present = 1
        listed = self.listed()
        self.gpus = (*self.gpus, gpu)
        self.list_gpus([*listed, gpu])
        return gpu

    def listed(self) -> list[Gpu]:
        """The GPUs by the index that the driver gives them at present."""
        return [self.gpus[place] for place in self.data.order[: self.count]]

    def list_gpus(self, gpus: Sequence[Gpu]) -> None:
        """Renumber the GPUs; those left out are not listed any more."""
        self.data.order[: len(gpus)] = [gpu.number for gpu in gpus]
        self.count = len(gpus)

    def reload_driver(self, *, driver_version: str | None = None, code: int = 1) -> None:
        """Load the driver anew: counters start from zero, and who was initialised gets `code` until it is again.

        code 0: nobody notices but by the counters, and handles stay good.
        """
        for gpu in self.gpus:
            gpu.reset_counters()
            gpu.generation += int(code != 0)
        if driver_version is not None:
            self.driver_version = driver_version
        self.stale_code = code
        self.generation += 1

    # -- what goes wrong ------------------------------------------------------------------------------------------

    def fail(
        self,
        call: str,
        code: int,
        *,
        gpu: int | None = None,
        from_call: int = 1,
        until_call: int | None = None,
        metric: int = 0,
    ) -> faults.Fault:
        """Answer a function with an error code.

        call: its name in C, or "*" for every one. gpu: only about this GPU (its place in `gpus`). from_call,
        until_call: from this matching call on, and before that one, counted from 1 since now. A function of the
        bindings may call C twice, first for the size. metric: the call itself succeeds, only this field of
        nvmlDeviceGetFieldValues or this metric of nvmlGpmMetricsGet fails.
        """
        between = range(from_call, FOR_GOOD if until_call is None else until_call)
        return faults.add(self.data.faults, call, code, 0.0, gpu, between, metric)

    def block(
        self,
        call: str = faults.EVERY,
        *,
        seconds: float,
        gpu: int | None = None,
        from_call: int = 1,
        until_call: int | None = None,
    ) -> faults.Fault:
        """Let a function hang for this long, by the machine's clock, or until the fault is cleared; then it answers."""
        between = range(from_call, FOR_GOOD if until_call is None else until_call)
        return faults.add(self.data.faults, call, 0, seconds, gpu, between, 0)

    def clear_faults(self, gpu: Gpu | None = None) -> None:
        """Take back every fault, or those of one GPU."""
        for fault in self.data.faults:
            if gpu is None or fault.gpu == gpu.number:
                fault.active = 0

    # -- what was asked -------------------------------------------------------------------------------------------

    def calls(self, call: str | None = None, *, gpu: int | None = None) -> int:
        """How often functions were called in C so far, by any process: all or one, about any GPU or one."""
        rows = self.data.calls if call is None else [self.data.calls[number(call)]]
        return sum(sum(row) if gpu is None else row[gpu] for row in rows)

    def acts(self) -> tuple[Act, ...]:
        """The setters called so far, refused ones included, oldest first; at most 256 are kept."""
        done = self.data.acts_done
        kept = (self.data.acts[n % layout.ACTS] for n in range(max(0, done - layout.ACTS), done))
        return tuple(Act(SYMBOLS[act.call], act.gpu, (act.first, act.second), act.pid) for act in kept)

    # -- time -----------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """The driver's time in microseconds since 1970: the machine's, unless `at` set another."""
        return int(self.data.time_us) or time.time_ns() // 1000

    def at(self, seconds: float | None) -> None:
        """Set the driver's time, which then stands still; None goes back to the machine's clock.

        Blocked calls and waits for events last by the machine's clock in any case.
        """
        self.data.time_us = 0 if seconds is None else round(seconds * 1e6)

    def step(self, seconds: float) -> None:
        """Move the driver's time on."""
        self.data.time_us = self.now_us() + round(seconds * 1e6)
