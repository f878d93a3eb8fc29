"""Pages of the current values. A page is rendered once a second however many scrapers ask for it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from autoscaler.agent import canonical, dcgm_names, otel_names
from autoscaler.agent.current import Snapshot
from autoscaler.agent.families import Family, Line, prefix, render
from autoscaler.agent.settings import NAMES, Names
from autoscaler.clock import monotonic
from autoscaler.types import Labels, SeriesKey

ALL_PATH = "/metrics"
AGE = "gpu_sample_age_seconds"

_FAMILIES: Mapping[Names, Callable[[Sequence[SeriesKey]], tuple[Family, ...]]] = {
    "canonical": canonical.families,
    "dcgm": dcgm_names.families,
    "otel": otel_names.families,
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page, and the same compressed for scrapers that take that."""

    text: bytes
    packed: bytes


class Pages:
    """Renders pages by path: `/metrics` in the names chosen, and `/metrics/NAMES`.

    look: gives the snapshot of now. own: the page of the agent's own metrics, which stands on `/metrics` and beside our
    own names. labels: of the node. render_s: time that rendering the last page took. Callable from any thread.
    """

    def __init__(
        self, names: Sequence[Names], look: Callable[[], Snapshot], own: Callable[[], str], labels: Labels
    ) -> None:
        self._paths: dict[str, tuple[Names, ...]] = {ALL_PATH: tuple(dict.fromkeys(names))}
        self._paths |= {f"{ALL_PATH}/{one}": (one,) for one in NAMES}
        self._look = look
        self._own = own
        self._labels = dict(labels)
        self._lock = threading.Lock()
        self._second = -1.0
        self._snapshot: Snapshot | None = None
        self._ready: dict[str, Page] = {}
        self._laid_out: dict[Names, tuple[tuple[SeriesKey, ...], tuple[Family, ...]]] = {}
        self.render_s = 0.0

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that has a page."""
        return tuple(self._paths)

    def page(self, path: str, now: float) -> Page:
        """The page of a path; KeyError for one that has none."""
        names = self._paths[path]
        with self._lock:
            # Floor, so that scrapers of one second share a page, and a clock that goes back makes a new one.
            if self._second != now // 1.0:
                self._second, self._snapshot = now // 1.0, None
                self._ready.clear()
            if path not in self._ready:
                self._ready[path] = self._render(path, names)
            return self._ready[path]

    def _render(self, path: str, names: Sequence[Names]) -> Page:
        began = monotonic()
        if self._snapshot is None:
            self._snapshot = self._look()
        snapshot = self._snapshot
        values = snapshot.values.tolist()
        parts = [render(self._families(one, snapshot.keys), values) for one in names]
        if "canonical" in names:
            parts.append(self._ages(snapshot))
        if path == ALL_PATH or "canonical" in names:
            parts.append(self._own())
        text = "".join(parts).encode()
        page = Page(text, gzip.compress(text, compresslevel=1, mtime=0))
        self.render_s = monotonic() - began
        return page

    def _families(self, names: Names, keys: tuple[SeriesKey, ...]) -> tuple[Family, ...]:
        laid_out = self._laid_out.get(names)
        if laid_out is None or laid_out[0] is not keys:
            # An age as of the collection would contradict the one as of this page.
            families = tuple(family for family in _FAMILIES[names](keys) if family.name != AGE)
            laid_out = self._laid_out[names] = (keys, families)
        return laid_out[1]

    def _ages(self, snapshot: Snapshot) -> str:
        """How old the newest sample of each GPU's sources is, at the time of the page and not of the collection."""
        found = sorted((name, age) for name, age in snapshot.ages_s.items() if name[1])
        lines = tuple(
            Line(prefix(AGE, tuple(sorted({**self._labels, "source": source, "uuid": uuid}.items()))), (place,))
            for place, ((source, uuid), _) in enumerate(found)
        )
        return render((Family(AGE, "gauge", canonical.describe(AGE), lines),), [round(age, 3) for _, age in found])
