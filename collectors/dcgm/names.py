"""What a series of dcgm-exporter means to us."""

from __future__ import annotations

from autoscaler.signals import is_counter
from autoscaler.types import Labels
from collectors.dcgm.fields import CLOCK_EVENTS, CLOCK_REASONS, FIELDS, MASKS, NUMA_MASK, PREFIX
from collectors.dcgm.labels import board_labels, device_labels, info_labels, ordered, work_labels
from collectors.pages.identity import Identity

XID_WINDOW = "DCGM_EXP_XID_ERRORS_COUNT"
"""How often each fault occurred in the exporter's sliding window. It is declared a counter, but falls when a fault
leaves the window, so it stays a gauge under its own name and `gpu_xid_events_total` is derived from it."""
HEALTH = "DCGM_EXP_GPU_HEALTH_STATUS"

_BY_NAME = {PREFIX + name: (field, rank) for field in FIELDS for rank, name in enumerate(reversed(field.names))}
_MASKS = {PREFIX + name: number for number, names in MASKS.items() for name in names}
_OF_A_BOARD_ONLY = ("gpu_busy_ratio", "gpu_memory_copy_ratio", "gpu_encoder_ratio", "gpu_decoder_ratio")
"""The driver has these for no MIG instance (nvml.h on nvmlDeviceGetUtilizationRates): whatever is printed for one is
not a measurement, and above all not idleness."""


def identities(name: str, labels: Labels) -> tuple[Identity, ...] | None:
    """What a series of dcgm-exporter means; None for a name that is not DCGM's."""
    if not name.startswith((PREFIX, "DCGM_EXP_")):
        return None
    device, work = device_labels(labels), work_labels(labels)
    known = _BY_NAME.get(name)
    if known is None:
        return _special(name, device, work)
    field, rank = known
    if "gi_id" in device and field.metric in _OF_A_BOARD_ONLY:
        return ()
    board = field.board and "gi_id" in device
    identity = Identity(
        field.metric,
        ordered({**(board_labels(device) if board else device), **dict(field.labels)}),
        is_counter(field.metric),
        field.factor,
        blank=field.blank,
        bits=field.bits,
        family=f"{field.metric}/{field.id}" if len(field.names) > 1 else "",
        rank=rank,
        work=() if board else work,
    )
    about = info_labels(device, labels) if field.carrier else None
    # 1 whatever the series' own value is, as long as there is one.
    info = () if about is None else (Identity("gpu_info", about, factor=0.0, offset=1.0, blank=field.blank),)
    return (identity, *info)


def _special(name: str, device: dict[str, str], work: Labels) -> tuple[Identity, ...]:
    """Fields that are more than a number in a unit, and those that the table does not hold, under their own name."""
    board = board_labels(device)
    whose = () if "gi_id" in device else work
    match _MASKS.get(name):
        case number if number == CLOCK_REASONS:
            return tuple(
                Identity(
                    "gpu_clock_event_active", ordered({**board, "reason": why}), blank="int64", bits=bit, work=whose
                )
                for why, bit in CLOCK_EVENTS
            )
        case number if number == NUMA_MASK:
            return (Identity("gpu_numa_node", ordered(board), blank="int64", lowest_bit=True, work=whose),)
    if name == HEALTH:
        return (Identity("gpu_health", ordered(device), blank="int64", work=work),)
    if name == XID_WINDOW:
        return (Identity(XID_WINDOW, ordered(device), work=work),)
    return (Identity(name, ordered(device), is_counter(name), blank="int64", work=work),)
