"""Running moments are those of the values, whatever happened to the series in between."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.store import Store
from autoscaler.store.pace import PULSE
from autoscaler.thresholds.sigma import Sigma, moments
from autoscaler.types import Batch, Newest, SeriesKey

METRIC, LOOKBACK_S, INTERVAL_S = "gpu_power_watts", 60.0, 5.0


@dataclass
class Rack:
    """Sources of two series each, besides a counter that shows that they live, told what to say step by step."""

    store: Store = field(default_factory=lambda: Store(None, raw_window_s=LOOKBACK_S))
    now: float = 1000.0
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(7))
    scale: float = 10.0
    widths: dict[str, int] = field(default_factory=dict)
    said: dict[str, np.ndarray] = field(default_factory=dict)

    def keys(self, source: str) -> tuple[SeriesKey, ...]:
        width = self.widths.setdefault(source, 2)
        own = tuple(SeriesKey(METRIC, (("gpu", str(n)), ("host", source), ("pool", "p"))) for n in range(width))
        return (SeriesKey(PULSE, (("host", source), ("pool", "p")), counter=True), *own)

    def say(self, source: str, values: list[float] | None = None, late_s: float = 0.0, again: bool = False) -> None:
        keys = self.keys(source)
        said = 400.0 + self.scale * self.chance.standard_normal(len(keys))
        said[0] = self.now
        if values is not None:
            said[1 : 1 + len(values)] = values
        if again and source in self.said and self.said[source].size == said.size:
            said = self.said[source]
        self.said[source] = said
        self.store.add(Batch(source, self.now + late_s, INTERVAL_S, keys, said, (("pool", "p"),)))

    def drop(self, source: str) -> None:
        self.store.add(Batch(source, self.now, INTERVAL_S, (), np.empty(0), (), "gone"))

    def read(self, lookback_s: float = LOOKBACK_S) -> Newest:
        return self.store.newest("p", METRIC, (), self.now, lookback_s)

    def check(self, lookback_s: float = LOOKBACK_S) -> None:
        """Compare with moments of all values, taken afresh."""
        found, frame = self.read(lookback_s), self.store.raw("p", METRIC, (), self.now, lookback_s)
        assert found.keys == tuple(frame.keys)
        if not frame.values.shape[1]:
            assert math.isnan(found.at)
            return
        assert found.at == frame.at[-1]
        assert np.array_equal(found.values, frame.values[:, -1], equal_nan=True)
        assert found.fresh.tolist() == [quality == "fresh" for quality in frame.quality]
        # What is late is not judged, and its past begins where its own newest sample is.
        judged = ~np.isnan(found.values)
        count, mean, spread = moments(frame.values[judged, :-1].astype(np.float64))
        assert found.past.count[judged].tolist() == count.tolist()
        np.testing.assert_allclose(found.past.mean[judged], mean, rtol=1e-9)
        np.testing.assert_allclose(found.past.spread[judged], spread, rtol=1e-6, atol=1e-9 * self.scale)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("all", "all", "all", "some", "gap", "repeat", "join", "leave", "wider", "quick", "set back")),
        st.booleans(),
    ),
    min_size=5,
    max_size=50,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS, st.sampled_from((20.0, 60.0)), st.sampled_from((1e-3, 10.0, 1e6)))
def test_moments_that_are_carried_on_are_those_of_the_values(
    steps: list[tuple[str, bool]], lookback_s: float, scale: float
) -> None:
    """Ticks come after any number of samples; sources gap, repeat themselves, come, go, grow and lose their clock."""
    rack, names, joined = Rack(scale=scale), ["a", "b", "c"], 0
    for what, ticks in steps:
        rack.now += 0.4 * INTERVAL_S if what == "quick" else 3 * INTERVAL_S if what == "gap" else INTERVAL_S
        if what == "join":
            joined += 1
            names.append(f"n{joined}")
        elif what == "leave" and len(names) > 1:
            rack.drop(names.pop())
        elif what == "wider":
            rack.widths[names[0]] = rack.widths.get(names[0], 2) % 4 + 1
        for n, name in enumerate(names):
            if what == "some" and n % 2:
                continue
            if what == "set back" and not n:
                for late_s in (-40.0, -39.0, -38.0):
                    rack.say(name, late_s=late_s)
                continue
            rack.say(name, late_s=0.1 * n, again=what == "repeat" and n != 1)
        if ticks:
            rack.check(lookback_s)
    rack.check(lookback_s)


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        pytest.param([1e9, 1e9 + 64] * 20, 32.0, id="a ripple on a large value"),
        pytest.param([1e12] + [1.0, 3.0] * 12, 1.0, id="after a spike that has left the lookback"),
        pytest.param([1e12] * 13 + [5.0] * 13, 0.0, id="another constant, after the old one has left"),
        pytest.param([0.1] * 30, 0.0, id="a constant that no float32 holds exactly"),
        pytest.param([math.nan] * 8 + [7.0, 9.0] * 9, 1.0, id="values that begin late"),
    ],
)
def test_rounding_does_not_show(values: list[float], spread: float) -> None:
    rack = Rack()
    for value in values:
        rack.now += INTERVAL_S
        rack.say("a", [value, 1.0])
        rack.check()
    rack.now += INTERVAL_S
    rack.say("a", [6.0, 1.0])
    assert rack.read().past.spread[0] == pytest.approx(spread, abs=1e-12)


def test_ten_thousand_ticks_later_the_moments_are_still_those_of_the_values() -> None:
    rack = Rack()
    for _ in range(10_050):
        rack.now += INTERVAL_S
        rack.say("a")
        rack.read()
    rack.check()


def test_what_a_source_only_repeats_is_judged_for_any_lookback() -> None:
    """A fixed limit looks at no past, and still sees the value that a slow exporter says again and again."""
    rack = Rack()
    for n in range(58):
        rack.now += INTERVAL_S
        rack.say("a", [500.0 + n // 6, 600.0 + n // 6], again=n % 6 > 0)
        assert rack.read(0.0).values.tolist() == [500.0 + n // 6, 600.0 + n // 6]
    assert rack.store.stats().repeated > 0
    assert rack.read(0.0).past.count.tolist() == [0, 0]


def test_bands_of_moments_are_the_bands_of_the_values() -> None:
    rack = Rack()
    for _ in range(40):
        rack.now += INTERVAL_S
        rack.say("a")
    frame, threshold = rack.store.raw("p", METRIC, (), rack.now, LOOKBACK_S), Sigma(3.0, 5, 0.5, 0.01)
    whole = threshold.bands(replace(frame, at=frame.at[:-1], values=frame.values[:, :-1]))
    brief = threshold.bands_of(rack.read().past)
    np.testing.assert_allclose(brief.lower, whole.lower, rtol=1e-5)
    np.testing.assert_allclose(brief.upper, whole.upper, rtol=1e-5)
