"""How the reading of the GPUs goes, as values for people and programs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from collectors.nvml.board import Board
from collectors.nvml.device import MetricState
from collectors.nvml.library import State


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """How the reading of one GPU goes. lateness_p99_s: of its rounds; NaN before the first."""

    uuid: str
    index: int
    state: Literal["reading", "hung", "lost", "failed"]
    detail: str
    lateness_p99_s: float


@dataclass(frozen=True, slots=True)
class NvmlStatus:
    """idle: no driver here, asked again each minute. failed: the driver refuses, `detail` says what to do."""

    state: State = "starting"
    detail: str = ""
    metrics: tuple[MetricState, ...] = ()
    gpus: tuple[GpuStatus, ...] = ()


def gpu_status(board: Board) -> GpuStatus:
    """How the reading of one GPU goes."""
    device, info = board.device, board.device.info
    late = list(board.quick.lateness_s)
    p99_s = float(np.percentile(late, 99)) if late else math.nan
    if device.trouble is not None:
        state: Literal["lost", "failed"] = "lost" if device.trouble.lost else "failed"
        return GpuStatus(info.uuid, info.index, state, device.trouble.text, p99_s)
    if device.hung:
        return GpuStatus(info.uuid, info.index, "hung", next(iter(tuple(device.hung.values())), ""), p99_s)
    return GpuStatus(info.uuid, info.index, "reading", "", p99_s)
