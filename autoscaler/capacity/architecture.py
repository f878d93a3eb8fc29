"""What a model is to a GPU: parameters to store and read, and bytes of KV cache a token."""

from __future__ import annotations

from dataclasses import dataclass

KV_BYTES = {"fp16": 2.0, "bf16": 2.0, "fp8": 1.0}


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights are stored. bytes: per parameter, scales included."""

    name: str
    bytes: float
    detail: str = ""


PRECISIONS = {
    p.name: p
    for p in (
        Precision("fp16", 2.0),
        Precision("bf16", 2.0),
        Precision("fp8", 1.0, "scales of whole tensors or of blocks of 128 x 128 add less than 0.1 %"),
        Precision("int8", 1.0),
        Precision("int4", 0.53125, "4 bit and a 16-bit scale for each group of 128 (AWQ, GPTQ)"),
        Precision("mxfp4", 0.53125, "4 bit and an 8-bit scale for each 32 (OCP microscaling formats 1.0)"),
        Precision("nvfp4", 0.5625, "4 bit and an 8-bit scale for each 16"),
    )
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One model. params, active: all parameters, and those that one token is multiplied with.

    kv_heads, head_dim: of grouped-query attention. latent: kv_lora_rank + rope dimension of multi-head latent
    attention, whose cache holds one vector a token and layer; 0 = none. experts, experts_per_token: routed ones, 0 =
    a dense model. native: the precision of the published weights. checkpoint_bytes: their size where a mixture of
    precisions makes it differ from the product. windowed: layers that only look at a sliding window.
    """

    name: str
    params: float
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    active: float = 0.0
    latent: int = 0
    experts: int = 0
    experts_per_token: int = 0
    native: str = "bf16"
    repository: str = ""
    max_context: int = 0
    checkpoint_bytes: float = 0.0
    windowed: int = 0

    @property
    def active_params(self) -> float:
        """Parameters that one token is multiplied with."""
        return self.active or self.params

    @property
    def routed_params(self) -> float:
        """Parameters in routed experts, from params = shared + routed and active = shared + routed * k/E."""
        if not self.experts:
            return 0.0
        return (self.params - self.active_params) / (1 - self.experts_per_token / self.experts)

    def weight_bytes(self, precision: Precision) -> float:
        """Bytes of all weights; those of the published checkpoint where the precision is its own."""
        if self.checkpoint_bytes and precision.name == self.native:
            return self.checkpoint_bytes
        return self.params * precision.bytes

    def touched_ratio(self, batch: float) -> float:
        """Share of the routed experts that a step with `batch` tokens reads, if they choose independently."""
        if not self.experts:
            return 1.0
        return float(1 - (1 - self.experts_per_token / self.experts) ** max(1.0, batch))

    def read_bytes(self, precision: Precision, batch: float) -> float:
        """Bytes of weights that one step with `batch` tokens reads."""
        routed = self.routed_params / self.params
        return self.weight_bytes(precision) * (1 - routed * (1 - self.touched_ratio(batch)))

    def kv_bytes(self, kv_precision: str) -> float:
        """Bytes of KV cache one token takes in all layers; windowed layers are counted in full, which is the most."""
        width = self.latent or 2 * self.kv_heads * self.head_dim
        return width * self.layers * KV_BYTES[kv_precision]
