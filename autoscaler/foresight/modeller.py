"""Who makes models and asks them: here at once, or in a process of its own (`apart.py`)."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

from autoscaler.foresight.shelf import Shelf
from autoscaler.ports import Forecaster, Model, Refitting
from autoscaler.types import Frame, Of, Outlook


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no model or no outlook, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a model, of each kind: growth (quantile, horizon) as of the newest sample of `recent`."""

    recent: Frame
    horizons_s: tuple[float, ...]
    quantiles: tuple[float, ...]
    of: tuple[Of, ...]


class Modeller(Protocol):
    """Models by key. Nothing here raises for what a forecaster does."""

    def fit(self, key: str, forecaster: Forecaster, history: Frame) -> Failure | None:
        """Make the model of a key anew; after a failure the one before stays."""
        ...

    def outlooks(self, key: str, question: Question) -> tuple[Outlook, ...] | Failure | None:
        """One outlook for each kind; None = there is no model of that key."""
        ...

    def close(self) -> None:
        """End what runs, at once; whoever waits for an answer gets a failure."""
        ...


def _one_thread() -> AbstractContextManager[object]:
    """Threads of numeric libraries that wait for each other cost more than they bring where a few trees are asked."""
    limited: AbstractContextManager[object] = _pools("sklearn" in sys.modules).limit(limits=1, user_api="openmp")
    return limited


@cache
def _pools(trees: bool) -> Any:
    """The thread pools of the libraries that are loaded; looking for them takes 7 ms, so once, and once with trees."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def fitted_anew(forecaster: Forecaster, history: Frame, before: Model | None) -> Model:
    """A new model in place of the one before, which it goes on from where the forecaster can do that."""
    if before is not None and isinstance(forecaster, Refitting):
        return forecaster.refit(history, before)
    return forecaster.fit(history)


@dataclass(slots=True)
class Bench:
    """Makes and asks models in the caller's thread."""

    shelf: Shelf = field(default_factory=Shelf)

    def fit(self, key: str, forecaster: Forecaster, history: Frame) -> Failure | None:
        try:
            with _one_thread():
                model = fitted_anew(forecaster, history, self.shelf.get(key))
            self.shelf.put(key, model)
        except Exception as error:  # noqa: BLE001 - the border of a plug-in; the caller logs and counts it
            return Failure(f"{type(forecaster).__name__} cannot learn: {type(error).__name__}: {error}")
        return None

    def outlooks(self, key: str, question: Question) -> tuple[Outlook, ...] | Failure | None:
        q = question
        try:
            model = self.shelf.get(key)
            if model is None:
                return None
            with _one_thread():
                return tuple(model.outlook(q.recent, q.horizons_s, q.quantiles, of) for of in q.of)
        except Exception as error:  # noqa: BLE001 - the border of a plug-in; the caller logs and counts it
            return Failure(f"the model cannot forecast: {type(error).__name__}: {error}")

    def close(self) -> None:
        return
