"""The agent: collectors on one side, pages and pushes on the other, and between them the newest values.

Collection is decoupled from serving: a page shows what was collected, and neither a slow scraper nor a silent service
delays the next round.
"""

from __future__ import annotations

import math
import os
import platform
import ssl
import threading
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import structlog

from autoscaler import __version__
from autoscaler.agent import own
from autoscaler.agent.current import STALE_INTERVALS, Current, Snapshot
from autoscaler.agent.pages import ALL_PATH, Pages
from autoscaler.agent.push import Pusher
from autoscaler.agent.pushbody import Bodies
from autoscaler.agent.server import Answer, Server
from autoscaler.agent.settings import TOKEN_VARIABLE, AgentSettings, read_token
from autoscaler.clock import monotonic
from autoscaler.errors import InputError
from autoscaler.ports import Clock, Collector
from autoscaler.types import Batch
from collectors.background import Background

if TYPE_CHECKING:
    from autoscaler.agent.caps import Caps

log = structlog.get_logger(__name__)

PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STOP_S, CAPS_STOP_S = 0.9, 0.4
LATE_ROUNDS, LATE_S = 5.0, 10.0
"""The agent is not healthy when no round ended for so many intervals, and at least so long."""
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
INDEX = "sigmascale agent\n\n" + "\n".join(
    ("/metrics", "/metrics/canonical", "/metrics/dcgm", "/metrics/otel", "/healthz", "/readyz", "")
)


