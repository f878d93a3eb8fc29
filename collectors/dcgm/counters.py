"""The fields that an exporter should print for us, as its counters file, and what a page lacks of them.

By default dcgm-exporter prints neither SM activity nor occupancy, ECC, throttling, link errors or its own counts
(etc/default-counters.csv of NVIDIA/dcgm-exporter d5e5f51). It refuses to start over a name that it does not know, so
the file with the old names holds only what exporters from 4.2.3-4.1.1 (May 2025) on know, checked against the field
lists of NVIDIA/go-dcgm that they were built with; what came later stands there as a comment.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from collectors.dcgm.fields import CLOCK_REASONS, FIELDS, MASKS, PREFIX

Names = Literal["old", "4.6"]
FILES: dict[Names, str] = {"old": "dcgm-counters.csv", "4.6": "dcgm-counters-4.6.csv"}


@dataclass(frozen=True, slots=True)
class Counter:
    """One line. names: spellings in full, newest last. essential: without it a pool cannot be judged well. cut: GPUs
    that are cut by MIG do not have it. since: exporters before this one refuse to start over the old spelling."""

    names: tuple[str, ...]
    kind: Literal["gauge", "counter", "label"]
    help: str
    metric: str
    essential: bool = False
    cut: bool = False
    since: str = ""

    def line(self, names: Names) -> str:
        """The line of a counters file."""
        return f"{self.names[-1 if names == '4.6' else 0]}, {self.kind}, {self.help}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A canonical metric that a page does not carry, and the line of the counters file that adds it."""

    metric: str
    line: str
    essential: bool


_BY_ID = {field.id: field for field in FIELDS}


def _of(number: int, text: str, *, essential: bool = False, cut: bool = False, since: str = "") -> Counter:
    field = _BY_ID[number]
    kind: Literal["gauge", "counter"] = "counter" if field.metric.endswith("_total") else "gauge"
    return Counter(tuple(PREFIX + name for name in field.names), kind, text, field.metric, essential, cut, since)


SECTIONS: tuple[tuple[str, tuple[Counter, ...]], ...] = (
    (
        "How full the GPU is. The rows 1001 and up need the capability SYS_ADMIN",
        (
            _of(1002, "share of time in which SMs had work", essential=True),
            _of(1003, "resident warps as a share of what fits"),
            _of(
                1001, "share of time in which the engine was active; the only measure of use under MIG", essential=True
            ),
            _of(1004, "share of cycles of the tensor cores"),
            _of(1005, "share of cycles in which memory moved data", essential=True),
            _of(203, "GPU utilization in percent", essential=True, cut=True),
            _of(204, "memory utilization in percent", cut=True),
            _of(206, "encoder utilization in percent", cut=True),
            _of(207, "decoder utilization in percent", cut=True),
        ),
    ),
    (
        "Memory",
        (
            _of(252, "used memory in MiB", essential=True),
            _of(251, "free memory in MiB", essential=True),
            _of(253, "reserved memory in MiB"),
        ),
    ),
    (
        "Power, clocks and heat",
        (
            _of(155, "power in W", essential=True),
            _of(164, "power limit in force in W", essential=True),
            _of(156, "energy since the driver was loaded in mJ"),
            _of(150, "GPU temperature in C"),
            _of(140, "memory temperature in C"),
            _of(100, "SM clock in MHz"),
            _of(113, "highest SM clock in MHz"),
            _of(101, "memory clock in MHz"),
            Counter(
                tuple(PREFIX + name for name in MASKS[CLOCK_REASONS][-1:]),
                "gauge",
                "what holds the clocks down as bits",
                "gpu_clock_event_active",
            ),
            _of(240, "time slowed down by the power limit in ns"),
            _of(241, "time slowed down by heat in ns"),
        ),
    ),
    (
        "Links",
        (
            _of(1009, "bytes per second sent over PCIe"),
            _of(1010, "bytes per second received over PCIe"),
            _of(1091, "bytes sent over PCIe", since="4.6"),
            _of(1092, "bytes received over PCIe", since="4.6"),
            _of(1011, "bytes per second sent over NVLink"),
            _of(1012, "bytes per second received over NVLink"),
            _of(449, "NVLink throughput both ways; a rate whatever the name says"),
            _of(202, "PCIe packets sent again"),
            _of(237, "PCIe generation in use"),
            _of(238, "PCIe lanes in use"),
            _of(409, "NVLink flow-control CRC errors"),
            _of(429, "NVLink replays"),
            _of(439, "NVLink recoveries"),
        ),
    ),
    (
        "Health",
        (
            _of(230, "code of the last XID error"),
            Counter(
                ("DCGM_EXP_XID_ERRORS_COUNT",),
                "gauge",
                "XID errors by code in a sliding window",
                "gpu_xid_events_total",
            ),
            Counter(("DCGM_EXP_GPU_HEALTH_STATUS",), "gauge", "verdict of DCGM's health checks", "gpu_health"),
            _of(310, "corrected memory errors"),
            _of(311, "uncorrected memory errors"),
            _of(393, "rows remapped for uncorrectable errors"),
            _of(394, "rows remapped for correctable errors"),
            _of(395, "1 after a row remap failed"),
            _of(396, "1 while a row remap waits for a reset"),
            _of(1523, "what the driver says must be done", since="4.5.1-4.8.0"),
        ),
    ),
    (
        "Labels",
        (
            Counter(("DCGM_FI_DRIVER_VERSION", "DCGM_FI_SYSTEM_DRIVER_VERSION"), "label", "driver version", "gpu_info"),
            Counter(("DCGM_FI_DEV_SERIAL", "DCGM_FI_DEV_BOARD_SERIAL"), "label", "serial number", "gpu_info"),
        ),
    ),
)

