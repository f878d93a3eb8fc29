"""The demo's gateway and load as a program of their own, beside a service that runs elsewhere, until told to stop.

`python -m autoscaler.demo.endless --service http://127.0.0.1:9377 --token-file FILE --listen 127.0.0.1:9380`
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from pathlib import Path
from threading import Event

from autoscaler.demo.driver import Score
from autoscaler.demo.load import compress, read_trace
from autoscaler.demo.traffic import Traffic
from autoscaler.ending import asked_to_end

LOOK_S = 0.5


def play(traffic: Traffic, round_s: float, asked: Event) -> None:
    """Send the recorded load to the gateway, one round after the other, until `asked` is set."""
    trace, seed = read_trace(), 1
    while not asked.is_set():
        under_way = traffic.play(compress(trace, round_s, 1.0, seed), round_s)
        while not asked.is_set() and not _ended(under_way):
            pass
        seed += 1


def _ended(under_way: Future[Score]) -> bool:
    try:
        under_way.result(LOOK_S)
    except NotYet:
        return False
    return True


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a command line; argparse ends the process with a message when it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m autoscaler.demo.endless", description=__doc__)
    parser.add_argument("--service", default="http://127.0.0.1:9377", help="the service whose endpoints are routed to")
    parser.add_argument("--pool", default="chat")
    parser.add_argument("--token-file", type=Path, help="file with a token of role viewer or better")
    parser.add_argument("--listen", default="127.0.0.1:9380", help="HOST:PORT of the gateway")
    parser.add_argument("--round", type=float, default=600.0, help="seconds that 38 recorded minutes are played in")
    options = parser.parse_args(arguments)
    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        parser.error(f"--listen: {options.listen!r} is not HOST:PORT; write 127.0.0.1:9380")
    if not 30 <= options.round <= 3600:
        parser.error(f"--round: {options.round:g} s is not between 30 and 3600; 600 is the default")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT."""
    options = parse(arguments)
    with asked_to_end() as asked:
        try:
            token = options.token_file.read_text(encoding="ascii").strip() if options.token_file else None
        except (OSError, UnicodeDecodeError) as error:
            sys.stderr.write(f"--token-file: {options.token_file} cannot be read ({error}); name a readable file\n")
            return 2
        traffic = Traffic()
        host, _, port = options.listen.rpartition(":")
        traffic.gateway.host, traffic.gateway.port = host, int(port)
        try:
            traffic.start()
            traffic.follow(f"{options.service.rstrip('/')}/api/v1/pools/{options.pool}/endpoints", token)
            play(traffic, options.round, asked)
        except OSError as error:
            sys.stderr.write(f"--listen: {options.listen} cannot be listened on ({error.strerror}); name another\n")
            return 1
        finally:
            traffic.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
