"""Trees in arrays, and the lines that they may stand on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from autoscaler.forecasters.boosting import TREES
from autoscaler.forecasters.flat import Flat, flatten
from autoscaler.forecasters.grid import Values
from autoscaler.forecasters.ridge import ridge, together

ROWS = 900


def table(rows: int, seed: int, missing: float = 0.2) -> Values:
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((rows, 6))
    found[:, 3] = np.round(found[:, 3])
    found[rng.random(found.shape) < missing] = np.nan
    return found


def learned(quantile: float, seed: int, columns: list[int]) -> tuple[HistGradientBoostingRegressor, Values]:
    """Trees of some columns of a table in which what is missing tells something, up or down."""
    shown = table(ROWS, 1)
    known = np.nan_to_num(shown, nan=1.0)
    wanted = known[:, 0] + 2.0 * np.isnan(shown[:, 1]) - 3.0 * np.isnan(shown[:, 2]) + known[:, 3] * known[:, 4]
    regressor = HistGradientBoostingRegressor(quantile=quantile, max_iter=20, random_state=seed, **TREES)
    return regressor.fit(shown[:, columns], wanted), shown


@pytest.mark.parametrize("missing", [0.0, 0.2, 0.9, 1.0])
def test_flat_trees_say_what_scikit_learn_says(missing: float) -> None:
    columns = [[0, 1, 2, 3, 4, 5], [1, 3, 5]]
    regressors = [learned(quantile, n, columns[n])[0] for n, quantile in enumerate((0.5, 0.95))]
    flat = flatten([(r, np.array(c)) for r, c in zip(regressors, columns, strict=True)], 6)
    asked = table(200, 2, missing)
    expected = np.stack([r.predict(asked[:, c]) for r, c in zip(regressors, columns, strict=True)], axis=1)
    np.testing.assert_allclose(flat.predict(asked), expected, rtol=0, atol=1e-12)
    one = np.concatenate([flat.predict(asked[n : n + 1]) for n in range(5)])
    np.testing.assert_array_equal(one, flat.predict(asked)[:5])


def test_a_split_between_what_is_known_and_what_is_missing_is_read_right() -> None:
    """The largest known value goes with the other known ones, as in scikit-learn."""
    shown = np.concatenate([np.linspace(0, 1, 300), np.full(300, np.nan)])[:, None]
    wanted = np.isnan(shown[:, 0]).astype(float)
    regressor = HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=2, early_stopping=False).fit(shown, wanted)
    asked = np.array([[0.0], [1.0], [1e300], [np.nan]])
    np.testing.assert_allclose(flatten([(regressor, np.array([0]))], 1).predict(asked)[:, 0], regressor.predict(asked))


def test_no_rows_give_no_answers() -> None:
    regressor, shown = learned(0.5, 1, [0, 1])
    flat: Flat = flatten([(regressor, np.array([0, 1]))], 6)
    assert flat.predict(shown[:0]).shape == (0, 1)


def test_a_ridge_regression_finds_a_line_and_takes_what_is_missing_for_the_mean() -> None:
    shown = table(4000, 3, missing=0.0)
    wanted = 5.0 + 2.0 * shown[:, 0] - shown[:, 5]
    line = ridge(shown, wanted, np.array([0, 5]))
    inner = np.array([[1.0, 9, 9, 9, 9, -1.0], [0.0, 9, 9, 9, 9, 0.0], [np.nan, 9, 9, 9, 9, np.nan]])
    assert line.predict(inner)[:2, 0] == pytest.approx([8.0, 5.0], abs=0.15)
    assert line.predict(inner)[2, 0] == pytest.approx(line.middle[0])
    both = together([line, ridge(shown, -wanted, np.array([0, 5]))]).predict(inner)
    assert both[:, 0] == pytest.approx(line.predict(inner)[:, 0])
    assert both[:2, 1] == pytest.approx([-8.0, -5.0], abs=0.15)


def test_one_wild_value_moves_a_line_no_further_than_four_spreads() -> None:
    shown = table(1000, 4, missing=0.0)
    line = ridge(shown, shown[:, 0], np.array([0]))
    wild = np.full((2, 6), 1e9)
    wild[0] = 4.0 * shown[:, 0].std() + shown[:, 0].mean() + 1e-6
    assert line.predict(wild)[1, 0] == pytest.approx(line.predict(wild)[0, 0])