class Running(Collector, Protocol):
    """A collector with a thread of its own."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


@dataclass(eq=False)
class Agent:
    """Runs from `start` to `stop`. collectors: by name; each is started, asked once an interval, and stopped.

    caps: what is set on the GPUs; None = nothing is.
    """

    settings: AgentSettings
    clock: Clock
    collectors: Mapping[str, Running]
    caps: Caps | None = None
    counts: own.Counts = field(default_factory=own.Counts, init=False)
    _told: set[str] = field(default_factory=set, init=False, repr=False)
    _background: Background = field(init=False, repr=False)
    _taking: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _round_at: float = field(default=-math.inf, init=False)
    _pusher: Pusher | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        settings = self.settings
        self._background = Background("agent", self.clock)
        self._current = Current(STALE_INTERVALS * settings.interval_s)
        self._pages = Pages(settings.names, self._look, self._own, settings.all_labels)
        secret = read_token(settings.read_token_file) if settings.read_token_file is not None else None
        self._server = Server(*settings.listen, self._respond, secret, OPEN_PATHS, _tls(settings))
        if settings.push is not None:
            place = f"the file {settings.token_file}" if settings.token_file is not None else f"${TOKEN_VARIABLE}"
            # The name of the node is the seed: nodes differ, and each of them does the same again.
            jitter = np.random.default_rng(zlib.crc32(settings.host.encode()))
            self._pusher = Pusher(settings.push, self._token, place, jitter)
        # The machine's own name, since --host is what two of them may share.
        instance = f"{platform.node() or 'unknown'}/{os.getpid()}"
        self._bodies = Bodies(settings.host, settings.all_labels, instance, round(self.clock.now(), 3))

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.port

    def start(self) -> None:
        """Listen first, so that an address that is taken is found before anything else runs."""
        self._server.start()
        for collector in self.collectors.values():
            collector.start()
        if self._pusher is not None:
            self._pusher.start()
        self._background.start(self._run)
        host, port = self.settings.listen[0], self._server.port
        scheme = "https" if self.settings.tls_cert is not None else "http"
        log.info(
            "agent runs",
            pages=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{ALL_PATH}",
            collectors=list(self.collectors),
            push=self.settings.push or "no",
        )

    def stop(self) -> None:
        """Stop everything within a second; who hangs is left behind and ends with the process."""
        deadline = monotonic() + STOP_S
        self._background.stop(0.0)
        if self.caps is not None:
            # Before the driver's library is shut down.
            self.caps.stop(CAPS_STOP_S)
        parts: list[Running | Server | Pusher] = [self._server, *self.collectors.values()]
        parts += [self._pusher] if self._pusher is not None else []
        threads = [threading.Thread(target=part.stop, name="stop", daemon=True) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - monotonic()))
        self._background.stop(max(0.0, deadline - monotonic()))

    # --- collecting ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        for _ in self._background.rounds(self.settings.interval_s):
            began = monotonic()
            self._take()
            if self.caps is not None:
                self.caps.look()
            if self._pusher is not None:
                for body in self._bodies.bodies(self._current.snapshot(self.clock.now())):
                    self._pusher.offer(body)
            self._round_at = monotonic()
            self.counts.collect_s = self._round_at - began

    def _take(self) -> None:
        """Move what the collectors have into the current values; from the agent's thread and from the pages'."""
        with self._taking:
            now = self.clock.now()
            for name, collector in self.collectors.items():
                try:
                    batches = [found for found in collector.collect(now) if isinstance(found, Batch)]
                except Exception:
                    self.counts.collector_failures[name] = self.counts.collector_failures.get(name, 0) + 1
                    log.exception("collector broke", collector=name)
                    continue
                if batches:
                    self._told.add(name)
                    self._current.add(batches, now)

    # --- serving ------------------------------------------------------------------------------------------------

    def _look(self) -> Snapshot:
        self._take()
        return self._current.snapshot(self.clock.now())

    def _respond(self, path: str) -> Answer:
        if path in self._pages.paths:
            page = self._pages.page(path, self.clock.now())
            return Answer(200, page.text, PAGE_TYPE, page.packed)
        if path == "/":
            return Answer(200, INDEX.encode())
        if path not in OPEN_PATHS:
            return Answer(404, b"no such page; there are the ones that / lists\n")
        trouble = self._unhealthy() if path == "/healthz" else self._unready()
        return Answer(503 if trouble else 200, f"{trouble or 'ok'}\n".encode())

    def _unhealthy(self) -> str:
        late_s = monotonic() - self._round_at
        limit_s = max(LATE_ROUNDS * self.settings.interval_s, LATE_S)
        return f"no round ended for {late_s:.1f} s" if limit_s < late_s < math.inf else ""

    def _unready(self) -> str:
        """Collectors that said nothing yet and do not say why, as on a machine without GPUs one does."""
        missing = [
            name
            for name, collector in self.collectors.items()
            if name not in self._told and _state(collector) in ("", "starting")
        ]
        return f"nothing yet from {', '.join(missing)}" if missing else ""

    def _own(self) -> str:
        self.counts.render_s = self._pages.render_s
        return own.render(self._points(), self.settings.all_labels)

    def _points(self) -> Iterator[own.Point]:
        yield from own.process_points(__version__)
        counts, snapshot = self.counts, self._current.snapshot(self.clock.now())
        yield "agent_collect_duration_seconds", (), counts.collect_s
        yield "agent_render_duration_seconds", (), counts.render_s
        for name, collector in self.collectors.items():
            yield "agent_collect_failures_total", (name,), counts.collector_failures.get(name, 0)
            status = _status(collector)
            if state := str(getattr(status, "state", "")):
                yield "agent_collector_state", (name, state), 1.0
            metrics = getattr(status, "metrics", ())
            for availability, count in sorted(Counter(str(m.availability) for m in metrics).items()):
                yield "agent_metric_availability", (availability,), count
        if self.caps is not None:
            for held, count in sorted(Counter(map(str, self.caps.outcomes().values())).items()):
                yield "agent_gpu_caps", (held,), count
        oldest: dict[str, float] = {}
        for (source, _), age in snapshot.ages_s.items():
            oldest[source] = max(oldest.get(source, 0.0), age)
        for source, age in sorted(oldest.items()):
            yield "agent_sample_age_seconds", (source,), round(age, 3)
        yield "agent_series", (), int(np.count_nonzero(~np.isnan(snapshot.values)))
        yield "agent_series_refused_total", (), self._current.refused
        for code, count in sorted(self._server.answered.items()):
            yield "agent_requests_total", (str(code),), count
        yield "agent_connections", (), self._server.connections
        yield "agent_connections_refused_total", (), self._server.refused
        if self._pusher is not None:
            pushed = self._pusher.counts
            for outcome in ("taken", "failed", "refused"):
                yield "agent_pushes_total", (outcome,), getattr(pushed, outcome)
            yield "agent_pushed_samples_total", (), pushed.samples
            yield "agent_push_dropped_total", (), pushed.dropped
            yield "agent_push_queue", (), self._pusher.waiting

    def _token(self) -> str | None:
        file = self.settings.token_file
        return read_token(file) if file is not None else self.settings.token


def _status(collector: object) -> object:
    ask = getattr(collector, "status", None)
    return ask() if callable(ask) else None


def _state(collector: object) -> str:
    return str(getattr(_status(collector), "state", ""))


def _tls(settings: AgentSettings) -> ssl.SSLContext | None:
    """The certificate that is shown to scrapers. InputError when it cannot be used."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"--tls-cert {settings.tls_cert}: cannot be used with --tls-key {settings.tls_key} ({error}); "
            "give a PEM certificate and its own key"
        ) from error
    return context
