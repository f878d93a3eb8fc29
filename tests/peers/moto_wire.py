"""moto's own server on a loopback port, and a wire before it that can be cut, held up, or answer with an error."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

Form = dict[str, str]
ANSWERED_500 = ("InsufficientInstanceCapacity",)
"""EC2 answers these with 500, so that SDKs would repeat them by themselves; moto with 400."""


@dataclass
class WireFault:
    """What happens to the next `times` calls of an operation, after `skip` others.

    cut: carried out, and the connection ends before the answer. refuse: the connection ends before it was carried out.
    slow: carried out, and answered `wait_s` later. error: not carried out, answered with `code`. garbage: carried out,
    and the answer is no XML. empty: carried out, and the answer holds nothing.
    """

    operation: str
    kind: Literal["cut", "refuse", "slow", "error", "garbage", "empty"]
    times: int = 1
    skip: int = 0
    wait_s: float = 0.0
    code: str = ""
    status: int = 400
    message: str = "injected"
    headers: tuple[tuple[str, str], ...] = ()
    fired: int = 0


class _Quiet(MotoRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Nothing: pytest shows what a test has to say."""


@dataclass
class Wire:
    """The server. `before` is called with each request's form, under the lock that moto is called under; what it
    returns, if anything, is the answer. `arrived` is called without it, as soon as a request was read. `calls`:
    operation and form of every request, in their order."""

    before: Callable[[Form], str | None] = lambda form: None
    arrived: Callable[[str], None] = lambda operation: None
    faults: list[WireFault] = field(default_factory=list)
    calls: list[tuple[str, Form]] = field(default_factory=list)
    url: str = ""
    lock: threading.RLock = field(default_factory=threading.RLock)
    _released: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def count(self, operation: str) -> int:
        """How often an operation was asked for."""
        return sum(name == operation for name, _ in self.calls)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        target = str(environ.get("HTTP_X_AMZ_TARGET", ""))
        if target:  # the JSON protocol, of Service Quotas
            form = {"Action": target.rpartition(".")[2], **json.loads(body or b"{}")}
        else:
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        operation = form.get("Action", "")
        self.arrived(operation)
        with self.lock:
            self.calls.append((operation, form))
            fault = self._fault(operation)
            if fault is not None and fault.kind == "refuse":
                self._end(environ)
            if fault is not None and fault.kind == "error":
                return _error(fault, start_response, as_json=bool(target))
            answer, head = self._carry_out(environ, body, form)
        if fault is not None and fault.kind == "cut":
            self._end(environ)
        if fault is not None and fault.kind == "slow":
            self._released.wait(fault.wait_s)
        if fault is not None and fault.kind == "garbage":
            answer = b"<html>a proxy of somebody else"
        if fault is not None and fault.kind == "empty":
            answer = f"<{operation}Response/>".encode()
        start_response(*head)
        return [answer]

    def _carry_out(self, environ: dict[str, Any], body: bytes, form: Form) -> tuple[bytes, tuple[str, Any]]:
        own = self.before(form)
        if own is not None:
            return own.encode(), ("200 OK", [("Content-Type", "text/xml")])
        environ["wsgi.input"] = io.BytesIO(body)
        heads: list[tuple[str, Any]] = []
        answer = b"".join(self._moto(environ, lambda status, headers, *_: heads.append((status, headers))))
        status, headers = heads[0]
        if any(f"<Code>{code}</Code>".encode() in answer for code in ANSWERED_500):
            status = "500 Internal Server Error"
        return answer, (status, [(k, v) for k, v in headers if k.lower() != "content-length"])

    def _fault(self, operation: str) -> WireFault | None:
        for fault in self.faults:
            if fault.operation in (operation, "*") and fault.fired < fault.times:
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.fired += 1
                return fault
        return None

    @staticmethod
    def _end(environ: dict[str, Any]) -> None:
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError("ended on purpose")


def _error(fault: WireFault, start_response: Callable[..., Any], as_json: bool) -> list[bytes]:
    if as_json:
        start_response(f"{fault.status} Injected", [("Content-Type", "application/x-amz-json-1.1"), *fault.headers])
        return [json.dumps({"__type": fault.code, "message": fault.message}).encode()]
    start_response(f"{fault.status} Injected", [("Content-Type", "text/xml"), *fault.headers])
    text = f"<Code>{fault.code}</Code><Message>{fault.message}</Message>"
    return [f"<Response><Errors><Error>{text}</Error></Errors><RequestID>r</RequestID></Response>".encode()]
