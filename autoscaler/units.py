"""Quantities as people write them, read once at the edge into base units.

Every reader takes the text of one value and returns a number in seconds, bytes, USD per hour, a ratio or a count. A
text that it cannot read raises ValueError with a sentence that names the text, the rule it broke and the next step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "TB": 1e12,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "TiB": 2.0**40,
}
PHYSICAL = {
    "W": ("watts", 1.0),
    "kW": ("watts", 1000.0),
    "C": ("celsius", 1.0),
    "°C": ("celsius", 1.0),
    "celsius": ("celsius", 1.0),
    "MHz": ("hertz", 1e6),
    "GHz": ("hertz", 1e9),
    "J": ("joules", 1.0),
    "V": ("volts", 1.0),
}
PER_SECOND = {"s": 1.0, "min": 60.0, "h": 3600.0}

_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_UNSIGNED = r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?"
_DURATION = re.compile(rf"(?:{_UNSIGNED}(?:ms|s|m|h|d|w))+")
_DURATION_PART = re.compile(rf"({_UNSIGNED})(ms|s|m|h|d|w)")
_WITH_UNIT = re.compile(rf"([+-]?{_UNSIGNED}) ?([A-Za-z°]+)")
_RATE = re.compile(rf"([+-]?{_UNSIGNED}) ?([a-z_]+)/([a-z]+)")
_LARGEST = 1e18


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in base units. `unit` is `ratio`, `seconds`, `bytes`, `requests/s`, ... or empty for a bare number."""

    value: float
    unit: str = ""


def number(text: str) -> float:
    """A plain decimal number; `1e3` is 1000, `010`, `1_000`, `nan` and `inf` are refused."""
    if not _NUMBER.fullmatch(text):
        if re.fullmatch(r"[+-]?0[0-9]+(?:\.[0-9]+)?", text):
            raise ValueError(f"{text!r} starts with a zero, which some readers take for base 8; write {_bare(text)}")
        raise ValueError(f"{text!r} is not a number; write digits such as 50 or 0.5")
    value = float(text)
    if abs(value) > _LARGEST:
        raise ValueError(f"{text!r} is too large to mean anything; write a number up to 1e18")
    return value


def count(text: str) -> int:
    """A whole number of things, 0 or more."""
    value = number(text)
    if value < 0:
        raise ValueError(f"{text!r} is negative; write 0 or more")
    if not re.fullmatch(r"[+]?[0-9]+", text):
        raise ValueError(f"{text!r} is not a whole number; write digits such as {int(value) or 1}")
    return int(text)


def whole(text: str) -> int:
    """A whole number that may be negative."""
    value = number(text)
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number; write digits such as 10 or -10")
    return int(value)


def flag(text: str) -> bool:
    """true or false, and nothing else: other readers disagree about yes, no, on and off."""
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is not true or false; write true or false")
    return text == "true"


def duration_s(text: str) -> float:
    """Seconds of `60s`, `5m`, `1h30m` or `7d`; the largest unit first, each unit once. `0` needs no unit."""
    if text == "0":
        return 0.0
    if _NUMBER.fullmatch(text):
        if text.startswith("-"):
            raise ValueError(f"{text!r} is negative; a duration is 0s or longer")
        raise ValueError(f"{text!r} has no unit; write {text}s, or another unit of ms, s, m, h, d")
    if re.fullmatch(rf"-{_DURATION.pattern}", text):
        raise ValueError(f"{text!r} is negative; a duration is 0s or longer")
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write 30s, 5m or 2h")
    parts = [(float(amount), SECONDS[unit]) for amount, unit in _DURATION_PART.findall(text)]
    scales = [scale for _, scale in parts]
    if scales != sorted(set(scales), reverse=True):
        raise ValueError(f"{text!r} repeats a unit or has them out of order; write the largest first, such as 1h30m")
    total = sum(amount * scale for amount, scale in parts)
    if total > 366 * SECONDS["d"]:
        raise ValueError(f"{text!r} is more than a year; write a duration up to 366d")
    return total


