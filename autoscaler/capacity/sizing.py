"""From a model, a GPU and a latency goal to a replica: how it lies on GPUs, how many run at once, what it serves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoscaler.capacity.architecture import PRECISIONS, Architecture, Precision
from autoscaler.capacity.gpus import Gpu
from autoscaler.capacity.layout import Layout, Memory, kv_tokens_wanted, layouts, memory
from autoscaler.capacity.learning import begin, replica_capacity
from autoscaler.capacity.prior import Prior, prior_of
from autoscaler.capacity.replica import MAX_SEQUENCES, UTILISATION_TARGET, Limits, Objective, Workload
from autoscaler.types import Capacity


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for. tp None: chosen. rate: requests/s of the whole pool, None = not asked."""

    model: Architecture
    precision: Precision
    workload: Workload
    objective: Objective
    max_model_len: int
    kv_precision: str = "fp16"
    max_sequences: int = MAX_SEQUENCES
    tp: int | None = None
    rate: float | None = None
    utilisation_target: float = UTILISATION_TARGET

    @property
    def kv_tokens_wanted(self) -> int:
        """KV tokens that a layout must have; who chooses TP by hand gets away with one request of full length."""
        return self.max_model_len if self.tp is not None else kv_tokens_wanted(self.max_model_len)


@dataclass(frozen=True, slots=True)
class Sizing:
    """One replica on one kind of GPU. batch: n_max. capacity: lambda* in requests/s, 20th percentile and median."""

    wish: Wish
    gpu: Gpu
    layout: Layout
    memory: Memory
    batch: float
    prior: Prior
    capacity: Capacity

    @property
    def planned_rate(self) -> float:
        """Requests/s to plan one replica with: the low capacity times the utilisation target."""
        return self.capacity.low * self.wish.utilisation_target

    @property
    def replicas(self) -> int | None:
        """Replicas for the rate asked for; None without one, or when no number of replicas meets the goal."""
        if self.wish.rate is None or self.planned_rate <= 0:
            return None
        return math.ceil(self.wish.rate / self.planned_rate * (1 - 1e-9))


def size(wish: Wish, gpu: Gpu, per_machine: int, joined: bool) -> Sizing | None:
    """The replica to run on machines with `per_machine` of these GPUs; None when no layout holds the model.

    In one machine: the smallest layout that has KV tokens enough and whose step takes at most half of the latency goal,
    since the other half is for the batch; else, of those that meet the goal at all, the one with the most work a GPU.
    Over several machines (`joined`: a network makes that possible) the fewest GPUs that meet it. Where none does, the
    shortest step.
    """
    fitting = [s for s in _candidates(wish, gpu, per_machine, joined) if s is not None]
    goal = wish.objective.itl_s
    able = [s for s in fitting if s.capacity.low > 0]
    inside = [s for s in able if s.layout.gpus <= per_machine]
    roomy = [s for s in inside if goal is None or s.prior.replica.alpha_s <= goal / 2]
    if roomy:
        return roomy[0]
    if inside:
        return max(inside, key=lambda s: s.capacity.low / s.layout.gpus)
    if able:
        return min(able, key=lambda s: s.layout.gpus)
    return min(fitting, key=lambda s: s.prior.replica.alpha_s, default=None)


def smallest(wish: Wish, gpu: Gpu, per_machine: int, joined: bool) -> Sizing | None:
    """The replica on the fewest GPUs that hold the model, whatever the goal."""
    fitting = [s for s in _candidates(wish, gpu, per_machine, joined) if s is not None]
    return min(fitting, key=lambda s: s.layout.gpus, default=None)


def _candidates(wish: Wish, gpu: Gpu, per_machine: int, joined: bool) -> Sequence[Sizing | None]:
    return [
        _sized(wish, gpu, layout)
        for layout in layouts(wish.model, per_machine, joined)
        if wish.tp is None or (layout.tp == wish.tp and layout.ep == 1)
    ]


def _sized(wish: Wish, gpu: Gpu, layout: Layout) -> Sizing | None:
    lies = memory(wish.model, wish.precision, wish.kv_precision, gpu, layout)
    if lies.kv_tokens < wish.kv_tokens_wanted:
        return None
    # Each rank of an expert-parallel replica is a scheduler of its own.
    limits = Limits(lies.kv_tokens, wish.max_sequences * layout.ep)
    batch = limits.batch(wish.workload)
    prior = prior_of(wish.model, wish.precision, gpu, layout, batch, wish.kv_precision)
    capacity = replica_capacity(begin(prior, wish.workload, limits), wish.objective)
    return Sizing(wish, gpu, layout, lies, batch, prior, capacity)


def precision_notes(model: Architecture, precision: Precision, gpu: Gpu) -> tuple[str, ...]:
    """What a precision of weights means on a GPU that has no units for it, in sentences.

    Which kernels widen them on which generation: vLLM's table of supported hardware (docs.vllm.ai, quantization).
    """
    notes = []
    if precision.name == "bf16" and gpu.series in ("Volta", "Turing"):
        notes.append(f"{gpu.series} has no bf16 units: run in fp16 (--dtype half).")
    if precision.name in ("fp8", "nvfp4", "mxfp4") and precision.name not in gpu.native:
        notes.append(
            f"{gpu.series} has no {precision.name} units: weights stay at {precision.bytes:g} byte in memory and are "
            "widened to 16 bit for every multiplication (weight-only kernels), so memory and steps gain, "
            "prefill does not."
        )
        wide, narrow = model.params * 2.0 / 1e9, model.params * PRECISIONS["int4"].bytes / 1e9
        notes.append(
            f"Where the engine has no such kernel for this model the weights must be converted: {wide:,.0f} GB in "
            f"bf16, or {narrow:,.0f} GB in int4 (AWQ, GPTQ), which {gpu.series} runs as well."
            if gpu.series != "Volta"
            else "Volta has no such kernels either: use fp16."
        )
    return tuple(notes)


def layout_notes(sizing: Sizing) -> tuple[str, ...]:
    """What to know of the layout: links that it crosses, and rules of thumb that it could not keep."""
    layout, gpu, goal = sizing.layout, sizing.gpu, sizing.wish.objective.itl_s
    notes = []
    if layout.ep == 1 and layout.tp > gpu.nvlink:
        notes.append(f"TP {layout.tp} crosses PCIe: NVLink joins {_joined(gpu)}; steps may be slower than shown.")
    if layout.ep > 1:
        notes.append("EP needs a fast network for the exchange in every layer; it is not in the numbers.")
    elif layout.pp > 1:
        notes.append(f"{layout.pp} stages work at once only while there are several sequences for each.")
    alpha_s = sizing.prior.replica.alpha_s
    if goal is not None and alpha_s > goal / 2 and sizing.capacity.low > 0:
        notes.append("An empty step takes more than half of the goal, which leaves little for the batch.")
    if sizing.wish.model.windowed:
        notes.append(
            f"{sizing.wish.model.windowed} of {sizing.wish.model.layers} layers keep only a window of the cache; it is "
            "counted in full, so more sequences may fit."
        )
    return tuple(notes)


def _joined(gpu: Gpu) -> str:
    return "no GPUs of this kind" if gpu.nvlink == 1 else f"{gpu.nvlink} of them"
