"""`sigmascale page`: every line of a page is accounted for once, in base units, from files, pipes and URLs."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from collectors.pages import grammar
from tests.cliworld import Say, speaker
from tests.peers.pages import Pages, answer, hang

PAGES = Path(__file__).parent / "data" / "pages"
MIG = "dcgm/a100-sxm4-40gb_mig_4active_driver520.prom"
L4 = "dcgm/l4_driver580.105.08_k8s_full.prom"
VLLM = "vllm/vllm_2026-03_qwen2.5-0.5b_engine-label.prom"
WRITTEN = sorted(path.relative_to(PAGES).as_posix() for path in (PAGES / "written").glob("*.prom"))


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


def told(say: Say, *words: object) -> dict[str, Any]:
    code, out, err = say("page", *words, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


COUNTS = [
    (L4, 23, 0),
    ("dcgm/t4_driver590.48.01_noheaders.prom", 20, 0),
    ("dcgm/h100_x8_partial_podlabels_driver580_mar2026.prom", 30, 0),
    ("dcgm/grid_a100-10c_vgpu_driver580.126.09.prom", 11, 0),
    (MIG, 56, 0),
    ("dcgm/a100-sxm4-40gb_mig_1g5gb_driver520.prom", 14, 0),
    ("dcgm/a100-sxm4-40gb_mig_idle_driver520.prom", 14, 0),
    ("dcgm/a100-sxm4-40gb_x2_migoff_driver520.prom", 46, 0),
    ("dcgm/RAW_a100_two_pages_with_separators.txt", 46, 3),
    ("dcgm/MALFORMED_l40s_x2_truncated_labels.prom", 2, 18),
    (VLLM, 395, 0),
    ("triton/triton_doc_samples_2026-08.prom", 16, 0),
    ("nvidia_gpu_exporter/h100_590.48.01_load.prom", 138, 0),
    ("nvidia_gpu_exporter/h100_mig_590.48.01_load.prom", 128, 0),
]


@pytest.mark.parametrize(("name", "accepted", "rejected"), COUNTS, ids=[Path(name).stem for name, _, _ in COUNTS])
def test_a_recorded_page_has_the_counts_of_a_complete_parser(say: Say, name: str, accepted: int, rejected: int) -> None:
    found = told(say, PAGES / name)
    assert (found["accepted"], found["rejected"]) == (accepted, rejected)
    assert found["lines"] == accepted + rejected


@pytest.mark.parametrize("name", [*(name for name, _, _ in COUNTS), *WRITTEN], ids=lambda name: Path(name).stem)
def test_every_line_of_a_page_is_accounted_for_exactly_once(say: Say, name: str) -> None:
    found = told(say, PAGES / name)
    page = (PAGES / name).read_bytes()
    lines = [n for n, raw in enumerate(grammar.split(page), 1) if not grammar.blank_or_comment(raw)]
    mentioned = [entry["line"] for entry in (*found["samples"], *found["dropped"])]
    assert sorted(mentioned) == lines
    assert all(entry["why"] for entry in found["dropped"])


def reasons(found: dict[str, Any]) -> dict[int, str]:
    return {entry["line"]: entry["why"] for entry in found["dropped"]}


def of_text(say: Say, tmp_path: Path, text: str, *words: object) -> dict[str, Any]:
    path = tmp_path / "page.prom"
    path.write_text(text, encoding="utf-8")
    return told(say, path, *words)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("a 1_0", "has the value '1_0', which is not a number", id="what the grammar refuses"),
        pytest.param(
            'DCGM_FI_DEV_GPU_TEMP{UUID="G"} 9223372036854775794',
            "the sentinel 9.2233720368547758e+18: the source has no value",
            id="a sentinel",
        ),
        pytest.param("sglang:cache_hit_rate -1", "the sentinel -1: the source has no value", id="a cache that is off"),
        pytest.param("a +Inf", "an infinite value", id="an infinite value"),
        pytest.param(
            "a_created 1.7e9", "tells when a series was created, which is no measurement", id="a time of creation"
        ),
        pytest.param(
            'sglang:num_queue_reqs{tp_rank="1"} 3',
            "tp_rank 1 repeats what rank 0 of its engine says",
            id="another rank of one engine",
        ),
        pytest.param(
            'nv_inference_queue_summary_us{quantile="0.5"} 3',
            "a summary's quantile: it cannot be merged over instances",
            id="a summary's quantile",
        ),
        pytest.param(
            'DCGM_FI_DEV_GPU_UTIL{UUID="G",GPU_I_ID="7"} 3',
            "is a value of the whole board that the driver does not have for a MIG instance",
            id="a MIG instance's share of a board",
        ),
    ],
)
def test_a_line_that_is_dropped_says_why(say: Say, tmp_path: Path, text: str, why: str) -> None:
    found = of_text(say, tmp_path, text + "\n")
    assert reasons(found) == {1: why}
    assert found["samples"] == []


def test_a_better_spelling_takes_the_place_of_the_old_one(say: Say, tmp_path: Path) -> None:
    text = "vllm:gpu_cache_usage_perc 0.4\nvllm:kv_cache_usage_perc 0.5\n"
    found = of_text(say, tmp_path, text)
    assert reasons(found) == {
        1: "kv_cache_used_ratio is already said by vllm:kv_cache_usage_perc in line 2; spellings are never added"
    }
    assert [s["value"] for s in found["samples"]] == [0.5]
    assert found["engine"] == [
        {
            "engine": "vllm",
            "version": None,
            "since": "0.9.2",
            "until": "0.11",
            "proof": ["vllm:gpu_cache_usage_perc", "vllm:kv_cache_usage_perc"],
        }
    ]


def test_of_a_series_that_is_printed_twice_the_last_line_counts(say: Say, tmp_path: Path) -> None:
    found = of_text(say, tmp_path, "a 1\nb 2\na 3\n")
    assert reasons(found) == {1: "the series is printed again in line 3, which counts"}
    assert (found["duplicates"], found["accepted"]) == (1, 3)
    assert {s["name"]: s["value"] for s in found["samples"]} == {"a": 3.0, "b": 2.0}


def test_a_value_that_the_source_does_not_have_is_a_sample_without_one(say: Say, tmp_path: Path) -> None:
    found = of_text(say, tmp_path, "requests_waiting NaN\n")
    (sample,) = found["samples"]
    assert (sample["value"], sample["from"]["value"]) == (None, "NaN")


def test_a_board_s_value_that_its_mig_instances_repeat_is_kept_once(say: Say) -> None:
    found = told(say, PAGES / MIG)
    energy = [s for s in found["samples"] if s["metric"] == "gpu_energy_joules_total"]
    assert len(energy) == 1
    assert energy[0]["value"] == pytest.approx(6890.956)
    assert (
        list(reasons(found).values()).count("repeats gpu_energy_joules_total of line 33: one value of one device") == 3
    )


def test_a_sample_has_its_name_its_metric_base_units_and_where_it_came_from(say: Say) -> None:
    found = told(say, PAGES / L4)
    (clock,) = [s for s in found["samples"] if s["metric"] == "gpu_sm_clock_hertz"]
    assert clock["name"] == clock["from"]["name"] == "DCGM_FI_DEV_SM_CLOCK"
    assert clock["value"] == clock["from"]["value"] * 1e6
    assert (clock["unit"], clock["kind"]) == ("hertz", "gauge")
    assert "UUID" in clock["from"]["labels"]
    assert "uuid" in clock["labels"]


def test_several_series_of_one_line_stand_under_that_line(say: Say, tmp_path: Path) -> None:
    clock = told(say, PAGES / L4)["samples"]
    assert [also["metric"] for s in clock for also in s.get("also", ())] == ["gpu_info"]
    bits = of_text(say, tmp_path, 'DCGM_FI_DEV_CLOCKS_EVENT_REASONS{UUID="G"} 4\n')
    (sample,) = bits["samples"]
    series = [sample, *sample["also"]]
    assert {s["metric"] for s in series} == {"gpu_clock_event_active"}
    assert {s["labels"]["reason"]: s["value"] for s in series}["power_cap"] == 1.0
    assert sum(s["value"] for s in series) == 1.0


def test_series_that_no_line_carries_alone_are_listed_as_derived(say: Say) -> None:
    found = told(say, PAGES / "written" / "trtllm.prom")
    assert {s["metric"]: s["value"] for s in found["derived"]} == {
        "kv_cache_capacity_tokens": 64000.0,
        "requests_arrived_total": 10.0,
    }


def test_what_the_exporter_s_counters_file_lacks_is_told_with_its_line(say: Say) -> None:
    missing = told(say, PAGES / L4)["missing"]
    (sm,) = [m for m in missing if m["metric"] == "gpu_sm_active_ratio"]
    assert sm["field"] == "DCGM_FI_PROF_SM_ACTIVE"
    assert sm["csv_line"].startswith("DCGM_FI_PROF_SM_ACTIVE, gauge, ")
    assert not any(m["metric"] == "gpu_temperature_celsius" for m in missing)
    assert told(say, PAGES / VLLM)["missing"] == []


def test_the_target_s_labels_are_merged_as_the_scraper_does(say: Say, tmp_path: Path) -> None:
    found = of_text(say, tmp_path, 'a{pool="theirs"} 1\n', "--labels", "pool=chat", "--labels", "host=n1")
    assert found["samples"][0]["labels"] == {"exported_pool": "theirs", "host": "n1", "pool": "chat"}


def test_names_without_a_prefix_are_read_when_the_page_is_said_to_be_nim(say: Say) -> None:
    path = PAGES / "written" / "nim.prom"
    plain, nim = told(say, path), told(say, path, "--engine", "nim")
    assert "kv_cache_used_ratio" not in {s["metric"] for s in plain["samples"]}
    assert "kv_cache_used_ratio" in {s["metric"] for s in nim["samples"]}
    assert "--engine nim" in say("page", path)[1]


def test_a_timestamp_is_shown_in_the_format_s_own_unit(say: Say, tmp_path: Path) -> None:
    assert of_text(say, tmp_path, "a 1 1500\n")["samples"][0]["timestamp"] == 1.5
    assert of_text(say, tmp_path, "a 1 1500\n", "--openmetrics")["samples"][0]["timestamp"] == 1500.0


# --- where a page comes from ----------------------------------------------------------------------------------------


def test_a_gzipped_file_is_unpacked(say: Say, tmp_path: Path) -> None:
    packed = tmp_path / "page.gz"
    packed.write_bytes(gzip.compress((PAGES / L4).read_bytes()))
    assert told(say, packed)["accepted"] == 23


def test_standard_input_is_read_for_a_dash(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((PAGES / L4).read_bytes())))
    found = told(say, "-")
    assert (found["source"], found["accepted"]) == ("-", 23)


def test_a_url_is_fetched_and_its_type_names_the_grammar(say: Say) -> None:
    body = b"a_total 1 1500\n# EOF\n"
    with Pages({"/m": answer(body, content_type="application/openmetrics-text; version=1.0.0")}) as pages:
        found = told(say, pages.url("/m"))
    assert (found["format"], found["samples"][0]["timestamp"]) == ("openmetrics", 1500.0)
    assert found["source"].endswith("/m")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/404", "answered HTTP 404 Not Found, expected 200"),
        ("/html", "answered with type 'text/html'"),
        ("/slow", "no complete answer within 0.2 s"),
    ],
)
def test_a_url_that_gives_no_page_is_a_failure_that_says_why(say: Say, path: str, words: str) -> None:
    answers = {
        "/404": answer(b"", "404 Not Found"),
        "/html": answer(b"<html>", content_type="text/html"),
        "/slow": hang,
    }
    with Pages(answers) as pages:
        code, out, err = say("page", pages.url(path), "--timeout", "0.2")
    assert (code, out) == (1, "")
    assert words in err
    assert "Traceback" not in err


def test_a_password_in_a_url_is_shown_nowhere(say: Say) -> None:
    with Pages({"/m": answer(b"", "500 Oops")}) as pages:
        _, out, err = say("page", pages.url("/m").replace("//", "//me:secret@"))
    assert "secret" not in out + err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nowhere.prom",), "nowhere.prom: No such file or directory; name a file, a URL"),
        (("ftp://host/m",), "is not the address of a page; write http://HOST:PORT/metrics"),
        (("--engine", "vllm", "-"), "--engine vllm: is not known; only nim has to be named"),
        (("--labels", "pool", L4), "--labels pool: 'pool' is not NAME=VALUE; write --labels pool=chat"),
    ],
    ids=["a file that is not there", "another scheme", "an engine that needs no naming", "a label without a value"],
)
def test_a_mistake_ends_with_code_2_and_a_next_step(
    say: Say, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(PAGES)
    code, out, err = say("page", *words)
    assert (code, out) == (2, "")
    assert message in err


def test_what_only_looks_like_gzip_or_like_text_is_refused(say: Say, tmp_path: Path) -> None:
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8b" + b"nonsense")
    (tmp_path / "binary").write_bytes(b"\x7fELF\0\0")
    assert "cannot be unpacked" in say("page", tmp_path / "broken.gz")[2]
    assert "is not text" in say("page", tmp_path / "binary")[2]


# --- for people -----------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_each_metric_and_tells_what_was_dropped(say: Say) -> None:
    code, out, _ = say("page", PAGES / MIG)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].endswith("text format, dcgm-exporter")
    assert lines[1] == "56 lines: 56 accepted, 0 rejected, 0 printed twice; 32 samples kept"
    (free,) = [line for line in lines if line.startswith("gpu_memory_free_bytes")]
    assert free.split()[1:3] == ["4", "5.03316e+08"]
    assert "repeats gpu_energy_joules_total of line 33" not in out
    assert "and 3 more reasons; --all shows them" in out
    assert "DCGM_FI_PROF_SM_ACTIVE, gauge, " in out


def test_with_all_every_series_and_every_dropped_line_is_there(say: Say) -> None:
    out = say("page", PAGES / MIG, "--all")[1]
    assert out.count("gpu_memory_free_bytes{") == 4
    assert out.count("repeats gpu_energy_joules_total of line 33") == 3
    assert "--all" not in out


@pytest.mark.parametrize("more", [(), ("--all",)], ids=["in short", "with all"])
def test_what_a_page_says_never_steers_the_terminal(say: Say, tmp_path: Path, more: tuple[str, ...]) -> None:
    page = 'a{x="q\\"r\\nnew",y="\x1b[31m\x07"} 1\nbad \x1b[2J line\n{"n\u202ea"} 2\n'
    (tmp_path / "page").write_text(page, encoding="utf-8")
    out = say("page", tmp_path / "page", *more)[1]
    assert all(character.isprintable() for character in out.replace("\n", ""))
    assert "bad \\x1b[2J line" in out
    assert "n\\u202ea" in out
    if more:
        assert 'a{x="q\\"r\\nnew",y="\\x1b[31m\\x07"} 1' in out.splitlines()
