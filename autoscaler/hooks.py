"""Drain hooks: what a pool wants called when one of its instances leaves routing.

A dispatch around a provider's. An instance that its provider shows as draining is called until it has answered, and
again while its answers count requests in flight; one that is resumed or gone is left alone. So a restart goes on where
it was, and nothing is called that was not journalled and carried out first. The tick never waits for a hook.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import structlog

from autoscaler.clock import monotonic
from autoscaler.dispatch import Calls, Dispatch
from autoscaler.hookcall import HookAnswer, call
from autoscaler.movement import DrainHook
from autoscaler.ports import Clock
from autoscaler.ruleset import RuleSet
from autoscaler.types import Action, Fleet, Instance, Operate, Outcome

log = structlog.get_logger()

AT_ONCE = 8
LONGEST_WAIT_S = 30.0
MOST_NEWS = 1000

Ask = Callable[[DrainHook, Instance, Iterable[str]], HookAnswer]


@dataclass(slots=True)
class _Drain:
    """One instance on its way out. due: when it is called next, on the monotonic clock; None = under way or done.

    counted: (requests, when it was told), None until an answer counts them.
    """

    instance: Instance
    hook: DrainHook
    due: float | None
    answered: bool = False
    counted: tuple[int, float] | None = None
    failures: int = 0
    told: str = ""
    news: tuple[bool, bool, bool, str] | None = None


@dataclass(slots=True)
class Hooked:
    """`inner`, whose drains call the hooks of `rules`. hosts: whom hooks may ask besides the instance itself."""

    inner: Dispatch
    clock: Clock
    rules: Callable[[], Mapping[str, RuleSet]]
    wake: threading.Event
    hosts: tuple[str, ...] = ()
    ask: Ask = call
    _drains: dict[str, _Drain] = field(default_factory=dict)
    _actions: dict[str, str] = field(default_factory=dict)
    _news: list[Outcome] = field(default_factory=list)
    _shown: tuple[Fleet, Mapping[str, DrainHook], int, Fleet] | None = None
    _version: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rouse: threading.Event = field(default_factory=threading.Event)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _executor: ThreadPoolExecutor | None = None
    _thread: threading.Thread | None = None

    def fleet(self) -> Fleet | None:
        """The last report, with what hooks have answered. What they have not is held: it may not pass for empty."""
        reported = self.inner.fleet()
        hooks = {pool: r.scale_in.hook for pool, r in self.rules().items() if r.scale_in.hook is not None}
        if reported is None or not (hooks or self._drains):
            return reported
        shown = self._shown
        if shown is not None and shown[0] is reported and shown[1] == hooks and shown[2] == self._version:
            return shown[3]
        with self._lock:
            self._follow(reported, hooks)
            version = self._version
            instances = tuple(self._seen(i, hooks) for i in reported.instances)
        made = replace(reported, instances=instances)
        self._shown = (reported, hooks, version, made)
        return made

    def submit(self, actions: Iterable[Action]) -> None:
        actions = tuple(actions)
        with self._lock:
            self._actions |= {a.instance: a.id for a in actions if isinstance(a, Operate) and a.kind == "drain"}
        self.inner.submit(actions)

    def outcomes(self) -> tuple[Outcome, ...]:
        with self._lock:
            news, self._news = self._news, []
        return (*self.inner.outcomes(), *news)

    def calls(self) -> Calls:
        return self.inner.calls()

    def stop(self) -> None:
        self._stopping.set()
        self._rouse.set()
        if self._thread is not None:
            self._thread.join(2.0)
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        self.inner.stop()

    # --- under the lock -------------------------------------------------------------------------------------------

    def _follow(self, fleet: Fleet, hooks: Mapping[str, DrainHook]) -> None:
        """Takes up what began to drain, and lets go of what drains no more."""
        draining = {i.id: i for i in fleet.instances if i.state == "draining" and i.pool in hooks}
        for gone in self._drains.keys() - draining.keys():
            del self._drains[gone]
        listed = {i.id for i in fleet.instances}
        self._actions = {name: action for name, action in self._actions.items() if name in listed}
        for name, drain in [*self._drains.items()]:
            if drain.instance.since != draining[name].since:  # resumed, and drained anew
                del self._drains[name]
        new = [i for name, i in draining.items() if name not in self._drains]
        for i in new:
            self._drains[i.id] = _Drain(i, hooks[i.pool], monotonic())
        if new:
            self._begin()

    def _seen(self, instance: Instance, hooks: Mapping[str, DrainHook]) -> Instance:
        if instance.pool not in hooks:
            return instance
        drain = self._drains.get(instance.id)
        if drain is None:
            return replace(instance, held=True)
        if not drain.answered:
            return replace(instance, held=True, detail=drain.told or "its drain hook has not answered yet")
        if drain.counted is None:
            return instance
        return replace(instance, in_flight=drain.counted[0], in_flight_at=drain.counted[1])

    def _begin(self) -> None:
        if self._thread is None:
            self._executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="drain hook")
            self._thread = threading.Thread(target=self._pace, name="drain hooks", daemon=True)
            self._thread.start()
        self._rouse.set()

    # --- threads --------------------------------------------------------------------------------------------------

    def _pace(self) -> None:
        """Hands out the calls that are due; sleeps until the next one is."""
        while not self._stopping.is_set():
            with self._lock:
                now = monotonic()
                due = [d for d in self._drains.values() if d.due is not None and d.due <= now]
                for drain in due:
                    drain.due = None
                waits = [d.due - now for d in self._drains.values() if d.due is not None]
            assert self._executor is not None
            for drain in due:
                self._executor.submit(self._call, drain)
            self._rouse.wait(max(0.0, min(waits)) if waits else None)
            self._rouse.clear()

    def _call(self, drain: _Drain) -> None:
        began = self.clock.now()
        try:
            answer = self.ask(drain.hook, drain.instance, self.hosts)
        except Exception as error:
            log.exception("drain hook broke", instance=drain.instance.id, pool=drain.instance.pool)
            answer = HookAnswer(False, f"{type(error).__name__}")
        with self._lock:
            self._settle(drain, answer, began)
        self._rouse.set()

    def _settle(self, drain: _Drain, answer: HookAnswer, began: float) -> None:
        # A number that falls from call to call is no news; that there is one, and that it is zero, are.
        news = (answer.ok, answer.in_flight is None, answer.in_flight == 0, "" if answer.in_flight else answer.text)
        changed, drain.news = drain.news != news, news
        if answer.ok:
            drain.failures = 0
            drain.answered = True
            # Of the time before the call: what came in while it was answered is not in the answer.
            drain.counted = None if answer.in_flight is None else (answer.in_flight, began)
            wait_s = drain.hook.every_s if answer.in_flight is not None else None
        else:
            drain.failures += 1
            wait_s = min(LONGEST_WAIT_S, drain.hook.every_s * 2.0 ** min(drain.failures - 1, 10))
        drain.due = None if wait_s is None else monotonic() + wait_s
        drain.told = answer.text
        self._version += 1
        if changed:
            self._tell(drain, answer)
        if changed or answer.in_flight == 0:
            self.wake.set()

    def _tell(self, drain: _Drain, answer: HookAnswer) -> None:
        """Once for each new answer, not for each repetition of it."""
        instance = drain.instance
        write = log.info if answer.ok else log.warning
        write("drain hook answered" if answer.ok else "drain hook failed", instance=instance.id, answer=answer.text)
        action = self._actions.get(instance.id)
        if action is not None and self._drains.get(instance.id) is drain and len(self._news) < MOST_NEWS:
            text = f"drain hook{'' if answer.ok else ' failed, it is called again'}: {answer.text}"
            self._news.append(Outcome(action, instance.pool, "accepted", self.clock.now(), instance.id, text=text))
