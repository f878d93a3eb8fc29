"""What the collector itself knows of a GPU: whether it answers, how old its values are, what reading costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoscaler.types import Labels
from collectors.derived.saturation import INPUTS, saturation
from collectors.nvml.strand import Strand

SM_ACTIVE = "gpu_sm_active_ratio"
INPUT_METRICS = (SM_ACTIVE, "gpu_dram_active_ratio", "gpu_power_watts", "gpu_power_limit_watts")


def tell_board(strand: Strand, now: float, strands: Sequence[Strand]) -> None:
    """Put what is derived into the batch of a GPU. strands: all of this GPU, for what each lane costs."""
    device, table = strand.device, strand.table
    table.tell("gpu_up", float(strand.heard > 0 and not device.hung), now)
    table.tell("gpu_lost", 0.0, now)
    for lane in (lane for each in strands for lane in each.lanes):
        if lane.has_work(now):
            source, age_s = (("source", lane.source),), now - lane.told_at
            table.tell("gpu_sample_age_seconds", max(0.0, age_s) if math.isfinite(age_s) else math.nan, now, source)
            table.tell("gpu_collect_duration_seconds", lane.took_s, now, source)
            if lane.slowest.call:
                labels = (("call", lane.slowest.call), *source)
                table.tell("gpu_collect_slowest_call_seconds", lane.slowest.took_s, now, labels)
    for (call, code), count in tuple(device.errors.items()):
        table.tell("gpu_collect_errors_total", float(count), now, (("call", call), ("code", code)))
    _tell_saturation(strand, now)


def _tell_saturation(strand: Strand, now: float) -> None:
    """The saturation of each MIG instance that tells its activity, else of the board.

    It is unknown while one of its inputs is, since it would look too low.
    """
    layout = strand.device.mig.layout
    parts = [instance.labels for instance in layout.instances] if layout.enabled else []
    told = [labels for labels in parts if strand.table.newest(SM_ACTIVE, labels) is not None]
    for labels in told or [()]:
        _tell_one(strand, now, labels)


def _tell_one(strand: Strand, now: float, labels: Labels) -> None:
    table = strand.table
    # Of what somebody else has paused nothing may be concluded.
    paused = {metric for probe in strand.probes() if probe.paused for metric in probe.call.metrics}
    values = [None if metric in paused else table.newest(metric, labels) for metric in INPUT_METRICS]
    sm, dram, power, limit = values
    source = "+".join(
        name
        for name, there in zip(INPUTS, (sm, dram, None if limit is None else power), strict=True)
        if there is not None
    )
    if not source:
        return
    missing = any(value is not None and math.isnan(value) for value in values)
    found = None if missing else saturation(*values)
    ratio = math.nan if found is None else found.ratio
    table.tell("gpu_saturation_ratio", ratio, now, tuple(sorted((*labels, ("source", source)))))
