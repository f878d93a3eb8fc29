"""When each forecast signal's model is made anew and asked, and what becomes of what it says.

A model is made anew when its history grew by a tenth, after its first day by a quarter, at least an hour and at most a
day after the time before; it is asked about once a minute. What fails, is late or says nothing that can be used leaves
the last outlook, which ages.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import structlog

from autoscaler.clock import monotonic
from autoscaler.forecasters.grid import grid_of
from autoscaler.foresight.modeller import Failure, Modeller, Question
from autoscaler.foresight.rows import outlook_row
from autoscaler.foresight.unusual import without
from autoscaler.foresight.wishes import Wish, spread
from autoscaler.journal_learned import Lesson
from autoscaler.store import Store
from autoscaler.store.aggregate import Float64s
from autoscaler.types import Frame, Outlook

log = structlog.get_logger()

GREW = (0.1, 0.25)
YOUNG_S = 86400.0
FIT_S = (3600.0, 86400.0)
HISTORY_S = 22 * 86400.0
RECENT_S = 26 * 3600.0
"""Longer than a model is kept, so that nothing is missing between what it learned from and now."""

ASK_S = 60.0
ASKED_AT_ONCE = 20
"""Between two looks at everything else: a thousand pools take minutes."""

RETRY_S = (60.0, 3600.0)
LEAST_BUCKETS = 2
HORIZON_MOVED = 1.5


@dataclass(slots=True)
class Counts:
    """Since the start. fit_s: seconds of all fits; failures by what failed: fit, outlook."""

    fits: int = 0
    fit_s: float = 0.0
    outlooks: int = 0
    failures: dict[str, int] = field(default_factory=lambda: {"fit": 0, "outlook": 0})


@dataclass(slots=True)
class Course:
    """Where one signal stands. by, horizon_s: what its model was made with."""

    fit_at: float
    ask_at: float
    by: str = ""
    horizon_s: float = 0.0
    missed: int = 0
    told: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Forecasts:
    """Every forecast signal of every pool, each asked about every `ask_s`. Used by one thread; what it learned comes
    back as lessons."""

    store: Store
    modeller: Modeller
    ask_s: float = ASK_S
    counts: Counts = field(default_factory=Counts)
    _courses: dict[str, Course] = field(default_factory=dict)

    def resume(self, lesson: Lesson) -> None:
        """Goes on with the timetable of a model that was made before a restart."""
        try:
            given = json.loads(lesson.body)
            course = Course(float(given["fit_at"]), -math.inf, str(given["by"]), float(given["horizon_s"]))
        except (ValueError, KeyError, TypeError):
            return
        self._courses[f"{lesson.pool}/{lesson.key}"] = course

    def work(self, wishes: Iterable[Wish], now: float) -> tuple[list[tuple[Wish, str, Outlook]], list[Lesson], bool]:
        """Makes one model that is due and asks some: new outlooks with their names, lessons, whether more is due."""
        known = {wish.key: wish for wish in wishes}
        for gone in self._courses.keys() - known.keys():
            del self._courses[gone]
        for wish in known.values():
            self._plan(wish, now)
        lessons: list[Lesson] = []
        fits = sorted((c.fit_at, key) for key, c in self._courses.items() if c.fit_at <= now)
        if fits:
            made = self._fit(known[fits[0][1]], now)
            lessons += [made] if made is not None else []
        asks = sorted((c.ask_at, key) for key, c in self._courses.items() if c.ask_at <= now)
        said = [found for _, key in asks[:ASKED_AT_ONCE] for found in self._ask(known[key], now)]
        lessons += [outlook_row(wish.pool, name, outlook) for wish, name, outlook in said]
        return said, lessons, any(min(c.fit_at, c.ask_at) <= now for c in self._courses.values())

    def _plan(self, wish: Wish, now: float) -> None:
        """Whether the model that there is may be one of another forecaster, or of quite another horizon."""
        course = self._courses.get(wish.key)
        if course is None:
            # Asked before it is made: after a restart there may be one on the shelf.
            self._courses[wish.key] = Course(now, now, _by(wish), wish.horizons_s[-1])
            return
        ratio = wish.horizons_s[-1] / course.horizon_s if course.horizon_s > 0 else math.inf
        if course.by != _by(wish) or not 1 / HORIZON_MOVED < ratio < HORIZON_MOVED:
            course.by, course.horizon_s, course.fit_at = _by(wish), wish.horizons_s[-1], now
        # A clock that went back must not keep it from being asked.
        course.ask_at = min(course.ask_at, now + 2 * self.ask_s)
        course.fit_at = min(course.fit_at, now + 2 * FIT_S[1])

    def _fit(self, wish: Wish, now: float) -> Lesson | None:
        course = self._courses[wish.key]
        history = self._history(wish, now - HISTORY_S, now)
        known_s = 0.0 if history is None else history.interval_s * float(np.count_nonzero(np.isfinite(history.values)))
        if history is None or known_s < getattr(wish.forecaster, "least_s", 0.0):
            course.fit_at = now + RETRY_S[0]
            return None
        began = monotonic()
        problem = self.modeller.fit(wish.key, wish.forecaster, history)
        self.counts.fit_s += monotonic() - began
        self.counts.fits += 1
        if problem is not None:
            course.missed += 1
            course.fit_at = now + min(RETRY_S[1], RETRY_S[0] * 2.0 ** min(course.missed - 1, 10))
            self._failed(wish, "fit", problem)
            return None
        course.missed, course.ask_at = 0, now
        course.told.pop("fit", None)
        period_s = kept_s(known_s)
        # Spread over a fifth of the period, so that pools that started together are not always learned together.
        course.fit_at = now + period_s * (0.9 + 0.2 * spread(wish.key))
        course.by, course.horizon_s = _by(wish), wish.horizons_s[-1]
        body = {"fit_at": course.fit_at, "by": course.by, "horizon_s": course.horizon_s, "known_s": known_s}
        version = f"{type(wish.forecaster).__name__.lower()}@{float(history.at[-1]):.0f}"
        return Lesson(wish.pool, "model", wish.signal, version, now, json.dumps(body))

    def _ask(self, wish: Wish, now: float) -> list[tuple[Wish, str, Outlook]]:
        course = self._courses[wish.key]
        course.ask_at = now + self.ask_s * (0.9 + 0.2 * spread(wish.key))
        recent = self._history(wish, now - RECENT_S, now)
        if recent is None:
            return []
        question = Question(recent, wish.horizons_s, wish.quantiles, wish.of)
        answer = self.modeller.outlooks(wish.key, question)
        if answer is None:
            # A model that failed to be made keeps its wait.
            course.fit_at = course.fit_at if course.missed else min(course.fit_at, now)
            return []
        self.counts.outlooks += 1
        found = answer if isinstance(answer, Failure) else _sound(answer, question)
        if isinstance(found, Failure):
            self._failed(wish, "outlook", found)
            return []
        course.told.pop("outlook", None)
        return [(wish, wish.name_of(o.of), replace(o, version=f"{o.version}/{o.at:.0f}")) for o in found]

    def _history(self, wish: Wish, since: float, now: float) -> Frame | None:
        """The level signal in even buckets; None while there is too little of it."""
        # Nothing after now: a clock that was set back would let the past tell the future.
        at, values = self.store.history(wish.pool, wish.source, since, math.nextafter(now, math.inf))
        if at.size < LEAST_BUCKETS:
            return None
        return without(even(at, values), wish.unusual, now)

    def _failed(self, wish: Wish, what: str, problem: Failure) -> None:
        self.counts.failures[what] += 1
        told = self._courses[wish.key].told
        if told.get(what) != problem.text:  # once, not every minute
            log.error("no forecast", pool=wish.pool, signal=wish.signal, failed=what, problem=problem.text)
        told[what] = problem.text


def kept_s(known_s: float) -> float:
    """How long a model that learned from so many seconds of history is kept."""
    return max(FIT_S[0], min(GREW[known_s >= YOUNG_S] * known_s, FIT_S[1]))


def even(at: Float64s, values: Float64s) -> Frame:
    """Points in even buckets, of a minute or of the points' own distance; the last ends with the newest point."""
    interval_s = max(1e-3, float(np.median(np.diff(at[-500:]))))
    grid = grid_of(Frame(interval_s, at, values[None, :], at[-1:], ("fresh",)))
    return Frame(grid.step_s, grid.at, grid.values[None, :], np.array([grid.end_at]), ("fresh",))


