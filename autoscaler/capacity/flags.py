"""The command lines of inference engines that run a replica as it was sized."""

from __future__ import annotations

from autoscaler.capacity.layout import MEMORY_SHARE
from autoscaler.capacity.sizing import Sizing

ENGINES = ("vllm", "sglang")


def command(engine: str, sizing: Sizing, per_machine: int) -> tuple[str, ...]:
    """The words of one engine's command; of several machines the words that all of them share."""
    return _vllm(sizing) if engine == "vllm" else _sglang(sizing, per_machine)


def notes_for(engine: str, sizing: Sizing, per_machine: int) -> tuple[str, ...]:
    """What the command leaves to do: a checkpoint to find, words to add on each of several machines."""
    wish, machines = sizing.wish, -(-sizing.layout.gpus // per_machine)
    notes = []
    if _other_checkpoint(sizing):
        notes.append(
            f"{wish.model.name} is published in {wish.model.native}: put a checkpoint in {wish.precision.name} there"
        )
    if machines < 2:
        return tuple(notes)
    if engine == "sglang":
        notes.append(f"on each of {machines} machines: --node-rank 0 to {machines - 1}, the same --dist-init-addr")
    elif sizing.layout.ep > 1:
        notes.append(
            f"on each of {machines} machines: --data-parallel-size-local {per_machine}, --data-parallel-address of the "
            f"first, and --headless --data-parallel-start-rank {per_machine}, ... on the others"
        )
    else:
        notes.append(f"start Ray on {machines} machines first; this command runs on its head")
    return tuple(notes)


def _vllm(sizing: Sizing) -> tuple[str, ...]:
    wish, layout = sizing.wish, sizing.layout
    words = ["vllm", "serve", _checkpoint(sizing)]
    if layout.ep > 1:
        words += ["--data-parallel-size", str(layout.ep), "--enable-expert-parallel"]
    else:
        words += ["--tensor-parallel-size", str(layout.tp)]
        if layout.pp > 1:
            words += ["--pipeline-parallel-size", str(layout.pp), "--distributed-executor-backend", "ray"]
    words += ["--max-model-len", str(wish.max_model_len)]
    words += ["--max-num-seqs", str(_sequences(sizing)), "--gpu-memory-utilization", f"{MEMORY_SHARE:.2f}"]
    if _converts(sizing):
        words += ["--quantization", "fp8"]
    if _half(sizing):
        words += ["--dtype", "half"]
    if wish.kv_precision == "fp8":
        words += ["--kv-cache-dtype", "fp8"]
    return tuple(words)


def _sglang(sizing: Sizing, per_machine: int) -> tuple[str, ...]:
    wish, layout = sizing.wish, sizing.layout
    words = ["python", "-m", "sglang.launch_server", "--model-path", _checkpoint(sizing)]
    if layout.ep > 1:
        words += ["--tp", str(layout.ep), "--dp", str(layout.ep), "--enable-dp-attention", "--ep", str(layout.ep)]
    else:
        words += ["--tp", str(layout.tp)]
        if layout.pp > 1:
            words += ["--pp-size", str(layout.pp)]
    machines = -(-layout.gpus // per_machine)
    if machines > 1:
        words += ["--nnodes", str(machines), "--dist-init-addr", "FIRST_MACHINE:5000"]
    words += ["--context-length", str(wish.max_model_len), "--max-running-requests", str(round(sizing.batch // 1))]
    words += ["--mem-fraction-static", f"{_static_share(sizing):.2f}"]
    if _converts(sizing):
        words += ["--quantization", "fp8"]
    if _half(sizing):
        words += ["--dtype", "half"]
    if wish.kv_precision == "fp8":
        words += ["--kv-cache-dtype", "fp8_e5m2"]
    return tuple(words)


def _checkpoint(sizing: Sizing) -> str:
    model = sizing.wish.model
    if _other_checkpoint(sizing) or not model.repository:
        return f"{model.name.upper()}-IN-{sizing.wish.precision.name.upper()}"
    return model.repository


def _other_checkpoint(sizing: Sizing) -> bool:
    """The published weights are in another precision, and the engine does not convert them when it loads."""
    wide = ("fp16", "bf16")
    asked, native = sizing.wish.precision.name, sizing.wish.model.native
    return asked != native and not (asked in wide and native in wide) and not _converts(sizing)


def _sequences(sizing: Sizing) -> int:
    """Sequences of one scheduler: each rank of an expert-parallel replica has its own."""
    return max(1, int(sizing.batch / sizing.layout.ep))


def _static_share(sizing: Sizing) -> float:
    """Weights and cache as a share of the memory: SGLang keeps activations outside of it, vLLM inside."""
    memory = sizing.memory
    return (memory.weights + memory.left) / sizing.gpu.bytes


def _converts(sizing: Sizing) -> bool:
    """Weights that are published wider are narrowed at load time; other precisions need a checkpoint of their own."""
    return sizing.wish.precision.name == "fp8" and sizing.wish.model.native in ("bf16", "fp16")


def _half(sizing: Sizing) -> bool:
    asked = sizing.wish.precision.name == "fp16" and sizing.wish.model.native != "fp16"
    return asked or sizing.gpu.series in ("Volta", "Turing")
