"""The two short dialects, rewritten into the long language: same checks, same engine, places of the original file.

    auto_scaling:
      metrics: [{NAME: {threshold, scale_up: {step, cooldown}}}]
      cloud_providers: [{type, instance_types}]
    rules: [{metric, threshold, action: scale_out, cooldown}]

They name no pool (it is `default`), one replica is one instance, bare numbers are seconds, and nothing scales in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from autoscaler import signals
from autoscaler.errors import InputError
from autoscaler.rulefile.section import Section, faults_of, key, wrong
from autoscaler.rulefile.words import AmountOf, Duration, LimitOf, SignalName, Text, choice
from autoscaler.yamltree import Mark, Tree, Value, Way

POOL = "default"


def _seconds(value: object) -> object:
    return f"{value}s" if isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value) else value


Seconds = Annotated[Duration, BeforeValidator(_seconds)]


class _Up(Section):
    step: AmountOf = key("1", "Replicas to add.")
    cooldown: Seconds = key("0", "Seconds of silence afterwards.")


class _Metric(Section):
    threshold: LimitOf = Field(description="Above it the pool grows.", examples=["85%"])
    scale_up: _Up = Field(description="By how much.", examples=["{step: 2, cooldown: 300}"])


class _Cloud(Section):
    type: Text = Field(description="Provider.", examples=["aws"])
    instance_types: list[Text] = Field(description="Machine types.", examples=["[p4d.24xlarge]"])
    region: Text | None = key(None, "Region; default: the service's.")


class _AutoScaling(Section):
    metrics: list[dict[SignalName, _Metric]] = Field(description="Thresholds.", examples=["[...]"])
    cloud_providers: list[_Cloud] = key([], "What may be launched.")

    @model_validator(mode="after")
    def _one_metric_each(self) -> _AutoScaling:
        bad = [i for i, entry in enumerate(self.metrics) if len(entry) != 1]
        if bad:
            raise wrong(*((("metrics", i), "needs one metric; write '- NAME: {threshold: ...}'") for i in bad))
        return self


class _Nested(Section):
    auto_scaling: _AutoScaling = Field(description="The whole file.", examples=["{metrics: [...]}"])


class _FlatRule(Section):
    metric: SignalName = Field(description="What is measured.", examples=["cpu_usage"])
    threshold: LimitOf = Field(description="Above it the action is taken.", examples=["80%"])
    action: Annotated[str, *choice("scale_out")] = Field(description="What is done.", examples=["scale_out"])
    step: AmountOf = key("1", "Replicas to add.")
    cooldown: Seconds = key("0", "Seconds of silence afterwards.")


class _Flat(Section):
    rules: list[_FlatRule] = Field(description="The whole file.", examples=["[...]"])


def is_short(tree: Tree) -> bool:
    """Whether a file is in one of the short dialects. A file that names its pool never is."""
    root = tree.root
    if not isinstance(root, dict) or "pool" in root:
        return False
    rules = root.get("rules")
    flat = isinstance(rules, list) and any(isinstance(r, dict) and "metric" in r and "name" not in r for r in rules)
    return "auto_scaling" in root or flat


def in_long_form(tree: Tree) -> Tree:
    """The same meaning in the long language. Raises InputError with every error of the dialect's own form."""
    assert isinstance(tree.root, dict)
    nested = "auto_scaling" in tree.root
    try:
        (_Nested if nested else _Flat).model_validate(tree.root)
    except ValidationError as error:
        raise InputError(*faults_of(error, tree)) from None
    writer = _Writer(tree)
    writer.put(("pool",), POOL, ())
    if nested:
        _nested(writer)
    else:
        _flat(writer)
    return Tree(tree.file, writer.root, writer.marks)


@dataclass
class _Writer:
    """Writes a long-form tree whose places are those of the tree that it is made from."""

    source: Tree
    root: dict[str, Value] = field(default_factory=dict)
    marks: dict[Way, Mark] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.marks[()] = self.source.marks[()]

    def put(self, way: Way, value: str | None, origin: Way) -> None:
        """Set one value. A value of None is copied from `origin`, whose place it gets in any case."""
        holder: Value = self.root
        for depth, (step, after) in enumerate(zip(way, (*way[1:], None), strict=True), 1):
            self.marks.setdefault(way[:depth], self.source.marks[origin])
            fresh: Value = [] if isinstance(after, int) else {}
            if after is None:
                fresh = self.at(origin) if value is None else value
            if isinstance(holder, list):
                if isinstance(step, int) and step == len(holder):
                    holder.append(fresh)
                holder = holder[int(step)]
            elif isinstance(holder, dict):
                holder = holder.setdefault(str(step), fresh)

    def at(self, origin: Way) -> Value:
        """The value of the source at a way."""
        value = self.source.root
        for step in origin:
            value = value[step]  # type: ignore[index]
        return value

    def rule(self, metric: str, entry: Way, threshold: Way, step: Way, cooldown: Way) -> None:
        """A signal for the metric, and a rule that grows above the threshold."""
        known = signals.metric(metric)
        self.put(("signals", metric, "metric"), metric, entry)
        self.put(("signals", metric, "aggregate"), "mean" if known is not None and known.ratio else "sum", entry)
        index = len(self.names)
        again = self.names.count(metric)
        self.names.append(metric)
        self.put(("rules", index, "name"), f"{metric} {again + 1}" if again else metric, entry)
        self.put(("rules", index, "when", metric, "above"), None, threshold)
        if step in self.source.marks:
            self.put(("rules", index, "scale_out", "by"), None, step)
        else:
            self.put(("rules", index, "scale_out", "by"), "1", entry)
        if cooldown in self.source.marks:
            self.put(("rules", index, "cooldown"), str(_seconds(self.at(cooldown))), cooldown)


def _nested(writer: _Writer) -> None:
    base: Way = ("auto_scaling", "metrics")
    for index in range(_length(writer, base)):
        metric = str(next(iter(writer.at((*base, index)))))
        entry: Way = (*base, index, metric)
        up: Way = (*entry, "scale_up")
        writer.rule(metric, entry, (*entry, "threshold"), (*up, "step"), (*up, "cooldown"))
    clouds: Way = ("auto_scaling", "cloud_providers")
    for index in range(_length(writer, clouds)):
        _cloud(writer, (*clouds, index), index)


def _cloud(writer: _Writer, cloud: Way, index: int) -> None:
    provider = str(writer.at((*cloud, "type")))
    offer: Way = ("offers", "from", index, provider)
    writer.put(("offers", "choose"), "listed", cloud)
    for number in range(_length(writer, (*cloud, "instance_types"))):
        origin: Way = (*cloud, "instance_types", number)
        kind = str(writer.at(origin))
        # Azure's own names have a prefix that people leave out.
        plain = provider == "azure" and not kind.startswith(("Standard_", "Basic_"))
        writer.put((*offer, "types", number), f"Standard_{kind}" if plain else kind, origin)
    writer.put((*offer, "replicas"), "1", cloud)
    if (*cloud, "region") in writer.source.marks:
        writer.put((*offer, "region"), None, (*cloud, "region"))


def _flat(writer: _Writer) -> None:
    for index in range(_length(writer, ("rules",))):
        rule: Way = ("rules", index)
        metric = str(writer.at((*rule, "metric")))
        writer.rule(metric, rule, (*rule, "threshold"), (*rule, "step"), (*rule, "cooldown"))


def _length(writer: _Writer, way: Way) -> int:
    found = writer.at(way) if way in writer.source.marks else []
    assert isinstance(found, list)
    return len(found)