def ratio(text: str) -> float:
    """A share: `85%` or `0.85`. A bare number above 1 is refused, because it is a percentage without its sign."""
    if text.endswith("%"):
        value = number(text[:-1].rstrip(" ")) / 100.0
    else:
        try:
            value = number(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a share; write 85% or 0.85") from None
        if value > 1.0:
            raise ValueError(f"{text!r} is more than 1, the whole; write {text}% or {value / 100:g}")
    if value < 0.0:
        raise ValueError(f"{text!r} is negative; write a share such as 85% or 0.85")
    return value


def size_bytes(text: str) -> float:
    """Bytes of `80GiB` (2**30) or `40GB` (10**9)."""
    match = _WITH_UNIT.fullmatch(text)
    if match is None or match[2] not in BYTES:
        hint = f"{text}GiB or {text}GB" if _NUMBER.fullmatch(text) else "80GiB or 40GB"
        raise ValueError(f"{text!r} is not a size in bytes; write {hint}")
    if match[1].startswith("-"):
        raise ValueError(f"{text!r} is negative; a size is 0B or more")
    return float(match[1]) * BYTES[match[2]]


def usd_per_hour(text: str) -> float:
    """USD per hour of `900 USD/h`; also per day (`USD/d`)."""
    amount, per = _money(text, "900 USD/h")
    return amount / (1.0 if per == "h" else 24.0)


def usd_per_day(text: str) -> float:
    """USD per day of `12000 USD/d`; also per hour (`USD/h`)."""
    amount, per = _money(text, "12000 USD/d")
    return amount * (24.0 if per == "h" else 1.0)


def _money(text: str, example: str) -> tuple[float, str]:
    """USD, and h or d. example: what to write instead."""
    unit = example.rsplit(" ", 1)[1]
    match = re.fullmatch(rf"([+-]?{_UNSIGNED}) ?USD/(h|d)", text)
    if match is None:
        hint = f"{text} {unit}" if _NUMBER.fullmatch(text) else example
        raise ValueError(f"{text!r} is not money per time; write {hint}")
    if match[1].startswith("-"):
        raise ValueError(f"{text!r} is negative; a budget is 0 {unit} or more")
    return float(match[1]), match[2]


def rate(text: str) -> Quantity:
    """Work per second of `42 requests/s`, `1000 tokens/s` or `90 requests/min`; the unit is `requests/s`."""
    match = _RATE.fullmatch(text)
    if match is None or match[3] not in PER_SECOND:
        hint = f"{text} requests/s or {text} tokens/s" if _NUMBER.fullmatch(text) else "42 requests/s or 1000 tokens/s"
        raise ValueError(f"{text!r} is not a rate; write {hint}")
    if match[1].startswith("-"):
        raise ValueError(f"{text!r} is negative; a rate is 0 or more")
    return Quantity(float(match[1]) / PER_SECOND[match[3]], f"{match[2]}/s")


def quantity(text: str) -> Quantity:
    """Any of the above, told apart by its unit: what a threshold is compared with."""
    if _NUMBER.fullmatch(text):
        return Quantity(number(text))
    if text.endswith("%"):
        return Quantity(number(text[:-1].rstrip(" ")) / 100.0, "ratio")
    if _DURATION.fullmatch(text):
        return Quantity(duration_s(text), "seconds")
    if _RATE.fullmatch(text):
        return rate(text)
    match = _WITH_UNIT.fullmatch(text)
    if match is not None and match[2] in BYTES:
        return Quantity(size_bytes(text), "bytes")
    if match is not None and match[2] in PHYSICAL:
        unit, scale = PHYSICAL[match[2]]
        return Quantity(float(match[1]) * scale, unit)
    if text[:1].isdigit() and match is None:
        number(text)
    raise ValueError(f"{text!r} is not a value; write a number with its unit, such as 85%, 50, 2s, 80GiB or 300W")


def duration_text(seconds: float) -> str:
    """Seconds as people write them: 5400 is `1h30m`, 0.25 is `250ms`."""
    if seconds < 1.0:
        return f"{seconds * 1000:g}ms" if seconds else "0s"
    parts, rest = [], round(seconds, 3)
    for unit in ("d", "h", "m"):
        whole_units, rest = divmod(rest, SECONDS[unit])
        if whole_units:
            parts.append(f"{int(whole_units)}{unit}")
    if rest:
        parts.append(f"{rest:g}s")
    return "".join(parts)


def _bare(text: str) -> str:
    sign, digits = ("-", text[1:]) if text[0] == "-" else ("", text.lstrip("+"))
    stripped = digits.lstrip("0")
    return sign + (stripped if stripped and stripped[0] != "." else "0" + stripped)
