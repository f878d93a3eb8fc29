"""A fleet whose library this process uses, with what tests of it ask most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from tests.peers.nvml.gpu import Gpu
from tests.peers.nvml.scenario import Scenario

NOW_US = 1_700_000_000_000_000
Read = Callable[[Any, Any], Any]
"""(bindings, handle) -> what a call gives."""


class Running:
    """An initialised library and its fleet, whose time stands at NOW_US until it is moved."""

    def __init__(self, fleet: Scenario, nvml: ModuleType) -> None:
        self.fleet, self.nvml = fleet, nvml
        nvml.nvmlInit()

    @property
    def gpu(self) -> Gpu:
        """The first GPU."""
        return self.fleet.gpus[0]

    @property
    def handle(self) -> Any:
        """A fresh handle of the GPU at index 0."""
        return self.nvml.nvmlDeviceGetHandleByIndex(0)

    def code(self, read: Read, handle: Any = None) -> int:
        """The code with which a call about a device, or the first GPU, fails; -1 when it does not fail."""
        try:
            read(self.nvml, self.handle if handle is None else handle)
        except self.nvml.NVMLError as error:
            return int(error.value)
        return -1

    def field(self, identity: int | tuple[int, int]) -> Any:
        """One field of the first GPU."""
        return self.nvml.nvmlDeviceGetFieldValues(self.handle, [identity])[0]


def run(fleet: Scenario, without: Sequence[str] = ()) -> Iterator[Running]:
    """For fixtures: the fleet, until the test is over."""
    fleet.at(NOW_US / 1e6)
    with fleet, fleet.loaded(without) as nvml:
        yield Running(fleet, nvml)
