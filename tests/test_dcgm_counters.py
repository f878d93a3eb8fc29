"""The counters files that we ship, and what a page lacks of them."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from collectors.dcgm import FIELDS, PREFIX
from collectors.dcgm.counters import COUNTERS, FILES, Names, counters_file
from collectors.pages.reader import PageReader

PAGES = Path(__file__).parent / "data" / "pages" / "dcgm"
DASHBOARDS = Path(__file__).parent.parent / "dashboards"
L4 = (PAGES / "l4_driver580.105.08_k8s_full.prom").read_text()


def renamed(page: str) -> str:
    """The page as a counters file with the names of 4.6 would print it."""
    newest = {PREFIX + old: PREFIX + field.names[-1] for field in FIELDS for old in field.names}
    page = re.sub(r"DCGM_FI_\w+", lambda m: newest.get(m.group(), m.group()), page)
    return page.replace("DCGM_FI_DRIVER_VERSION=", "DCGM_FI_SYSTEM_DRIVER_VERSION=")


def lacking(page: str) -> dict[str, bool]:
    reader = PageReader("test", (), 15.0)
    reader.read(page.encode(), 0.0)
    return {missing.line.split(",")[0]: missing.essential for missing in reader.lacking()}


def test_a_page_says_which_lines_of_the_counters_file_it_lacks() -> None:
    found = lacking(L4)
    assert [name for name, essential in found.items() if essential] == [
        "DCGM_FI_PROF_SM_ACTIVE",
        "DCGM_FI_DEV_ENFORCED_POWER_LIMIT",
    ]
    assert {"DCGM_EXP_XID_ERRORS_COUNT", "DCGM_FI_DEV_ECC_DBE_VOL_TOTAL"} <= set(found)
    assert "DCGM_FI_DEV_GPU_UTIL" not in found


def test_a_page_with_new_names_is_told_the_new_names() -> None:
    assert "DCGM_FI_PROF_SM_UTIL_RATIO" in lacking(renamed(L4))
    assert "DCGM_FI_DEV_GPU_UTIL_RATIO" not in lacking(renamed(L4))


def test_no_line_is_advised_over_which_an_old_exporter_would_not_start() -> None:
    assert {"DCGM_FI_PROF_PCIE_TX_BYTES_TOTAL", "DCGM_FI_DEV_GET_GPU_RECOVERY_ACTION"}.isdisjoint(lacking(L4))


def test_a_cut_gpu_is_not_told_to_print_what_it_does_not_have() -> None:
    page = (PAGES / "a100-sxm4-40gb_mig_idle_driver520.prom").read_text()
    assert "DCGM_FI_DEV_GPU_UTIL" not in lacking(page)


def test_any_other_page_lacks_nothing() -> None:
    assert lacking("requests_running 3\n") == {}


@pytest.mark.parametrize("names", FILES)
def test_the_counters_file_is_what_the_table_says(names: Names) -> None:
    assert (DASHBOARDS / FILES[names]).read_text() == counters_file(names)


@pytest.mark.parametrize("names", FILES)
def test_a_page_that_prints_the_counters_file_lacks_nothing(names: Names) -> None:
    """Every line has three fields, as the exporter demands, and a name that we read."""
    rows = [row for row in csv.reader(counters_file(names).splitlines()) if row and not row[0].startswith("#")]
    assert {len(row) for row in rows} == {3}
    assert {row[1].strip() for row in rows} == {"gauge", "counter", "label"}
    page = "".join(f'{row[0]}{{gpu="0",UUID="U"}} 1\n' for row in rows if row[1].strip() != "label")
    assert lacking(page) == {}
    batch = PageReader("test", (), 15.0).read(page.encode(), 0.0)
    known = {key.metric for key in batch.keys if key.metric.startswith("DCGM_")}
    assert known == {"DCGM_EXP_XID_ERRORS_COUNT"}


@pytest.mark.parametrize(
    "metrics",
    [
        ("gpu_sm_active_ratio", "gpu_sm_occupancy_ratio", "gpu_tensor_active_ratio", "gpu_dram_active_ratio"),
        ("gpu_ecc_corrected_total", "gpu_ecc_uncorrected_total", "gpu_throttle_power_seconds_total"),
        ("gpu_rows_remapped_total", "gpu_row_remap_pending", "gpu_nvlink_errors_total", "gpu_xid_events_total"),
    ],
)
def test_what_is_off_by_default_is_on_in_ours(metrics: tuple[str, ...]) -> None:
    assert {counter.metric for counter in COUNTERS} >= set(metrics)
