"""Well-known models, from the config.json that each publishes in its repository on Hugging Face.

Layers, heads and dimensions are the file's `num_hidden_layers`, `num_attention_heads`, `num_key_value_heads`,
`head_dim`, `kv_lora_rank` + `qk_rope_head_dim`, `num_experts` and `num_experts_per_tok`; they were compared with the
copies in ai-dynamo/aiconfigurator `model_configs/` (Apache-2.0) for Llama 3.1, Qwen3, Mixtral, DeepSeek, gpt-oss and
Kimi. Parameters are the totals of the model cards, active ones as the makers state them (DeepSeek's README_WEIGHTS:
671B and 36.7B, without the 11.5B of the prediction module). Sizes of gpt-oss are those of its checkpoints: experts in
mxfp4, the rest in bf16.
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from autoscaler.capacity.architecture import Architecture
from autoscaler.errors import InputError


def _dense(repository: str, billions: float, layers: int, heads: int, kv: int, dim: int, context: int) -> Architecture:
    return Architecture(
        _key(repository), billions * 1e9, layers, heads, kv, dim, repository=repository, max_context=context
    )


def _key(repository: str) -> str:
    name = repository.rpartition("/")[2].lower()
    return re.sub(r"^meta-", "", re.sub(r"-(instruct|chat|hf|it|v0\.[0-9]|base)\b.*$", "", name))


MODELS = (
    _dense("meta-llama/Llama-3.1-8B-Instruct", 8.03, 32, 32, 8, 128, 131072),
    _dense("meta-llama/Llama-3.1-70B-Instruct", 70.55, 80, 64, 8, 128, 131072),
    _dense("meta-llama/Llama-3.3-70B-Instruct", 70.55, 80, 64, 8, 128, 131072),
    _dense("meta-llama/Llama-3.1-405B-Instruct", 405.9, 126, 128, 8, 128, 131072),
    _dense("meta-llama/Llama-2-70b-chat-hf", 68.98, 80, 64, 8, 128, 4096),
    _dense("Qwen/Qwen2.5-7B-Instruct", 7.62, 28, 28, 4, 128, 32768),
    _dense("Qwen/Qwen2.5-14B-Instruct", 14.77, 48, 40, 8, 128, 32768),
    _dense("Qwen/Qwen2.5-32B-Instruct", 32.76, 64, 40, 8, 128, 32768),
    _dense("Qwen/Qwen2.5-72B-Instruct", 72.71, 80, 64, 8, 128, 32768),
    _dense("Qwen/Qwen3-0.6B", 0.6, 28, 16, 8, 128, 40960),
    _dense("Qwen/Qwen3-1.7B", 1.72, 28, 16, 8, 128, 40960),
    _dense("Qwen/Qwen3-4B", 4.02, 36, 32, 8, 128, 40960),
    _dense("Qwen/Qwen3-8B", 8.19, 36, 32, 8, 128, 40960),
    _dense("Qwen/Qwen3-14B", 14.77, 40, 40, 8, 128, 40960),
    _dense("Qwen/Qwen3-32B", 32.76, 64, 64, 8, 128, 40960),
    _dense("mistralai/Mistral-7B-Instruct-v0.3", 7.25, 32, 32, 8, 128, 32768),
    _dense("google/gemma-2-9b-it", 9.24, 42, 16, 8, 256, 8192),
    _dense("google/gemma-2-27b-it", 27.23, 46, 32, 16, 128, 8192),
    _dense("google/gemma-3-4b-it", 4.3, 34, 8, 4, 256, 131072),
    _dense("google/gemma-3-12b-it", 12.19, 48, 16, 8, 256, 131072),
    _dense("google/gemma-3-27b-it", 27.43, 62, 32, 16, 128, 131072),
    Architecture("qwen3-30b-a3b", 30.53e9, 48, 32, 4, 128, 3.35e9, 0, 128, 8, "bf16", "Qwen/Qwen3-30B-A3B", 40960),
    Architecture("qwen3-235b-a22b", 235.1e9, 94, 64, 4, 128, 22.2e9, 0, 128, 8, "bf16", "Qwen/Qwen3-235B-A22B", 40960),
    Architecture(
        "qwen3-coder-480b-a35b",
        *(480.15e9, 62, 96, 8, 128, 35.4e9, 0, 160, 8, "bf16", "Qwen/Qwen3-Coder-480B-A35B-Instruct", 262144),
    ),
    Architecture(
        "mixtral-8x7b", 46.7e9, 32, 32, 8, 128, 12.88e9, 0, 8, 2, "bf16", "mistralai/Mixtral-8x7B-Instruct-v0.1", 32768
    ),
    Architecture(
        "mixtral-8x22b",
        *(140.62e9, 56, 48, 8, 128, 39.15e9, 0, 8, 2, "bf16", "mistralai/Mixtral-8x22B-Instruct-v0.1", 65536),
    ),
    Architecture(
        "deepseek-v3", 671e9, 61, 128, 128, 128, 36.7e9, 576, 256, 8, "fp8", "deepseek-ai/DeepSeek-V3", 163840
    ),
    Architecture(
        "deepseek-r1", 671e9, 61, 128, 128, 128, 36.7e9, 576, 256, 8, "fp8", "deepseek-ai/DeepSeek-R1", 163840
    ),
    Architecture("kimi-k2", 1.03e12, 61, 64, 64, 128, 32e9, 576, 384, 8, "fp8", "moonshotai/Kimi-K2-Instruct", 131072),
    Architecture(
        "gpt-oss-20b",
        *(20.91e9, 24, 64, 8, 64, 3.61e9, 0, 32, 4, "mxfp4", "openai/gpt-oss-20b", 131072, 12.8 * 2**30, 12),
    ),
    Architecture(
        "gpt-oss-120b",
        *(116.83e9, 36, 64, 8, 64, 5.13e9, 0, 128, 4, "mxfp4", "openai/gpt-oss-120b", 131072, 60.8 * 2**30, 18),
    ),
)
_BY_NAME = {model.name: model for model in MODELS}


def model_named(name: str) -> Architecture:
    """The model of that name or repository, case and suffixes such as -Instruct aside. Raises InputError."""
    key = _key(name.strip().replace("_", "-").replace(" ", "-"))
    found = _BY_NAME.get(key)
    if found is None:
        near = get_close_matches(key, _BY_NAME, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}? " if near else ""
        raise InputError(
            f"--model {name}: is not in the table; {hint}For any other model give --params, --layers, --kv-heads and "
            "--head-dim from its config.json"
        )
    return found
