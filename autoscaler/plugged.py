"""Plug-ins of the configuration, built from their settings and from what only the service can give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Any

from autoscaler import plugins
from autoscaler.config import Config
from autoscaler.configparts import PlugInConfig
from autoscaler.errors import InputError
from autoscaler.ports import Clock
from autoscaler.queries import queries
from autoscaler.ruleset import RuleSet
from autoscaler.types import Offer, Query


class PlugIns:
    """Builds plug-ins. `rules` gives the rule sets in force, by pool; what arrives sets `wake`."""

    def __init__(self, config: Config, clock: Clock, wake: Event, rules: Callable[[], Mapping[str, RuleSet]]) -> None:
        self._config = config
        self._rules = rules
        self._ours = {"clock": clock, "wake": wake, "queries": self._queries, "offers": self._offers}

    def configured(self, group: plugins.Group, given: PlugInConfig) -> Any:
        """A plug-in of the configuration. InputError names the place where its settings were written."""
        try:
            return self.plugged(group, given)
        except InputError as error:
            where = f"{group}.{given.name}"
            raise InputError(*(self._config.fault(where, fault.text) for fault in error.faults)) from error

    def plugged(self, group: plugins.Group, given: PlugInConfig) -> Any:
        """Built from its settings and, where its class has such fields, from what only the service can give."""
        known = plugins.fields(plugins.load(group, given.plug_in))
        ours = {**self._ours, "directory": self._config.data_dir.absolute() / given.name}
        settings = {key: value for key, value in ours.items() if key in known} | dict(given.settings)
        return plugins.build(group, given.plug_in, settings, given.folder)

    def _queries(self) -> tuple[Query, ...]:
        """What the pools in force want to know of stores that answer queries."""
        return tuple(query for rules in self._rules().values() for query in queries(rules))

    def _offers(self) -> tuple[tuple[str, Offer], ...]:
        """What the pools in force may launch; a candidate launches nothing."""
        return tuple((pool, o) for pool, rules in self._rules().items() if not rules.shadow_of for o in rules.offers)
