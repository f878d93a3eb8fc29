"""From what a rule file says of a replica to its model, GPU and layout, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from autoscaler.capacity.architecture import PRECISIONS, Architecture, Precision
from autoscaler.capacity.gpus import GIB, GPUS, Gpu, gpu_named
from autoscaler.capacity.layout import TENSOR_WAYS, Layout, memory
from autoscaler.capacity.models import MODELS, model_named
from autoscaler.errors import InputError
from autoscaler.ruleset import Hosted


@dataclass(frozen=True, slots=True)
class Placed:
    """A model as it lies on the GPUs of one replica, and the tokens that its KV cache holds."""

    model: Architecture
    precision: Precision
    gpu: Gpu
    layout: Layout
    kv_tokens: float


def placed(hosted: Hosted, gpus: int) -> Placed:
    """What `hosted` means on `gpus` GPUs a replica; only for one without faults."""
    model, gpu = model_named(hosted.model), gpu_named(hosted.gpu)
    precision = PRECISIONS[hosted.precision or model.native]
    layout = Layout(hosted.tensor_parallel, max(1, gpus // hosted.tensor_parallel))
    return Placed(model, precision, gpu, layout, memory(model, precision, "fp16", gpu, layout).kv_tokens)


def faults(hosted: Hosted, gpus: int) -> Iterator[tuple[str, str]]:
    """(key, what is wrong with it and the next step) of what a rule file says of the model."""
    known = {
        "model": _known(hosted.model, [m.name for m in MODELS], lambda: model_named(hosted.model)),
        "gpu": _known(hosted.gpu, [g.name for g in GPUS], lambda: gpu_named(hosted.gpu)),
    }
    wrong = {key: text for key, text in known.items() if text}
    if hosted.precision and hosted.precision not in PRECISIONS:
        wrong["precision"] = (
            f"{hosted.precision!r} is not one of {', '.join(PRECISIONS)}{_near(hosted.precision, PRECISIONS)}"
        )
    ways = hosted.tensor_parallel
    if ways not in TENSOR_WAYS:
        wrong["tensor_parallel"] = f"{ways} is not one of 1, 2, 4, 8; a model is cut into so many parts"
    elif gpus < ways or gpus % ways:
        wrong["tensor_parallel"] = f"{ways} does not divide the {gpus} GPUs of a replica; write gpus: {ways}"
    yield from wrong.items()
    if not wrong:
        lies = placed(hosted, gpus)
        if lies.kv_tokens <= 0:
            size = lies.model.weight_bytes(lies.precision) / GIB
            text = f"{size:,.0f} GiB of weights in {lies.precision.name} leave no cache on {gpus} x {lies.gpu.name}"
            yield "model", f"{text}; `sigmascale size --model {hosted.model}` says how many it needs"


def _known(name: str, names: Iterable[str], look_up: object) -> str:
    assert callable(look_up)
    try:
        look_up()
    except InputError:
        return f"{name!r} is not in the table{_near(name.lower(), names)}"
    return ""


def _near(word: str, names: Iterable[str]) -> str:
    names = list(names)
    close = get_close_matches(word.lower(), [n.lower() for n in names], n=1, cutoff=0.5)
    found = next((n for n in names if close and n.lower() == close[0]), None)
    return f"; did you mean {found}?" if found else f"; known: {', '.join(names)}"
