"""`sigmascale size`: what people and scripts read, the catalogue behind it, and that the page about it is so."""

from __future__ import annotations

import csv
import json
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoscaler.cli.size import _per_second
from autoscaler.errors import InputError
from autoscaler.rulefile.machinetypes import gpus_of
from providers.catalog import FILE, age_warning, in_region, read_catalog
from tests.cliworld import Say, speaker

PAGE = Path(__file__).parent.parent / "docs" / "sizing.md"
R1 = ("size", "--model", "deepseek-r1", "--precision", "fp8", "--gpu", "A100-80")
SEVENTY = ("size", "--model", "llama-3.1-70b", "--gpu", "H100")
PRICES = re.compile(r"^note: prices are .*$", re.MULTILINE)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


def told(say: Say, *words: object, code: int = 0) -> dict[str, Any]:
    ended, out, err = say(*words, "--json")
    assert (ended, err) == (code, "")
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


# --- text for people ------------------------------------------------------------------------------------------------


def test_a_model_that_fits_no_single_instance_is_told_with_its_numbers(say: Say) -> None:
    code, out, _ = say(*R1)
    assert code == 0
    assert "no single instance with A100-80 holds a replica: 671 GB (625 GiB) of weights do not fit into 8 x 80" in out
    assert "Ampere has no fp8 units: weights stay at 1 byte in memory and are widened to 16 bit" in out
    assert "1,342 GB in bf16, or 356 GB in int4" in out
    assert "16 GPUs hold the model too (TP 8 x PP 2), where a step takes about 57 ms, which misses the goal of" in out
    assert "\n  p6-b200.48xlarge " in out.partition("Other GPUs of which one instance holds a replica")[2]


def test_the_arithmetic_is_shown_line_by_line_with_units(say: Say) -> None:
    out = say("size", "--model", "llama-3.1-8b", "--gpu", "H100", "--rate", "40/s")[1]
    rows = {line[2:29].strip(): line[29:].strip() for line in out.splitlines() if line.startswith("  ")}
    assert rows["weights"].endswith("= 16.06 GB = 14.96 GiB")
    assert re.fullmatch(r"2 x 8 heads x 128 x 32 layers x 2 bytes +=\s131,072 bytes", rows["KV cache of a token"])
    assert re.fullmatch(r"16.06 GB / \(0.8 x 3.35 TB/s\) \+ 6 ms +=\s12 ms", rows["step alpha"])
    assert re.search(r"40 / [0-9.]+, rounded up +=\s[0-9]+$", rows["replicas"])


def test_a_model_that_nothing_holds_is_exit_code_1(say: Say) -> None:
    code, out, _ = say("size", "--model", "llama-3.1-405b", "--gpu", "T4")
    assert code == 1
    assert out.startswith("llama-3.1-405b in bf16 on T4: nothing in the catalogue holds a replica\n")


def test_a_goal_that_no_rate_meets_is_exit_code_1(say: Say) -> None:
    code, out, _ = say(*SEVENTY, "--itl", "5ms")
    assert code == 1
    assert "No rate meets the goal: a step alone takes about 29 ms, the goal is 5 ms." in out
    assert "misses the goal" in out


# --- JSON for scripts -----------------------------------------------------------------------------------------------


