"""`sigmascale size`: what one replica of a model is, what it serves, and where it fits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.cli.client import JsonOption
from autoscaler.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from autoscaler.capacity.architecture import Architecture, Precision

ROOM_TOKENS = 8192
"""Length of a request to plan for where none is given: two of them are the least cache that is planned with."""


def size(
    model: Annotated[str, typer.Option("--model", "-m", help="A well-known model, such as llama-3.1-70b; or a name.")],
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision", help="Of the weights: fp16, bf16, fp8, int8, int4, mxfp4, nvfp4; default: its own."
        ),
    ] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="Such as A100-80, H100, L4; default: every GPU.")] = None,
    input_tokens: Annotated[float, typer.Option("--input", min=1, max=1e7, help="Mean prompt tokens.")] = 1000,
    output_tokens: Annotated[float, typer.Option("--output", min=1, max=1e7, help="Mean tokens of an answer.")] = 300,
    prefix_hits: Annotated[str, typer.Option("--prefix-hits", help="Share of prompts in the cache: 40%.")] = "0%",
    itl: Annotated[str, typer.Option("--itl", help="Goal for the time between tokens.")] = "50ms",
    percentile: Annotated[str, typer.Option("--percentile", help="What --itl is about: mean or p95.")] = "mean",
    ttft: Annotated[str | None, typer.Option("--ttft", help="Goal for the time to the first token.")] = None,
    max_model_len: Annotated[
        int | None, typer.Option("--max-model-len", min=1, max=10_000_000, help="Longest request in tokens.")
    ] = None,
    max_num_seqs: Annotated[int, typer.Option("--max-num-seqs", min=1, max=65536, help="Most in one batch.")] = 256,
    kv_precision: Annotated[str, typer.Option("--kv-precision", help="Of the KV cache: fp16, bf16 or fp8.")] = "fp16",
    tp: Annotated[int | None, typer.Option("--tp", help="GPUs that share each layer: 1, 2, 4 or 8.")] = None,
    rate: Annotated[str | None, typer.Option("--rate", help="What the pool must serve: 20/s, 900/min.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="vllm or sglang; default: both.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="aws or azure; default: both.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Whose prices; default: us-east-1, eastus.")] = None,
    params: Annotated[str | None, typer.Option("--params", help="Parameters of any other model: 13B.")] = None,
    active: Annotated[str | None, typer.Option("--active", help="Of those, used for one token: 3B.")] = None,
    layers: Annotated[int | None, typer.Option("--layers", min=1, max=1000, help="num_hidden_layers.")] = None,
    heads: Annotated[int | None, typer.Option("--heads", min=1, max=4096, help="num_attention_heads.")] = None,
    kv_heads: Annotated[int | None, typer.Option("--kv-heads", min=1, max=4096, help="num_key_value_heads.")] = None,
    head_dim: Annotated[int, typer.Option("--head-dim", min=1, max=4096, help="head_dim.")] = 128,
    latent: Annotated[int, typer.Option("--latent", min=0, max=65536, help="kv_lora_rank + qk_rope_head_dim.")] = 0,
    experts: Annotated[int, typer.Option("--experts", min=0, max=65536, help="Routed experts a layer.")] = 0,
    per_token: Annotated[int, typer.Option("--experts-per-token", min=0, max=4096, help="Of those, per token.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Print what one replica needs and serves, with the arithmetic, and which instances it fits, cheapest first.

    Needs no service. The numbers are what is believed before anything was measured, with 20th percentile and median.
    Exit code 1 when nothing holds the model or meets the goal.

    Examples:

      sigmascale size --model llama-3.1-70b --gpu H100 --rate 20/s

      sigmascale size --model deepseek-r1 --precision fp8 --gpu A100-80

      sigmascale size --model mine --params 13B --layers 40 --heads 40 --kv-heads 40 --gpu L40S
    """
    from autoscaler.capacity.gpus import gpu_named
    from autoscaler.capacity.models import model_named
    from autoscaler.capacity.replica import Objective, Workload
    from autoscaler.capacity.sizing import Wish
    from autoscaler.cli.size_view import show
    from autoscaler.units import duration_s, ratio

    if params is None:
        _not_without_params({"--active": active, "--layers": layers, "--heads": heads, "--kv-heads": kv_heads})
        arch = model_named(model)
    else:
        arch = _own_model(model, params, active, layers, heads, kv_heads, head_dim, latent, experts, per_token)
    asked = gpu_named(gpu) if gpu is not None else None
    _one_of("--percentile", percentile, ("mean", "p95"))
    _one_of("--kv-precision", kv_precision, ("fp16", "bf16", "fp8"))
    _one_of("--engine", engine or "vllm", ("vllm", "sglang"))
    if tp is not None:
        _one_of("--tp", str(tp), ("1", "2", "4", "8"))
        if arch.heads % tp:
            raise InputError(f"--tp {tp}: does not divide the {arch.heads} attention heads of {arch.name}")
    wish = Wish(
        model=arch,
        precision=_precision(precision or arch.native),
        workload=Workload(input_tokens, output_tokens, _read("--prefix-hits", prefix_hits, ratio)),
        objective=Objective(
            _positive("--itl", itl, duration_s),
            _positive("--ttft", ttft, duration_s) if ttft is not None else None,
            percentile=percentile,
        ),
        max_model_len=_length(arch, max_model_len, input_tokens + output_tokens),
        kv_precision=kv_precision,
        max_sequences=max_num_seqs,
        tp=tp,
        rate=_positive("--rate", rate, _per_second) if rate is not None else None,
    )
    good = show(wish, asked, provider, region, (engine,) if engine else ("vllm", "sglang"), as_json)
    if not good:
        raise typer.Exit(1)


