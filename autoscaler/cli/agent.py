"""`sigmascale agent`: the program on a GPU node. Its flags are checked here, the agent runs in `agent_process`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from autoscaler.agent.settings import CONTROLS_FILE, METADATA_URL


def _option(flag: str, text: str) -> Any:
    """A flag with the variable that stands for it."""
    name = flag.removeprefix("--").replace("-", "_").upper()
    return typer.Option(flag, envvar=f"SIGMASCALE_AGENT_{name}", show_envvar=False, help=text)


def agent(
    listen: Annotated[str, _option("--listen", "HOST:PORT of the pages.")] = "127.0.0.1:9400",
    names: Annotated[
        list[str] | None,
        _option("--names", "Names on /metrics: canonical, dcgm, otel; repeatable, or a,b. Default: canonical."),
    ] = None,
    interval: Annotated[str, _option("--interval", "How often values are collected and pushed.")] = "1s",
    stats: Annotated[bool, _option("--stats", "Also min, mean, max, p95 and count of each interval.")] = False,
    fast: Annotated[
        str | None, _option("--fast", "Ask the fast-moving GPU values this often, such as 100ms; off by default.")
    ] = None,
    lanes: Annotated[
        list[str] | None,
        _option("--lanes", "What is read of a GPU beside its gauges: buffers, gpm, slow, or none. Default: all."),
    ] = None,
    no_gpus: Annotated[bool, _option("--no-gpus", "Do not read GPUs.")] = False,
    no_host: Annotated[bool, _option("--no-host", "Do not read processors, memory, disks and network.")] = False,
    whole_machine: Annotated[
        bool, _option("--whole-machine", "In a container: the machine, not the container's share of it.")
    ] = False,
    cloud: Annotated[
        str, _option("--cloud", "Read the cloud's notices to this machine: aws, azure, auto or none.")
    ] = "none",
    metadata_url: Annotated[
        str, _option("--metadata-url", "Metadata service that tells them, where it is not the cloud's own.")
    ] = METADATA_URL,
    host: Annotated[str | None, _option("--host", "Name of this node; default is the machine's own.")] = None,
    labels: Annotated[
        list[str] | None, _option("--labels", "NAME=VALUE on every series; repeatable, or a=1,b=2.")
    ] = None,
    push: Annotated[str | None, _option("--push", "Address of a service to push to, such as http://HOST:9377.")] = None,
    token_file: Annotated[
        Path | None,
        _option("--token-file", "File with the token for pushes; default is $SIGMASCALE_AGENT_TOKEN. Never a flag."),
    ] = None,
    token_file_read: Annotated[
        Path | None, _option("--token-file-read", "File with a token that scrapers must send; default: none asked for.")
    ] = None,
    tls_cert: Annotated[Path | None, _option("--tls-cert", "PEM certificate: serve https.")] = None,
    tls_key: Annotated[Path | None, _option("--tls-key", "PEM key of the certificate.")] = None,
    power_limit: Annotated[
        str | None,
        _option("--power-limit", "Cap every GPU at this, such as 300W, and give it back at the end; as root."),
    ] = None,
    lock_clocks: Annotated[
        str | None, _option("--lock-clocks", "Keep the SM clock within 1200MHz-1500MHz, until the end; as root.")
    ] = None,
    controls_file: Annotated[
        str, _option("--controls-file", "Record of what was changed on GPUs, for the start after a crash.")
    ] = CONTROLS_FILE,
    log_format: Annotated[str, _option("--log-format", "console or json.")] = "console",
) -> None:
    """Serve what this node's GPUs and the node itself say, until told to stop (SIGTERM or Ctrl-C).

    Pages: /metrics, /metrics/canonical, /metrics/dcgm, /metrics/otel, /healthz, /readyz. Every flag may be a variable,
    in capitals behind SIGMASCALE_AGENT_; a flag wins.

    Examples:

      sigmascale agent --listen 0.0.0.0:9400 --names dcgm

      sigmascale agent --push http://10.0.0.2:9377 --token-file /etc/sigmascale/push-token --stats
    """
    import os
    import socket
    import sys

    from autoscaler.agent.settings import LANES, PREFIX, TOKEN_VARIABLE, Words, read_settings, words

    words(os.environ)  # a variable with a typing mistake must not be passed over
    given = Words(
        cloud=cloud,
        metadata_url=metadata_url,
        host=host,
        listen=listen,
        names=",".join(names or ("canonical",)),
        interval=interval,
        stats=str(stats).lower(),
        fast=fast,
        lanes=",".join(lanes or LANES),
        no_gpus=str(no_gpus).lower(),
        no_host=str(no_host).lower(),
        whole_machine=str(whole_machine).lower(),
        labels=",".join(labels or ()),
        push=push,
        token=os.environ.get(TOKEN_VARIABLE),
        token_file=None if token_file is None else str(token_file),
        token_file_read=None if token_file_read is None else str(token_file_read),
        tls_cert=None if tls_cert is None else str(tls_cert),
        tls_key=None if tls_key is None else str(tls_key),
        power_limit=power_limit,
        lock_clocks=lock_clocks,
        controls_file=controls_file,
        log_format=log_format,
    )
    read_settings(given, socket.gethostname())
    kept = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    # glibc keeps memory apart for each of many threads, up to eight times the cores; read only at a process's start.
    kept.setdefault("MALLOC_ARENA_MAX", "2")
    # What reads flags takes 30 MB (Typer brings pydantic), which would stay for as long as the agent runs. So this
    # process becomes the agent: same number, same streams. -P: a folder of that name here is not our module.
    command = [sys.executable, "-P", "-m", "autoscaler.cli.agent_process"]
    os.execve(sys.executable, command, kept | given.variables())  # noqa: S606 - our own interpreter