def test_json_gives_numbers_in_base_units(say: Say) -> None:
    found = told(say, *SEVENTY, "--rate", "20/s", "--itl", "50ms")
    replica = found["replica"]
    assert (replica["gpus"], replica["tensor_parallel"], replica["gpu"]) == (4, 4, "H100")
    assert replica["weight_bytes"] == pytest.approx(141.1e9)
    assert replica["kv_bytes_per_token"] == 327_680
    assert replica["requests_per_s_planned"] == pytest.approx(0.8 * replica["requests_per_s_low"])
    assert replica["replicas"] == -(-20 // replica["requests_per_s_planned"])
    assert found["single_instance_fits"] is True
    assert found["objective"]["itl_s"] == 0.05


def test_instances_are_ordered_by_what_a_request_costs(say: Say) -> None:
    offers = told(say, "size", "--model", "qwen3-8b")["instances"]
    costs = [o["usd_per_million_requests"] for o in offers if o["usd_per_million_requests"] is not None]
    assert len(costs) > 10
    assert costs == sorted(costs)
    for o in offers[:5]:
        served = o["replicas_per_instance"] * o["requests_per_s_planned"] / o["instances_per_replica"]
        assert o["usd_per_million_requests"] == pytest.approx(o["usd_per_hour"] / 3600 / served * 1e6)


def test_for_a_rate_they_are_ordered_by_what_the_pool_costs(say: Say) -> None:
    offers = told(say, "size", "--model", "qwen3-8b", "--rate", "3/s")["instances"]
    totals = [o["usd_per_hour_for_rate"] for o in offers if o["usd_per_hour_for_rate"] is not None]
    assert totals == sorted(totals)
    first = offers[0]
    assert first["instances"] * first["replicas_per_instance"] * first["requests_per_s_planned"] >= 3
    # One GPU too many is not cheaper a request, but it is dearer for a small pool.
    by_request = sorted(offers, key=lambda o: o["usd_per_million_requests"] or 1e9)
    assert [o["type"] for o in by_request] != [o["type"] for o in offers]


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        pytest.param(("--itl", "100ms"), "more", id="a weaker goal serves more"),
        pytest.param(("--input", "4000"), "less", id="longer prompts serve less"),
        pytest.param(("--output", "1000"), "less", id="longer answers serve less"),
        pytest.param(("--prefix-hits", "60%"), "more", id="a warm prefix cache serves more"),
        pytest.param(("--percentile", "p95", "--itl", "80ms"), "less", id="a p95 is harder than a mean"),
        pytest.param(("--ttft", "50ms"), "less", id="a first token that cannot come in time serves nothing"),
    ],
)
def test_an_option_moves_the_rate_the_right_way(say: Say, words: tuple[str, ...], changed: str) -> None:
    base = told(say, *SEVENTY, "--tp", "8")["replica"]["requests_per_s_low"]
    missed = int("--ttft" in words or "p95" in words)
    moved = told(say, *SEVENTY, "--tp", "8", *words, code=missed)["replica"]["requests_per_s_low"]
    assert moved > base if changed == "more" else moved < base


def test_a_model_of_ones_own_needs_only_its_shape(say: Say) -> None:
    own = ("--params", "8.03B", "--layers", 32, "--heads", 32, "--kv-heads", 8, "--gpu", "H100")
    mine, known = (
        told(say, "size", "--model", "mine", *own),
        told(say, "size", "--model", "llama-3.1-8b", "--gpu", "H100"),
    )
    assert mine["replica"] == known["replica"]


# --- engines --------------------------------------------------------------------------------------------------------


def flags(words: list[str]) -> dict[str, str]:
    return {a: b for a, b in pairwise(words) if a.startswith("--")}


def test_engines_are_configured_as_it_was_sized(say: Say) -> None:
    found = told(say, *SEVENTY, "--tp", "8", "--max-model-len", 4096, "--precision", "fp8", "--kv-precision", "fp8")
    vllm, sglang = (flags(found["engines"][name]["command"]) for name in ("vllm", "sglang"))
    assert vllm["--tensor-parallel-size"] == sglang["--tp"] == "8"
    assert vllm["--max-model-len"] == sglang["--context-length"] == "4096"
    assert vllm["--max-num-seqs"] == sglang["--max-running-requests"] == str(found["replica"]["batch_limit"])
    assert vllm["--quantization"] == sglang["--quantization"] == "fp8"
    assert vllm["--kv-cache-dtype"] == "fp8"
    assert found["engines"]["vllm"]["command"][:3] == ["vllm", "serve", "meta-llama/Llama-3.1-70B-Instruct"]


def test_a_checkpoint_that_is_published_in_fp8_is_not_quantised_again(say: Say) -> None:
    commands = told(say, "size", "--model", "deepseek-r1", "--gpu", "B200")["engines"]
    assert all("--quantization" not in commands[name]["command"] for name in commands)


