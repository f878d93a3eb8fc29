"""Whether the plug-ins that a rule file names are installed, take their settings, and do what is asked of them."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from autoscaler import plugins
from autoscaler.errors import InputError
from autoscaler.rulefile.findings import Finding, tests
from autoscaler.rulefile.model import PoolFile
from autoscaler.rulefile.words import PluggedIn
from autoscaler.yamltree import Way


def installed(model: PoolFile) -> Iterator[Finding]:
    """Installed thresholds, policies and forecasters must exist and take their settings."""
    for way, _, test in [*tests(model), *((("alerts", i), "", a) for i, a in enumerate(model.alerts))]:
        limit = getattr(test, test.direction)
        if isinstance(limit, PluggedIn):
            yield from _buildable((*way, test.direction), "thresholds", limit.name, dict(limit.settings))
    for index, rule in enumerate(model.rules):
        if rule.policy is not None:
            settings = rule.policy.model_extra or {}
            yield from _buildable(("rules", index, "policy"), "policies", rule.policy.use, settings)
    for name, section in model.signals.items():
        if "forecaster" in section.model_fields_set:
            way = ("signals", name, "forecaster")
            chosen = section.forecaster
            built = yield from _buildable(way, "forecasters", chosen.name, dict(chosen.settings))
            kinds = getattr(built, "kinds", (section.of,))
            if built is not None and section.of not in kinds:
                text = f"{section.of}: {chosen.name} forecasts only {' and '.join(kinds)}"
                yield ("signals", name, "of"), f"{text}; write of: {kinds[0]} or another forecaster"


def _buildable(
    way: Way, group: plugins.Group, name: str, settings: Mapping[str, object]
) -> Generator[Finding, None, object]:
    """What keeps a plug-in from being built; returns it if nothing does."""
    try:
        return plugins.build(group, name, settings)
    except InputError as error:
        for fault in error.faults:
            yield way, fault.text
        return None