def _sound(outlooks: tuple[Outlook, ...], question: Question) -> tuple[Outlook, ...] | Failure:
    """The outlooks with every cell that cannot be a growth emptied; a failure if one has none left."""
    found = []
    for o in outlooks:
        shape = [len(row) for row in o.growth]
        if (o.horizons_s, o.quantiles) != (question.horizons_s, question.quantiles) or shape != [
            len(o.horizons_s)
        ] * len(o.quantiles):
            return Failure("the model answered another question than was asked")
        growth = tuple(tuple(cell if 0 <= cell < math.inf else math.nan for cell in row) for row in o.growth)
        if not any(math.isfinite(cell) for row in growth for cell in row) or not math.isfinite(o.at):
            return Failure("the model gave no finite growth")
        floor = o.floor if math.isfinite(o.floor) and o.floor > 0 else 0.0
        # It knows nothing that is newer than what it was shown.
        found.append(replace(o, growth=growth, floor=floor, at=min(o.at, float(question.recent.at[-1]))))
    return tuple(found)


def _by(wish: Wish) -> str:
    """The forecaster and its settings, without what follows from the wish itself."""
    f = wish.forecaster
    own = {n: getattr(f, n) for n in getattr(f, "__dataclass_fields__", {}) if n not in ("horizons_s", "of")}
    return f"{type(f).__name__} {own}"
