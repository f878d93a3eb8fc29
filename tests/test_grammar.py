"""One line of an exposition page, read strictly."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from autoscaler.types import Labels
from collectors.pages.grammar import Exemplar, Malformed, Sample, parse, parse_line, samples, type_of, types_of

PAGES = Path(__file__).parent / "data" / "pages"

COUNTS = {
    "dcgm/l4_driver580.105.08_k8s_full.prom": (23, 0),
    "dcgm/t4_driver590.48.01_noheaders.prom": (20, 0),
    "dcgm/h100_x8_partial_podlabels_driver580_mar2026.prom": (30, 0),
    "dcgm/grid_a100-10c_vgpu_driver580.126.09.prom": (11, 0),
    "dcgm/a100-sxm4-40gb_mig_4active_driver520.prom": (56, 0),
    "dcgm/a100-sxm4-40gb_mig_1g5gb_driver520.prom": (14, 0),
    "dcgm/a100-sxm4-40gb_mig_idle_driver520.prom": (14, 0),
    "dcgm/a100-sxm4-40gb_x2_migoff_driver520.prom": (46, 0),
    "dcgm/RAW_a100_two_pages_with_separators.txt": (46, 3),
    "dcgm/MALFORMED_l40s_x2_truncated_labels.prom": (2, 18),
    "vllm/vllm_2026-03_qwen2.5-0.5b_engine-label.prom": (395, 0),
    "triton/triton_doc_samples_2026-08.prom": (16, 0),
    "nvidia_gpu_exporter/h100_590.48.01_load.prom": (138, 0),
    "nvidia_gpu_exporter/h100_mig_590.48.01_load.prom": (128, 0),
}
"""Samples accepted and lines rejected by a complete parser, counted by hand once."""


@pytest.mark.parametrize("name", COUNTS)
def test_a_recorded_page_gives_its_samples_and_its_rejected_lines(name: str) -> None:
    parsed = parse((PAGES / name).read_bytes())
    assert (len(parsed.samples), len(parsed.rejected)) == COUNTS[name]


def printed_names(
    samples_of_client: list[tuple[str, Labels, float]], ours: set[str]
) -> list[tuple[str, Labels, float]]:
    """The client's samples under the names that the page prints: it adds `_total` to counters that lack it."""
    return [
        (name if name in ours else name.removesuffix("_total"), labels, value)
        for name, labels, value in samples_of_client
    ]


