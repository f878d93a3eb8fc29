"""The candidates that rule files name, followed like the rule files themselves; a broken one disturbs nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from autoscaler.errors import Fault, InputError
from autoscaler.movement import WarmPool
from autoscaler.rulefile.reader import Checked, Defaults, check_file
from autoscaler.rulefile.watch import Change, RuleBook
from autoscaler.ruleset import SHADOW, RuleSet
from autoscaler.types import Offer


def candidate_file(rules: RuleSet) -> Path:
    """Where the candidate of a rule file lies."""
    return Path(rules.file).parent / rules.shadow


def unfit(active: RuleSet, candidate: RuleSet) -> Fault | None:
    """Why rules cannot be a candidate of the active ones."""
    if _same_file(Path(active.file), Path(candidate.file)):
        text = "is the rule file itself; copy it, change the copy and name that one"
        return Fault(active.file, 1, 1, "shadow.file", text)
    if candidate.pool != active.pool:
        text = f"is of pool {candidate.pool!r}; the candidate of {active.file} must be of pool {active.pool!r}"
        return Fault(candidate.file, 1, 1, "pool", text)
    if candidate.shadow:
        text = f"a candidate has no candidate of its own; delete the key, or name {candidate.shadow} in {active.file}"
        return Fault(candidate.file, 1, 1, "shadow", text)
    return None


def as_candidate(active: RuleSet, candidate: RuleSet) -> RuleSet:
    """The candidate as a pool of its own: the active pool's series, imagined offers, no alerts, nothing warm."""
    return replace(
        candidate,
        pool=active.pool + SHADOW,
        shadow_of=active.pool,
        match=active.match,
        offers=tuple(imagined(offer) for offer in candidate.offers),
        alerts=(),
        warm_pool=WarmPool(),
    )


def imagined(offer: Offer) -> Offer:
    """The offer under the provider that only imagines; its key is the real one's behind that provider's name."""
    return replace(offer, provider=SHADOW, type=f"{offer.provider}/{offer.type}", settings=())


def check_candidate(checked: Checked, defaults: Defaults) -> Checked | None:
    """The candidate that a sound rule file names, after every check; None without one."""
    active = checked.rules
    if active is None or not active.shadow:
        return None
    path = candidate_file(active)
    fault = _missing(active, path)
    if fault is not None:
        return Checked(str(path), None, (fault,))
    found = check_file(path, defaults=defaults)
    fault = unfit(active, found.rules) if found.rules is not None else None
    return found if fault is None else Checked(found.file, None, (fault,), found.warnings)


@dataclass(slots=True)
class _Followed:
    """One candidate. book None = its file is not there; good: its last good rules, as they were read."""

    path: Path
    defaults: Defaults
    book: RuleBook | None = None
    good: RuleSet | None = None
    faults: tuple[Fault, ...] = ()

    def look(self, active: RuleSet) -> tuple[Change, ...]:
        """What became of it since the last look."""
        before, was_broken = self.good, bool(self.faults)
        if self.book is None or not self.path.is_file():
            fault = _missing(active, self.path)
            if fault is not None:
                self.faults = (fault,)
                return () if was_broken else (Change("broken", active.pool, str(self.path), self.faults),)
        try:
            self._read()
        except InputError as error:
            self.faults = error.faults
            return () if was_broken else (Change("broken", active.pool, str(self.path), self.faults),)
        assert self.book is not None
        found = next(iter(self.book.current().values()), None)
        fault = unfit(active, found) if found is not None else None
        self.faults = tuple(self.book.problems) if fault is None else (fault,)
        if found is not None and fault is None:
            self.good = found
        return tuple(self._changes(active, before, was_broken))

    def _read(self) -> None:
        if self.book is None:
            self.book = RuleBook(self.path, self.defaults)
        else:
            self.book.poll()

    def _changes(self, active: RuleSet, before: RuleSet | None, was_broken: bool) -> list[Change]:
        name, file = active.pool + SHADOW, str(self.path)
        if self.faults:
            return [] if was_broken else [Change("broken", name, file, self.faults)]
        if self.good is not None and before is None:
            return [Change("added", name, file)]
        if self.good is not None and before is not None and self.good.hash != before.hash:
            return [Change("changed", name, file)]
        return [Change("mended", name, file)] if was_broken else []


@dataclass(slots=True)
class Candidates:
    """Follows the candidates of the rules in force. Used by one thread; what it gives never changes."""

    defaults: Defaults = field(default_factory=Defaults)
    _followed: dict[str, _Followed] = field(default_factory=dict)

    def poll(self, active: Mapping[str, RuleSet]) -> tuple[Change, ...]:
        """Look at every candidate once; what changed, by pool of the candidate."""
        changes: list[Change] = []
        named = {pool: rules for pool, rules in active.items() if rules.shadow}
        for gone in self._followed.keys() - named.keys():
            known = self._followed.pop(gone)
            changes.append(Change("removed", gone + SHADOW, str(known.path)))
        for pool, rules in named.items():
            path = candidate_file(rules)
            known = self._followed.get(pool) or _Followed(path, self.defaults)
            if known.path != path:
                known = _Followed(path, self.defaults)
            self._followed[pool] = known
            changes += known.look(rules)
        return tuple(changes)

    def current(self) -> dict[str, RuleSet]:
        """The last good rules of every candidate, as they were read, by active pool."""
        return {pool: known.good for pool, known in self._followed.items() if known.good is not None}

    def file(self, pool: str) -> str:
        """Where the candidate of a pool lies, empty without one."""
        return str(self._followed[pool].path) if pool in self._followed else ""

    def faults(self) -> Mapping[str, Sequence[Fault]]:
        """What keeps candidates, or their newest versions, from running, by active pool."""
        return {pool: known.faults for pool, known in self._followed.items() if known.faults}


def _missing(active: RuleSet, path: Path) -> Fault | None:
    if path.is_file():
        return None
    text = f"{active.shadow}: there is no such file; write one, relative to this file, or delete the key"
    return Fault(active.file, 1, 1, "shadow.file", text)


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return one.absolute() == other.absolute()
