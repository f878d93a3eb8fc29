"""What to believe of a replica before it was measured: the four numbers from first principles, and how far off.

Where a fit to measurements exists it is used: 70B in 16 bit on A100 and H100 (own fit to the Splitwise/SageServe
`data/perf_model.csv`, MIT; Llama-2-70B on an older engine). Elsewhere, with weights in bytes and W ways:

    alpha  = bytes read a step / (W * 0.8 * bandwidth) + 6 ms
    beta   = 2 * active parameters / (W * FLOP/s * MFU(W))
    gamma  = KV bytes a token and GPU / (0.8 * bandwidth)
    g1     = 2 * active parameters / (W * FLOP/s * MFU(W))

That alpha is of modern engines. The 70B fits are 1.18, 1.53 and 2.51 times as long at TP 2, 4 and 8, on A100 and H100
alike; how much of it is their engine's age and how much communication nobody measured, so the spread of alpha reaches
them at two standard deviations. MFU(W) is the geometric mean of the fitted prefill MFU of both GPUs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from autoscaler.capacity.architecture import Architecture, Precision
from autoscaler.capacity.gpus import MEMORY_EFFICIENCY, Gpu
from autoscaler.capacity.layout import Layout, memory
from autoscaler.capacity.replica import Replica
from autoscaler.types import FloatArray

STEP_S = 0.006
OLDER = {1: 1.0, 2: 1.18, 4: 1.53, 8: 2.51}
"""Fitted alpha of 70B over the formula, by TP."""

MFU = {1: 0.50, 2: 0.50, 4: 0.37, 8: 0.23}

FITTED = {
    ("A100", 2): (58.1e-3, 0.256e-3, 0.0, 0.58),
    ("A100", 4): (43.2e-3, 0.197e-3, 3.9e-7, 0.45),
    ("A100", 8): (44.0e-3, 0.200e-3, 3.5e-7, 0.30),
    ("H100", 2): (38.0e-3, 0.221e-3, 0.0, 0.43),
    ("H100", 4): (28.7e-3, 0.274e-3, 1.2e-7, 0.30),
    ("H100", 8): (29.9e-3, 0.206e-3, 1.7e-7, 0.17),
}
"""(GPU, TP) -> alpha s, beta s/sequence, gamma s/(sequence and token), prefill MFU, of 70B in 16 bit."""

FITTED_PARAMS = (65e9, 75e9)
SPREAD_FITTED = (0.25, 0.35, 0.50, 0.35)
SPREAD = (0.30, 0.70, 0.70, 0.50)
"""One standard deviation of alpha, beta, gamma and g1, relative. Fitted ones: another engine release. Others: against
the fits the formula of beta is 0.5 to 1.5 times, of gamma far less, which matters little beside beta."""


@dataclass(frozen=True, slots=True)
class Prior:
    """The numbers believed before measuring, one standard deviation of each in the same unit, and where from."""

    replica: Replica
    spread: tuple[float, float, float, float]
    source: str

    @property
    def mean(self) -> FloatArray:
        """(4,) alpha, beta, gamma, g1."""
        return np.asarray(self.replica.numbers[0])

    @property
    def covariance(self) -> FloatArray:
        """(4, 4), diagonal."""
        return np.diag(np.array(self.spread) ** 2)


def prior_of(
    model: Architecture, precision: Precision, gpu: Gpu, layout: Layout, batch: float, kv_precision: str = "fp16"
) -> Prior:
    """What one replica should be like. `batch`: sequences it will run at once, which decides the experts it reads.

    Pipeline stages work on different sequences at once, so a step still reads all weights one stage after the other
    (alpha stays that of TP alone) while beta, gamma and g1 are divided by their number: the most PP can give.
    """
    fitted = FITTED.get((gpu.model, layout.tp))
    dense70 = not model.experts and FITTED_PARAMS[0] <= model.params <= FITTED_PARAMS[1]
    if fitted and dense70 and precision.bytes == 2.0 and gpu.nvlink >= layout.tp and layout.ep == 1:
        alpha, beta, gamma, mfu = fitted
        prefill = 2 * model.params / (layout.tp * gpu.flops * mfu)
        replica = Replica(alpha, beta / layout.pp, gamma / layout.pp, prefill / layout.pp, layout.pp)
        # A gamma of exactly 0 is what the fit could not tell apart, not what is known.
        sizes = (alpha, replica.beta_s, max(gamma, 1e-7) / layout.pp, replica.prefill_s)
        spread = tuple(rel * size for rel, size in zip(SPREAD_FITTED, sizes, strict=True))
        source = f"fit to measurements of 70B on {gpu.model}, TP {layout.tp}"
        return Prior(replica, (spread[0], spread[1], spread[2], spread[3]), source)
    return _first_principles(model, precision, gpu, layout, batch, kv_precision)


def step_read_bytes(model: Architecture, precision: Precision, layout: Layout, batch: float) -> float:
    """Bytes of weights that a step streams through one GPU, or through the GPUs of a stage one after the other."""
    read = model.read_bytes(precision, batch)
    if layout.ep > 1:
        shared = model.weight_bytes(precision) * (1 - model.routed_params / model.params)
        return shared + (read - shared) / layout.ep
    return read / layout.tp


def ways_key(layout: Layout) -> int:
    """1, 2, 4 or 8: the column of the tables above that a layout belongs to."""
    return min(8, layout.ep if layout.ep > 1 else layout.tp)


def _first_principles(
    model: Architecture, precision: Precision, gpu: Gpu, layout: Layout, batch: float, kv_precision: str
) -> Prior:
    key = ways_key(layout)
    bandwidth = MEMORY_EFFICIENCY * gpu.bytes_per_s
    alpha = step_read_bytes(model, precision, layout, batch) / bandwidth + STEP_S
    per_token = 2 * model.active_params / (layout.gpus * gpu.flops_at(precision.name) * MFU[key])
    kv_token = memory(model, precision, kv_precision, gpu, layout).kv_token
    # The sequences of an expert-parallel replica are divided among its GPUs, those of stages work at the same time.
    gamma = kv_token / bandwidth / (layout.ep if layout.ep > 1 else 1)
    spreads = (max(SPREAD[0], math.log(OLDER[key]) / 2), *SPREAD[1:])
    sizes = (alpha, per_token, gamma, per_token)
    spread = tuple(rel * size for rel, size in zip(spreads, sizes, strict=True))
    text = "first principles, never measured"
    return Prior(
        Replica(alpha, per_token, gamma, per_token, layout.pp), (spread[0], spread[1], spread[2], spread[3]), text
    )