@pytest.mark.parametrize("name", [name for name, (_, rejected) in COUNTS.items() if not rejected])
def test_a_recorded_page_reads_as_prometheus_client_reads_it(name: str) -> None:
    page = (PAGES / name).read_bytes()
    ours = [(s.name, s.labels, s.value) for s in samples(page)]
    theirs = [
        (s.name, tuple(sorted(s.labels.items())), float(s.value))
        for family in text_string_to_metric_families(page.decode())
        for s in family.samples
    ]
    assert sorted(printed_names(theirs, {name for name, _, _ in ours})) == sorted(ours)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("up 1", Sample("up", (), 1.0), id="a name and a value"),
        pytest.param("up{} 1", Sample("up", (), 1.0), id="empty braces"),
        pytest.param('up{a="1",} 1', Sample("up", (("a", "1"),), 1.0), id="a trailing comma"),
        pytest.param('up { a = "1" , b="2" } 1', Sample("up", (("a", "1"), ("b", "2")), 1.0), id="blanks in braces"),
        pytest.param('up{le="1", x="y"}\t2', Sample("up", (("le", "1"), ("x", "y")), 2.0), id="a tab before the value"),
        pytest.param("  up   1  ", Sample("up", (), 1.0), id="blanks around everything"),
        pytest.param(r'up{a="\\ \" \n \x"} 1', Sample("up", (("a", '\\ " \n \\x'),), 1.0), id="escapes"),
        pytest.param('up{a="} # , ="} 1', Sample("up", (("a", "} # , ="),), 1.0), id="signs of the grammar in quotes"),
        pytest.param(
            'up{a="一\u2028二"} 1', Sample("up", (("a", "一\u2028二"),), 1.0), id="a line separator in a label"
        ),
        pytest.param('{"a.b",x="1"} 1', Sample("a.b", (("x", "1"),), 1.0), id="a quoted name"),
        pytest.param('{"a.b","c.d"="1"} 1', Sample("a.b", (("c.d", "1"),), 1.0), id="a quoted label name"),
        pytest.param("up 1 1500", Sample("up", (), 1.0, 1.5), id="a timestamp in milliseconds"),
        pytest.param('up{a="1"}5', Sample("up", (("a", "1"),), 5.0), id="no blank after the braces"),
        pytest.param("up +Inf", Sample("up", (), math.inf), id="infinity"),
        pytest.param(
            'x_bucket{le="1"} 5 # {trace="a b"} 0.5 9.5',
            Sample("x_bucket", (("le", "1"),), 5.0, None, Exemplar((("trace", "a b"),), 0.5, 9.5)),
            id="an exemplar, whose value is no timestamp",
        ),
    ],
)
def test_a_line_is_read_as_printed(line: str, expected: Sample) -> None:
    assert parse_line(line)[0] == expected


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param("up", "no value", id="no value"),
        pytest.param('up{a="1"}', "no value", id="half a line after the labels"),
        pytest.param('up{a="1', "without a quoted value", id="half a line in a label"),
        pytest.param("up{a=1} 1", "without a quoted value", id="a label without quotes"),
        pytest.param('up{gpu="0",...,b="x"} 1', "malformed labels", id="labels shortened to dots"),
        pytest.param('up{a="1",a="2"} 1', "twice", id="a label given twice"),
        pytest.param('up{,a="1"} 1', "malformed labels", id="a comma first"),
        pytest.param('{a="1"} 1', "without a metric name", id="labels alone"),
        pytest.param("1up 1", "metric name", id="a name that starts with a digit"),
        pytest.param("up-time 1", "in its name", id="a minus in a name"),
        pytest.param("up 1_000", "not a number", id="an underscore in a number"),
        pytest.param("up ١٢", "not a number", id="digits of another script"),
        pytest.param("up 0x10", "not a number", id="a hexadecimal number"),
        pytest.param("up one", "not a number", id="a word"),
        pytest.param("up 1\x0c", "not a number", id="a form feed after the number"),
        pytest.param("up 1 soon", "timestamp", id="a word for a timestamp"),
        pytest.param("up 1 2.5", "timestamp", id="a fraction of a millisecond"),
        pytest.param("up 1 2 3", "malformed value", id="three numbers"),
        pytest.param('up 1 # {a="1"', "malformed labels", id="half an exemplar"),
        pytest.param('up 1# {a="1"} 2', "malformed value", id="an exemplar without a blank"),
        pytest.param("----", "metric name", id="a rule"),
    ],
)
def test_a_line_that_breaks_a_rule_is_rejected_with_the_rule(line: str, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        parse_line(line)


def test_a_timestamp_of_openmetrics_is_in_seconds() -> None:
    assert parse_line("up 1 1.5", openmetrics=True)[0].timestamp == 1.5


def test_one_malformed_line_loses_one_sample_and_is_named() -> None:
    parsed = parse("a 1\nb{x=} 2\nc 3\n")
    assert [s.name for s in parsed.samples] == ["a", "c"]
    assert [(r.number, r.text) for r in parsed.rejected] == [(2, "b{x=} 2")]


def test_a_line_that_is_not_utf8_loses_one_sample() -> None:
    parsed = parse(b'a 1\nb{x="\xff"} 2\nc 3')
    assert [s.name for s in parsed.samples] == ["a", "c"]
    assert "UTF-8" in parsed.rejected[0].why


def test_crlf_blank_lines_and_a_missing_last_line_feed_change_nothing() -> None:
    assert list(samples("# HELP a x\r\na 1\r\n\r\n \t\r\nb 2\r")) == [Sample("a", (), 1.0), Sample("b", (), 2.0)]


def test_only_a_line_feed_ends_a_line() -> None:
    assert next(samples('a{x="1\u20282\x0b3\x0c4\x855"} 1\n')).labels == (("x", "1\u20282\x0b3\x0c4\x855"),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a", "gauge"),
        ("b_total", "counter"),
        ("b", "counter"),
        ("h_bucket", "histogram"),
        ("h_sum", "histogram"),
        ("x", ""),
    ],
)
def test_the_type_of_a_sample_is_that_of_its_family(name: str, expected: str) -> None:
    types = types_of(
        [b"# TYPE a counter", b"# TYPE a gauge", b"# TYPE b_total counter", b"# TYPE h histogram", b"# HELP x y"]
    )
    assert type_of(name, types) == expected


