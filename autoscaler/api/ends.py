"""When something that a person asks for ends: an instant or a duration, in the future and not for ever."""

from __future__ import annotations

from datetime import datetime

from autoscaler import units
from autoscaler.explain import clock_text

LONGEST_S = 30 * 86400.0
"""What should last longer belongs into the rule file, where the next person looks for it."""

LAST_INSTANT = 253402300799.0
"""The end of the year 9999: nothing after it can be shown as a date."""

Faults = list[tuple[str, str]]


def end_of(
    until: float | str | None, lasts: str | None, now: float, faults: Faults, otherwise_s: float | None = None
) -> float:
    """The end that `until` or `for` says; adds to `faults` what is wrong with it.

    otherwise_s: how long it lasts when neither is given; None = one must be.
    """
    if until is None and lasts is None and otherwise_s is not None:
        return now + otherwise_s
    if (until is None) == (lasts is None):
        both = "are both given" if until is not None else "are both missing"
        faults.append(("until", f'until and for {both}; give one, such as "for": "2h"'))
        return now
    where = "until" if lasts is None else "for"
    try:
        end = instant_of(until) if lasts is None else now + units.duration_s(lasts)
    except ValueError as error:
        faults.append((where, str(error)))
        return now
    if end <= now:
        rule = f"the end {clock_text(end)} is not after now ({clock_text(now)}); give a later one"
        faults.append((where, rule))
    elif end > now + LONGEST_S:
        rule = f"the end {clock_text(end)} is more than 30 days away; end it earlier, or change the rule file"
        faults.append((where, rule))
    return end


def instant_of(value: float | str | None) -> float:
    """Unix seconds of an instant as people write it. Raises ValueError with the rule and the next step."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"{value[:60]!r} is not a time; write 2030-01-31T18:00:00Z or Unix seconds") from None
        if moment.tzinfo is None:
            raise ValueError(f"{value!r} names no time zone; add Z for UTC or an offset such as +08:00")
        value = moment.timestamp()
    assert value is not None
    if not 0 <= value <= LAST_INSTANT:
        raise ValueError(f"{value!r} is not a time of this age; write Unix seconds such as 1900000000")
    return value
