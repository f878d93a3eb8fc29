"""Looks at every alert when one changed, decides whom to tell what, and hands messages to the lanes.

Level-triggered: what is told follows from the alerts as they are and from what each receiver was told, which is in the
journal. So a crash between a tick and a message loses neither a beginning nor an end, and a restart repeats nothing.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from threading import Event, Thread

import structlog

from autoscaler.alerting import Alerting
from autoscaler.board import Board
from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.journal_alerts import Notified
from autoscaler.notifying.bodies import bodies
from autoscaler.notifying.groups import Look, Note, turn
from autoscaler.notifying.hosts import HostRules
from autoscaler.notifying.identity import labels
from autoscaler.notifying.lane import USUAL, Lane, Patience
from autoscaler.notifying.matching import selects
from autoscaler.notifying.muting import mutes
from autoscaler.notifying.outbox import Outbox
from autoscaler.notifying.status import ReceiverStatus
from autoscaler.ports import Clock
from autoscaler.types import Alert, Message, Told

log = structlog.get_logger(__name__)

LOOK_S = 5.0
"""The longest time between two looks: silences begin and end without anybody waking us."""
GONE_S = 300.0
"""The alerts of a pool that is not there for so long are over. A start or a changed rule file takes less."""


class Notifier:
    """`send` never blocks: it wakes the thread that looks at `board`. pools: names of those that have rules."""

    def __init__(
        self,
        alerting: Alerting,
        board: Board,
        records: Notified,
        clock: Clock,
        *,
        pools: Callable[[], Collection[str]] = tuple,
        patience: Patience = USUAL,
    ) -> None:
        self._alerting, self._board, self._records, self._clock = alerting, board, records, clock
        self._pools = pools
        self._outbox = Outbox(records)
        try:
            rules = HostRules.of(alerting.allowed_hosts)
        except ValueError as error:
            raise InputError(f"alerting.allowed_hosts: {error}") from None
        self._lanes = {
            r.name: [Lane(r, n, clock, rules, self._settled, patience) for n in range(len(r.addresses))]
            for r in alerting.receivers
        }
        self._told: dict[str, dict[str, Told]] = {r.name: {} for r in alerting.receivers}
        self._expired: deque[Message] = deque(maxlen=10_000)
        self._seen: dict[str, float] = {}
        self._left_out: dict[str, int] = {}
        self._made = 0
        self._wake, self._stopping = Event(), False
        self._thread: Thread | None = None

    # --- for the loop and the API -------------------------------------------------------------------------------

    @property
    def inhibit(self) -> bool:
        """Whether a firing critical alert mutes the others of its pool."""
        return self._alerting.inhibit

    def send(self, alerts: Sequence[Alert]) -> None:
        """Something is to be told; what, the board says."""
        if alerts:
            self._wake.set()

    def wake(self) -> None:
        """Somebody changed what is to be told."""
        self._wake.set()

    def receivers_of(self, alert: Alert) -> tuple[str, ...]:
        """The names of those that an alert is for."""
        its = labels(alert)
        return tuple(r.name for r in self._alerting.receivers if selects(r.match, its))

    def address_of(self, message: Message) -> tuple[str, str]:
        """Kind of its receiver, and scheme, host and port of where it goes; both empty = it is configured no more."""
        lanes = self._lanes.get(message.receiver, [])
        if message.address >= len(lanes):
            return "", ""
        status = lanes[message.address].status()
        return status.kind, status.host

    def status(self) -> tuple[ReceiverStatus, ...]:
        """How each address of each receiver does, in the order of the configuration."""
        return tuple(lane.status() for lanes in self._lanes.values() for lane in lanes)

    def problem(self) -> str:
        """Why messages are kept in memory only; empty = they are in the journal."""
        return self._outbox.problem

    # --- the thread ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes up what the last service left, and starts looking and delivering."""
        if self._thread is not None:
            return
        self._load()
        if not self._lanes:
            return
        for lanes in self._lanes.values():
            for lane in lanes:
                lane.start()
        self._thread = Thread(target=self._run, name="notify", daemon=True)
        self._thread.start()

    def stop(self, within_s: float = 5.0) -> None:
        """Looks once more, tries what waits once, and returns within about `within_s`, whoever hangs."""
        self._stopping, until = True, monotonic() + within_s
        self._wake.set()
        if self._thread is not None:
            self._thread.join(within_s)
        every = [lane for lanes in self._lanes.values() for lane in lanes]
        for lane in every:
            lane.ask_to_stop()
        for lane in every:
            lane.join(max(0.0, until - monotonic()))
        self._outbox.close()

    def look(self, now: float) -> float:
        """One look at all alerts: writes, queues and remembers what is to be told. Returns when the next is due."""
        told: dict[tuple[str, str], Told | None] = {}
        self._take_back(told)
        known = self._known()
        muted = mutes(known, self._records.silences(now), now, self.inhibit)
        look = Look.of(known, now, muted.__contains__, self._judge(now))
        due, made = now + LOOK_S, []
        for receiver in self._alerting.receivers:
            before = self._told[receiver.name]
            found = turn(receiver, before, look)
            made += [
                (receiver.name, message) for note in found.notes for message in self._messages(receiver.name, note, now)
            ]
            for key, after in found.told.items():
                told[receiver.name, key] = after
                _keep(before, key, after)
            due = min(due, found.next_at)
            self._limit(receiver.name, found.left_out)
        # In the journal before it is sent; what the disk refuses is sent from memory.
        self._outbox.write([message for _, message in made], told)
        by_lane: dict[tuple[str, int], list[Message]] = {}
        for name, message in made:
            by_lane.setdefault((name, message.address), []).append(message)
        for (name, number), some in by_lane.items():
            lane = self._lanes[name][number]
            lane.put(some, supersede=lane.receiver.kind == "alertmanager")
        self._outbox.tidy(now)
        return due

    def _run(self) -> None:
        while not self._stopping:
            now = self._clock.now()
            # Before the look: what happens during it is looked at again.
            self._wake.clear()
            due = self.look(now)
            if not self._stopping:
                self._clock.wait(max(due, now + 0.05), self._wake)
        self.look(self._clock.now())

    def _load(self) -> None:
        waiting, told = self._outbox.load()
        gone: dict[tuple[str, str], Told | None] = {}
        for one in told:
            if one.receiver in self._told:
                self._told[one.receiver][one.key] = one
            else:
                gone[one.receiver, one.key] = None
        lost = []
        for message in waiting:
            lanes = self._lanes.get(message.receiver, [])
            if message.address < len(lanes):
                # At once: what was wrong may have been why the service was started anew.
                lanes[message.address].put([replace(message, next_at=0.0)])
            else:
                lost.append(message)
        self._outbox.write([_dropped(message, self._clock.now()) for message in lost], gone)

    # --- parts --------------------------------------------------------------------------------------------------

    def _known(self) -> list[Alert]:
        found = [a for view in self._board.pools().values() for a in view.alerts]
        return found + [o.alert for o in self._board.ownerless.values() if o.alert is not None]

    def _judge(self, now: float) -> Callable[[str], bool]:
        """Whether an alert that is not there any more is over: its pool was judged, or has been gone for long."""
        judged = {name for name, view in self._board.pools().items() if view.decision is not None}
        waited_for = {*self._pools(), *self._board.ownerless}
        for pools in self._told.values():
            for told in pools.values():
                for alert in told.firing:
                    self._seen.setdefault(alert.pool, now)
        for pool in [*judged, *(waited_for - judged)]:
            self._seen[pool] = now
        gone = {pool for pool, at in self._seen.items() if not now - GONE_S <= at <= now}
        self._seen = {pool: at for pool, at in self._seen.items() if pool not in gone}
        return lambda pool: pool in judged or pool in gone

    def _messages(self, name: str, note: Note, now: float) -> list[Message]:
        lanes = self._lanes[name]
        found = []
        for body in bodies(lanes[0].receiver, note, now, self._alerting.external_url):
            if body.fault:
                log.error("an alert is sent in other words", receiver=name, problem=body.fault)
            for number in range(len(lanes)):
                self._made += 1
                unique = f"{name}|{number}|{note.key}|{now!r}|{self._made}"
                message = Message(
                    id=hashlib.sha256(unique.encode(errors="replace")).hexdigest()[:32],
                    receiver=name,
                    address=number,
                    group=note.key,
                    summary=body.summary,
                    firing=body.firing,
                    resolved=body.resolved,
                    body=body.text,
                    made_at=now,
                    expires_at=now + lanes[0].receiver.expires_s,
                    last_error=body.fault,
                )
                found.append(message)
        return found

    def _settled(self, message: Message) -> None:
        """A message has another state; called by the lanes' threads."""
        # What was sent is not needed any more, and may be long.
        self._outbox.write((message if message.state == "waiting" else replace(message, body=""),), {})
        if message.state == "expired":
            self._expired.append(message)
            self._wake.set()

    def _take_back(self, told: dict[tuple[str, str], Told | None]) -> None:
        """Who never got a message was not told: what still fires is told again."""
        while self._expired:
            message = self._expired.popleft()
            if self._told.get(message.receiver, {}).pop(message.group, None) is not None:
                told[message.receiver, message.group] = None

    def _limit(self, name: str, left_out: int) -> None:
        if left_out and not self._left_out.get(name):
            rule = "has more groups of alerts than are kept apart; group_by fewer labels"
            log.error("alerts are not told", receiver=name, groups=left_out, problem=f"{name} {rule}")
        self._left_out[name] = left_out


def _keep(kept: dict[str, Told], key: str, after: Told | None) -> None:
    if after is None:
        kept.pop(key, None)
    else:
        kept[key] = after


def _dropped(message: Message, now: float) -> Message:
    return replace(message, state="dropped", body="", ended_at=now, last_error="its receiver is configured no more")
