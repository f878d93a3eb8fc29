"""What the LSTM looks at, the fleets that it learns from, and its files: all of it works without torch."""

from __future__ import annotations

import dataclasses
import io
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoscaler import plugins
from autoscaler.errors import InputError
from autoscaler.forecasters import lstm_network
from autoscaler.forecasters.grid import Grid, Values, floor_of
from autoscaler.forecasters.lstm_fleets import Fleet, fleets
from autoscaler.forecasters.lstm_inputs import CHANNELS, CONTEXT, SIGNALS, STEPS, Inputs, going_on, inputs_of, windows
from autoscaler.forecasters.lstm_network import SHAPES, SHIPPED, load
from autoscaler.forecasters.lstm_training import rows_of_fleets
from autoscaler.signal_table import METRICS
from autoscaler.types import Frame, SeriesKey
from tests.cliworld import speaker

NAN = float("nan")
DAY = 1440


@cache
def some_fleets() -> tuple[Fleet, ...]:
    return fleets(24, 3.0, seed=5)


def whole() -> Inputs:
    return inputs_of(some_fleets()[0].frame())


def part(frame: Frame, since: int, until: int) -> Frame:
    return dataclasses.replace(frame, at=frame.at[since:until], values=frame.values[:, since:until])


# --- fleets ----------------------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_fleets_and_others_do_not() -> None:
    first, again, other = (fleets(2, 0.2, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.demand, again.demand)
    np.testing.assert_array_equal(first.signals, again.signals)
    assert not np.array_equal(first.demand, other.demand)


def test_signals_of_a_fleet_are_what_their_names_say() -> None:
    for fleet in some_fleets():
        assert fleet.demand.shape == fleet.load.shape == (3 * DAY,)
        assert fleet.signals.shape == (len(SIGNALS), 3 * DAY)
        assert np.isfinite(fleet.signals).all()
        assert (fleet.demand >= 0.0).all()
        assert (fleet.signals >= 0.0).all()
        assert (fleet.signals[:4] <= 1.0).all(), "the first four are shares"


def test_signals_have_canonical_names() -> None:
    assert set(SIGNALS) <= {metric.name for metric in METRICS}


def test_more_demand_makes_everything_busier_but_bandwidth_and_processors_bend() -> None:
    """Within each fleet, minutes of the upper quarter of demand against those of the lower quarter."""
    rises = []
    for fleet in some_fleets():
        low, high = np.quantile(fleet.demand, [0.25, 0.75])
        upper, lower = fleet.demand >= high, fleet.demand <= low
        rises.append(fleet.signals[:, upper].mean(axis=1) / np.maximum(fleet.signals[:, lower].mean(axis=1), 1e-9))
    middle = np.median(rises, axis=0)
    growth = np.median(
        [f.demand[f.demand >= np.quantile(f.demand, 0.75)].mean() / f.demand.mean() for f in some_fleets()]
    )
    assert (middle[[0, 1, 3]] > 1.0).all()
    assert (middle[4:] > growth).all(), "bytes follow tokens"
    assert (middle[:4] < middle[4]).all(), "shares are held down by machines that are added"


def test_requests_that_grow_shorter_announce_more_of_them() -> None:
    """A first turn does not bring a conversation along, and its next turns are still ahead; some pools have only first
    turns, and theirs announce nothing."""
    found = []
    for fleet in some_fleets():
        five = fleet.demand.reshape(-1, 5).mean(axis=1)
        each = fleet.signals[4].reshape(-1, 5).mean(axis=1) / np.maximum(five, 1.0)
        shorter, growth = np.diff(np.log(each[:-1] + 1.0)), np.diff(np.log(five[1:] + 1.0))
        found.append(np.corrcoef(shorter, growth)[0, 1])
    assert np.quantile(found, 0.3) < -0.1
    assert max(found) < 0.2


# --- inputs ----------------------------------------------------------------------------------------------------------


def test_rows_are_found_by_their_keys_in_any_order() -> None:
    frame = some_fleets()[0].frame()
    order = [0, 4, 2, 6, 1, 5, 3]
    turned = dataclasses.replace(frame, values=frame.values[order], keys=tuple(frame.keys[place] for place in order))
    np.testing.assert_array_equal(inputs_of(turned).signals, inputs_of(frame).signals)
    assert inputs_of(turned).known == SIGNALS


def test_without_keys_the_rows_are_in_the_order_of_the_list() -> None:
    frame = some_fleets()[0].frame()
    np.testing.assert_array_equal(inputs_of(dataclasses.replace(frame, keys=())).signals, inputs_of(frame).signals)


def test_what_is_not_there_is_a_gap() -> None:
    frame = some_fleets()[0].frame()
    some = dataclasses.replace(frame, values=frame.values[[0, 2]], keys=(frame.keys[0], frame.keys[2]))
    assert inputs_of(some).known == (SIGNALS[1],)
    assert inputs_of(some_fleets()[0].frame(with_signals=False)).known == ()


def test_a_first_row_that_is_one_of_the_six_counts_as_that_too() -> None:
    frame = some_fleets()[0].frame()
    alone = dataclasses.replace(frame, values=frame.values[2:3], keys=(frame.keys[2],))
    found = inputs_of(alone)
    assert found.known == ("gpu_sm_active_ratio",)
    np.testing.assert_array_equal(found.signals[1], found.values)


@pytest.mark.parametrize(
    ("rows", "keys", "message"),
    [
        pytest.param(2, (), "not at values of shape", id="two rows without keys"),
        pytest.param(0, (), "not at values of shape", id="no row"),
        pytest.param(2, (SeriesKey("a"), SeriesKey("b")), "knows no input b", id="a row that is none of the six"),
        pytest.param(2, (SeriesKey("a"),), "not at values of shape", id="fewer keys than rows"),
    ],
)
def test_rows_that_are_neither_are_refused(rows: int, keys: tuple[SeriesKey, ...], message: str) -> None:
    at = 60.0 * np.arange(1, 5)
    frame = Frame(60.0, at, np.ones((rows, 4)), at[-1:], ("fresh",), keys=keys)
    with pytest.raises(ValueError, match=message):
        inputs_of(frame)


@pytest.mark.parametrize(("cut", "since"), [(500, 500), (500, 430), (500, 520)])
def test_a_history_goes_on_with_what_came_since(cut: int, since: int) -> None:
    frame = part(some_fleets()[0].frame(), 0, 600)
    found = going_on(inputs_of(part(frame, 0, cut)), inputs_of(part(frame, since, 600)))
    expected = np.array(frame.values)
    expected[:, cut:since] = NAN
    np.testing.assert_array_equal(found.values, expected[0])
    np.testing.assert_array_equal(found.signals, expected[1:])


def test_the_past_of_inputs_keeps_its_signals() -> None:
    grid = whole()
    past = grid.until(grid.at[999])
    assert isinstance(past, Inputs)
    np.testing.assert_array_equal(past.signals, grid.signals[:, :1000])


# --- windows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("future", ["shuffled", "gone", "cut off"])
def test_windows_look_at_nothing_after_their_origin(future: str) -> None:
    grid, last = whole(), 2 * DAY
    origins = np.array([100, 1500, last - 7, last])
    other: Grid = grid
    if future == "cut off":
        other = grid.until(grid.at[last])
    else:
        values, signals = np.array(grid.values), np.array(grid.signals)
        order = last + 1 + np.random.default_rng(3).permutation(len(grid) - last - 1)
        values[last + 1 :] = values[order] if future == "shuffled" else NAN
        signals[:, last + 1 :] = signals[:, order] if future == "shuffled" else NAN
        other = dataclasses.replace(grid, values=values, signals=signals)
    first, second = windows(grid, origins, 1.0), windows(other, origins, 1.0)
    for field in dataclasses.fields(first):
        np.testing.assert_allclose(getattr(second, field.name), getattr(first, field.name), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("step_s", [60.0, 90.0, 300.0, 600.0, 900.0])
def test_windows_are_finite_whatever_is_missing(step_s: float) -> None:
    values = np.full(400, NAN)
    values[150:260] = 0.0
    values[300:] = 7.0
    signals = np.full((len(SIGNALS), 400), NAN)
    signals[4, 200:] = 0.0
    found = windows(Inputs(values, step_s, step_s * 400, signals), np.arange(400), 1e-9)
    assert found.steps.shape == (400, STEPS, CHANNELS)
    assert found.context.shape == (400, CONTEXT)
    assert np.isfinite(found.steps).all()
    assert np.isfinite(found.context).all()
    assert (found.usual > 0.0).all()
    assert np.isnan(found.anchor[:150]).all(), "where nothing was ever known there is no level"


def test_the_unit_of_the_series_does_not_matter() -> None:
    grid = whole()
    larger = dataclasses.replace(grid, values=1024.0 * grid.values)
    first, second = (windows(one, np.arange(60, 4000, 60), floor_of(one)) for one in (grid, larger))
    np.testing.assert_allclose(first.steps, second.steps, atol=1e-9)
    np.testing.assert_allclose(first.context, second.context, atol=1e-9)


def test_what_is_learned_from_lacks_signals_here_and_there() -> None:
    rows = rows_of_fleets(6, seed=4, each=40, days=1.0)
    known = rows.steps[:, :, 4::2].mean(axis=(1, 2))
    assert known.min() == 0.0
    assert known.max() > 0.8
    assert np.isfinite(rows.came).any(axis=1).all()


# --- files and what is said without torch ----------------------------------------------------------------------------


def test_the_weights_that_come_along_are_small_and_whole() -> None:
    assert (Path(lstm_network.__file__).with_name(SHIPPED)).stat().st_size < 300_000
    assert {name: values.shape for name, values in load(None).items()} == SHAPES


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a file of weights ran code",))


SOUND: dict[str, Values] = {name: np.zeros(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is no file of weights", id="nothing"),
        pytest.param(b"t_s,requests\n0,1\n", "is no file of weights", id="text"),
        pytest.param(pickle.dumps(Bomb()), "is no file of weights", id="a pickle that would run code"),
        pytest.param(npz(**{"growth.bias": np.array([Bomb()])}), "is no file of weights", id="an array of objects"),
        pytest.param(npz(other=np.ones(3)), "missing, of another shape", id="another network"),
        pytest.param(npz(**(SOUND | {"growth.bias": np.zeros(3)})), "growth.bias missing", id="another shape"),
        pytest.param(npz(**(SOUND | {"both.bias": SOUND["both.bias"] + NAN})), "both.bias missing", id="not finite"),
        pytest.param(b"PK\x03\x04" + bytes(60), "is no file of weights", id="a broken archive"),
    ],
)
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "weights.npz"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert "lstm_training --out" in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.npz: cannot be read \(No such file"):
        load(tmp_path / "gone.npz")


WITHOUT_TORCH = "forecaster lstm needs torch: pip install 'sigmascale[lstm]'"


@pytest.fixture
def torchless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lstm_network, "find_spec", lambda _: None)


@pytest.mark.usefixtures("torchless")
def test_without_torch_it_says_what_to_install() -> None:
    with pytest.raises(InputError) as caught:
        plugins.build("forecasters", "lstm", {})
    assert WITHOUT_TORCH in str(caught.value)


@pytest.mark.usefixtures("torchless")
def test_without_torch_the_command_says_so_before_it_reads_a_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say = speaker(monkeypatch, capsys)
    code, out, err = say("forecast", "no-such-file.csv", "--model", "lstm")
    assert code == 2
    assert WITHOUT_TORCH in err
    assert "Traceback" not in out + err
