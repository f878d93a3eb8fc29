"""The section on orders as a value."""

from __future__ import annotations

from autoscaler.movement import LaunchLimits
from autoscaler.rulefile.model import LaunchSection


def launching(section: LaunchSection) -> LaunchLimits:
    """The limits on orders that the section means."""
    return LaunchLimits(
        limit_s=section.limit,
        register_s=section.register_,
        shortage_s=section.shortage,
        shortage_max_s=section.shortage_max,
        shortage_reset_s=section.shortage_reset,
        per_hour=section.per_hour,
        shortage_most=section.shortage_most,
        quota_s=section.quota,
        sick_ratio=section.sick_share,
        sick_count=section.sick_count,
        repair_ratio=section.repair_share,
    )
