"""A sizing as lines that a person can check with a pocket calculator: what, how, and how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from autoscaler.capacity.architecture import KV_BYTES
from autoscaler.capacity.gpus import GIB, MEMORY_EFFICIENCY, Gpu
from autoscaler.capacity.layout import MEMORY_SHARE, NCCL_BYTES, RESERVE_BYTES, Layout
from autoscaler.capacity.prior import MFU, STEP_S, step_read_bytes, ways_key
from autoscaler.capacity.sizing import Sizing, Wish
from autoscaler.words import amount


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the arithmetic. part: memory, batch, speed or rate."""

    part: str
    what: str
    how: str
    result: str


def lines(sizing: Sizing) -> tuple[Line, ...]:
    """Every step from parameters to replicas, in order."""
    return (*_memory(sizing), *_batch(sizing), *_numbers(sizing), *_rates(sizing))


def too_small(wish: Wish, gpu: Gpu, gpus: int) -> str:
    """Why a replica does not fit into one machine with that many GPUs, with the numbers."""
    total = wish.model.weight_bytes(wish.precision)
    reserve = RESERVE_BYTES + (NCCL_BYTES if gpus > 1 else 0.0)
    usable = gpus * (MEMORY_SHARE * gpu.bytes - reserve)
    room = (
        f"{gpus} x {gpu.gib:g} GiB = {gpus * gpu.gib:,.0f} GiB, of which {MEMORY_SHARE:.0%} less {reserve / GIB:.1f} "
        f"GiB of reserve each, {usable / GIB:,.0f} GiB, can be used"
    )
    weights = f"{total / 1e9:,.0f} GB ({total / GIB:,.0f} GiB) of weights"
    if total > usable:
        return f"{weights} do not fit into {room}"
    wanted = wish.kv_tokens_wanted
    return f"beside {weights} too little of {room}, for {wanted:,} tokens of KV cache"


def _memory(s: Sizing) -> Iterator[Line]:
    model, layout, lies = s.wish.model, s.layout, s.memory
    total = model.weight_bytes(s.wish.precision)
    how = f"{model.params / 1e9:,.4g}e9 parameters x {_bytes(s.wish.precision.bytes)}"
    if total == model.checkpoint_bytes:
        how = "size of the published checkpoint"
    yield Line("memory", "weights", how, f"{total / 1e9:,.4g} GB = {_gib(total)}")
    yield Line("memory", "weights on each GPU", _share(s, total), _gib(lies.weights))
    reserve = f"{RESERVE_BYTES / GIB:.1f} GiB" + (f" + {NCCL_BYTES / GIB:.1f} GiB for NCCL" if layout.gpus > 1 else "")
    yield Line("memory", "reserve", reserve, _gib(lies.reserve))
    left = f"{MEMORY_SHARE:.2f} x {s.gpu.gib:g} - {lies.weights / GIB:.2f} - {lies.reserve / GIB:.2f} GiB"
    yield Line("memory", "cache on each GPU", left, _gib(lies.left))
    width = f"{model.latent} of the latent vector" if model.latent else f"2 x {model.kv_heads} heads x {model.head_dim}"
    token = model.kv_bytes(s.wish.kv_precision)
    how = f"{width} x {model.layers} layers x {_bytes(KV_BYTES[s.wish.kv_precision])}"
    yield Line("memory", "KV cache of a token", how, f"{token:,.0f} bytes")
    yield Line("memory", "of it on each GPU", _token_share(s, token), f"{lies.kv_token:,.0f} bytes")
    ranks = f" x {layout.ep} GPUs" if layout.ep > 1 else ""
    how = f"{lies.left / GIB:.2f} GiB / {lies.kv_token:,.0f} bytes{ranks}"
    wanted = s.wish.kv_tokens_wanted
    yield Line("memory", "KV tokens", f"{how}, at least {wanted:,}", f"{lies.kv_tokens:,.0f} tokens")


def _share(s: Sizing, total: float) -> str:
    model, layout = s.wish.model, s.layout
    if layout.ep > 1:
        routed = total * model.routed_params / model.params
        return f"{_gib(total - routed)} shared + {_gib(routed)} of experts / {layout.ep}"
    return f"{_gib(total)} / {layout.gpus}" + (f" ({layout.text})" if layout.gpus > 1 else "")


def _token_share(s: Sizing, token: float) -> str:
    model, layout = s.wish.model, s.layout
    if layout.ep > 1:
        return f"{token:,.0f} bytes; each GPU has its own sequences"
    stages = f" / {layout.pp} stages" if layout.pp > 1 else ""
    if model.latent:
        return f"{token:,.0f} bytes{stages}" + ("; each rank of TP holds all of it" if layout.tp > 1 else "")
    return f"{token:,.0f} bytes / min({layout.tp}, {model.kv_heads} heads){stages}"


