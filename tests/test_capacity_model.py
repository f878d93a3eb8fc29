"""The four-number model, the memory of layouts and the priors: published figures come out, nothing moves wrongly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.capacity import Limits, Objective, Replica, Workload, begin, capacity, prior_of
from autoscaler.capacity.architecture import PRECISIONS, Architecture
from autoscaler.capacity.gpus import GPUS, Gpu, gpu_in, gpu_named
from autoscaler.capacity.layout import RESERVE_BYTES, Layout, memory
from autoscaler.capacity.models import MODELS, model_named
from autoscaler.capacity.prior import MFU, OLDER
from autoscaler.capacity.sizing import Wish, precision_notes, size
from autoscaler.errors import InputError

FP16 = PRECISIONS["fp16"]
SEVENTY = Architecture("70b", 70e9, 80, 64, 8, 128)
EIGHT = Architecture("8b", 8.03e9, 32, 32, 8, 128)
H100_TP8 = Replica(29.9e-3, 0.206e-3, 1.7e-7, 9.1e-5)
CHAT = Workload(512, 128)


def test_the_worked_example_of_70b_on_eight_h100() -> None:
    """b 0.304 ms, A 46.6 ms, D 85.5 ms, 6.88/s by batch, 4.70/s by latency; at 80 % 44 ms and 21 sequences."""
    assert H100_TP8.per_sequence_s(CHAT) == pytest.approx(0.304e-3, abs=0.5e-6)
    assert H100_TP8.prefill_of(CHAT) == pytest.approx(46.6e-3, abs=0.05e-3)
    assert H100_TP8.work_s(CHAT) == pytest.approx(85.5e-3, abs=0.05e-3)
    assert H100_TP8.rate_by_batch(CHAT, 64) == pytest.approx(6.88, abs=0.005)
    assert H100_TP8.rate_by_latency(CHAT, 0.05) == pytest.approx(4.70, abs=0.005)
    best = H100_TP8.highest_rate(CHAT, 64, Objective(0.05))
    assert best == pytest.approx(4.70, abs=0.005)
    assert H100_TP8.itl_s(0.8 * best, CHAT) == pytest.approx(0.044, abs=0.0005)
    assert H100_TP8.running(0.8 * best, CHAT) == pytest.approx(21, abs=0.5)


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        pytest.param(Objective(0.029), 0.0, id="a step alone is longer than the goal"),
        pytest.param(Objective(0.05, ttft_s=0.07), 0.0, id="a lone first token is later than its goal"),
        pytest.param(Objective(0.05, ttft_s=0.08), 4.70, id="a first token in time changes nothing"),
        pytest.param(Objective(None), 6.88, id="without a goal the batch bounds"),
        pytest.param(Objective(2.8 * 0.05, percentile="p95"), 4.70, id="a p95 is 2.8 times the mean for chat"),
    ],
)
def test_the_highest_rate_follows_the_objective(objective: Objective, expected: float) -> None:
    assert H100_TP8.highest_rate(CHAT, 64, objective) == pytest.approx(expected, abs=0.005)


def test_a_rate_beyond_the_engine_has_no_finite_latency() -> None:
    assert H100_TP8.itl_s(1 / H100_TP8.work_s(CHAT), CHAT) == float("inf")


def test_a_pipeline_serves_more_at_once_but_a_lone_prompt_passes_every_stage() -> None:
    halves = Replica(29.9e-3, 0.103e-3, 0.85e-7, 4.55e-5, stages=2)
    assert halves.highest_rate(CHAT, 64, Objective(0.05)) == pytest.approx(2 * 4.70, abs=0.01)
    assert halves.first_token_s(CHAT) == pytest.approx(H100_TP8.first_token_s(CHAT), rel=0.01)
    in_time = halves.first_token_s(CHAT)
    assert halves.highest_rate(CHAT, 64, Objective(0.05, ttft_s=0.99 * in_time)) == 0
    assert halves.highest_rate(CHAT, 64, Objective(0.05, ttft_s=1.01 * in_time)) > 0


TABLE = [
    ("L4", EIGHT, 1, 13), ("A100-40", EIGHT, 1, 143), ("A100-40", SEVENTY, 8, 414), ("L40S", EIGHT, 1, 178),
    ("L40S", SEVENTY, 4, 49), ("A100-80", EIGHT, 1, 438), ("A100-80", SEVENTY, 2, 19), ("H100", SEVENTY, 4, 465),
    ("H200", EIGHT, 1, 888), ("H200", SEVENTY, 2, 379), ("B200", EIGHT, 1, 1169), ("B200", SEVENTY, 1, 89),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gpu", "model", "tp", "thousand"), TABLE, ids=[f"{g} {m.name} TP {t}" for g, m, t, _ in TABLE]
)
def test_kv_tokens_of_the_published_table(gpu: str, model: Architecture, tp: int, thousand: int) -> None:
    """Own calculation with the full reserve, in thousands of tokens."""
    lies = memory(model, FP16, "fp16", gpu_named(gpu), Layout(tp))
    assert lies.kv_tokens / 1000 == pytest.approx(thousand, abs=1.5 if gpu != "B200" else 3)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("llama-3.1-8b", 131_072), ("llama-3.1-70b", 327_680), ("deepseek-r1", 576 * 61 * 2), ("gpt-oss-120b", 73_728)],
)
def test_kv_bytes_of_a_token(name: str, expected: int) -> None:
    assert model_named(name).kv_bytes("fp16") == expected
    assert model_named(name).kv_bytes("fp8") == expected / 2


def test_the_latent_cache_is_held_by_every_rank_and_heads_are_divided_among_them() -> None:
    mla, gqa = model_named("deepseek-r1"), model_named("qwen3-235b-a22b")
    fp8, h200 = PRECISIONS["fp8"], gpu_named("H200")
    assert memory(mla, fp8, "fp16", h200, Layout(8)).kv_token == mla.kv_bytes("fp16")
    # Four KV heads on eight ranks: two ranks hold the same head.
    assert memory(gqa, fp8, "fp16", h200, Layout(8)).kv_token == gqa.kv_bytes("fp16") / 4
    assert memory(gqa, fp8, "fp16", h200, Layout(8, pp=2)).kv_token == gqa.kv_bytes("fp16") / 8


def test_memory_is_accounted_for_to_the_byte() -> None:
    gpu = gpu_named("H100")
    lies = memory(EIGHT, FP16, "fp16", gpu, Layout(1))
    assert lies.reserve == RESERVE_BYTES
    assert lies.weights + lies.reserve + lies.left == pytest.approx(0.9 * gpu.bytes)
    assert lies.left == pytest.approx(lies.kv_tokens * lies.kv_token)


@pytest.mark.parametrize("name", ["deepseek-r1", "mixtral-8x7b", "qwen3-30b-a3b", "gpt-oss-120b"])
def test_a_large_batch_reads_every_expert_and_one_token_only_its_own(name: str) -> None:
    model = model_named(name)
    precision = PRECISIONS[model.native]
    share = model.active_params / model.params
    assert model.read_bytes(precision, 1) == pytest.approx(model.weight_bytes(precision) * share)
    assert model.read_bytes(precision, 1e4) == pytest.approx(model.weight_bytes(precision))


@pytest.mark.parametrize("model", MODELS, ids=[m.name for m in MODELS])
def test_a_known_model_is_found_by_its_name_and_its_repository(model: Architecture) -> None:
    assert model_named(model.name) is model
    assert model_named(model.repository.upper()) is model
    assert 0 < model.active_params <= model.params
    assert model.native in PRECISIONS


def test_the_gap_of_old_measurements_to_the_formula_is_what_the_module_says() -> None:
    """Fitted alpha of 70B over the formula, mean of A100 and H100, is the table by TP."""
    bare = PRECISIONS["fp16"]
    for tp in (2, 4, 8):
        ratios = []
        for gpu in ("A100-80", "H100"):
            fitted = prior_of(SEVENTY, bare, gpu_named(gpu), Layout(tp), 64).replica.alpha_s
            ratios.append(fitted / (140e9 / tp / (0.8 * gpu_named(gpu).bytes_per_s) + 0.006))
        assert sum(ratios) / 2 == pytest.approx(OLDER[tp], rel=0.02)


def test_70b_takes_its_prior_from_measurements_and_others_from_first_principles() -> None:
    h100 = gpu_named("H100")
    fitted = prior_of(model_named("llama-2-70b"), FP16, h100, Layout(8), 64)
    assert fitted.source == "fit to measurements of 70B on H100, TP 8"
    assert (fitted.replica.alpha_s, fitted.replica.beta_s) == (29.9e-3, 0.206e-3)
    assert fitted.replica.prefill_s == pytest.approx(1.04e-4, rel=0.02)
    eight = prior_of(EIGHT, FP16, h100, Layout(1), 64)
    assert eight.source == "first principles, never measured"
    assert eight.replica.alpha_s == pytest.approx(16.06e9 / (0.8 * 3.35e12) + 0.006)
    assert eight.replica.prefill_s == pytest.approx(2 * 8.03e9 / (989e12 * MFU[1]))


def test_fp8_is_multiplied_twice_as_fast_only_where_there_are_units_for_it() -> None:
    assert gpu_named("H100").flops_at("fp8") == 2 * gpu_named("H100").flops
    assert gpu_named("A100-80").flops_at("fp8") == gpu_named("A100-80").flops
    r1 = model_named("deepseek-r1")
    assert any("Ampere has no fp8 units" in note for note in precision_notes(r1, PRECISIONS["fp8"], gpu_named("A100")))
    assert precision_notes(r1, PRECISIONS["fp8"], gpu_named("H100")) == ()


@pytest.mark.parametrize("gpu", GPUS, ids=[g.name for g in GPUS])
def test_a_gpu_of_a_machine_is_found_by_model_memory_and_link(gpu: Gpu) -> None:
    assert gpu_in(gpu.model, gpu.gib, "NVSwitch" if gpu.nvlink == 8 else "NVLink bridge pairs") == gpu


@pytest.mark.parametrize(("model", "gib"), [("A100", None), ("MI300X", 192.0), ("A100", 141.0)])
def test_a_machine_with_another_gpu_is_not_guessed_at(model: str, gib: float | None) -> None:
    assert gpu_in(model, gib, "NVSwitch") is None


@pytest.mark.parametrize(
    ("look_up", "name", "expected"),
    [
        pytest.param(model_named, "llama-3.1-80b", "did you mean llama-3.1-8b", id="a model"),
        pytest.param(gpu_named, "H100-SXM4", "did you mean H100", id="a GPU"),
        pytest.param(gpu_named, "quantum", "Known are T4,", id="nothing like it"),
    ],
)
def test_an_unknown_name_gets_suggestions(look_up: Callable[[str], object], name: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        look_up(name)


# --- properties -----------------------------------------------------------------------------------------------------

ITL = st.floats(0.002, 0.5)
WORK = st.builds(Workload, st.floats(1, 20000), st.floats(1, 4000), st.floats(0, 1))
MODEL = st.sampled_from([m for m in MODELS if m.params < 5e11])
GPU = st.sampled_from(GPUS)


def low(model: Architecture, gpu_name: str, work: Workload, itl_s: float, kv_tokens: float) -> float:
    prior = prior_of(model, PRECISIONS[model.native], gpu_named(gpu_name), Layout(8), 64)
    found = capacity(begin(prior, work, Limits(kv_tokens)), Objective(itl_s))
    assert 0 <= found.low <= found.median
    return found.low


@settings(derandomize=True, max_examples=60, deadline=None)
@given(model=MODEL, gpu=GPU, work=WORK, itl=ITL, more=st.floats(1, 5), tokens=st.floats(0, 1e7))
def test_a_weaker_goal_and_more_memory_never_serve_less(
    model: Architecture, gpu: Gpu, work: Workload, itl: float, more: float, tokens: float
) -> None:
    name = gpu.name
    here = low(model, name, work, itl, tokens)
    assert low(model, name, work, itl * more, tokens) >= here
    assert low(model, name, work, itl, tokens * more) >= here


@settings(derandomize=True, max_examples=40, deadline=None)
@given(model=MODEL, gpu=GPU, work=WORK, itl=ITL, per_machine=st.sampled_from([1, 2, 4, 8]), rate=st.floats(0.01, 1e4))
def test_what_is_chosen_fits_and_replicas_carry_the_rate(
    model: Architecture, gpu: Gpu, work: Workload, itl: float, per_machine: int, rate: float
) -> None:
    wish = Wish(model, PRECISIONS[model.native], work, Objective(itl), 8192, rate=rate)
    sized = size(wish, gpu, per_machine, joined=True)
    if sized is None:
        return
    assert sized.memory.left > 0
    assert sized.memory.kv_tokens >= 16384
    assert sized.layout.ep > 1 or model.heads % sized.layout.tp == 0
    if sized.replicas is None:
        assert sized.planned_rate == 0
    else:
        assert (sized.replicas - 1) * sized.planned_rate < rate * (1 + 1e-6)
        assert sized.replicas * sized.planned_rate >= rate * (1 - 1e-6)
