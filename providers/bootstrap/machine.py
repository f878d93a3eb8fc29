"""The files that start serving and the agent on a machine: two units of systemd and the script that sets them up."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit

from providers.bootstrap.quoting import environment_line, exec_line, text_line
from providers.bootstrap.settings import Agent, Serve, Values

AGENT_USER = "sigmascale"
TRIES = 5
AGENT_MEMORY = "160M"
"""What docs/agent.md promises, twice."""


def serve_unit(serve: Serve, values: Values) -> str:
    """The unit of the serving command."""
    lines = [
        "[Unit]",
        f"Description=serving of pool {text_line(values.pool)}",
        "After=network-online.target nvidia-persistenced.service docker.service",
        "Wants=network-online.target",
        # A model server that cannot start now may in an hour; the service gives the machine up when it takes too long.
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        *([f"User={serve.user}"] if serve.user else []),
        *([f"WorkingDirectory={serve.directory}"] if serve.directory else []),
        *(f"Environment={environment_line(name, value)}" for name, value in serve.environment),
        *([f"EnvironmentFile=-{serve.environment_file}"] if serve.environment_file else []),
        # `+`: as root, who may read what the serving user is to be given. Old releases of systemd do not know it.
        *([f"ExecStartPre={'+' if serve.user else ''}{exec_line(serve.before)}"] if serve.before else []),
        f"ExecStart={exec_line(serve.words)}",
        f"Restart={serve.restart}",
        "RestartSec=5",
        "TimeoutStartSec=infinity",
        f"LimitNOFILE={serve.files}",
        *([f"MemoryMax={serve.memory_bytes}"] if serve.memory_bytes else []),
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def agent_unit(agent: Agent, values: Values) -> str:
    """The unit of the agent. Its labels are in a file, since the machine's address is known only there."""
    command = [agent.command, "agent", "--push", agent.service, "--token-file", agent.token_file]
    command += [*([] if agent.cloud == "none" else ["--cloud", agent.cloud]), "--log-format", "json", *agent.flags]
    lines = [
        "[Unit]",
        f"Description=sigmascale agent of pool {text_line(values.pool)}",
        "After=network-online.target nvidia-persistenced.service",
        "Wants=network-online.target",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"User={AGENT_USER}",
        f"EnvironmentFile={values.home}/agent.env",
        f"ExecStart={exec_line(command)}",
        "Restart=always",
        "RestartSec=5",
        f"MemoryMax={AGENT_MEMORY}",
        "NoNewPrivileges=yes",
        "ProtectSystem=full",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def setup(values: Values) -> str:
    """The script of the first boot. Serving comes first: nothing that only observes may hold it up or stop it."""
    lines = ["#!/bin/sh", f"# Sets up a machine of pool {text_line(values.pool)}.", "systemctl daemon-reload"]
    if values.serve is not None:
        lines += _user(values.serve.user) if values.serve.user else []
        lines += _started("sigmascale-serve")
    if values.agent is not None:
        lines += _agent(values.agent, values)
    return "\n".join([*lines, ""])


def _agent(agent: Agent, values: Values) -> list[str]:
    venv, token = shlex.quote(f"{values.home}/venv"), shlex.quote(agent.token_file)
    install = agent.install
    if agent.package:
        install = f"python3 -m venv {venv} && {venv}/bin/pip install --quiet {shlex.quote(agent.package)}"
    lines = [
        "tries() {",
        "  n=0",
        '  until "$@"; do',
        "    n=$((n + 1))",
        f'    if [ "$n" -ge {TRIES} ]; then echo "sigmascale: gave up: $*" >&2; return 1; fi',
        "    sleep $((n * 5))",
        "  done",
        "}",
        *_user(AGENT_USER),
        f"mkdir -p {shlex.quote(values.home)}",
    ]
    if install:
        lines += ["install_agent() {", f"  ( {install}", "  )", "}", "tries install_agent"]
    if agent.token_command:
        # The token is never in an argument and never in a file that others can read.
        lines += [
            "fetch_token() {",
            f"  ( umask 077; ( {agent.token_command}",
            f"  ) > {token}.new && [ -s {token}.new ] && chown {AGENT_USER} {token}.new && mv {token}.new {token} )",
            "}",
            "tries fetch_token",
        ]
    labels = f"pool={values.pool},offer={values.offer},instance="
    lines += [
        f"address=$({agent.address or _route(agent.service)}",
        ")",
        f"printf '%s\\n' {shlex.quote('SIGMASCALE_AGENT_LABELS=' + labels)}\"${{address:-$(hostname)}}:{values.port}\" "
        f"> {shlex.quote(values.home + '/agent.env')}",
        *_started("sigmascale-agent"),
    ]
    return lines


def _route(service: str) -> str:
    """Prints the machine's address on its way to the service, which is the one that the service knows it by."""
    host = shlex.quote(urlsplit(service).hostname or "")
    to = f"$(getent ahostsv4 {host} | awk 'NR==1 {{print $1}}')"
    return f"ip -4 route get \"{to}\" | sed -n 's/.* src \\([0-9.]*\\).*/\\1/p'"


def _user(name: str) -> list[str]:
    return [f"id {name} >/dev/null 2>&1 || useradd --system --create-home --shell /usr/sbin/nologin {name}"]


def _started(unit: str) -> list[str]:
    # Without waiting: cloud-init's last stage is itself a part of the boot that units may wait for.
    return [f"systemctl enable {unit}.service", f"systemctl start --no-block {unit}.service"]
