"""`sigmascale simulate --serve`: what people wrote, read; the fleet served until somebody asks for the end."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import typer

from autoscaler.ending import asked_to_end
from autoscaler.errors import InputError, SigmascaleError

LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class Words:
    """The flags of `--serve`, as they were written."""

    rules: tuple[Path, ...]
    listen: str
    pages: str
    data: Path | None
    seed: int
    speed: float
    pools: int | None
    gpus: int | None
    max_replicas: int | None
    as_json: bool
    calm: bool


def serve(words: Words) -> None:
    """Serve a simulated fleet until SIGTERM or Ctrl-C. Raises InputError and SigmascaleError."""
    # Bands are small products, which more threads make slower and which must not crowd out the tick.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with asked_to_end() as asked:
        from autoscaler.cli.logs import set_up_logging
        from autoscaler.simfleet.generated import Size
        from autoscaler.simfleet.running import Options, SimFleet

        options = Options(
            rules=words.rules,
            listen=_address("--listen", words.listen),
            pages=_address("--pages", words.pages),
            data_dir=words.data,
            seed=words.seed,
            speed=words.speed,
            size=Size.of(words.pools, words.gpus),
            max_replicas=words.max_replicas,
            troubled=not words.calm,
        )
        fleet = SimFleet(options)
        set_up_logging("console")
        if asked.is_set():
            return
        fleet.start()
        try:
            _tell(fleet.told, as_json=words.as_json)
            while not asked.wait(LOOK_S):
                if fleet.service.broken.is_set():
                    raise SigmascaleError("the loop broke, see the log; start it again")
        finally:
            fleet.stop()


def _tell(told: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"control room  {told['api']}/")
    typer.echo(f"metrics       {told['api']}/metrics (the service), {told['pages']}/metrics (its machines, all in one)")
    typer.echo(f"discovery     {told['pages']}/sd (the machines page by page, for Prometheus's http_sd_configs)")
    typer.echo(f"token         {told['token_file']}, for what is written")
    typer.echo("Ctrl-C ends it; nothing outside this process was started.")


def _address(flag: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"{flag}: {text!r} is not HOST:PORT; write one such as 127.0.0.1:9377, port 0 = any free one")
    return host.strip("[]"), int(port)