# --- round trip -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
LABEL_NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True)
LABELS = st.dictionaries(LABEL_NAMES | TEXT.filter(bool), TEXT, max_size=4).map(lambda d: tuple(sorted(d.items())))
VALUES = st.floats(allow_nan=False) | st.integers(-(2**40), 2**40).map(float)
BLANK = st.sampled_from(["", " ", "  ", "\t"])
GAP = st.sampled_from([" ", "  ", "\t", " \t "])


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def bare(name: str) -> bool:
    return name.isascii() and name.replace("_", "a").isalnum() and not name[0].isdigit()


@st.composite
def printed(draw: st.DrawFn) -> tuple[Sample, str]:
    """A sample and one of the ways in which OpenMetrics may print it."""
    name, labels, with_braces = draw(NAMES | TEXT.filter(bool)), draw(LABELS), draw(st.booleans())
    exemplar = draw(st.none() | st.builds(Exemplar, LABELS, VALUES, st.none() | st.floats(0, 1e9)))
    sample = Sample(name, labels, draw(VALUES), draw(st.none() | st.floats(0, 1e10)), exemplar)

    def pairs(entries: Labels) -> list[str]:
        return [
            draw(BLANK) + (label if bare(label) else quoted(label)) + draw(BLANK) + "=" + draw(BLANK) + quoted(text)
            for label, text in draw(st.permutations(entries))
        ]

    def braces(parts: list[str]) -> str:
        comma: str = draw(st.sampled_from(["", ","])) if parts else ""
        return "{" + (draw(BLANK) + ",").join(parts) + comma + draw(BLANK) + "}"

    if bare(name.replace(":", "_")):
        line = name + (draw(BLANK) + braces(pairs(labels)) if labels or with_braces else "")
    else:
        line = braces([quoted(name), *pairs(labels)])
    line = draw(BLANK) + line + draw(GAP) + repr(sample.value)
    if sample.timestamp is not None:
        line += draw(GAP) + repr(sample.timestamp)
    if exemplar is not None:
        line += draw(GAP) + "#" + draw(BLANK) + braces(pairs(exemplar.labels)) + draw(GAP) + repr(exemplar.value)
        if exemplar.timestamp is not None:
            line += draw(GAP) + repr(exemplar.timestamp)
    return sample, line + draw(BLANK)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(printed(), max_size=4), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_what_is_printed_is_read_back(lines: list[tuple[Sample, str]], ending: str, ended: bool) -> None:
    text = ending.join(line for _, line in lines) + (ending if ended else "")
    parsed = parse(text, openmetrics=True)
    assert parsed.rejected == ()
    assert list(parsed.samples) == [sample for sample, _ in lines]


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='a{}=",\\ 1#\n', max_size=40).map(str.encode))
def test_any_bytes_are_read_without_an_error(page: bytes) -> None:
    parsed = parse(page)
    assert len(parsed.samples) + len(parsed.rejected) <= page.count(b"\n") + 1