def _own_model(
    name: str,
    params: str,
    active: str | None,
    layers: int | None,
    heads: int | None,
    kv_heads: int | None,
    head_dim: int,
    latent: int,
    experts: int,
    per_token: int,
) -> Architecture:
    from autoscaler.capacity.architecture import Architecture

    total = _positive("--params", params, _parameters)
    if layers is None:
        raise InputError("--params: needs --layers too; both stand in the model's config.json")
    if kv_heads is None and not latent:
        raise InputError("--params: needs --kv-heads too, or --latent for multi-head latent attention (config.json)")
    used = _positive("--active", active, _parameters) if active is not None else 0.0
    if used > total:
        raise InputError(f"--active {active}: is more than --params {params}; it is the part used for one token")
    if (experts or per_token) and not 0 < per_token < experts:
        raise InputError(f"--experts {experts}: give --experts-per-token too, from 1 to below it")
    if experts and not used:
        raise InputError("--experts: needs --active too, the parameters used for one token; the model card tells it")
    # Without the number of heads any TP is taken to be possible.
    return Architecture(
        name, total, layers, heads or kv_heads or 128, kv_heads or 1, head_dim, used, latent, experts, per_token
    )


def _not_without_params(given: dict[str, object]) -> None:
    for option, value in given.items():
        if value is not None:
            raise InputError(f"{option}: describes a model of your own; give --params too, or leave it out")


def _precision(name: str) -> Precision:
    from autoscaler.capacity.architecture import PRECISIONS

    _one_of("--precision", name, tuple(PRECISIONS))
    return PRECISIONS[name]


def _length(arch: Architecture, asked: int | None, mean_tokens: float) -> int:
    """The longest request: what was asked for, else 8,192 tokens or twice the mean request, at most the model's own."""
    if asked is None:
        wanted = max(ROOM_TOKENS, 2 * int(mean_tokens))
        return min(wanted, arch.max_context) if arch.max_context else wanted
    if asked < mean_tokens:
        raise InputError(f"--max-model-len {asked}: is shorter than --input and --output together, {mean_tokens:g}")
    if arch.max_context and asked > arch.max_context:
        raise InputError(f"--max-model-len {asked}: {arch.name} takes at most {arch.max_context} tokens")
    return asked


def _one_of(option: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"{option} {value}: is not known; write one of {', '.join(known)}")


def _read(option: str, text: str, reader: Callable[[str], float]) -> float:
    try:
        return reader(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error


def _positive(option: str, text: str, reader: Callable[[str], float]) -> float:
    value = _read(option, text, reader)
    if value <= 0:
        raise InputError(f"{option} {text}: must be above 0")
    return value


def _parameters(text: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([MBT])", text)
    if found is None:
        raise ValueError(f"{text!r} is not a number of parameters; write 700M, 13B or 1.2T")
    value = float(found[1]) * {"M": 1e6, "B": 1e9, "T": 1e12}[found[2]]
    if value > 1e14:
        raise ValueError(f"{text!r} is more than any model has; write up to 100T")
    return value


def _per_second(text: str) -> float:
    """Requests/s of `20/s`, `900/min` or `20 requests/s`."""
    from autoscaler.units import rate

    short = re.fullmatch(r"([0-9.]+) ?/ ?(s|min|h)", text)
    read = rate(f"{short[1]} requests/{short[2]}" if short else text)
    if read.unit != "requests/s":
        raise ValueError(f"{text!r} is not in requests; write 20/s or 900/min")
    return read.value
