"""Columns out of the ring: sliced where they lie evenly, and the same numbers as one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.store.gather import evenly, gather_all

RING = np.random.default_rng(3).random((7, 60), dtype=np.float32)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        pytest.param([4, 5, 6], (3, 3, 1), id="neighbours"),
        pytest.param([4, 5, 14, 15, 24, 25], (2, 10, 3), id="two of every ten"),
        pytest.param([3, 13, 23], (1, 10, 3), id="one of every ten"),
        pytest.param([4, 5, 14, 15, 25, 26], None, id="uneven distances"),
        pytest.param([4, 5, 14], None, id="uneven widths"),
        pytest.param([4, 5, 14, 15, 16, 24], None, id="uneven widths of the right sum"),
        pytest.param([24, 25, 14, 15], None, id="backwards"),
        pytest.param([7], (1, 1, 1), id="one alone"),
    ],
)
def test_only_equal_runs_at_equal_distances_are_even(columns: list[int], expected: tuple[int, int, int] | None) -> None:
    assert evenly(np.array(columns)) == expected


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(0, 6),
    st.integers(1, 7),
    st.one_of(
        st.lists(st.integers(0, 59), min_size=1, max_size=20),
        st.builds(
            lambda first, width, step, repeats: [first + step * r + w for r in range(repeats) for w in range(width)],
            st.integers(0, 5),
            st.integers(1, 4),
            st.integers(4, 9),
            st.integers(1, 5),
        ),
    ),
)
def test_gathered_columns_are_those_of_the_rows_up_to_the_newest_across_the_ring_s_end(
    newest: int, count: int, columns: list[int]
) -> None:
    into = np.empty((count, len(columns)), np.float32)
    gather_all(RING, newest, np.array(columns), into)
    rows = [(newest - count + 1 + n) % 7 for n in range(count)]
    assert np.array_equal(into, RING[rows][:, columns])
