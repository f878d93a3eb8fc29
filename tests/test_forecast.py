"""`sigmascale forecast`: rows that say what was known when, a table that says how good it was, and clear refusals."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from autoscaler.errors import InputError
from autoscaler.forecasters.drift import Drift
from autoscaler.forecasters.grid import LEVEL_S, grid_of, window_level
from autoscaler.forecasters.last import Last
from autoscaler.forecasters.select import Select
from autoscaler.ports import Forecaster
from autoscaler.rolling import Course, roll
from autoscaler.skill import pinball, skill, wape
from autoscaler.trace import Trace
from autoscaler.types import Frame, Of, Outlook
from tests.cliworld import Say, speaker

NAN = float("nan")
DAY_S = 86400.0


def trace(minutes: int, step_s: float = 60.0, start_s: float = 0.0) -> Trace:
    """A daily wave with noise."""
    steps = int(minutes * 60 / step_s)
    at_s = start_s + step_s * np.arange(steps, dtype=np.float64)
    noise = np.random.default_rng(3).standard_normal(steps)
    amount = (100.0 + 50.0 * np.sin(2 * np.pi * at_s / DAY_S)) * np.exp(0.05 * noise)
    return Trace(at_s, amount, step_s, np.zeros(steps, dtype=np.bool_))


def course(horizon_s: float = 900.0, start_s: float = 0.7 * DAY_S, every_s: float = 300.0) -> Course:
    return Course(horizon_s, every_s, start_s, (0.5, 0.95))


def text(found: Trace, missing: slice | None = None) -> str:
    gaps = np.zeros(len(found.at_s), dtype=int)
    if missing is not None:
        gaps[missing] = 1
    rows = zip(found.at_s.tolist(), found.amount.tolist(), gaps.tolist(), strict=True)
    return "t_s,requests,missing\n" + "".join(f"{at:.0f},{amount:.6f},{gap}\n" for at, amount, gap in rows)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    return speaker(monkeypatch, capsys)


@pytest.fixture
def day(tmp_path: Path) -> Path:
    file = tmp_path / "day.csv"
    file.write_text(text(trace(1440), slice(1200, 1240)), encoding="utf-8")
    return file


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


# --- rolling origin ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forecaster", [Last(), Drift(), Select(rows=500, trees=8)], ids=["last", "drift", "select"])
def test_what_was_said_before_a_time_does_not_depend_on_what_came_after(forecaster: Forecaster) -> None:
    """The whole command over a trace and over the same one with everything after a time shuffled."""
    real = trace(1440)
    amount = np.array(real.amount)
    np.random.default_rng(1).shuffle(amount[1330:])
    shuffled = replace(real, amount=amount)
    first, second = (roll(one, forecaster, course(start_s=0.86 * DAY_S)) for one in (real, shuffled))
    before = first.issued_at <= 1330 * 60.0
    assert 0 < np.count_nonzero(before) < len(before)
    np.testing.assert_array_equal(first.said[:, before], second.said[:, before])
    np.testing.assert_array_equal(first.naive_tail[:, before], second.naive_tail[:, before])
    assert not np.array_equal(first.said[:, ~before], second.said[:, ~before])
    for name, values in first.naive.items():
        np.testing.assert_array_equal(values[before], second.naive[name][before])


@pytest.mark.parametrize(
    ("step_s", "every_s", "horizon_s"),
    [
        pytest.param(60.0, 300.0, 900.0, id="minutes"),
        pytest.param(15.0, 300.0, 600.0, id="quarters of a minute"),
        pytest.param(600.0, 300.0, 900.0, id="ten minutes, every five, with a target inside of a bucket"),
        pytest.param(3600.0, 3600.0, 3600.0, id="hours"),
        pytest.param(3600.0, 900.0, 7200.0, id="hours, four times in each"),
    ],
)
def test_actual_and_last_are_the_means_of_five_minutes(step_s: float, every_s: float, horizon_s: float) -> None:
    """Against a plain count over seconds: each second has its bucket's amount, or the bucket's part of the window."""
    real = trace(4 * 1440, step_s, start_s=7200.0)
    found = roll(real, Last(), course(horizon_s, 7200.0 + 3 * DAY_S, every_s))
    by_second = np.repeat(real.amount, int(step_s))
    for place in (0, 1, 2, len(found.actual) // 2, -1):
        target = int(found.target_at[place] - 7200.0)
        assert found.actual[place] == pytest.approx(by_second[target - 300 : target].mean())
        edge = int((found.issued_at[place] - 7200.0) // step_s * step_s)
        assert found.naive["last"][place] == pytest.approx(by_second[edge - int(max(300.0, step_s)) : edge].mean())
    assert found.target_at[-1] <= real.end_s
    assert found.target_at[-1] + every_s > real.end_s
    assert (np.diff(found.issued_at) == every_s).all()


def test_in_a_gap_nothing_is_actual_and_the_last_value_is_held() -> None:
    real = trace(1440)
    amount = np.array(real.amount)
    amount[1200:1260] = NAN
    found = roll(replace(real, amount=amount, missing=np.isnan(amount)), Last(), course())
    gap = (found.target_at > 1200 * 60.0) & (found.target_at < 1265 * 60.0)
    assert np.isnan(found.actual[gap]).all()
    assert np.isfinite(found.actual[~gap]).all()
    inside = (found.issued_at > 1210 * 60.0) & (found.issued_at <= 1260 * 60.0)
    assert found.naive["last"][inside] == pytest.approx(real.amount[1195:1200].mean(), rel=0.05)
    assert np.isfinite(found.said).all()
    assert skill(found).judged == np.count_nonzero(~gap)


@dataclass(frozen=True)
class Grows:
    """Somebody else's forecaster: twice the level, and nothing to say when the level is above 120."""

    def fit(self, history: Frame) -> Grows:
        assert len(history.at)
        return self

    def outlook(self, recent: Frame, horizons_s: tuple[float, ...], quantiles: tuple[float, ...], of: Of) -> Outlook:
        grid = grid_of(recent)
        level = float(window_level(grid, np.array([len(grid) - 1]), LEVEL_S)[0])
        factor = NAN if level > 120.0 else 2.0
        rows = tuple(tuple(factor for _ in horizons_s) for _ in quantiles)
        return Outlook(float(recent.at[-1]), "1", of, horizons_s, quantiles, rows)


