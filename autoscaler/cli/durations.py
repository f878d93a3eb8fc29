"""Durations of options, within bounds that a person is told."""

from __future__ import annotations

from autoscaler.errors import InputError


def between(option: str, text: str, least_s: float, most_s: float) -> float:
    """Seconds of an option's text. Raises InputError, which names the option, for no duration and one out of bounds."""
    from autoscaler import units

    try:
        found = units.duration_s(text)
    except ValueError as error:
        raise InputError(f"{option}: {error}") from error
    if not least_s <= found <= most_s:
        least, most = units.duration_text(least_s), units.duration_text(most_s)
        raise InputError(f"{option}: {text} is not between {least} and {most}; write another")
    return found
