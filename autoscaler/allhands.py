"""All hands of a service: one dispatch for every provider that its configuration or a rule file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import structlog

from autoscaler import plugins
from autoscaler.clock import SystemClock
from autoscaler.config import Config
from autoscaler.configparts import PlugInConfig
from autoscaler.dispatch import Dispatch, Threaded, Unavailable
from autoscaler.errors import InputError
from autoscaler.gate import Gate
from autoscaler.hooks import Hooked
from autoscaler.pacing import USUAL
from autoscaler.plugged import PlugIns
from autoscaler.ports import Adopter, Adopting, Provider
from autoscaler.ruleset import RuleSet

log = structlog.get_logger()

Play = Callable[[str, Callable[[], Mapping[str, RuleSet]]], Provider]
"""Who plays the provider of a name, given the rules in force by pool."""


@dataclass(slots=True)
class AllHands:
    """`hands` grows with the providers that are named; what was taken up is let go by `stop`.

    play: who stands for every provider instead of the installed plug-ins, of which then none is asked for.
    """

    config: Config
    clock: SystemClock
    wake: Event
    rules: Callable[[], Mapping[str, RuleSet]]
    plug_ins: PlugIns
    play: Play | None = None
    hands: dict[str, Dispatch] = field(default_factory=dict)
    _providers: dict[str, Any] = field(default_factory=dict)

    def add(self) -> None:
        """A dispatch for every provider that has none yet. Raises InputError for a configured one that cannot be."""
        configured = {p.name: p for p in self.config.providers}
        named = {o.provider for r in self.rules().values() for o in r.offers}
        for name in sorted((configured.keys() | named) - self.hands.keys()):
            try:
                if self.play is not None:
                    provider = self.play(name, self.rules)
                elif name in configured:
                    provider = self.plug_ins.configured("providers", configured[name])
                else:
                    provider = self.plug_ins.plugged("providers", PlugInConfig(name))
            except InputError as error:
                if name in configured:
                    raise
                log.error("no provider for an offer", provider=name, problem=str(error))
                self.hands[name] = Unavailable(str(error))
                continue
            self._providers[name] = provider
            self.hands[name] = self._hand(name, provider)

    def adopters(self) -> dict[str, Adopter]:
        """Who can take machines into a pool that somebody else made, by provider."""
        return {name: one.adopter() for name, one in self._providers.items() if isinstance(one, Adopting)}

    def stop(self) -> None:
        """Ends the threads and lets the providers go."""
        for hand in self.hands.values():
            hand.stop()
        for provider in self._providers.values():
            if hasattr(provider, "close"):
                provider.close()

    def _hand(self, name: str, provider: Any) -> Dispatch:
        if self.config.shadow:
            provider = plugins.load("providers", "shadow")(provider)
        pace = self.config.paces.get(name, USUAL)
        gate = Gate(pace, self.clock, name)
        hand = Threaded(provider, self.clock, self._observe_s(), self.wake, pace.parallel, gate)
        hand.start()
        # A shadow sees other people's drains and calls nobody.
        return hand if self.config.shadow else Hooked(hand, self.clock, self.rules, self.wake, self.config.hook_hosts)

    def _observe_s(self) -> float:
        """Reports are asked for twice per shortest tick, at most four times a second."""
        ticks = [r.tick_s for r in self.rules().values()]
        return max(0.25, min([10.0, *(t / 2 for t in ticks)]))
