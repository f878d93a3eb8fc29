"""`sigmascale run`: the service itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autoscaler.ending import asked_to_end
from autoscaler.errors import InputError, SigmascaleError

LOOK_S = 0.5

if TYPE_CHECKING:
    from autoscaler.yamltree import Value


def run(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", envvar="SIGMASCALE_CONFIG", help="The service's YAML file; see docs/config.md."),
    ] = None,
    rules: Annotated[list[Path] | None, typer.Option("--rules", "-r", help="Rule file or folder; repeatable.")] = None,
    max_replicas: Annotated[
        int | None, typer.Option("--max", "--max-replicas", help="Upper bound of pools whose file gives none.")
    ] = None,
    shadow: Annotated[bool, typer.Option("--shadow", help="Observe and decide, but withhold every action.")] = False,
    listen: Annotated[str | None, typer.Option("--listen", help="HOST:PORT of the API.")] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Folder of journal and metrics.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Region of offers that name none.")] = None,
    log_format: Annotated[str | None, typer.Option("--log-format", help="console or json.")] = None,
) -> None:
    """Watch the fleet, decide, and act until told to stop (SIGTERM or Ctrl-C).

    Settings come from the file, then SIGMASCALE_* variables, then these flags; the last one wins.

    Examples:

      sigmascale run --rules rules/ --max 8 --shadow

      sigmascale run --config /etc/sigmascale/config.yaml
    """
    import os

    # Bands are small products, which more threads make slower and which must not crowd out the tick.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    # A second signal ends the process at once: somebody is in a hurry, and the journal survives that.
    with asked_to_end() as asked:
        import structlog

        from autoscaler.cli.logs import set_up_logging
        from autoscaler.configfile import read_config
        from autoscaler.service import Service

        flags: dict[str, Value] = {}
        texts = {"max_replicas": max_replicas, "listen": listen, "region": region, "log_format": log_format}
        flags |= {name: str(value) for name, value in (texts | {"data_dir": data_dir}).items() if value is not None}
        if rules:
            flags["rules"] = [str(path) for path in rules]
        if shadow:
            flags["shadow"] = "true"
        settings = read_config(config, os.environ, flags)
        if not settings.rules:
            raise InputError("no rules are given; name a rule file or a folder of them, such as --rules rules/")
        set_up_logging(settings.log_format)
        if asked.is_set():
            return
        service = Service(settings)
        service.start()
        structlog.get_logger().info(service.room)
        try:
            while not asked.wait(LOOK_S):
                if service.broken.is_set():
                    raise SigmascaleError(
                        "the loop broke, see the log; start the service again, it goes on where it was"
                    )
        finally:
            service.stop()
