"""Reading recorded workloads, most of them broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from autoscaler.trace import load_arrivals, load_trace, parse_arrivals, parse_trace

DATA = Path(__file__).parent.parent / "autoscaler" / "demo" / "data"
HEADER = "t_s,requests,missing\n"


def test_rows_are_amounts_per_bucket() -> None:
    trace = parse_trace("t_s,requests,tokens\n0,10,7\n60,20,8\n120,0,9\n", "t.csv", "requests")
    assert trace.at_s.tolist() == [0, 60, 120]
    assert trace.amount.tolist() == [10, 20, 0]
    assert trace.step_s == 60
    assert not trace.missing.any()
    assert trace.end_s == 180


@pytest.mark.parametrize(
    ("t_s", "rate"),
    [
        pytest.param(-0.1, 0.0, id="nothing comes before the start"),
        pytest.param(100.0, 1.0, id="a left edge belongs to its bucket"),
        pytest.param(109.9, 1.0, id="a bucket has one rate"),
        pytest.param(110.0, 2.0, id="the next bucket has its own"),
        pytest.param(129.9, 4.0, id="the last bucket counts in full"),
        pytest.param(130.0, 0.0, id="nothing comes after the end"),
    ],
)
def test_the_rate_is_the_amount_over_the_length_of_the_bucket(t_s: float, rate: float) -> None:
    assert parse_trace("t_s,requests\n100,10\n110,20\n120,40\n", "t.csv", "requests").rate_at(t_s) == rate


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param("0,10,0\n60,0,1\n120,30,0\n180,40,0\n", id="a row marked as missing"),
        pytest.param("0,10,0\n60,,1\n120,30,0\n180,40,0\n", id="a missing row without a value"),
        pytest.param("0,10,0\n120,30,0\n180,40,0\n", id="an absent row"),
        pytest.param("\n0,10,0\r\n\n120,30,0\r\n180,40,0", id="other line ends and blank lines"),
    ],
)
def test_a_gap_is_unknown_and_not_zero(rows: str) -> None:
    trace = parse_trace(HEADER + rows, "t.csv", "requests")
    assert trace.missing.tolist() == [False, True, False, False]
    assert np.isnan(trace.rate_at(90.0))
    assert trace.rate_at(30.0) == pytest.approx(10 / 60)
    assert trace.bridged().amount.tolist() == [10, 20, 30, 40]


def test_times_that_were_rounded_do_not_drift_off_their_buckets() -> None:
    rows = "".join(f"{n / 3:.3f},{n}\n" for n in range(5000))
    trace = parse_trace("t_s,requests\n" + rows, "t.csv", "requests")
    assert len(trace.amount) == 5000
    assert trace.step_s == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "", "t.csv:1:1: the first column is '', not t_s (seconds); name the columns in line 1", id="an empty file"
        ),
        pytest.param(
            "time,requests\n0,1\n",
            "t.csv:1:1: time: the first column is 'time', not t_s (seconds); name the columns in line 1",
            id="another first column",
        ),
        pytest.param(
            "t_s,users\n0,1\n60,2\n",
            "t.csv:1:1: requests: is not a value column of this file; it has users",
            id="no such column",
        ),
        pytest.param(
            HEADER, "t.csv:1:1: t_s: 0 row(s) do not tell the length of a bucket; give two or more", id="no rows"
        ),
        pytest.param(
            HEADER + "0,1,0\n",
            "t.csv:2:1: t_s: 1 row(s) do not tell the length of a bucket; give two or more",
            id="one row",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,2\n",
            "t.csv:3:1: row: 2 cell(s) in a table of 3 columns; complete or delete the row",
            id="half a row",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,2,0,9\n120,1,0\n",
            "t.csv:3:1: row: 4 cell(s) in a table of 3 columns",
            id="a cell too many",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,many,0\n",
            "t.csv:3:4: requests: 'many' is not a number; write one such as 12.5, or mark the row as a "
            "gap in a column missing",
            id="a word",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,,0\n", "t.csv:3:4: requests: '' is not a number", id="an empty cell outside a gap"
        ),
        pytest.param(HEADER + "0,1,0\n60,nan,0\n", "t.csv:3:4: requests: 'nan' is not a number", id="NaN"),
        pytest.param(HEADER + "0,1,0\n60,1e999,0\n", "t.csv:3:4: requests: '1e999' is not a number", id="infinity"),
        pytest.param(
            HEADER + "0,1,0\n60,1_000,0\n",
            "t.csv:3:4: requests: '1_000' is not a number",
            id="what only Python takes for a number",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,\u0661,0\n",
            "t.csv:3:4: requests: '\u0661' is not a number",
            id="another script's digit",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,-2,0\n",
            "t.csv:3:4: requests: -2 is below 0, an amount never is; correct the row",
            id="a negative amount",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,2,yes\n",
            "t.csv:3:6: missing: 'yes' is neither 0 nor 1; write 1 for a gap, else 0",
            id="a flag that is a word",
        ),
        pytest.param(
            HEADER + "noon,1,0\n60,2,0\n",
            "t.csv:2:1: t_s: 'noon' is not a number; write one such as 12.5",
            id="a time that is a word",
        ),
        pytest.param(
            HEADER + "60,1,0\n0,2,0\n",
            "t.csv:3:1: t_s: 0 comes before 60 of the row above; sort the rows by t_s",
            id="time going backwards",
        ),
        pytest.param(
            HEADER + "0,1,0\n0,2,0\n",
            "t.csv:3:1: t_s: 0 is there twice; give one row a bucket, or read a file of requests as arrivals",
            id="a time twice",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,2,0\n120,2,0\n150,2,0\n",
            "t.csv:5:1: t_s: 150 does not lie on buckets of 60 s, the commonest distance; give even buckets, or "
            "read a file of requests as arrivals",
            id="an uneven bucket",
        ),
        pytest.param(
            HEADER + "0,1,0\n60,2,0\n60000,2,0\n",
            "t.csv:4:1: t_s: 60000 would leave most buckets empty; correct the times, or cut the trace",
            id="a time far away",
        ),
    ],
)
def test_a_broken_trace_is_refused_with_place_rule_and_next_step(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_trace(text, "t.csv", "requests")
    assert message in str(caught.value)


def test_all_faults_are_listed_at_once_up_to_twenty() -> None:
    with pytest.raises(InputError) as caught:
        parse_trace(HEADER + "x,y,z\n" * 10, "t.csv", "requests")
    lines = str(caught.value).split("\n")
    assert len(lines) == 21
    assert lines[1] == "t.csv:2:1: t_s: 'x' is not a number; write one such as 12.5"
    assert lines[20] == "t.csv: 10 more faults; correct these first"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("t.csv", None, "there is no such file; check the path", id="no file"),
        pytest.param(
            "t.csv.gz", b"t_s,requests\n", "is not a whole gzip file", id="text under the name of a gzip file"
        ),
        pytest.param(
            "t.csv.gz",
            gzip.compress(b"t_s,requests\n0,1\n60,2\n")[:-9],
            "is not a whole gzip file",
            id="half a gzip file",
        ),
        pytest.param(
            "t.csv",
            b"t_s,requests\n0,\xff\n",
            "byte 15 is not UTF-8 text; save the file as UTF-8",
            id="bytes that are no text",
        ),
        pytest.param(
            "", None, "cannot be read (Is a directory); check that it is a file that this user may read", id="a folder"
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_trace(path, "requests")
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_the_bundled_trace_by_the_minute_is_the_sum_of_the_bundled_requests() -> None:
    minutes = load_trace(DATA / "azure2023_conv_1min.csv.gz", "requests")
    requests = load_arrivals(DATA / "azure2023_conv_requests.csv.gz", "input_tokens", "output_tokens")
    assert (len(minutes.amount), minutes.step_s, len(requests.at_s)) == (59, 60.0, 19366)
    counts, _ = np.histogram(requests.at_s, bins=np.append(minutes.at_s, minutes.end_s))
    assert counts.tolist() == minutes.amount.tolist()
    tokens = load_trace(DATA / "azure2023_conv_1min.csv.gz", "output_tokens")
    assert requests.values[1].sum() == tokens.amount.sum()


def test_a_file_of_requests_is_not_taken_for_a_trace() -> None:
    with pytest.raises(InputError, match="read a file of requests as arrivals"):
        load_trace(DATA / "azure2023_conv_requests.csv.gz", "input_tokens")


def test_arrivals_may_share_a_time_and_may_be_in_a_gap_of_nothing() -> None:
    arrivals = parse_arrivals("t_s,tokens\n0,3\n0,4\n9.5,5\n", "t.csv", "tokens")
    assert arrivals.at_s.tolist() == [0, 0, 9.5]
    assert arrivals.values.tolist() == [[3, 4, 5]]
    assert parse_arrivals("t_s\n1\n2\n", "t.csv").values.shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "t_s,tokens\n5,1\n4,1\n",
            "t.csv:3:1: t_s: 4 comes before 5 of the row above; sort the rows by t_s",
            id="time going backwards",
        ),
        pytest.param(
            "t_s,tokens\n",
            "t.csv:1:1: t_s: there are no rows below the header; give one for each request",
            id="no rows",
        ),
        pytest.param("t_s,tokens\n1,x\n", "t.csv:2:3: tokens: 'x' is not a number", id="a word"),
    ],
)
def test_broken_arrivals_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_arrivals(text, "t.csv", "tokens")
    assert message in str(caught.value)


@settings(derandomize=True, max_examples=50)
@given(amounts=st.lists(st.none() | st.integers(0, 10**6), min_size=2, max_size=50), step=st.integers(1, 3600))
def test_what_was_written_is_read_back(amounts: list[int | None], step: int) -> None:
    rows = "".join(f"{n * step},{'' if a is None else a},{int(a is None)}\n" for n, a in enumerate(amounts))
    trace = parse_trace(HEADER + rows, "t.csv", "requests")
    assert [None if np.isnan(a) else int(a) for a in trace.amount] == amounts
    assert trace.missing.tolist() == [a is None for a in amounts]
    assert trace.step_s == step


@settings(derandomize=True, max_examples=100)
@given(text=st.text(alphabet='t_s,requests\n0123456789.-"e \r\x00é', max_size=80))
def test_any_text_is_a_trace_or_an_input_error(text: str) -> None:
    try:
        trace = parse_trace("t_s,requests\n" + text, "t.csv", "requests")
    except InputError:
        return
    assert trace.step_s > 0
