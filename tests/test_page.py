"""Pages of one target: the warm path says what the strict one says, limits hold, keys keep their identity."""

from __future__ import annotations

import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.types import Batch, Labels, SeriesKey
from collectors.pages.grammar import parse
from collectors.pages.identity import Identity
from collectors.pages.known import OTHERS
from collectors.pages.reader import Limits, PageReader, Room

PAGES = Path(__file__).parent / "data" / "pages"
RECORDED = sorted(p.relative_to(PAGES).as_posix() for p in PAGES.rglob("*") if p.suffix in (".prom", ".txt"))
TARGET = (("instance", "10.0.0.1:8000"), ("pool", "chat"))


def as_printed(name: str, labels: Labels, hint: str) -> tuple[Identity, ...]:
    return (Identity(name, labels, hint == "counter"),)


def reader(limits: Limits | None = None, labels: Labels = ()) -> PageReader:
    return PageReader("test", labels, 5.0, as_printed, limits or Limits())


def values(batch: Batch) -> dict[SeriesKey, float]:
    """What the batch says; a column without a value says nothing."""
    found = dict(zip(batch.keys, batch.values.tolist(), strict=True))
    return {key: value for key, value in found.items() if not math.isnan(value)}


def counts(page: PageReader) -> tuple[int, int, str, int, int]:
    return page.lines, page.rejected, page.first_rejected, page.duplicates, page.sentinels


# --- warm and cold ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_page_read_again_gives_the_same_values_under_the_same_keys(name: str) -> None:
    page = (PAGES / name).read_bytes()
    warm = PageReader("test", TARGET, 5.0)
    first = warm.read(page, 100.0)
    told = counts(warm)
    for at in (105.0, 110.0, 115.0):
        again = warm.read(page, at)
        assert again.keys is first.keys
        assert np.array_equal(again.values, first.values, equal_nan=True)
        assert counts(warm) == told


@pytest.mark.parametrize("name", RECORDED)
def test_the_values_of_a_page_are_those_of_the_strict_grammar(name: str) -> None:
    page = (PAGES / name).read_bytes()
    expected = {(s.name, s.labels): s.value for s in parse(page).samples}
    warm = reader()
    for _ in range(4):
        batch = warm.read(page, 0.0)
        found = {(key.metric, key.labels): value for key, value in values(batch).items()}
        # What is combined from several series is no line of the page.
        assert {series: value for series, value in found.items() if series in expected} == expected


LINES = [
    b"a 1",
    b"a 2",
    b"a  3",
    b" a 4",
    b"a\t5",
    b"a 6 1000",
    b"a 1_0",
    b"a 1\x0b",
    b"a +Inf",
    b"a NaN",
    b"a",
    b'a{x="1"} 7',
    b'a{x="1"} 8 5000',
    b'a{x="1"} 9 # {t="u"} 1 2',
    b'a{ x="1"} 10',
    b'a{x="1", } 11',
    b'a{x="1',
    b'a{x="1"}12',
    b'b{y="2",x="1"} 13',
    b'b{x="1",y="2"} 14',
    b'b{x="} 1"} 15',
    b'b{x="\xe2\x80\xa8 1"} 16',
    b"\xff 17",
    b"c_total 18",
    b"# TYPE c_total counter",
    b"# TYPE a counter",
    b"# TYPE a gauge",
    b"# HELP a b",
    b"",
    b" ",
    b"c_total 19 ",
    b"c_total 20 \t",
    b"c_total 9e999",
]
PAGE = st.lists(st.sampled_from(LINES), max_size=12).map(lambda lines: b"".join(line + b"\n" for line in lines))


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(PAGE, min_size=1, max_size=5), PAGE, st.booleans())
def test_a_page_after_any_others_reads_as_a_first_page(before: list[bytes], page: bytes, openmetrics: bool) -> None:
    warm, cold = reader(), reader()
    for other in before:
        warm.read(other, 10.0, openmetrics)
        warm.read(other, 10.0, openmetrics)
    seen, fresh = warm.read(page, 10.0, openmetrics), cold.read(page, 10.0, openmetrics)
    assert values(seen) == values(fresh)
    assert seen.at == fresh.at
    assert counts(warm) == counts(cold)


