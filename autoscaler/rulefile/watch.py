"""The rules in force: read at start, followed while running, never worse than the last good file.

Every pool stands by itself: a broken file keeps that pool's last good rules and touches no other. A change counts once
two polls in a row have seen the same bytes, so that a file that is still being written is never taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from autoscaler.errors import Fault, InputError
from autoscaler.rulefile.reader import Checked, Defaults, check_text, rule_files, without_rivals
from autoscaler.ruleset import RuleSet
from autoscaler.yamltree import read_bytes

Kind = Literal["added", "changed", "removed", "broken", "mended"]
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one pool's rules. `broken` keeps what was in force (nothing, for a new file) and says why."""

    kind: Kind
    pool: str
    file: str
    faults: tuple[Fault, ...] = ()


@dataclass(slots=True)
class _File:
    """What is known of one file: its look at the last poll, the bytes judged last, what they meant and what is good."""

    stamp: Stamp | None = None
    waiting: str | None = None
    judged: str | None = None
    faults: tuple[Fault, ...] = ()
    good: RuleSet | None = None
    missing_polls: int = 0


@dataclass(slots=True)
class RuleBook:
    """Follows folders and files of rules. `current` may be called from any thread, `poll` from one.

    The first reading happens at once: what is broken then is in `problems` and its pool is absent. InputError when a
    source does not exist at all.
    """

    sources: Path | Sequence[Path]
    defaults: Defaults = field(default_factory=Defaults)
    _files: dict[Path, _File] = field(default_factory=dict, init=False)
    _current: Mapping[str, RuleSet] = field(default_factory=dict, init=False)
    _outside: tuple[Fault, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        faults: list[Fault] = []
        for path in self._listed(faults):
            self._files[path] = _File()
        if faults:
            raise InputError(*faults)
        # Of files that own one pool none is taken at start: nobody knows which one was in force before.
        checked = []
        for path, known in self._files.items():
            data, fault = _read(path)
            checked.append(self._checked(path, data, fault))
            known.judged, known.stamp = _name_of(data, fault), _stamp(path)
        for known, result in zip(self._files.values(), without_rivals(tuple(checked)), strict=True):
            known.good, known.faults = result.rules, result.errors
        self._publish()

    def current(self) -> Mapping[str, RuleSet]:
        """The rules in force by pool; the mapping never changes, the next poll publishes a new one."""
        return self._current

    @property
    def problems(self) -> Sequence[Fault]:
        """What is wrong now with files and folders, whatever is in force instead."""
        return (*self._outside, *(fault for known in self._files.values() for fault in known.faults))

    def poll(self) -> tuple[Change, ...]:
        """Look at every source once; what changed since the last poll, by pool."""
        faults: list[Fault] = []
        listed = self._listed(faults)
        self._outside = tuple(faults)
        there = set(listed)
        for path in listed:
            self._files.setdefault(path, _File())
        changes: list[Change] = []
        for path, known in list(self._files.items()):
            if path in there:
                known.missing_polls = 0
                changes += self._look(path, known)
            elif not faults:
                changes += self._gone(path, known)
        self._publish()
        return tuple(changes)

    def _listed(self, faults: list[Fault]) -> tuple[Path, ...]:
        """Every rule file of every source. A source that cannot be listed says nothing about its files."""
        found: set[Path] = set()
        sources: Iterable[Path] = [self.sources] if isinstance(self.sources, Path) else self.sources
        for source in sources:
            try:
                found.update(rule_files(source))
            except InputError as error:
                faults += error.faults
            except OSError as error:
                text = f"cannot be listed: {error.strerror}; check its permissions"
                faults.append(Fault(str(source), 0, 0, "", text))
        return tuple(sorted(found))

    def _look(self, path: Path, known: _File) -> list[Change]:
        stamp = _stamp(path)
        if stamp is not None and stamp == known.stamp and known.waiting is None:
            return []
        data, fault = _read(path)
        digest = _name_of(data, fault)
        known.stamp = stamp
        if digest == known.judged:
            known.waiting = None
            return []
        if digest != known.waiting:
            known.waiting = digest
            return []
        known.waiting = None
        return self._judge(path, known, data, fault)

    def _judge(self, path: Path, known: _File, data: bytes | None, fault: Fault | None) -> list[Change]:
        """Take what a file says, or keep what was good and say why."""
        known.judged = _name_of(data, fault)
        checked = self._without_rival(path, self._checked(path, data, fault))
        before, was_broken = known.good, bool(known.faults)
        known.faults = checked.errors
        if checked.rules is None:
            return [Change("broken", before.pool if before else "", str(path), checked.errors)]
        known.good = checked.rules
        pool = checked.rules.pool
        if before is None:
            return [Change("added", pool, str(path))]
        if before.pool != pool:
            self._reconsider(path)
            return [Change("removed", before.pool, str(path)), Change("added", pool, str(path))]
        if before.hash == checked.rules.hash:
            return [Change("mended", pool, str(path))] if was_broken else []
        return [Change("changed", pool, str(path))]

    def _checked(self, path: Path, data: bytes | None, fault: Fault | None) -> Checked:
        if data is None:
            return Checked(str(path), None, (fault,) if fault is not None else ())
        return check_text(data, file=str(path), defaults=self.defaults)

    def _reconsider(self, path: Path) -> None:
        """Files that were kept out because another one owned their pool are judged anew, now that it does not."""
        for other in self._files.values():
            if any(str(path) in fault.text for fault in other.faults):
                other.judged = other.stamp = None

    def _without_rival(self, path: Path, checked: Checked) -> Checked:
        """A pool that another file owns stays with that file."""
        if checked.rules is None:
            return checked
        pool = checked.rules.pool
        owners = [str(p) for p, f in self._files.items() if p != path and f.good is not None and f.good.pool == pool]
        if not owners:
            return checked
        text = f"pool {pool!r} is also owned by {', '.join(owners)}; one file owns a pool, remove or rename one"
        return Checked(str(path), None, (Fault(str(path), 1, 1, "pool", text),))

    def _gone(self, path: Path, known: _File) -> list[Change]:
        known.missing_polls += 1
        if known.missing_polls < 2:
            return []
        del self._files[path]
        self._reconsider(path)
        return [Change("removed", known.good.pool, str(path))] if known.good is not None else []

    def _publish(self) -> None:
        good = {f.good.pool: f.good for f in self._files.values() if f.good is not None}
        if good != self._current:
            self._current = MappingProxyType(good)


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino)


def _read(path: Path) -> tuple[bytes | None, Fault | None]:
    try:
        return read_bytes(path), None
    except InputError as error:
        return None, error.faults[0]


def _name_of(data: bytes | None, fault: Fault | None) -> str:
    """Tells what was found in a file from what was found before."""
    return hashlib.sha256(data).hexdigest() if data is not None else f"unreadable: {fault}"