def test_a_model_of_somebody_else_is_asked_at_each_origin() -> None:
    real = trace(1440)
    found = roll(real, Grows(), course(start_s=600.0, every_s=600.0))
    for place, at in enumerate(found.issued_at.tolist()):
        level = real.amount[int(at / 60) - 2 : int(at / 60)].mean()
        expected = NAN if level > 120.0 else 2.0 * level
        assert found.said[0, place] == pytest.approx(expected, nan_ok=True)
    assert 0 < skill(found).judged < skill(found).rows


def test_a_trace_without_history_is_forecast_from_its_second_bucket_on() -> None:
    found = roll(trace(120), Select(rows=500, trees=8), course(600.0, 0.0, 60.0))
    assert found.issued_at[0] == 60.0
    assert np.isfinite(found.said).all()
    assert found.said[1, 0] == pytest.approx(1.3 * found.said[0, 0], rel=0.01)
    assert (found.said[1] >= found.said[0]).all()


@pytest.mark.parametrize(
    ("horizon_s", "start_s", "words"),
    [
        pytest.param(900.0, 0.0, "shorter than a bucket", id="a horizon within a bucket"),
        pytest.param(7200.0, DAY_S - 3600.0, "not enough history", id="no outcome within the trace"),
    ],
)
def test_what_cannot_be_judged_is_refused(horizon_s: float, start_s: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        roll(trace(1440, 3600.0), Last(), course(horizon_s, start_s))


# --- scores -----------------------------------------------------------------------------------------------------


def test_scores_are_what_their_names_say() -> None:
    came, said = np.array([10.0, 20.0, 30.0]), np.array([12.0, 20.0, 27.0])
    assert wape(came, said) == pytest.approx(5 / 60)
    assert pinball(came, said, 0.5) == pytest.approx(0.5 * 5 / 3)
    assert pinball(came, said, 0.95) == pytest.approx((0.05 * 2 + 0.95 * 3) / 3)


# --- the command ------------------------------------------------------------------------------------------------


def test_the_file_has_a_row_for_every_forecast(say: Say, day: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.csv"
    code, shown, _ = say("forecast", day, "--model", "drift", "--out", out)
    assert code == 0
    found = rows(out)
    assert list(found[0]) == ["issued_at_s", "target_at_s", "actual", "last", "q0.5", "q0.95"]
    issued = [float(row["issued_at_s"]) for row in found]
    assert issued == np.arange(60600.0, DAY_S - 900 + 1, 300.0).tolist()
    assert all(float(row["target_at_s"]) == at + 900.0 for row, at in zip(found, issued, strict=True))
    assert {row["actual"] == "" for row in found if 72000 < float(row["target_at_s"]) < 74700} == {True}
    assert all(float(row["q0.95"]) >= float(row["q0.5"]) > 0.0 for row in found)
    for words in ("WAPE", "mean10", "blend", "pinball loss of q0.95", "at or below q0.95", f"{len(found)} forecasts"):
        assert words in shown


def test_a_gzip_file_other_quantiles_and_a_start_in_days(say: Say, tmp_path: Path) -> None:
    file, out = tmp_path / "hourly.csv.gz", tmp_path / "f.csv"
    file.write_bytes(gzip.compress(text(trace(10 * 1440, 3600.0)).encode()))
    words = ("--horizon", "1h", "--every", "1h", "--from", "3d", "--quantiles", "0.9,0.5,0.99", "--out", out)
    code, _, _ = say("forecast", file, "--model", "seasonal", *words)
    assert code == 0
    found = rows(out)
    assert list(found[0])[4:] == ["q0.5", "q0.9", "q0.99"]
    assert float(found[0]["issued_at_s"]) == 3 * DAY_S
    assert len(found) == 7 * 24


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(("--column", "request"), "did you mean requests?", id="a column that is nearly right"),
        pytest.param(("--column", "tokens"), "it has requests", id="a column that is not there"),
        pytest.param(("--model", "slect"), "did you mean select?", id="a model that is nearly right"),
        pytest.param(("--horizon", "30s"), "shorter than a bucket of the trace, 60 s", id="a horizon within a bucket"),
        pytest.param(("--horizon", "soon"), "--horizon: 'soon' is not a duration", id="no duration"),
        pytest.param(("--horizon", "8h"), "not enough history", id="a horizon beyond the trace"),
        pytest.param(("--every", "0s"), "--every: 0s is not between", id="no time between forecasts"),
        pytest.param(("--from", "100%"), "--from: 100% leaves nothing", id="nothing left"),
        pytest.param(("--from", "70"), "--from: '70' is more than 1", id="a share without its sign"),
        pytest.param(("--quantiles", "0.5,1"), "--quantiles: 1 is not between 0 and 1", id="a quantile of 1"),
        pytest.param(("--quantiles", "0.5,0.5"), "repeats one", id="a quantile twice"),
        pytest.param(("--quantiles", "high"), "--quantiles: 'high' is not a share", id="no quantile"),
        pytest.param(("--out", "/nowhere/f.csv"), "its folder does not exist", id="no such folder"),
    ],
)
def test_a_mistake_is_named_with_the_next_step(say: Say, day: Path, words: tuple[str, ...], expected: str) -> None:
    code, shown, said = say("forecast", day, "--model", "last", *words)
    assert code == 2
    assert shown == ""
    assert expected in said


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda folder: folder / "none.csv", "there is no such file", id="no such file"),
        pytest.param(lambda folder: folder, "is a folder", id="a folder"),
    ],
)
def test_a_trace_has_to_be_a_file(say: Say, tmp_path: Path, make: Callable[[Path], Path], expected: str) -> None:
    code, _, said = say("forecast", make(tmp_path), "--model", "last")
    assert code == 2
    assert expected in said
