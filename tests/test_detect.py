"""The detector: what it says of a row rests on earlier rows, alerts are few and early, tables come back as written."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.detect.alarm import Bell
from autoscaler.detect.detector import Detected, detect
from autoscaler.detect.rolling import earlier_days, mean, median_before
from autoscaler.detect.settings import VIEWS, Alarm, Tail
from autoscaler.detect.tail import fit
from autoscaler.errors import InputError
from autoscaler.stamped import parse_stamped
from benchmarks.drawn import FAMILIES
from tests.cliworld import Say, speaker

NAN = float("nan")
HOUR_S, DAY_S = 3600.0, 86400.0


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


def wave(rows: int = 2016, step_s: float = 300.0, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """A daily wave of 100 +/- 50 with noise of 2."""
    at_s = step_s * np.arange(rows)
    return at_s, 100 + 50 * np.sin(2 * np.pi * at_s / DAY_S) + np.random.default_rng(seed).normal(0, 2.0, rows)


def same(a: Detected, b: Detected, rows: int) -> None:
    for name in ("lower", "upper", "score", "anomalous", "view"):
        np.testing.assert_array_equal(getattr(a, name)[:rows], getattr(b, name)[:rows], err_msg=name)


# --- what may be known -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [f for f in FAMILIES if f.__name__ in ("balancer", "disk_writes", "click_price")])
@pytest.mark.parametrize("rows", [29, 200, 611, 1400])
def test_what_is_said_of_a_row_does_not_change_with_what_comes_after(family: object, rows: int) -> None:
    assert callable(family)
    step_s, values, _ = family(np.random.default_rng(4))
    values = values[:1600].copy()
    values[50:60] = NAN
    at_s = step_s * np.arange(len(values))
    same(detect(at_s, values), detect(at_s[:rows], values[:rows]), rows)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    values=st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([NAN, 0.0, 5.0, 1e300, -np.inf])), max_size=220),
    gaps_s=st.lists(st.sampled_from([-60.0, 0.0, 60.0, 3600.0, 9e4]), min_size=220, max_size=220),
    cut=st.integers(0, 220),
)
def test_any_series_gets_a_score_for_every_row_from_the_past_only(
    values: list[float], gaps_s: list[float], cut: int
) -> None:
    at_s = np.cumsum(gaps_s)[: len(values)]
    found = detect(at_s, np.array(values, dtype=np.float64))
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert np.isfinite(np.array(values)[found.anomalous]).all()
    assert (found.score[found.anomalous] > 0.5).all()
    judged = ~np.isnan(found.lower)
    assert (found.lower[judged] <= found.upper[judged]).all()
    same(found, detect(at_s[:cut], np.array(values[:cut], dtype=np.float64)), min(cut, len(values)))


@pytest.mark.parametrize(
    ("factor", "offset"),
    [
        pytest.param(1e-6, 0.0, id="in millionths"),
        pytest.param(1e9, 0.0, id="in billions"),
        pytest.param(1.0, 1e6, id="far from zero"),
    ],
)
def test_alerts_do_not_depend_on_the_unit(factor: float, offset: float) -> None:
    at_s, values = wave()
    values[1500:1510] += 80
    np.testing.assert_array_equal(detect(at_s, values).anomalous, detect(at_s, factor * values + offset).anomalous)


# --- what is found -----------------------------------------------------------------------------------------------


def fired(values: np.ndarray, at_s: np.ndarray) -> list[int]:
    found: list[int] = np.flatnonzero(detect(at_s, values).anomalous).tolist()
    return found


@pytest.mark.parametrize(
    ("begin", "end", "change"),
    [
        pytest.param(1500, 1502, lambda x: x + 120, id="a spike"),
        pytest.param(1500, 1600, lambda x: x + 60, id="a level that rises"),
        pytest.param(1500, 1600, lambda x: x - 60, id="a level that falls"),
        pytest.param(1470, 1600, lambda x: np.full_like(x, 100.0), id="a daily wave that is lost"),
        pytest.param(1500, 1560, lambda x: 0 * x, id="nothing at all"),
    ],
)
def test_an_anomaly_is_told_once_and_soon(begin: int, end: int, change: object) -> None:
    at_s, values = wave()
    assert callable(change)
    values[begin:end] = change(values[begin:end])
    assert [row for row in fired(values, at_s) if begin <= row < begin + 80] != []
    assert len([row for row in fired(values, at_s) if begin <= row < begin + 100]) == 1


def test_an_ordinary_daily_wave_fires_little_after_two_days() -> None:
    counts = [len([row for row in fired(wave(seed=seed)[1], wave()[0]) if row > 600]) for seed in range(8)]
    assert sum(counts) <= 8


@pytest.mark.parametrize("value", [0.0, 7.5, -3.0])
def test_a_series_that_stands_still_fires_never_and_its_first_move_at_once(value: float) -> None:
    at_s, values = 60.0 * np.arange(400), np.full(400, value)
    assert fired(values, at_s) == []
    values[300:] += 1.0
    assert fired(values, at_s)[0] == 300


def test_ten_thousand_rows_take_memory_and_time_of_their_number_only() -> None:
    at_s, values = wave(10_000)
    reached: list[int] = []
    detect(at_s, values, progress=reached.append)
    assert reached[-1] == 10_000
    assert reached == sorted(reached)


# --- parts -------------------------------------------------------------------------------------------------------


def test_rolling_means_and_medians_equal_the_plain_ones() -> None:
    values = np.random.default_rng(2).normal(50, 9, 300)
    np.testing.assert_allclose(mean(values, 12), [values[max(0, n - 11) : n + 1].mean() for n in range(300)])
    plain = [values[0], *(np.median(values[max(0, n - 24) : n]) for n in range(1, 300))]
    np.testing.assert_allclose(median_before(values, 24), plain)


def test_the_same_time_of_earlier_days_is_found_through_gaps() -> None:
    at_s = HOUR_S * np.arange(24 * 6, dtype=np.float64)
    values = at_s % DAY_S
    kept = np.ones(at_s.size, dtype=bool)
    kept[60:80] = False
    usual = earlier_days(at_s[kept], values[kept])
    assert np.isnan(usual[:48]).all()
    near = usual[-20:-4] - values[kept][-20:-4]
    assert np.abs(near).max() <= HOUR_S


def test_a_tail_through_two_quantiles_gives_back_the_rarity_of_exponential_values() -> None:
    past = np.random.default_rng(8).exponential(3.0, (1, 20_000))
    tails = fit(past, Tail(shape=1e-6))
    probe = 3.0 * np.log(10.0) * np.array([2.0, 3.0, 5.0])
    np.testing.assert_allclose(tails.rarity(probe[None])[0], [2.0, 3.0, 5.0], atol=0.25)
    np.testing.assert_allclose(tails.distance(0, np.array([2.0, 3.0, 5.0])), probe, rtol=0.06)


def test_a_view_that_has_known_too_little_sees_nothing_rare() -> None:
    past = np.full((1, 100), NAN)
    past[0, :20] = np.arange(20)
    assert fit(past, Tail()).rarity(np.array([[1e9]]))[0, 0] == 0.0


LAW = Alarm(silence_s=100.0, again_s=30.0, worse=1.0, habit=3, habit_s=1000.0)


@pytest.mark.parametrize(
    ("rows", "rung"),
    [
        pytest.param([(0, 3.0), (50, 3.5), (99, 3.9), (100, 3.0)], [0, 100], id="silence lasts as long as it is set"),
        pytest.param([(0, 3.0), (20, 9.0), (60, 9.5)], [0], id="what was worse at once is the same anomaly"),
        pytest.param([(0, 3.0), (40, 4.1), (60, 4.2)], [0, 40], id="what is notably worse later breaks the silence"),
        pytest.param([(0, 3.0), (100, 5.0), (200, 4.0), (300, 4.0), (400, 4.1)], [0, 100, 200, 400],
                     id="after three alerts only what is rarer than the median of them is told"),
        pytest.param([(0, 3.0), (100, 5.0), (200, 4.0), (1250, 3.0)], [0, 100, 200, 1250], id="habits are forgotten"),
    ],
)  # fmt: skip
def test_a_bell_rings(rows: list[tuple[float, float]], rung: list[float]) -> None:
    bell = Bell(LAW)
    assert [at for at, rarity in rows if bell.rings(at, rarity)] == rung


# --- tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamp", "at_s"),
    [
        pytest.param("2014-02-14 14:30:00", 1392388200.0, id="no zone is UTC"),
        pytest.param("2014-02-14T14:30:00Z", 1392388200.0, id="Z"),
        pytest.param("2014-02-14T15:30:00.5+01:00", 1392388200.5, id="another zone, a fraction"),
        pytest.param("1392388200", 1392388200.0, id="seconds"),
        pytest.param("1392388200500", 1392388200.5, id="milliseconds"),
        pytest.param("-60", -60.0, id="before some start"),
    ],
)
def test_times_are_read_as_people_write_them(stamp: str, at_s: float) -> None:
    assert parse_stamped(f"timestamp,value\n{stamp},1\n", "x").at_s[0] == at_s


@pytest.mark.parametrize("cell", ["", "NaN", "nan", "null", "inf", "NA"])
def test_what_is_no_value_is_a_gap(cell: str) -> None:
    assert np.isnan(parse_stamped(f"timestamp,value\n0,{cell}\n60,1\n", "x").values).tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "x:1:1: timestamp: the columns are none; name one of them timestamp or t_s", id="empty"),
        pytest.param("time,value\n0,1\n", "x:1:1: timestamp: the columns are time, value; name one", id="no time"),
        pytest.param("timestamp,load\n0,1\n", "x:1:1: value: is not a column of this file; it has load", id="no value"),
        pytest.param("timestamp,value\n", "x:1:1: timestamp: there are no rows below the header", id="no rows"),
        pytest.param("timestamp,value\nsoon,1\n", "x:2:1: timestamp: 'soon' is not a time; write", id="no such time"),
        pytest.param("timestamp,value\nnan,1\n", "x:2:1: timestamp: 'nan' is not a time; write", id="NaN as a time"),
        pytest.param("timestamp,value\n0,much\n", "x:2:3: value: 'much' is not a number; write", id="no number"),
        pytest.param("timestamp,value\n0,1,2\n", "x:2:1: row: 3 cell(s) in a table of 2 columns", id="too many cells"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InputError) as told:
        parse_stamped(text, "x")
    assert str(told.value).startswith(said)


def test_only_the_first_faults_are_told() -> None:
    with pytest.raises(InputError) as told:
        parse_stamped("timestamp,value\n" + "0,x\n" * 30, "x")
    assert len(str(told.value).splitlines()) == 21
    assert "10 more faults" in str(told.value)


# --- the command -------------------------------------------------------------------------------------------------


def written(path: Path) -> list[dict[str, str]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lines_of(rows: int) -> list[str]:
    _, values = wave(rows)
    values[1500:1510] += 120
    stamps = np.datetime64("2024-03-01T00:00:00") + np.arange(rows) * np.timedelta64(300, "s")
    return ["timestamp,value", *(f"{str(at).replace('T', ' ')},{x:.4f}" for at, x in zip(stamps, values, strict=True))]


@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
def test_the_table_comes_back_with_four_columns_more(say: Say, tmp_path: Path, end: str) -> None:
    data, out = tmp_path / f"load{end}", tmp_path / f"found{end}"
    text = "\n".join(lines_of(1800)) + "\n"
    data.write_bytes(gzip.compress(text.encode()) if end.endswith("gz") else text.encode())
    code, shown, _ = say("detect", data, "--out", out)
    rows = written(out)
    assert code == 0
    assert list(rows[0]) == ["timestamp", "value", "lower", "upper", "anomaly_score", "anomalous"]
    assert [f"{row['timestamp']},{row['value']}" for row in rows] == lines_of(1800)[1:]
    assert {row["anomalous"] for row in rows} == {"0", "1"}
    assert all(0.0 <= float(row["anomaly_score"]) <= 1.0 for row in rows)
    told = [row for row in rows[1500:1510] if row["anomalous"] == "1"]
    assert len(told) == 1
    assert told[0]["timestamp"] in shown
    assert not float(told[0]["lower"]) < float(told[0]["value"]) < float(told[0]["upper"])


def test_gaps_repeats_and_steps_back_are_judged_where_they_stand_and_counted(say: Say, tmp_path: Path) -> None:
    lines = lines_of(1800)
    lines[300] = lines[300].split(",")[0] + ","
    lines[401] = lines[400].split(",")[0] + ",100"
    lines[600], lines[601] = lines[601], lines[600]
    data, out = tmp_path / "load.csv", tmp_path / "found.csv"
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    code, shown, _ = say("detect", data, "--out", out)
    rows = written(out)
    assert code == 0
    said = " ".join(shown.split())
    assert "1 without a value, 1 with the time of the row before, 1 older than a row before" in said
    assert [row["timestamp"] for row in rows] == [line.split(",")[0] for line in lines[1:]]
    assert (rows[299]["lower"], rows[299]["anomaly_score"], rows[299]["anomalous"]) == ("", "0.0000", "0")


def test_a_trace_with_another_column_and_marked_gaps_is_read(say: Say, tmp_path: Path) -> None:
    data, out = tmp_path / "trace.csv", tmp_path / "found.csv"
    data.write_text("t_s,requests,missing\n0,5,0\n60,0,1\n120,5,0\n", encoding="utf-8")
    code, shown, _ = say("detect", data, "--column", "requests", "--out", out)
    assert code == 0
    assert "3 rows (1 without a value), 0 alerts" in shown
    assert len(written(out)) == 3


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        pytest.param("timestamp,value,lower\n0,1,2\n", (), "has a column lower already", id="a column that is added"),
        pytest.param("timestamp,value\n0,1\n", ("--out", "no/such/f.csv"), "its folder does not exist", id="no folder"),
        pytest.param(None, (), "there is no such file", id="no file"),
    ],
)
def test_the_command_refuses(say: Say, tmp_path: Path, text: str | None, options: tuple[str, ...], said: str) -> None:
    data = tmp_path / "x.csv"
    if text is not None:
        data.write_text(text, encoding="utf-8")
    code, _, told = say("detect", data, *options)
    assert code == 2
    assert said in told


def test_views_come_in_the_order_that_the_bounds_rely_on() -> None:
    assert [(view.name, view.sign) for view in VIEWS[:2]] == [("sudden", 1.0), ("sudden", -1.0)]
