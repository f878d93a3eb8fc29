"""The REST protocol in front of a Cloud: HTTP on loopback, with switches for what goes wrong on the way."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.peers.arm import bodies
from tests.peers.arm.cloud import Cloud
from tests.peers.arm.founding import create
from tests.peers.arm.resources import ApiError, Operation, ScaleSet

SETS = (
    r"/subscriptions/(?P<sub>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft.Compute/virtualMachineScaleSets"
)
ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", rf"{SETS}", "set.list"),
    ("GET", rf"{SETS}/(?P<name>[^/]+)", "set.get"),
    ("PATCH", rf"{SETS}/(?P<name>[^/]+)", "set.update"),
    ("PUT", rf"{SETS}/(?P<name>[^/]+)", "set.create"),
    ("GET", r"/subscriptions/(?P<sub>[^/]+)/providers/Microsoft.Compute/skus", "sku.list"),
    (
        "GET",
        r"/subscriptions/(?P<sub>[^/]+)/providers/Microsoft.Compute/locations/(?P<place>[^/]+)/usages",
        "usage.list",
    ),
    ("GET", rf"{SETS}/(?P<name>[^/]+)/instanceView", "set.view"),
    ("POST", rf"{SETS}/(?P<name>[^/]+)/(?P<verb>delete|start|deallocate)", "set.operate"),
    ("GET", rf"{SETS}/(?P<name>[^/]+)/virtualMachines", "vm.list"),
    ("GET", rf"{SETS}/(?P<name>[^/]+)/virtualMachines/(?P<vm>[^/]+)", "vm.get"),
    ("PUT", rf"{SETS}/(?P<name>[^/]+)/virtualMachines/(?P<vm>[^/]+)", "vm.update"),
    (
        "GET",
        r"/subscriptions/(?P<sub>[^/]+)/providers/Microsoft.Compute/locations/[^/]+/operations/(?P<op>[^/]+)",
        "op.get",
    ),
)
_COMPILED = tuple((method, re.compile(pattern, re.IGNORECASE), name) for method, pattern, name in ROUTES)


@dataclass
class Fault:
    """What goes wrong with the next `times` calls of a name (`set.update`, `op.get`, ...; see ROUTES).

    cut: carried out, and the connection ends without an answer. refuse: `status` and `code` instead of doing it. hang:
    held, undone, until the server closes. before: run before the call, as somebody else who is faster.
    """

    name: str
    kind: Literal["cut", "refuse", "hang", "before", "nonsense"]
    times: int = 1
    status: int = 500
    code: str = "InternalServerError"
    message: str = "something broke"
    headers: dict[str, str] = field(default_factory=dict)
    run: Callable[[], None] = lambda: None
    fired: int = 0


@dataclass
class ArmServer:
    """Serves `cloud`. `token` is what Authorization must bear; `calls` counts what was asked, by name."""

    cloud: Cloud
    token: str = "static-token"
    page_size: int = 3
    retry_after_s: int = 1
    faults: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    remaining: int = 1000
    closing: threading.Event = field(default_factory=threading.Event)
    _server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        handler = type("Handler", (_Handler,), {"arm": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name="arm", daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fault(self, name: str, kind: Literal["cut", "refuse", "hang", "before", "nonsense"], **more: Any) -> Fault:
        made = Fault(name, kind, **more)
        self.faults.append(made)
        return made

    def due(self, name: str) -> Fault | None:
        with self.cloud.lock:
            for fault in self.faults:
                if fault.name == name and fault.fired < fault.times:
                    fault.fired += 1
                    return fault
        return None

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


class _CutError(Exception):
    """The connection ends here."""


class _Handler(BaseHTTPRequestHandler):
    arm: ArmServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = 1 << 16  # headers and body in one packet: the client would wait 40 ms for the second
    disable_nagle_algorithm = True

    def log_message(self, *args: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        try:
            status, body, headers = self._answer(raw)
        except ApiError as error:
            status, body, headers = error.status, bodies.error(error.code, error.message), error.headers
        except _CutError:
            self.close_connection = True
            return
        payload = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else b""
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("x-ms-ratelimit-remaining-resource", f"Microsoft.Compute/VMScaleSet;{self.arm.remaining}")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)
            self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _answer(self, raw: bytes) -> tuple[int, Any, dict[str, str]]:
        parts = urlsplit(self.path)
        if parts.path == "/health":
            return (200 if self.arm.cloud.serves else 503), None, {}
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        if self.headers.get("Authorization") != f"Bearer {self.arm.token}":
            raise ApiError(401, "InvalidAuthenticationToken", "The access token is invalid or expired.")
        if not query.get("api-version"):
            raise ApiError(400, "MissingApiVersionParameter", "The api-version query parameter is required.")
        for method, pattern, name in _COMPILED:  # noqa: B007
            found = pattern.fullmatch(parts.path)
            if found and method == self.command:
                break
        else:
            raise ApiError(405, "HttpMethodNotSupported", f"{self.command} {parts.path} is not served here")
        if name == "set.operate":
            name = f"set.{found['verb'].lower()}"
        fault = self.arm.due(name)
        if fault is not None:
            self._before(fault)
        with self.arm.cloud.lock:
            self.arm.calls.append(name)
            self.arm.cloud.advance()
            answer = self._routed(name, found.groupdict(), query, json.loads(raw) if raw else {})
            if fault is not None and fault.kind == "cut":
                raise _CutError
        if fault is not None and fault.kind == "nonsense":
            return 200, "<html>down for maintenance</html>", {}
        return answer

    def _before(self, fault: Fault) -> None:
        match fault.kind:
            case "refuse":
                raise ApiError(fault.status, fault.code, fault.message, fault.headers)
            case "hang":
                self.arm.closing.wait(60)
                raise _CutError
            case "before":
                with self.arm.cloud.lock:
                    fault.run()

    def _routed(
        self, name: str, at: dict[str, str], query: dict[str, str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        cloud = self.arm.cloud
        if name == "op.get":
            return self._operation(at["op"], "monitor" in query)
        if name == "set.list":
            return 200, self._page([bodies.scale_set(s) for s in cloud.in_group(at["sub"], at["group"])], query), {}
        if name == "sku.list":
            asked = query.get("$filter", "").partition("'")[2].rstrip("'")
            return 200, self._page([bodies.sku(s) for s in cloud.sizes if s.location == asked], query), {}
        if name == "usage.list":
            return 200, self._page([bodies.usage(*u) for u in cloud.usage(at["place"])], query), {}
        if name == "set.create":
            only_new = self.headers.get("If-None-Match") == "*"
            one, op = create(cloud, (at["sub"], at["group"], at["name"]), body, only_new)
            return 201, bodies.scale_set(one), self._headers(op, one)
        one = cloud.find(at["sub"], at["group"], at["name"])
        if_match = self.headers.get("If-Match")
        match name:
            case "set.get":
                shown = bodies.scale_set(one)
                return 200, shown if cloud.etags else {**shown, "etag": None}, {}
            case "set.view":
                return 200, bodies.set_view(one, cloud.now()), {}
            case "set.update":
                op = cloud.update(one, body, if_match)
                return 200, bodies.scale_set(one), self._headers(op, one)
            case "vm.list":
                view = query.get("$expand") == "instanceView"
                rows = [bodies.machine(one, m, view, cloud.host) for m in cloud.listed(one)]
                return 200, self._page(rows, query), {}
            case "vm.get":
                view = query.get("$expand") == "instanceView"
                return 200, bodies.machine(one, cloud.machine(one, at["vm"]), view), {}
            case "vm.update":
                op = cloud.relabel(one, at["vm"], body, if_match)
                return 200, bodies.machine(one, cloud.machine(one, at["vm"]), False), self._headers(op, one)
        does = {"set.delete": cloud.delete, "set.start": cloud.start, "set.deallocate": cloud.deallocate}[name]
        return 202, None, self._headers(does(one, list(body["instanceIds"])), one)

    def _operation(self, number: str, monitor: bool) -> tuple[int, Any, dict[str, str]]:
        op = self.arm.cloud.operations.get(number)
        if op is None:
            raise ApiError(404, "NotFound", f"The operation {number} was not found.")
        wait = {"Retry-After": str(self.arm.retry_after_s)} if op.status == "InProgress" else {}
        if not monitor:
            return 200, bodies.operation(op), wait
        return (202, None, wait) if op.status == "InProgress" else (200, None, {})

    def _headers(self, op: Operation, one: ScaleSet) -> dict[str, str]:
        host = f"http://{self.headers['Host']}/subscriptions/{one.subscription}"
        url = f"{host}/providers/Microsoft.Compute/locations/{op.region}/operations/{op.id}"
        return {
            "Azure-AsyncOperation": f"{url}?api-version=2024-07-01",
            "Location": f"{url}?monitor=true&api-version=2024-07-01",
            "Retry-After": str(self.arm.retry_after_s),
        }

    def _page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        skip = int(query.pop("$skiptoken", "0"))
        rest = urlencode(query)
        link = f"http://{self.headers['Host']}{urlsplit(self.path).path}?{rest}"
        return bodies.page(rows, skip, self.arm.page_size, link)