def test_a_precision_that_is_not_published_asks_for_a_checkpoint(say: Say) -> None:
    found = told(say, "size", "--model", "deepseek-r1", "--gpu", "A100-80", "--precision", "int4")
    assert found["single_instance_fits"] is True
    assert found["engines"]["vllm"]["command"][2] == "DEEPSEEK-R1-IN-INT4"
    assert found["engines"]["vllm"]["notes"] == ["deepseek-r1 is published in fp8: put a checkpoint in int4 there"]


def test_a_replica_over_several_machines_tells_each_what_to_add(say: Say) -> None:
    found = told(say, *R1, "--itl", "200ms", "--tp", "8")
    replica = found["replica"]
    assert (replica["gpus"], replica["tensor_parallel"], replica["pipeline_parallel"]) == (16, 8, 2)
    assert found["single_instance_fits"] is False
    assert {o["instances_per_replica"] for o in found["instances"]} == {2}
    assert flags(found["engines"]["vllm"]["command"])["--pipeline-parallel-size"] == "2"
    assert flags(found["engines"]["sglang"]["command"])["--nnodes"] == "2"
    assert found["engines"]["sglang"]["notes"] == [
        "on each of 2 machines: --node-rank 0 to 1, the same --dist-init-addr"
    ]


# --- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model", "lama-3.1-8b"), "--model lama-3.1-8b: is not in the table; did you mean llama-3.1-8b"),
        (("--model", "qwen3-8b", "--gpu", "A1000"), "--gpu A1000: is not known; did you mean A100-80"),
        (("--model", "qwen3-8b", "--itl", "50"), "--itl: '50' has no unit; write 50s, or another unit of ms, s"),
        (("--model", "qwen3-8b", "--itl", "0"), "--itl 0: must be above 0"),
        (("--model", "qwen3-8b", "--rate", "soon"), "--rate: 'soon' is not a rate"),
        (("--model", "qwen3-8b", "--rate", "5 tokens/s"), "is not in requests; write 20/s or 900/min"),
        (("--model", "qwen3-8b", "--precision", "fp7"), "--precision fp7: is not known; write one of fp16, bf16, fp8"),
        (("--model", "qwen3-8b", "--engine", "tgi"), "--engine tgi: is not known; write one of vllm, sglang"),
        (("--model", "qwen3-8b", "--tp", "3"), "--tp 3: is not known; write one of 1, 2, 4, 8"),
        (("--model", "qwen2.5-7b", "--tp", "8"), "--tp 8: does not divide the 28 attention heads of qwen2.5-7b"),
        (("--model", "qwen3-8b", "--max-model-len", "500"), "is shorter than --input and --output together, 1300"),
        (("--model", "qwen3-8b", "--max-model-len", "99999"), "qwen3-8b takes at most 40960 tokens"),
        (("--model", "qwen3-8b", "--provider", "gcp"), "--provider gcp: is not in the catalogue; known are aws, azure"),
        (("--model", "qwen3-8b", "--region", "moon"), "--region moon: has no GPU instance in the catalogue"),
        (("--model", "qwen3-8b", "--layers", "3"), "--layers: describes a model of your own; give --params too"),
        (("--model", "x", "--params", "13"), "'13' is not a number of parameters; write 700M, 13B or 1.2T"),
        (
            ("--model", "x", "--params", "13B", "--layers", "40", "--kv-heads", "8", "--active", "20B"),
            "is more than --p",
        ),
        (
            ("--model", "x", "--params", "13B", "--layers", "40", "--kv-heads", "8", "--experts", "8"),
            "--experts-per-token",
        ),
        (("--model", "x", "--params", "13B"), "--params: needs --layers too"),
        (("--model", "x", "--params", "13B", "--layers", "40"), "--params: needs --kv-heads too, or --latent"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_is_a_sentence_and_exit_code_2(say: Say, words: tuple[str, ...], expected: str) -> None:
    code, out, err = say("size", *words)
    assert (code, out) == (2, "")
    assert expected in err


@pytest.mark.parametrize(
    ("text", "per_s"), [("20/s", 20.0), ("90/min", 1.5), ("36 requests/s", 36.0), ("1.5 / s", 1.5)]
)
def test_a_rate_may_be_short(text: str, per_s: float) -> None:
    assert _per_second(text) == per_s


# --- the catalogue --------------------------------------------------------------------------------------------------


def test_every_row_of_the_catalogue_is_read_and_known_elsewhere() -> None:
    """593 rows; the GPUs of a type are those that rule files count with."""
    machines = read_catalog()
    assert len(machines) == 593
    assert len({(m.provider, m.type, m.region) for m in machines}) == 593
    counted = {m.type: m.gpus for m in machines if gpus_of(m.type) is not None}
    assert len(counted) > 40
    assert counted == {name: gpus_of(name) for name in counted}


@pytest.mark.parametrize(
    ("name", "region", "usd"),
    [
        ("p4d.24xlarge", "us-east-1", 21.957642), ("p5.48xlarge", "us-east-1", 55.04),
        ("p5e.48xlarge", "us-east-1", None),
        ("Standard_NC24ads_A100_v4", "eastus", 3.673), ("Standard_ND96asr_v4", "eastus", 27.197),
    ],
)  # fmt: skip
def test_a_type_stands_with_the_price_of_its_providers_home(name: str, region: str, usd: float | None) -> None:
    (found,) = (m for m in in_region(read_catalog(), None, None) if m.type == name)
    assert (found.region, found.usd_per_hour) == (region, usd)


def test_a_region_that_is_asked_for_has_its_own_prices() -> None:
    (found,) = (m for m in in_region(read_catalog(), "aws", "us-gov-west-1") if m.type == "p4d.24xlarge")
    assert found.usd_per_hour == 26.3511


def test_old_prices_are_told_by_their_age() -> None:
    machines = read_catalog()
    assert age_warning(machines, 1_782_000_000.0) == ""  # 2026-06-21
    assert age_warning(machines, 1_798_761_600.0) == (  # 2027-01-01
        "prices are list prices of 2026-06-18 and later, up to 197 days old; check them before you buy"
    )


def test_a_row_that_cannot_be_read_is_told_with_its_line(tmp_path: Path) -> None:
    with FILE.open(encoding="utf-8") as stream:
        rows = list(csv.reader(stream))
    rows[1][4], rows[3][11] = "many", "-5"
    broken = tmp_path / "catalog.csv"
    with broken.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows(rows[:6])
    with pytest.raises(InputError) as told_of:
        read_catalog(broken)
    assert str(told_of.value).splitlines() == [
        f"{broken}:2:1: p3.2xlarge: gpu_count is 'many', not a number; leave it empty if it is unknown",
        f"{broken}:4:1: p3.8xlarge: on_demand_usd_per_hour is -5, which cannot be; leave it empty if it is unknown",
    ]
    broken.write_text("provider,region\naws,x\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"the columns instance_type, gpu_model, .* are missing"):
        read_catalog(broken)
    with pytest.raises(InputError, match="cannot be read"):
        read_catalog(tmp_path / "none.csv")


# --- the page -------------------------------------------------------------------------------------------------------


def commands() -> list[tuple[str, str]]:
    """Every command of the page, and the output shown below it."""
    found = []
    for block in re.findall(r"^```text\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        for part in re.split(r"^\$ sigmascale ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


@pytest.mark.parametrize(("line", "shown"), commands(), ids=[line for line, _ in commands()])
def test_a_command_of_the_page_does_what_the_page_shows(say: Say, line: str, shown: str) -> None:
    """The age of the prices aside, which grows."""
    code, out, err = say(*shlex.split(line))
    assert (code, err) == (0, "")
    if shown:
        assert PRICES.sub("", out) == PRICES.sub("", shown)


def test_the_page_shows_a_whole_answer() -> None:
    assert len(commands()) == 3
    assert sum("Instances, cheapest first" in shown for _, shown in commands()) == 1
