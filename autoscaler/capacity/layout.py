"""How a model lies on GPUs, and what memory that leaves for the KV cache.

Tensor parallelism (TP) cuts every layer, pipeline parallelism (PP) gives each stage some layers, expert parallelism
(EP) spreads the routed experts over all GPUs while every GPU holds the rest and its own requests' caches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.capacity.architecture import Architecture, Precision
from autoscaler.capacity.gpus import GIB, Gpu

MEMORY_SHARE = 0.90
"""Share of a GPU's memory that the engine takes (vLLM's default `gpu_memory_utilization`)."""

RESERVE_BYTES = 3.5 * GIB
NCCL_BYTES = 0.4 * GIB
"""Kept free for activations, graphs and fragmentation, and for NCCL's buffers on several GPUs (aiconfigurator)."""

LEAST_KV_TOKENS = 16384
TENSOR_WAYS = (1, 2, 4, 8)
STAGES = (2, 3, 4, 6, 8)
EXPERT_MACHINES = (2, 4, 8)


@dataclass(frozen=True, slots=True)
class Layout:
    """tp: GPUs that share each layer. pp: stages. ep: GPUs that share the experts, each with the rest; 1 = none."""

    tp: int = 1
    pp: int = 1
    ep: int = 1

    @property
    def gpus(self) -> int:
        """GPUs of one replica."""
        return self.ep if self.ep > 1 else self.tp * self.pp

    @property
    def text(self) -> str:
        """`TP 8`, `TP 8 x PP 2`, `EP 16`."""
        if self.ep > 1:
            return f"EP {self.ep}"
        return f"TP {self.tp}" + (f" x PP {self.pp}" if self.pp > 1 else "")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes of one GPU: weights on it, what is left for the cache (negative: the weights do not fit), and of one token
    of KV cache on it; and the tokens that fit into the caches of the whole replica."""

    weights: float
    reserve: float
    left: float
    kv_token: float
    kv_tokens: float


def memory(model: Architecture, precision: Precision, kv_precision: str, gpu: Gpu, layout: Layout) -> Memory:
    """What lies where on one GPU of a replica.

    Grouped-query heads are divided among at most kv_heads ranks; the latent vector of MLA is not divided by TP at all.
    """
    total = model.weight_bytes(precision)
    routed = total * model.routed_params / model.params
    reserve = RESERVE_BYTES + (NCCL_BYTES if layout.gpus > 1 else 0.0)
    token = model.kv_bytes(kv_precision)
    if layout.ep > 1:
        weights, caches = total - routed + routed / layout.ep, layout.ep
    else:
        weights, caches = total / (layout.tp * layout.pp), 1
        token /= layout.pp * (1 if model.latent else min(layout.tp, model.kv_heads))
    left = MEMORY_SHARE * gpu.bytes - weights - reserve
    return Memory(weights, reserve, left, token, max(0.0, left / token) * caches)


def layouts(model: Architecture, per_machine: int, joined: bool) -> Iterator[Layout]:
    """Layouts worth trying, smallest first: TP in one machine, then PP and EP over several that a fast network joins.

    TP must divide the attention heads, which both engines ask for; a stage must have a layer.
    """
    ways = [n for n in TENSOR_WAYS if n <= per_machine and model.heads % n == 0]
    yield from (Layout(tp=n) for n in ways)
    if not joined or not ways:
        return
    yield from (Layout(tp=ways[-1], pp=n) for n in STAGES if n <= model.layers)
    if model.experts:
        yield from (Layout(ep=n * per_machine) for n in EXPERT_MACHINES if n * per_machine <= model.experts)


def kv_tokens_wanted(max_model_len: int) -> int:
    """KV tokens below which a layout is too small: two requests of full length, at least 16,384."""
    return max(LEAST_KV_TOKENS, 2 * max_model_len)