def mutations(page: bytes) -> list[bytes]:
    lines = page.splitlines(keepends=True)
    rng = np.random.default_rng(7)
    made = []
    for n in rng.choice(len(lines), 12):
        line = lines[n]
        cut = int(rng.integers(0, len(line)))
        changes = (b"", line * 2, line[:cut] + line[cut + 1 :], line[:cut] + b"7" + line[cut:], line[:cut] + b"\n")
        made += [b"".join([*lines[:n], changed, *lines[n + 1 :]]) for changed in changes]
    made.append(b"".join(lines[::-1]))
    return [m if m.endswith(b"\n") else m + b"\n" for m in made]


@pytest.mark.parametrize(
    "name", ["dcgm/a100-sxm4-40gb_mig_1g5gb_driver520.prom", "triton/triton_doc_samples_2026-08.prom"]
)
def test_a_mutated_page_reads_the_same_warm_and_cold(name: str) -> None:
    page = (PAGES / name).read_bytes()
    for mutated in mutations(page):
        warm, cold = PageReader("test", TARGET, 5.0), PageReader("test", TARGET, 5.0)
        for _ in range(3):
            warm.read(page, 10.0)
        assert values(warm.read(mutated, 10.0)) == values(cold.read(mutated, 10.0))
        assert counts(warm) == counts(cold)


def test_lines_in_another_order_are_the_same_series() -> None:
    warm = reader()
    keys = warm.read(b"a 1\nb 2\nc 3\n", 0.0).keys
    for page in (b"c 5\na 6\nb 7\n", b"c 5\na 6\nb 7\n", b"c 5\na 6\nb 7\n"):
        batch = warm.read(page, 0.0)
        assert batch.keys is keys
        assert batch.values.tolist() == [6.0, 7.0, 5.0]


# --- values -----------------------------------------------------------------------------------------------------


def test_a_series_that_is_absent_this_time_has_no_value_and_keeps_its_column() -> None:
    warm = reader()
    keys = warm.read(b"a 1\nb 2\n", 0.0).keys
    batch = warm.read(b"b 3\n", 5.0)
    assert batch.keys is keys
    assert math.isnan(batch.values[0])
    assert batch.values[1] == 3.0


def test_nan_and_infinite_samples_are_no_values() -> None:
    warm = reader()
    assert values(warm.read(b"a NaN\nb +Inf\nc -Inf\nd 1\n", 0.0)) == {SeriesKey("d"): 1.0}
    assert (warm.rejected, warm.sentinels) == (0, 2)


def test_a_series_printed_twice_counts_once_and_the_last_line_wins() -> None:
    warm = reader()
    for _ in range(3):
        assert values(warm.read(b'a{x="1",y="2"} 1\na{y="2",x="1"} 2\nb 1\n', 0.0)) == {
            SeriesKey("a", (("x", "1"), ("y", "2"))): 2.0,
            SeriesKey("b"): 1.0,
        }
        assert warm.duplicates == 1


def test_target_labels_are_merged_and_win_over_the_page() -> None:
    batch = reader(labels=TARGET).read(b'a{pool="theirs",x="1"} 1\n', 0.0)
    assert batch.keys[0].labels == (
        ("exported_pool", "theirs"),
        ("instance", "10.0.0.1:8000"),
        ("pool", "chat"),
        ("x", "1"),
    )
    assert batch.labels == TARGET


def test_a_changed_type_settles_its_series_anew() -> None:
    warm = reader()
    assert warm.read(b"# TYPE a gauge\na 1\n", 0.0).keys == (SeriesKey("a"),)
    assert warm.read(b"# TYPE a counter\na 1\n", 0.0).keys == (SeriesKey("a", (), True),)


# --- times ------------------------------------------------------------------------------------------------------


def test_a_page_of_timestamped_samples_is_dated_by_its_source() -> None:
    warm = reader()
    for _ in range(2):
        batch = warm.read(b"a 1 90000\nb 2 95000\n", 100.0)
        assert (batch.at, batch.values.tolist()) == (95.0, [1.0, 2.0])


def test_a_source_clock_ahead_of_ours_dates_nothing_into_the_future() -> None:
    assert reader().read(b"a 1 900000\n", 100.0).at == 100.0


def test_a_sample_more_than_three_intervals_older_than_its_page_is_missing() -> None:
    batch = reader().read(b"a 1 84000\nb 2 86000\nc 3\n", 100.0)
    assert batch.at == 100.0
    assert values(batch) == {SeriesKey("b"): 2.0, SeriesKey("c"): 3.0}


