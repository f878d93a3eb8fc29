"""The `replica` section: what one replica is, and what is known of its model before it was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, model_validator

from autoscaler.capacity import hosting
from autoscaler.rulefile.section import Faults, Section, key, wrong
from autoscaler.rulefile.words import CapacityOf, Count, Duration, Share, Span, Text, off_or_duration
from autoscaler.ruleset import Hosted


def _duration_or_off(schema: dict[str, Any]) -> None:
    """A duration, or `off`, which editors whose YAML is of version 1.1 take for false."""
    schema.pop("anyOf", None)
    schema["anyOf"] = [{"type": ["string", "integer"], "title": "duration"}, {"enum": ["off", False]}]


class ObjectiveSection(Section):
    """What users are promised; the capacity of a replica is the work at which it is kept."""

    itl: Annotated[float | None, BeforeValidator(off_or_duration)] = key(
        "50ms", "Mean time between two tokens; off = no goal.", json_schema_extra=_duration_or_off
    )
    ttft: Duration | None = key(None, "Time to the first token of a request that is alone.")
    latency: Duration | None = key(None, "95th percentile of a whole answer, of engines that do not generate tokens.")
    wait: Span = key("5s", "The longest that a request may wait for a replica.")
    late: Share = key("0.35%", "The share of requests that may wait longer; what 'quantile: auto' steers towards.")


class RequestSection(Section):
    """What a mean request is, until it was seen."""

    input: Count = key("1000", "Tokens of its prompt.")
    output: Count = key("300", "Tokens of its answer.")

    @model_validator(mode="after")
    def _some(self) -> RequestSection:
        faults = [((k,), "is no token at all; write 1 or more") for k in ("input", "output") if not getattr(self, k)]
        if faults:
            raise wrong(*faults)
        return self


class Replica(Section):
    """What one replica is. From model and gpu its capacity is estimated before it was measured."""

    gpus: Count = key("1", "GPUs that one replica occupies; instances smaller than this are refused.")
    capacity: CapacityOf = key("auto", "Work per second that one replica serves; auto = learned from measurements.")
    model: Text | None = key(None, "A well-known model, such as llama-3.1-70b, for an estimate to begin with.")
    precision: Text | None = key(None, "Of its weights: fp16, bf16, fp8, int8, int4 ...; default: its own.")
    gpu: Text | None = key(None, "The GPU that it runs on, such as A100-80, H100 or L4.")
    tensor_parallel: Count | None = key(None, "GPUs that share each layer; default: all of a replica, at most 8.")
    max_sequences: Count = key("256", "Most requests that the engine runs at once.")
    objective: ObjectiveSection = key({}, "What users are promised.")
    request: RequestSection = key({}, "What a mean request is, until it was seen.")

    @model_validator(mode="after")
    def _whole(self) -> Replica:
        faults: Faults = []
        if self.model is not None and self.gpu is None:
            faults.append((("model",), "says nothing without the GPU that it runs on; add 'gpu: A100-80'"))
        for name in ("precision", "gpu", "tensor_parallel"):
            if self.model is None and getattr(self, name) is not None:
                faults.append(((name,), "has no effect without a model; add 'model: llama-3.1-70b' or remove it"))
        if self.model is not None and self.capacity is not None:
            faults.append((("model",), "has no effect with a stated capacity; write 'capacity: auto' or remove it"))
        if self.max_sequences == 0:
            faults.append((("max_sequences",), "0 serves nobody; write 256"))
        if faults:
            raise wrong(*faults)
        return self


def hosted(replica: Replica) -> Hosted:
    """What a replica runs and what its users are promised."""
    r = replica
    return Hosted(
        model=r.model or "",
        precision=r.precision or "",
        gpu=r.gpu or "",
        tensor_parallel=r.tensor_parallel or max(1, min(8, r.gpus)),
        itl_s=r.objective.itl,
        ttft_s=r.objective.ttft,
        latency_s=r.objective.latency,
        input_tokens=float(r.request.input),
        output_tokens=float(r.request.output),
        max_sequences=r.max_sequences,
    )


def model_faults(replica: Replica) -> Iterator[tuple[tuple[str, str], str]]:
    """What is said of the model must be known here, and fit: places and what is wrong there."""
    if replica.model is not None:
        for name, text in hosting.faults(hosted(replica), replica.gpus):
            yield ("replica", name), text
