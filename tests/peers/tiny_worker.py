"""A worker of the standard library alone, as small as an inference server can be.

GET  /health          503 while it "loads", then 200
GET  /metrics         vLLM's two gauges: requests running and waiting
GET  /env/NAME        that variable of its environment, 404 if it is not set
POST /work            answers when /release is asked, however long that takes
POST /release         lets go of all the work
POST /break, /mend    health says 503, says 200 again
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from threading import Event, Lock, Thread


class Worker(ThreadingHTTPServer):
    """The server and what its handlers share."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, host: str, port: int, boot_file: Path | None) -> None:
        self.boot_file = boot_file
        self.broken = False
        self.running = 0
        self.lock = Lock()
        self.release = Event()
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        # The inherited one looks the host's name up, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    @property
    def healthy(self) -> bool:
        return not self.broken and (self.boot_file is None or self.boot_file.exists())


class Handler(BaseHTTPRequestHandler):
    server: Worker

    def do_GET(self) -> None:
        worker = self.server
        if self.path == "/health":
            self._answer(200 if worker.healthy else 503)
        elif self.path == "/metrics":
            self._answer(200, f"vllm:num_requests_running {worker.running}\nvllm:num_requests_waiting 0\n")
        elif self.path.startswith("/env/"):
            text = os.environ.get(self.path.removeprefix("/env/"))
            self._answer(404 if text is None else 200, text or "")
        else:
            self._answer(404)

    def do_POST(self) -> None:
        worker = self.server
        if self.path == "/work":
            with worker.lock:
                worker.running += 1
            worker.release.wait(60.0)
            with worker.lock:
                worker.running -= 1
            self._answer(200, "done")
        elif self.path == "/release":
            worker.release.set()
            self._answer(200)
        elif self.path in ("/break", "/mend"):
            worker.broken = self.path == "/break"
            self._answer(200)
        else:
            self._answer(404)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Quiet."""

    def _answer(self, status: int, text: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--boot-file", type=Path, help="it has loaded when this file exists")
    parser.add_argument("--stubborn", action="store_true", help="ignore SIGTERM")
    parser.add_argument("--die", help="print this and end with code 3")
    parser.add_argument("--child", action="store_true", help="keep a child process that outlives its parent")
    parser.add_argument("--print-lines", type=int, default=0, help="print so many numbered lines first")
    options = parser.parse_args()
    for number in range(options.print_lines):
        print(f"line {number}", flush=True)
    if options.die is not None:
        print(options.die, flush=True)
        sys.exit(3)
    if options.child and os.fork() == 0:
        # It stays in the group, as the helpers of an engine do.
        os.execvp("sleep", ["sleep", "300"])
    worker = Worker(options.host, options.port, options.boot_file)
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: Thread(target=worker.shutdown).start())
    print(f"serving on port {options.port}", flush=True)
    worker.serve_forever(poll_interval=0.05)
    # Joins the handlers: what is in flight is answered.
    worker.server_close()


if __name__ == "__main__":
    main()