def test_the_value_of_an_exemplar_is_no_timestamp() -> None:
    batch = reader().read(b'h_bucket{le="1"} 5 # {trace="x"} 0.5 3.0\n', 100.0, openmetrics=True)
    assert (batch.at, batch.values.tolist()) == (100.0, [5.0])


# --- limits and damage ------------------------------------------------------------------------------------------


def test_a_line_cut_off_at_the_end_of_a_page_is_rejected_not_guessed() -> None:
    warm = reader()
    warm.read(b"a 1\nb 12345\n", 0.0)
    assert values(warm.read(b"a 1\nb 12", 5.0)) == {SeriesKey("a"): 1.0}
    assert (warm.rejected, warm.first_rejected) == (1, "the line 'b 12' is the cut-off end of the page")


@pytest.mark.parametrize("end", [b'b{x="1', b'b{x="1"}', b'b{x="1"} ', b"b"])
def test_half_a_line_is_rejected_on_the_first_page_too(end: bytes) -> None:
    cold = reader()
    assert values(cold.read(b"a 1\n" + end, 0.0)) == {SeriesKey("a"): 1.0}
    assert cold.rejected == 1


def test_an_exporter_that_never_ends_its_last_line_is_read() -> None:
    warm = reader()
    for _ in range(3):
        assert values(warm.read(b"a 1\nb 2", 0.0)) == {SeriesKey("a"): 1.0, SeriesKey("b"): 2.0}


def test_a_page_of_100_megabytes_is_refused_whole_without_being_parsed() -> None:
    warm = reader()
    keys = warm.read(b"a 1\n", 0.0).keys
    batch = warm.read(b"a 1\n" * (25 << 20), 5.0)
    assert batch.keys is keys
    assert values(batch) == {}
    assert (warm.lines, warm.rejected) == (1, 1)
    assert "104857600 bytes; the limit is 67108864" in warm.first_rejected


def test_a_line_of_10_megabytes_is_rejected_unread_and_named_in_short() -> None:
    warm = reader()
    page = b'a 1\nb{x="' + b"y" * (10 << 20) + b'"} 2\nc 3\n'
    for _ in range(2):
        assert values(warm.read(page, 0.0)) == {SeriesKey("a"): 1.0, SeriesKey("c"): 3.0}
        assert "bytes; the limit is 65536" in warm.first_rejected
        assert len(warm.first_rejected) < 300


def test_series_beyond_the_limit_are_rejected_and_the_known_ones_stay() -> None:
    warm = reader(Limits(series=3))
    page = b"".join(b"m%d 1\n" % n for n in range(5))
    for _ in range(2):
        assert len(values(warm.read(page, 0.0))) == 3
        assert (warm.rejected, len(warm)) == (2, 3)
    assert "the target already has 3" in warm.first_rejected


