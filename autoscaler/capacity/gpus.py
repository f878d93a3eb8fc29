"""GPUs: memory, bandwidth, arithmetic, links.

From ai-dynamo/aiconfigurator `systems/*.yaml` (Apache-2.0, August 2026): A100, H100, H200, B200, B300, L4, L40S. Of
memory the usable figure that the driver reports, where one is known. T4, V100, A10 and A10G, and the A100 with 40 GB,
from NVIDIA's data sheets as remembered: check them before relying on them (`checked` is False).
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from autoscaler.errors import InputError

GIB = 2.0**30
MEMORY_EFFICIENCY = 0.8
"""Share of the nominal memory bandwidth that decoding reaches (aiconfigurator's empirical factor)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. bytes_per_s: memory bandwidth. flops: dense 16 bit. nvlink: GPUs that NVLink joins in one machine, 1 =
    PCIe only. link_bytes_per_s: one way, to another GPU. native: precisions narrower than 16 bit that its tensor cores
    multiply. series: the generation."""

    name: str
    model: str
    gib: float
    bytes_per_s: float
    flops: float
    link_bytes_per_s: float
    nvlink: int
    series: str
    native: tuple[str, ...] = ()
    checked: bool = True

    @property
    def bytes(self) -> float:
        """Memory in bytes."""
        return self.gib * GIB

    def flops_at(self, precision: str) -> float:
        """Dense FLOP/s at a precision of weights; without units for it they are widened and multiplied in 16 bit."""
        if precision in self.native:
            return self.flops * (4 if precision in ("nvfp4", "mxfp4") else 2)
        return self.flops


_EIGHT = ("int8",)
_FP8 = ("int8", "fp8")
_FP4 = ("fp8", "nvfp4", "mxfp4")

GPUS = (
    Gpu("T4", "T4", 16, 0.32e12, 65e12, 16e9, 1, "Turing", _EIGHT, checked=False),
    Gpu("V100-16", "V100", 16, 0.9e12, 125e12, 150e9, 8, "Volta", checked=False),
    Gpu("V100-32", "V100", 32, 0.9e12, 125e12, 150e9, 8, "Volta", checked=False),
    Gpu("L4", "L4", 22.35, 0.3e12, 121e12, 32e9, 1, "Ada", _FP8),
    Gpu("A10G", "A10G", 22.35, 0.6e12, 125e12, 32e9, 1, "Ampere", _EIGHT, checked=False),
    Gpu("A10", "A10", 24, 0.6e12, 125e12, 32e9, 1, "Ampere", _EIGHT, checked=False),
    Gpu("A100-40", "A100", 40, 1.555e12, 312e12, 300e9, 8, "Ampere", _EIGHT, checked=False),
    Gpu("L40S", "L40S", 44.7, 0.864e12, 362e12, 32e9, 1, "Ada", _FP8),
    Gpu("A100-80", "A100", 80, 2.039e12, 312e12, 300e9, 8, "Ampere", _EIGHT),
    Gpu("A100-80-PCIe", "A100", 80, 1.935e12, 312e12, 32e9, 2, "Ampere", _EIGHT),
    Gpu("H100", "H100", 80, 3.35e12, 989e12, 450e9, 8, "Hopper", _FP8),
    Gpu("H100-PCIe", "H100", 80, 2.0e12, 756.5e12, 64e9, 2, "Hopper", _FP8),
    Gpu("H200", "H200", 141, 4.8e12, 989e12, 450e9, 8, "Hopper", _FP8),
    Gpu("B200", "B200", 179.06, 7.7e12, 2250e12, 900e9, 8, "Blackwell", _FP4),
    Gpu("B300", "B300", 268.59, 7.75e12, 2250e12, 900e9, 8, "Blackwell", _FP4),
)
_BY_NAME = {gpu.name.lower(): gpu for gpu in GPUS}
_ALSO = {"a100": "a100-80", "a100-80gb": "a100-80", "a100-40gb": "a100-40", "a100-80-sxm": "a100-80", "v100": "v100-16"}
_ALSO |= {"h100-80": "h100", "h100-80gb": "h100", "h100-sxm": "h100", "h200-141": "h200", "a100-pcie": "a100-80-pcie"}


def gpu_named(name: str) -> Gpu:
    """The GPU of that name. Raises InputError with suggestions."""
    key = name.strip().lower().replace("_", "-").replace(" ", "-")
    found = _BY_NAME.get(_ALSO.get(key, key))
    if found is None:
        near = get_close_matches(key, [*_BY_NAME, *_ALSO], n=3, cutoff=0.5)
        names = ", ".join(dict.fromkeys(_BY_NAME[_ALSO.get(n, n)].name for n in near))
        hint = f"did you mean {names}? " if names else ""
        raise InputError(f"--gpu {name}: is not known; {hint}Known are {', '.join(g.name for g in GPUS)}")
    return found


def gpu_in(model: str, gib: float | None, link: str) -> Gpu | None:
    """The GPU of a machine in a catalogue: its model, memory and link; None for one that is not in the table."""
    near = [g for g in GPUS if g.model == model and gib is not None and abs(g.gib - gib) <= 0.08 * g.gib]
    if len(near) < 2:
        return near[0] if near else None
    switched = "NVSwitch" in link
    return next((g for g in near if (g.nvlink == 8) == switched), near[0])
