"""Questions to a cloud whose answers hold for nearly an hour, asked a few at a time so that reports stay quick."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from autoscaler.clock import monotonic
from autoscaler.errors import ProviderError, ThrottledError, UnreachableError
from autoscaler.ports import Clock

HOLDS_S = 3300.0
AGAIN_S = 300.0
"""What could not be asked, or stands in an offer's way, is asked again: a person may have put it right."""
SILENT_S = 60.0
"""After a question without an answer nothing is asked for so long: each would cost its time-out."""
OLD_HOLDS = 3
"""An answer that could not be renewed is believed for so many times as long as it holds."""
TURN_S = 2.0
MOST = 2000
"""Questions that are kept; what is beyond is not asked."""
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Answer:
    """value: what was heard last, None = nothing yet. failed: why the last try brought nothing. due: ask again then."""

    value: Any
    at: float
    due: float
    failed: str = ""


@dataclass
class Inquiry:
    """`ask` is for one thread; what was heard may be read from any.

    holds_s: how long an answer is good. A question that fails leaves its old answer, and is never a reason to stop:
    a permission that is missing makes a thing unknown, not impossible.
    """

    clock: Clock
    holds_s: float = HOLDS_S
    again_s: float = AGAIN_S
    turn_s: float = TURN_S
    _answers: dict[Key, _Answer] = field(default_factory=dict, init=False, repr=False)
    _silent_until: float = field(default=0.0, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def ask(self, questions: Mapping[Key, Callable[[], Any]]) -> bool:
        """Asks those that are due, the most overdue first, for one turn; whether nothing is left to ask now. What
        is no longer asked is forgotten."""
        now = self.clock.now()
        wanted = dict(list(questions.items())[:MOST])
        with self._lock:
            self._answers = {key: a for key, a in self._answers.items() if key in wanted}
            due = {key: self._answers[key].due if key in self._answers else 0.0 for key in wanted}
        left = sorted((key for key in wanted if due[key] <= now), key=lambda key: due[key])
        if now < self._silent_until:
            return True
        ends = monotonic() + self.turn_s
        while left:
            key = left.pop(0)
            answer = self._asked(key, wanted[key], now)
            with self._lock:
                self._answers[key] = answer
            if now < self._silent_until or monotonic() > ends:
                break
        return not left or now < self._silent_until

    def heard(self, *key: str) -> Any:
        """The answer to a question; None while nothing is known, and once it is too old to be believed."""
        with self._lock:
            answer = self._answers.get(key)
        if answer is None or self.clock.now() - answer.at > OLD_HOLDS * self.holds_s:
            return None
        return answer.value

    def heard_at(self, *key: str) -> float:
        """When it was answered; 0 = never."""
        with self._lock:
            answer = self._answers.get(key)
        return answer.at if answer is not None else 0.0

    def unanswered(self) -> dict[Key, str]:
        """Questions that could not be asked at the last try, and why."""
        with self._lock:
            return {key: a.failed for key, a in self._answers.items() if a.failed}

    def doubt(self, keys: Iterable[Key]) -> None:
        """These answers stand in somebody's way, so they hold only for a short time."""
        with self._lock:
            for key in keys:
                known = self._answers.get(key)
                if known is not None and not known.failed and known.due > known.at + self.again_s:
                    self._answers[key] = _Answer(known.value, known.at, known.at + self.again_s)

    def _asked(self, key: Key, question: Callable[[], Any], now: float) -> _Answer:
        with self._lock:
            before = self._answers.get(key, _Answer(None, 0.0, 0.0))
        try:
            return _Answer(question(), now, now + self.holds_s)
        except UnreachableError as error:
            self._silent_until = now + SILENT_S
            failed, wait_s = str(error), SILENT_S
        except ThrottledError as error:
            self._silent_until = now + error.retry_after_s
            failed, wait_s = str(error), error.retry_after_s
        except ProviderError as error:
            failed, wait_s = str(error), self.again_s
        return _Answer(before.value, before.at, now + wait_s, failed)
