"""Which fields are read how often from a host engine."""

from __future__ import annotations

from collectors.dcgm.fields import CLOCK_REASONS, NUMA_MASK

PROFILING = (1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1091, 1092)
"""Fields of the profiling module. It may be paused, used by somebody else, or not there at all."""
GAUGES = (100, 101, 140, 150, 155, 156, 157, 164, 190, 203, 204, 206, 207, 230, 240, 241, 250, 251, 252, 253, 449)
SLOW = (67, NUMA_MASK, 92, 113, 153, 202, 237, 238, 310, 311, 393, 394, 395, 396, 409, 429, 439, 1523)
REASONS = (CLOCK_REASONS,)

AVERAGED = frozenset((155, 157, 203, 204, 206, 207, *range(1001, 1013)))
"""Fields whose samples are averaged where there are several in one interval; of the others the last one counts."""

NEW = frozenset((153, 1091, 1092, 1523))
"""Fields that DCGM 3 does not know: dmon ends over them, while the bindings can be asked first."""
