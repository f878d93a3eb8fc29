"""The kinds of value that a rule file has, as pydantic types: how each is read, and how editors may check it.

A tree holds only text (see `yamltree`), so every type here starts from text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, PlainValidator, WithJsonSchema

from autoscaler import units
from autoscaler.rulefile.days import days, zone
from autoscaler.rulefile.section import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Amount:
    """How many more: a number of replicas or a share of the size. One of the two is zero."""

    replicas: int = 0
    ratio: float = 0.0


@dataclass(frozen=True, slots=True)
class Level:
    """A fixed threshold."""

    at: units.Quantity
    text: str


@dataclass(frozen=True, slots=True)
class Spread:
    """A threshold learned from the lookback: `k` deviations, by the plug-in `kind`, one of LEARNED."""

    kind: str
    k: float
    text: str


@dataclass(frozen=True, slots=True)
class Within:
    """Two fixed bounds of the normal."""

    lower: units.Quantity
    upper: units.Quantity
    text: str


@dataclass(frozen=True, slots=True)
class PluggedIn:
    """A plug-in by its name, with the settings for its constructor as text."""

    name: str
    settings: tuple[tuple[str, object], ...]
    text: str


Limit = Level | Spread | Within | PluggedIn

LEARNED = ("sigma", "robust", "seasonal", "likelihood")
"""The learned thresholds that have a short form, `3 sigma`."""


def word(reader: Callable[[str], T], example: str) -> PlainValidator:
    """A validator that reads one text; a mapping or list in its place is refused."""

    def read(value: object) -> object:
        if isinstance(value, str):
            return reader(value)
        kind = "mapping" if isinstance(value, dict) else "list"
        raise ValueError(f"is a {kind} where one value belongs; write {example}")

    return PlainValidator(read)


def choice(*options: str) -> tuple[PlainValidator, WithJsonSchema]:
    """A word from a closed list; used as `Annotated[str, *choice("a", "b")]`."""

    def read(text: str) -> str:
        if text not in options:
            close = did_you_mean(text, options) or f"; write {options[0]}"
            raise ValueError(f"{text!r} is not one of {', '.join(options)}{close}")
        return text

    return word(read, options[0]), WithJsonSchema({"type": "string", "enum": list(options)})


def _schema(title: str, *types: str, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"title": title, "type": list(types) if len(types) > 1 else types[0], **more})


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty; write a word")
    return text


def _pool_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9_.]{0,61}[a-z0-9])?", text):
        raise ValueError(f"{text!r} is not a pool name; write up to 63 of a-z, 0-9, '-', '_', '.', such as chat-70b")
    return text


def _signal_name(text: str) -> str:
    if text == "capacity":
        raise ValueError("'capacity' is the reading of what one replica serves; choose another name for the signal")
    if text in ("all", "any", "at_least", "of", "for"):
        raise ValueError(f"{text!r} is a word of the language; choose another name for the signal")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", text):
        raise ValueError(f"{text!r} is not a signal name; write letters, digits and '_', such as queue or ttft99")
    return text


def _amount(text: str) -> Amount:
    share = text.endswith("%")
    amount = Amount(ratio=units.ratio(text)) if share else Amount(replicas=units.count(text))
    if amount == Amount():
        raise ValueError(f"{text!r} adds nothing; write a number of replicas such as 2, or a share such as 25%")
    return amount


def _limit(value: object) -> Limit:
    if isinstance(value, list):
        if len(value) != 2 or not all(isinstance(v, str) for v in value):
            raise ValueError("needs two values, the lower and the upper; write [10, 20]")
        lower, upper = units.quantity(value[0]), units.quantity(value[1])
        if lower.unit != upper.unit:
            raise ValueError(f"{value[0]} and {value[1]} have different units; write both in the same one")
        if lower.value >= upper.value:
            raise ValueError(f"{value[0]} is not below {value[1]}; write the lower one first")
        return Within(lower, upper, f"{value[0]}..{value[1]}")
    if isinstance(value, dict):
        name = value.get("use")
        if not isinstance(name, str):
            raise ValueError("names no plug-in; write {use: NAME, setting: value}")
        settings = tuple((k, v) for k, v in value.items() if k != "use")
        return PluggedIn(name, settings, f"{name} {dict(settings)}" if settings else name)
    text = str(value)
    spread = re.fullmatch(rf"(\S+) ?({'|'.join(LEARNED)})", text)
    if spread is not None:
        k = units.number(spread[1])
        if k <= 0:
            raise ValueError(f"{text!r} has no width; write a number of deviations above 0, such as 3 {spread[2]}")
        return Spread(spread[2], k, f"{k:g} {spread[2]}")
    try:
        return Level(units.quantity(text), text)
    except ValueError:
        if text[:1].isdigit() or not text:
            raise
        raise ValueError(f"{text!r} is not a threshold; write 85%, 50, 2s, 80GiB, 3 sigma or 3 robust") from None


def _plugged_in(value: object) -> PluggedIn:
    if isinstance(value, dict):
        found = _limit(value)
        assert isinstance(found, PluggedIn)
        return found
    if not isinstance(value, str):
        raise ValueError("is a list where one value belongs; write select, or {use: NAME, setting: value}")
    return PluggedIn(_text(value), (), value)


def _quantile(text: str) -> float | Literal["auto"]:
    return "auto" if text == "auto" else units.number(text)


def _capacity(text: str) -> units.Quantity | None:
    return None if text == "auto" else units.rate(text)


def _per_replica(text: str) -> units.Quantity | None:
    """None = auto. A bare number has the unit of the signal."""
    if text == "auto":
        return None
    value = units.quantity(text)
    if value.value <= 0:
        raise ValueError(f"{text!r} is no work; write what one replica carries, such as 10 requests/s, or auto")
    return value


def _span_s(text: str) -> float:
    seconds = units.duration_s(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} is no time at all; write 1s or longer")
    return seconds


def _share(text: str) -> float:
    value = units.ratio(text)
    if value > 1:
        raise ValueError(f"{text!r} is more than the whole; write 100% or less")
    return value


def _part(text: str) -> float:
    value = _share(text)
    if not 0 < value <= 1:
        raise ValueError(f"{text!r} is nothing; write a share such as 80%")
    return value


def _tolerance(text: str) -> float:
    value = _share(text)
    if value >= 1:
        raise ValueError(f"{text!r} tolerates everything; write a share below 100%, such as 10%")
    return value


def _ahead(text: str) -> float | None:
    return None if text == "lead_time" else units.duration_s(text)


def _aggregate(text: str) -> str:
    plain = ("sum", "mean", "max", "min", "count", "quantile")
    if text not in plain and not re.fullmatch(r"p([1-9][0-9]?|99[0-9]+)", text):
        close = did_you_mean(text, plain) or "; write mean"
        raise ValueError(f"{text!r} is not one of {', '.join(plain)} or a percentile such as p95{close}")
    return text


def one_or_list(value: object) -> object:
    """A single value stands for a list of one."""
    return value if isinstance(value, list) else [value]


def off_or_section(value: object) -> object:
    """`off` stands for no section at all."""
    if isinstance(value, str) and value != "off":
        raise ValueError(f"{value!r} is neither a section nor off; write off, or keys below it")
    return None if value == "off" else value


def off_or_duration(value: object) -> object:
    """`off` stands for no duration at all."""
    if value is None or isinstance(value, float):
        return value
    if not isinstance(value, str):
        raise ValueError("is neither a duration nor off; write 50ms")
    return None if value == "off" else units.duration_s(value)


_DURATION_PATTERN = r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d|w))+)$"
Text = Annotated[str, word(_text, "one word"), _schema("text", "string", "number", "boolean")]
PoolName = Annotated[str, word(_pool_name, "chat-70b"), _schema("name", "string", "number")]
SignalName = Annotated[str, word(_signal_name, "queue"), _schema("name", "string")]
Count = Annotated[int, word(units.count, "2"), _schema("count", "integer", minimum=0)]
Whole = Annotated[int, word(units.whole, "10"), _schema("whole number", "integer")]
Number = Annotated[float, word(units.number, "0.5"), _schema("number", "number")]
QuantileOf = Annotated[
    float | Literal["auto"], word(_quantile, "0.95 or auto"), _schema("number or auto", "number", "string")
]
Duration = Annotated[
    float, word(units.duration_s, "60s"), _schema("duration", "string", "integer", pattern=_DURATION_PATTERN)
]
Span = Annotated[float, word(_span_s, "60s"), _schema("duration", "string", pattern=_DURATION_PATTERN)]
Ratio = Annotated[float, word(units.ratio, "85%"), _schema("share", "string", "number")]
Share = Annotated[float, word(_part, "80%"), _schema("share", "string", "number")]
Tolerance = Annotated[float, word(_tolerance, "10%"), _schema("share", "string", "number")]
Money = Annotated[float, word(units.usd_per_hour, "900 USD/h"), _schema("money", "string")]
DayMoney = Annotated[float, word(units.usd_per_day, "12000 USD/d"), _schema("money", "string")]
AmountOf = Annotated[Amount, word(_amount, "2 or 25%"), _schema("count or share", "integer", "string")]
Aggregation = Annotated[str, word(_aggregate, "sum"), _schema("aggregate", "string")]
CapacityOf = Annotated[units.Quantity | None, word(_capacity, "auto"), _schema("rate or auto", "string")]
PerReplica = Annotated[units.Quantity | None, word(_per_replica, "auto"), _schema("amount or auto", "number", "string")]
Ahead = Annotated[float | None, word(_ahead, "lead_time"), _schema("duration or lead_time", "string")]
LimitOf = Annotated[
    Limit, PlainValidator(_limit), _schema("threshold", "string", "number", "array", "object", items={})
]
ForecasterOf = Annotated[PluggedIn, PlainValidator(_plugged_in), _schema("plug-in", "string", "object")]
SeverityOf = Annotated[str, *choice("info", "warning", "critical")]
_WORD_SCHEMA = {"type": ["string", "number", "boolean"]}
DaysOf = Annotated[tuple[date, date], word(days, "2026-12-24"), _schema("days", "string")]
ZoneOf = Annotated[ZoneInfo, word(zone, "Europe/Berlin"), _schema("time zone", "string")]
Words = Annotated[
    list[Text],
    BeforeValidator(one_or_list),
    WithJsonSchema({"title": "one or a list", "anyOf": [_WORD_SCHEMA, {"type": "array", "items": _WORD_SCHEMA}]}),
]
Labels = dict[str, Text]
