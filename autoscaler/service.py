"""The running service: everything that `sigmascale run` and the demo start, plugged together, and stopped again."""

from __future__ import annotations

import threading
from collections import ChainMap
from contextlib import ExitStack
from dataclasses import replace

import structlog

from autoscaler import __version__, choice
from autoscaler.allhands import AllHands, Play
from autoscaler.api.app import create_app
from autoscaler.api.deps import ApiDeps
from autoscaler.api.room.address import address
from autoscaler.api.serve import Server
from autoscaler.board import Board
from autoscaler.clock import SystemClock
from autoscaler.config import Config
from autoscaler.counts import Counts
from autoscaler.datalock import own
from autoscaler.dryrun import DryRuns
from autoscaler.errors import StorageError
from autoscaler.foresight.apart import Apart
from autoscaler.foresight.worker import Foresight
from autoscaler.journal import Journal
from autoscaler.listprices import filled, unsure_prices
from autoscaler.loop import Loop
from autoscaler.notifying.notifier import Notifier
from autoscaler.plugged import PlugIns
from autoscaler.rulefile.watch import RuleBook
from autoscaler.selfcheck import SelfCheck
from autoscaler.shadow import Shadows
from autoscaler.sources import Sources
from autoscaler.store import Limits, Store
from autoscaler.tokens import LOCAL_TOKEN_FILE, local_token, session_key
from autoscaler.watchdog import Watchdog
from collectors.nvml.advice import advise
from collectors.pages.hints import how_to_get
from providers.prices import read_prices

log = structlog.get_logger()

CHORES_S = 1.0
FLUSH_EVERY = 5
"""Chores between two writes of points to disk: each costs as much as all other chores, and what a crash loses of them
are seconds of curves, not decisions."""
STOP_S = 10.0
FORESIGHT_S = 1.0
REPORTS = "reports"
"""A folder of the data folder: what `backtest --out` writes there is shown in the control room."""