def test_a_day_of_pod_churn_leaves_the_memory_of_a_target_bounded() -> None:
    warm = reader(Limits(evict_after=10))
    for scrape in range(2_000):
        page = b"".join(b'a{pod="p%d"} 1\n' % (scrape // 5 + n) for n in range(4))
        assert len(values(warm.read(page, scrape * 5.0))) == 4
        assert len(warm) <= 12


def test_a_page_whose_labels_change_places_at_every_scrape_is_read_and_costs_no_more() -> None:
    """The same ten series in 720 orders of their labels."""
    room = Room()
    warm = PageReader("test", (), 5.0, as_printed, room=room)
    sizes = []
    for scrape, order in enumerate(permutations("abcdef")):
        labels = ",".join(f'{label}="x"' for label in order)
        page = "".join(f"m{n}{{{labels}}} {scrape}\n" for n in range(10))
        assert set(values(warm.read(page.encode(), 5.0 * scrape)).values()) == {float(scrape)}
        sizes.append(room.text_bytes)
    assert len(warm) == 10
    assert max(sizes) == sizes[OTHERS]
    warm.close()
    assert (room.series, room.text_bytes) == (0, 0)


def test_an_evicted_series_comes_back() -> None:
    warm = reader(Limits(evict_after=2))
    warm.read(b"a 1\nb 2\n", 0.0)
    for _ in range(4):
        batch = warm.read(b"b 2\n", 5.0)
    assert batch.keys == (SeriesKey("b"),)
    assert values(warm.read(b"a 3\nb 2\n", 10.0)) == {SeriesKey("a"): 3.0, SeriesKey("b"): 2.0}


def test_the_malformed_page_keeps_its_two_good_samples() -> None:
    warm = PageReader("test", (), 5.0)
    batch = warm.read((PAGES / "dcgm/MALFORMED_l40s_x2_truncated_labels.prom").read_bytes(), 0.0)
    assert sorted(v for k, v in values(batch).items() if k.metric == "gpu_sm_clock_hertz") == [210e6, 210e6]
    assert (warm.lines, warm.rejected) == (20, 18)
    assert warm.first_rejected.startswith('the line \'DCGM_FI_DEV_MEM_CLOCK{gpu="0",...,modelName')


# --- in place -----------------------------------------------------------------------------------------------------


def test_a_page_in_its_old_order_is_read_without_a_single_look_up() -> None:
    warm = reader()
    page = b'# HELP a b\n# TYPE a gauge\na{x="1"} %d\na{x="2"} 2\n\n# TYPE c gauge\nc 3.5\n'
    warm.read(page % 1, 0.0)
    assert values(warm.read(page % 1234, 5.0))[SeriesKey("a", (("x", "1"),))] == 1234.0
    assert warm._known._index is None, "nobody had to look anything up"
    assert counts(warm) == (3, 0, "", 0, 0)


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(b'a{x="1"} 1\na{x="2"} 2\n# TYPE c counter\nc 3\n', id="another comment of the same length"),
        pytest.param(b'a{x="1"} 1\n# TYPE c gauge\na{x="2"} 2\nc 3\n', id="a comment that moved"),
        pytest.param(b'a{x="1"} 1\na{x="3"} 2\n# TYPE c gauge\nc 3\n', id="another label value"),
        pytest.param(b'a{x="1"} 1\nb{x="2"} 2\n# TYPE c gauge\nc 3\n', id="another name"),
        pytest.param(b'a{x="2"} 2\na{x="1"} 1\n# TYPE c gauge\nc 3\n', id="another order"),
        pytest.param(b'a{x="1"} 1\na{x="2"} 2 1000\n# TYPE c gauge\nc 3\n', id="a timestamp"),
        pytest.param(b'a{x="1"} 1\na{x="2"} 0x2\n# TYPE c gauge\nc 3\n', id="a value that is none"),
        pytest.param(b'a{x="1"} 1\na{x="2"} \n# TYPE c gauge\nc 3\n', id="a missing value"),
        pytest.param(b'a{x="1"} 1\na{x="2"} 2\n# TYPE c gauge\nc 3', id="no line feed at the end"),
        pytest.param(b'a{x="1"} 1\na{x="2"} 2\n# TYPE c gauge\nc 3\nd 4\n', id="a line more"),
        pytest.param(b'a{x="1"} 1\na{x="2"} 2\n# TYPE c gauge\n', id="a line less"),
        pytest.param(b'a{x="1"} 1\r\na{x="2"} 2\r\n# TYPE c gauge\r\nc 3\r\n', id="other line ends"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_page_that_differs_in_more_than_values_reads_as_a_first_page(changed: bytes) -> None:
    warm, cold = reader(), reader()
    for at in (0.0, 5.0, 10.0):
        warm.read(b'a{x="1"} 7\na{x="2"} 8\n# TYPE c gauge\nc 9\n', at)
    # A page that lacks its last line feed is known to be cut only by those who saw one that had it.
    cold._terminated = True
    got, expected = warm.read(changed, 15.0), cold.read(changed, 15.0)
    assert values(got) == values(expected)
    assert counts(warm) == counts(cold)


def test_series_whose_hashes_meet_stay_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.pages.known._mark", lambda name, labels: 7)
    warm = reader(Limits(evict_after=2))
    page = b'a{x="1"} 1\na{x="2"} 2\nb 3\n'
    for at in range(6):
        warm.read(page if at % 2 else b'b 3\na{x="2"} 2\n', float(at))
    assert values(warm.read(page, 9.0)) == {
        SeriesKey("a", (("x", "1"),)): 1.0,
        SeriesKey("a", (("x", "2"),)): 2.0,
        SeriesKey("b"): 3.0,
    }
    assert len(warm) == 3


def test_a_type_that_changes_reaches_series_whose_labels_are_known_from_their_text_alone() -> None:
    warm = reader()
    page = b'# TYPE a %s\na{x="1"} 1\n'
    for kind in (b"gauge", b"gauge", b"counter"):
        batch = warm.read(page % kind, 0.0)
    assert batch.keys == (SeriesKey("a", (("x", "1"),), True),)
