"""A provider that looks and does not touch: what would have been done is decided, recorded and withheld."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from autoscaler.ports import Provider
from autoscaler.types import Action, Fleet, Launch, Outcome


@dataclass(frozen=True, slots=True)
class ShadowProvider:
    """Observes through `inner`; never lets it act. One whose observation may act has a `look` that does not."""

    inner: Provider

    def observe(self) -> Fleet:
        look: Callable[[], Fleet] = getattr(self.inner, "look", self.inner.observe)
        return look()

    def survey(self) -> bool:
        """Questions change nothing, so they are asked."""
        survey: Callable[[], bool] = getattr(self.inner, "survey", lambda: True)
        return survey()

    def apply(self, action: Action) -> Outcome:
        instance = None if isinstance(action, Launch) else action.instance
        text = f"shadow: {action.kind} was not carried out"
        return Outcome(action.id, action.pool, "withheld", action.at, instance, text=text)
