"""The machine at hand as a provider: one real process per instance, started from a command of the rule file.

    offers:
      from:
        - local: {command: "{python} -m server --port {port}", gpus: 1, max: 8, env.MODEL: tiny}

Settings of an offer: `command` (fields in braces: port, host, pool, instance, gpu, python), `ready` (path of the
readiness probe, /health), `gpus` per process, `cwd`, `max` processes of the offer, `env.NAME`.

Processes outlive the service: a new provider on the same directory finds them, goes on watching and can end them.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from autoscaler.clock import SystemClock
from autoscaler.errors import CapacityError, InputError, ProviderError
from autoscaler.ports import Clock
from autoscaler.types import Action, Fleet, Launch, Operate, Outcome
from providers import gpu_slots, process, worker_log
from providers.command import Template, environment, expand, fields, template
from providers.free_port import Ports
from providers.readiness import Prober
from providers.records import Record, RecordFiles, Role, instance_id
from providers.supervisor import Supervisor


@dataclass(frozen=True)
class LocalProvider:
    """Processes of this machine.

    directory: state and logs; one provider at a time. ports: first and last port to give out on `host`. grace_s: from
    SIGTERM to SIGKILL. max_processes: of all offers together. gpus: UUIDs to give out, None = all that the driver
    shows. failed_for_s: how long a dead instance is listed as failed once it has been seen (longer than a tick).
    log_bytes: most that is kept of what one process prints.
    """

    directory: Path
    clock: Clock = field(default_factory=SystemClock)
    ports: tuple[int, int] = (18000, 18999)
    grace_s: float = 10.0
    host: str = "127.0.0.1"
    max_processes: int = 64
    gpus: tuple[str, ...] | None = None
    failed_for_s: float = 30.0
    probe_timeout_s: float = 1.0
    log_bytes: int = 1 << 20
    _ports: Ports = field(init=False, repr=False, compare=False)
    _supervisor: Supervisor = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first, last = self.ports
        if not 1 <= first <= last <= 65535:
            raise InputError(
                f"local provider: ports {first} to {last} are no range within 1 to 65535; write [first, last]"
            )
        if self.grace_s < 0 or self.max_processes < 1 or self.probe_timeout_s <= 0 or self.log_bytes < 1024:
            raise InputError(
                "local provider: grace_s must be 0 or more, max_processes 1 or more, probe_timeout_s above 0, "
                "log_bytes 1024 or more"
            )
        supervisor = Supervisor(
            files=RecordFiles(Path(self.directory).absolute()),
            clock=self.clock,
            grace_s=self.grace_s,
            failed_for_s=self.failed_for_s,
            log_bytes=self.log_bytes,
            prober=Prober(self.probe_timeout_s),
        )
        object.__setattr__(self, "_ports", Ports(self.host, first, last))
        object.__setattr__(self, "_supervisor", supervisor)

    def observe(self) -> Fleet:
        supervisor = self._supervisor
        with supervisor.lock:
            supervisor.open()
            supervisor.look()
            return Fleet(self.clock.now(), supervisor.listed())

    def apply(self, action: Action) -> Outcome:
        with self._supervisor.lock:
            self._supervisor.open()
            self._supervisor.look()
            try:
                return self._launch(action) if isinstance(action, Launch) else self._operate(action)
            except ProviderError as error:
                instance = None if isinstance(action, Launch) else action.instance
                return self._outcome(action, "failed", instance, str(error), error.code)

    def close(self, kill: bool = False) -> None:
        """Stop watching; with `kill`, end every process first and return when all are gone."""
        self._supervisor.close(kill)

    def _launch(self, launch: Launch) -> Outcome:
        known = self._supervisor.launched_by(launch.id)
        if known is not None:
            return self._again(launch, known)
        order = template(launch.offer)
        record = self._order(launch, order)
        self._supervisor.put(record)
        try:
            running = self._start(record, order)
        except OSError as error:
            self._supervisor.forget(record)
            scarce = error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
            why = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
            raise (CapacityError if scarce else ProviderError)(
                f"{launch.offer.key}: cannot start {order.words[0]!r}: {why}; check command and cwd of the offer"
            ) from error
        self._supervisor.keep(running)
        return self._outcome(launch, "accepted", record.instance)

    def _order(self, launch: Launch, order: Template) -> Record:
        """Where the new process will run and what it gets. Raises CapacityError when this machine is full."""
        alive = self._supervisor.alive()
        offer = launch.offer
        if len(alive) >= self.max_processes:
            raise CapacityError(f"{offer.key}: {len(alive)} processes run, max_processes is {self.max_processes}")
        same = sum(record.offer == offer.key and record.pool == launch.pool for record in alive)
        if order.most is not None and same >= order.most:
            raise CapacityError(f"{offer.key}: {same} processes of this offer run, its max is {order.most}")
        gpus: tuple[str, ...] = ()
        if order.gpus:
            present = gpu_slots.installed() if self.gpus is None else self.gpus
            try:
                gpus = gpu_slots.choose(present, {uuid for record in alive for uuid in record.gpus}, order.gpus)
            except CapacityError as error:
                raise CapacityError(f"{offer.key}: {error}") from None
        now = self.clock.now()
        return Record(
            action=launch.id,
            instance=instance_id(launch.pool, launch.id),
            pool=launch.pool,
            offer=offer.key,
            host=self.host,
            port=self._ports.take({record.port for record in alive}),
            ready_path=order.ready,
            requested_at=now,
            since=now,
            replicas=offer.replicas,
            usd_per_hour=offer.usd_per_hour,
            made_of=offer.made_of,
            gpus=gpus,
            role="warm" if launch.into == "warm" else "serving",
        )

    def _start(self, record: Record, order: Template) -> Record:
        words = expand(order.words, fields(record.host, record.port, record.pool, record.instance, record.gpus))
        files = self._supervisor.files
        log = worker_log.open_log(files.log(record))
        try:
            identity = process.spawn(
                words, environment(order, record.action, files.state(record), record.gpus), order.cwd, log
            )
        finally:
            worker_log.close_log(log)
        return replace(record, phase="running", process=identity)

    def _again(self, launch: Launch, known: Record) -> Outcome:
        """The answer to a launch that was carried out before."""
        if (known.pool, known.offer) != (launch.pool, launch.offer.key):
            raise ProviderError(
                f"launch {launch.id} was {known.offer} for pool {known.pool}, now it is {launch.offer.key} for pool "
                f"{launch.pool}; give every launch an id of its own"
            )
        if known.died:
            return self._outcome(launch, "failed", known.instance, known.detail, ProviderError.code)
        if known.phase == "running" and not known.ready:
            return self._outcome(launch, "accepted", known.instance, known.detail)
        return self._outcome(launch, "done", known.instance, known.detail)

    def _operate(self, action: Operate) -> Outcome:
        known = self._supervisor.named(action.instance)
        if known is not None and known.pool != action.pool:
            raise ProviderError(f"{action.instance} serves pool {known.pool}, not {action.pool}; nothing was done")
        if action.kind == "terminate":
            return self._terminate(action, known)
        if known is None or not known.alive:
            raise ProviderError(f"no instance {action.instance} to {action.kind}; it ended or never was, observe again")
        if action.id in known.applied:
            return self._outcome(action, "done", known.instance, "carried out before")
        if known.phase == "stopping":
            raise ProviderError(f"{action.instance} is being terminated; {action.kind} comes too late")
        role = _role_after(action.kind, known)
        self._supervisor.put(known.after(action.id, role, self.clock.now()))
        return self._outcome(action, "done", known.instance)

    def _terminate(self, action: Operate, known: Record | None) -> Outcome:
        if known is None or not known.alive:
            if known is not None and known.died and not known.told:
                self._supervisor.keep(replace(known, told=True))
            return self._outcome(action, "done", action.instance)
        if known.phase == "running":
            self._supervisor.stop(known)
        return self._outcome(action, "accepted", action.instance)

    def _outcome(
        self,
        action: Action,
        status: Literal["accepted", "done", "failed"],
        instance: str | None,
        text: str = "",
        error: str = "",
    ) -> Outcome:
        return Outcome(action.id, action.pool, status, self.clock.now(), instance, error, text)


def _role_after(kind: Literal["start", "drain", "resume", "stop"], known: Record) -> Role:
    """What an instance is kept for after an action. Raises ProviderError where that makes no sense."""
    match kind, known.role:
        case "drain", "serving" | "draining":
            return "draining"
        case "resume", "draining" | "serving":
            return "serving"
        case "start", "warm" | "serving":
            return "serving"
        case "stop", _:
            return "warm"
    raise ProviderError(f"{known.instance} is {known.role}, which {kind} does not apply to; observe again")