class Service:
    """One service on one data folder. Raises InputError and StorageError for what a person must put right.

    `broken` is set when the loop ended by a defect: whoever runs the service stops it and exits with an error. play:
    who stands for every provider, as a simulated fleet does; None = the installed ones.
    """

    def __init__(self, config: Config, play: Play | None = None) -> None:
        config.check()
        self.config = config
        self.clock = SystemClock()
        self.board = Board()
        self._stopping = threading.Event()
        self.broken = threading.Event()
        # What was begun is ended in the reverse order, by `stop` and by a beginning that fails half-way.
        with ExitStack() as ends:
            self._lock = ends.enter_context(own(config.data_dir))
            self.rulebook = RuleBook(config.rules, filled(config, read_prices(config.prices), self.clock.now()))
            self.journal = Journal(f"sqlite:///{config.data_dir.absolute() / 'journal.db'}")
            ends.callback(self.journal.close)
            self.store = Store(
                config.data_dir / "metrics",
                config.raw_window_s,
                config.history_s,
                config.retention_days,
                Limits(config.max_series, config.series_per_pool, forget_s=config.raw_window_s),
            )
            ends.callback(self._close_store)
            self._modeller = Apart(config.data_dir.absolute() / "models")
            self.shadows = Shadows(self.rulebook, self.board, self.store, self.clock, config.data_dir / "shadow")
            ends.callback(self.shadows.close)
            self.foresight = Foresight(self.shadows.to_learn, self.store, self.journal, self._modeller)
            self.shadows.learned_of = self.foresight.learned
            self._plug_ins = PlugIns(config, self.clock, self.board.wake, self.shadows.current)
            self.sources = Sources(config, self._plug_ins, self.board, self.clock)
            self._selfcheck = SelfCheck(
                self.rulebook.current, self.store, self.board, self.clock, how_to_get, self.sources.problems
            )
            self._all = AllHands(config, self.clock, self.board.wake, self.rulebook.current, self._plug_ins, play)
            self.hands = self._all.hands
            pools = self.rulebook.current
            self.notifier = Notifier(config.alerting, self.board, self.journal.notified, self.clock, pools=pools)
            self._dry_runs = DryRuns(self.clock)
            ends.callback(self._dry_runs.close)
            self._server = self._api()
            ends.callback(self._server.stop)
            ends.callback(self._all.stop)
            self._all.add()
            self.loop = Loop(
                clock=self.clock,
                rules=self.shadows.current,
                collectors=self.sources.collectors,
                store=self.store,
                journal=self.journal,
                hands=ChainMap(self.hands, self.shadows.hands),
                board=self.board,
                notify=self.notifier.send,
                lost=self._selfcheck.lost,
                learned=self.shadows.learned,
                saw=self.foresight.saw,
                work=self.shadows.note,
                by_hand=not config.shadow,
                max_launches=config.max_launches,
                launches_of={n: p.max_launches for n, p in config.paces.items() if p.max_launches is not None},
            )
            self._watchdog = Watchdog(self.loop.stats, self.clock)
            self._ends = ends.pop_all()

    @property
    def address(self) -> str:
        """host:port of the API, once started."""
        return f"{self._server.host}:{self._server.port}"

    @property
    def room(self) -> str:
        """Where people find the control room, once started, and what they sign in with."""
        tokens = (self.config.tokens_file or self.config.data_dir / "tokens") if self.config.tokens else None
        return address(self._server.url, tokens, self.config.data_dir / LOCAL_TOKEN_FILE)

    @property
    def token(self) -> str:
        """The token of the person at this machine; empty when a tokens file says who may do what."""
        path = self.config.data_dir / LOCAL_TOKEN_FILE
        return "" if self.config.tokens else path.read_text(encoding="ascii").strip()

    def start(self) -> None:
        """Starts everything; the API is the first to be heard and the last to go.

        What cannot start, such as an API whose port is taken, ends everything that has started before it.
        """
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        for fault in self.rulebook.problems:
            log.error("rule file refused", fault=str(fault))
        for pool, problem in unsure_prices(self.rulebook):
            log.warning("prices", pool=pool, problem=problem)
        pools = sorted(self.rulebook.current())
        log.info("started", version=__version__, api=self._server.url, pools=pools, shadow=self.config.shadow)
        if not pools:
            log.warning("no pool is in force, so nothing is scaled; correct a rule file, it is read again at once")

    def stop(self) -> None:
        """Finishes the tick under way, writes what is left and lets go; launched instances keep running."""
        self._end()
        log.info("stopped")

    def _start(self) -> None:
        self._server.start()
        self._ends.callback(self.notifier.stop)
        self.notifier.start()
        self.sources.start(self._ends)
        for name, target in (("loop", self._run), ("chores", self._do_chores), ("foresight", self._foresee)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._ends.callback(thread.join, STOP_S)
        # Before its thread is waited for: an answer that it waits for may take minutes.
        self._ends.callback(self._modeller.close)
        self._ends.callback(self._watchdog.stop)
        self._watchdog.start()

    def _end(self) -> None:
        self._stopping.set()
        self.board.wake.set()
        self._ends.close()

    def _close_store(self) -> None:
        try:
            self.store.close()
        except StorageError as error:
            log.error("the last points are not on disk", problem=str(error))

    # --- threads ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """The loop, outside whose pools nothing is expected to fail. If it does, a restart knows more than we do."""
        try:
            self.loop.run(stop=self._stopping)
        except Exception:
            log.exception("the loop broke; the fleet stays as it is until the service is started again")
            self.broken.set()

    def _foresee(self) -> None:
        """What is learned beside the ticks; what takes the processor for long does so in a process of its own."""
        if any(len(r.offers) > 1 for r in self.rulebook.current().values()):
            choice.prepare()
        more = False
        while not self._stopping.wait(0.0 if more else FORESIGHT_S):
            more = self.foresight.work(self.clock.now())

    def _do_chores(self) -> None:
        """Changed rule files, points to disk, clock jumps: what must be done often and never inside a tick."""
        told, turn = "", 0
        while not self._stopping.is_set():
            turn += 1
            for change in (*self.rulebook.poll(), *self.shadows.poll()):
                log.info("rules " + change.kind, pool=change.pool, file=change.file, faults=[*map(str, change.faults)])
                self._all.add()
                self.board.wake.set()
            if turn % FLUSH_EVERY == 1:
                told = self._flush(told)
            self._selfcheck.run()
            while self.clock.jumps:
                jump = self.clock.jumps.popleft()
                log.warning("the system clock jumped; scale-in windows start afresh", seconds=round(jump, 1))
            self._stopping.wait(CHORES_S)

    def _flush(self, told: str) -> str:
        """Points to disk; says what refuses them unless that was `told` already, and returns it."""
        try:
            self.store.flush()
        except StorageError as error:
            if str(error) != told:
                log.error("points wait for the disk", problem=str(error))
            return str(error)
        return ""

    # --- parts --------------------------------------------------------------------------------------------------

    def _api(self) -> Server:
        tokens = self.config.tokens
        deps = ApiDeps(
            board=self.board,
            journal=self.journal,
            store=self.store,
            clock=self.clock,
            rulebook=self.rulebook,
            version=__version__,
            tokens=tokens,
            local=None if tokens else local_token(self.config.data_dir),
            local_file=str(self.config.data_dir / LOCAL_TOKEN_FILE),
            defaults=replace(self.rulebook.defaults, require_bound=False),
            counts=self._counts,
            receiver=self.sources.push,
            foresight=self.foresight,
            findings=self._selfcheck.findings,
            problems=self._problems,
            shadows=self.shadows.views,
            adopters=self._all.adopters,
            withheld=self.config.shadow,
            notices=self.notifier,
            rate_limit=self.config.rate_limit,
            cors_origins=self.config.cors_origins,
            cors_writes=self.config.cors_writes,
            dry_runs=self._dry_runs,
            reports=self.config.data_dir / REPORTS,
            session_key=session_key(self.config.data_dir),
            advise=advise,
            how_to_get=how_to_get,
        )
        config = self.config
        return Server(create_app(deps), config.host, config.port, config.tls_cert, config.tls_key)

    def _problems(self) -> tuple[str, ...]:
        told = filter(None, [self.notifier.problem()])
        return (*self.store.problems(), *self.sources.refusals(), *self.shadows.problems(), *told)

    def _counts(self) -> Counts:
        return Counts(
            loop=self.loop.stats,
            providers={name: hand.calls() for name, hand in self.hands.items()},
            store=self.store.stats(),
            receivers=self.notifier.status(),
            targets=self.sources.scraper.status(),
            push=self.sources.push,
            findings=self._selfcheck.findings(),
            learned={pool: self.foresight.learned(pool) for pool in self.rulebook.current()},
            forecasts=self.foresight.counts(),
            shadows=self.shadows.views(),
        )