def _batch(s: Sizing) -> Iterator[Line]:
    work = s.wish.workload
    how = f"{work.input_tokens:,.0f} in + {work.output_tokens:,.0f} out / 2"
    yield Line("batch", "context c", how, f"{work.context_tokens:,.0f} tokens")
    most = s.wish.max_sequences * s.layout.ep
    how = f"min({most:,}, {s.memory.kv_tokens:,.0f} / {work.context_tokens:,.0f})"
    yield Line("batch", "batch limit n_max", how, f"{s.batch:,.0f} sequences")


def _numbers(s: Sizing) -> Iterator[Line]:
    work, r, layout = s.wish.workload, s.prior.replica, s.layout
    fitted = s.prior.source.startswith("fit")
    yield Line("speed", "step alpha", s.prior.source if fitted else _alpha(s), _ms(r.alpha_s))
    how = f"{_ms(r.beta_s)} + {r.gamma_s * 1e6:.2g} us x {work.context_tokens:,.0f} tokens"
    yield Line("speed", "each sequence b", how, _ms(r.per_sequence_s(work)))
    key = ways_key(Layout(layout.tp, 1, layout.ep))
    arithmetic = "" if fitted else f" (2 x {s.wish.model.active_params / 1e9:.4g}e9 / {_flops(s, key)})"
    how = f"{r.prefill_s * 1e3:.3g} ms{arithmetic} x {work.prefill_tokens:,.0f} tokens"
    yield Line("speed", "prefill A", how, _ms(r.prefill_of(work)))
    how = f"{_ms(r.prefill_of(work))} + {work.output_tokens:,.0f} x {_ms(r.per_sequence_s(work))}"
    yield Line("speed", "work of a request D", how, _ms(r.work_s(work)))


def _alpha(s: Sizing) -> str:
    read = step_read_bytes(s.wish.model, s.wish.precision, s.layout, s.batch)
    speed = f"{MEMORY_EFFICIENCY} x {s.gpu.bytes_per_s / 1e12:.4g} TB/s"
    return f"{read / 1e9:,.4g} GB / ({speed}) + {STEP_S * 1e3:g} ms"


def _flops(s: Sizing, key: int) -> str:
    return f"({s.layout.gpus} x {s.gpu.flops_at(s.wish.precision.name) / 1e12:,.4g} TFLOP/s x {MFU[key]})"


def _rates(s: Sizing) -> Iterator[Line]:
    work, r, goal = s.wish.workload, s.prior.replica, s.wish.objective
    by_batch = r.rate_by_batch(work, s.batch)
    how = f"{s.batch:,.0f} / ({work.output_tokens:,.0f} x {_ms(r.alpha_s)} + {s.batch:,.0f} x {_ms(r.work_s(work))})"
    yield Line("rate", "where the batch is full", how, _rate(by_batch))
    if goal.itl_s is not None:
        mean = "" if goal.percentile == "mean" else f"; {goal.percentile} of {_ms(goal.itl_s)}, by its usual ratio"
        itl = goal.itl_s if goal.percentile == "mean" else goal.itl_s / _tail(s)
        how = f"(1 - {_ms(r.alpha_s)} / {_ms(itl)}) / {_ms(r.work_s(work))}{mean}"
        yield Line("rate", "where tokens take the goal", how, _rate(r.rate_by_latency(work, itl)))
    if goal.ttft_s is not None:
        step = _ms(r.alpha_s + r.per_sequence_s(work))
        stages = f"{r.stages} stages x " if r.stages > 1 else ""
        how = f"{stages}{_ms(r.prefill_of(work))} + {step}, the goal is {amount(goal.ttft_s)} s"
        yield Line("rate", "first token of a lone one", how, _ms(r.first_token_s(work)))
    low, median = s.capacity.low, s.capacity.median
    how = "the lower of these over all that the numbers may be; 20th percentile, median"
    yield Line("rate", "highest rate lambda*", how, f"{_rate(low)}, {_rate(median)}")
    planned = s.planned_rate
    yield Line("rate", "planned", f"{s.wish.utilisation_target:.0%} of the 20th percentile", _rate(planned))
    if planned > 0:
        how = f"then {_ms(r.itl_s(planned, work))} between tokens, {r.running(planned, work):,.1f} sequences run"
        yield Line("rate", "at the planned rate", how, "")
    if s.replicas is not None and s.wish.rate is not None:
        how = f"{amount(s.wish.rate)} / {amount(planned)}, rounded up"
        yield Line("rate", "replicas", how, f"{s.replicas:,}")


def _tail(s: Sizing) -> float:
    from autoscaler.capacity.replica import tail_factor

    return float(tail_factor(s.prior.replica.numbers, s.wish.workload, s.wish.objective)[0])


def _bytes(count: float) -> str:
    return f"{count:g} byte" + ("" if count == 1 else "s")


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f} GiB"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:,.3g} s"


def _rate(per_s: float) -> str:
    return f"{per_s:.3g}/s"