COUNTERS = tuple(counter for _, counters in SECTIONS for counter in counters)
_NEW = {counter.names[-1] for counter in COUNTERS if len(counter.names) > 1}


def missing_families(names: Collection[str], *, mig: bool = False) -> tuple[Missing, ...]:
    """What a page of dcgm-exporter lacks that we would read, essential metrics first; nothing for any other page.

    names: the sample names that it prints. mig: whether its GPUs are cut into instances. A row may also be missing
    because the GPU does not have it, as row remapping on a T4: the page does not say which it is.
    """
    if not any(name.startswith(PREFIX) for name in names):
        return ()
    spelling: Names = "4.6" if not _NEW.isdisjoint(names) else "old"
    lacking = [
        Missing(counter.metric, counter.line(spelling), counter.essential)
        for counter in COUNTERS
        if counter.kind != "label"
        and not (mig and counter.cut)
        and not (spelling == "old" and counter.since)
        and set(counter.names).isdisjoint(names)
    ]
    return tuple(sorted(lacking, key=lambda one: not one.essential))


def counters_file(names: Names) -> str:
    """The counters file in one of the two spellings."""
    whom = "from 4.2.3-4.1.1 to 4.5.3-4.8.2" if names == "old" else "that are built with DCGM 4.6 or later"
    lines = [
        f"# Counters for dcgm-exporter {whom}: what sigmascale reads.",
        "# Use it with --collectors FILE, and --collect-interval 1000 instead of the 30000 ms that are the default.",
        "# Written by `python -m collectors.dcgm.counters dashboards/`; do not edit.",
        "# DCGM field, Prometheus type, help",
    ]
    for title, counters in SECTIONS:
        lines += ["", f"# {title}"]
        for counter in counters:
            known = names == "4.6" or not counter.since
            lines.append(counter.line(names) if known else f"# from {counter.since} on: {counter.line(names)}")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    for spelling, file_name in FILES.items():
        (Path(sys.argv[1]) / file_name).write_text(counters_file(spelling), encoding="utf-8")
