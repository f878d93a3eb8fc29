"""One kept HTTP/1.1 connection to one target: a request goes out, an answer comes back, nothing is copied on the way.

A general client spends more on a page than reading the page costs, most of it on what a scrape never needs. This one
knows GET and the three ways in which an answer may end: by its length, in chunks, with the connection (RFC 9112,
section 6). The bytes go from the kernel straight into a buffer that all connections share in turn.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

from collectors.scraping.answer import Answer, BrokenOff, NotHttp, TooLarge, Unanswered

BUFFER_BYTES = 256 << 10
SPARE_BUFFERS = 32
HEAD_BYTES = 32 << 10
_LINE_BYTES = 1 << 10
_STATUS = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: ([^\r\n]*))?")
_SIZE = re.compile(rb"[0-9a-fA-F]{1,12}")


class Buffers:
    """Receive buffers that connections take for the time of one answer."""

    def __init__(self) -> None:
        self._spare: list[bytearray] = []

    def take(self) -> bytearray:
        """A buffer of BUFFER_BYTES with anything in it."""
        return self._spare.pop() if self._spare else bytearray(BUFFER_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        """Keep it for the next answer, unless it was made for a larger page or enough are kept."""
        if len(buffer) == BUFFER_BYTES and len(self._spare) < SPARE_BUFFERS:
            self._spare.append(buffer)


class Connection(asyncio.BufferedProtocol):
    """Asks one question at a time. `usable` turns false when the other side ends it or an answer was wrong.

    answers: how many whole answers came so far.
    """

    def __init__(self, buffers: Buffers) -> None:
        self.answers = 0
        self._buffers = buffers
        self._buffer = bytearray(0)
        self._filled = 0
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._limit = 0
        self._reset()

    def _reset(self) -> None:
        self._head: tuple[int, str, dict[str, str]] | None = None
        self._begin = 0
        self._length: int | None = None
        self._chunks: list[bytes] | None = None
        self._size = 0
        self._left = 0
        self._after_chunk = False
        self._trailing = False

    @property
    def usable(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing() and self._waiting is None

    def ask(self, request: bytes, limit: int) -> asyncio.Future[Answer]:
        """Send a request; the answer's body may have `limit` bytes.

        The future raises Unanswered, NotHttp, BrokenOff or TooLarge. Whoever no longer waits for it calls `close`.
        """
        assert self._transport is not None
        assert self._waiting is None
        self._limit = limit
        self._buffer, self._filled = self._buffers.take(), 0
        self._reset()
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._waiting

    def close(self) -> None:
        """End the connection, an answer under way included."""
        self._fail(BrokenOff())

    # --- what asyncio calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._waiting is None:
            # Nobody asked; what comes now, if not the end, is the end of our trust.
            return memoryview(bytearray(1))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._waiting is None:
            self._fail(Unanswered())
            return
        self._filled += nbytes
        try:
            self._advance()
        except (NotHttp, TooLarge) as why:
            self._fail(why)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiting is None:
            return
        if self._head is None:
            begun = bytes(self._buffer[: min(self._filled, 8)])
            odd = begun and not b"HTTP/1.1".startswith(begun) and not begun.startswith(b"HTTP/1.")
            self._fail(NotHttp(_unlike(begun)) if odd else Unanswered())
        elif error is None and self._length is None and self._chunks is None:
            self._finish(bytes(memoryview(self._buffer)[self._begin : self._filled]), framed=False)
        else:
            self._fail(BrokenOff())

    # --- how an answer grows ------------------------------------------------------------------------------------

    def _advance(self) -> None:
        if self._head is None and not self._read_head():
            return
        if self._chunks is not None:
            self._read_chunks(self._chunks)
        elif self._length is None:
            self._grow_without_end()
        elif self._filled >= self._begin + self._length:
            end = self._begin + self._length
            surplus = self._filled > end
            self._finish(bytes(memoryview(self._buffer)[self._begin : end]), framed=True)
            if surplus:
                self.close()

    def _read_head(self) -> bool:
        """Whether the head is complete. A status other than 200 ends the answer here: its page is not wanted."""
        while True:
            end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
            found = _STATUS.match(self._buffer, 0, self._filled)
            if end < 0:
                if (self._filled > 12 and found is None) or self._filled > HEAD_BYTES:
                    raise NotHttp(_unlike(bytes(self._buffer[:40])))
                return False
            if found is None:
                raise NotHttp(_unlike(bytes(self._buffer[:40])))
            if not found.group(2).startswith(b"1"):
                break
            # 100 and its like announce the answer proper.
            rest = self._buffer[end + 4 : self._filled]
            self._buffer[: len(rest)], self._filled = rest, len(rest)
        headers = _headers(bytes(self._buffer[found.end() : end]))
        status = int(found.group(2))
        self._head = (status, (found.group(3) or b"").decode("latin-1").strip(), headers)
        self._begin = end + 4
        minor, connection = found.group(1), headers.get("connection", "").lower()
        self._keep = "close" not in connection and (minor == b"1" or "keep-alive" in connection)
        if status != 200:
            self._keep = False
            self._finish(b"", framed=True)
            return False
        self._frame(headers)
        return True

    def _frame(self, headers: Mapping[str, str]) -> None:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            self._chunks = []
            self._consume(self._begin)
            return
        text = headers.get("content-length")
        if text is None:
            self._keep = False
            return
        if not (text.isascii() and text.isdigit()):
            raise NotHttp(f"its length is {text[:40]!r}")
        self._length = int(text)
        if self._length > self._limit:
            raise TooLarge
        if self._begin + self._length > len(self._buffer):
            self._enlarge(self._begin + self._length)

    def _grow_without_end(self) -> None:
        if self._filled - self._begin > self._limit:
            raise TooLarge
        if self._filled == len(self._buffer):
            self._enlarge(2 * len(self._buffer))

    def _read_chunks(self, chunks: list[bytes]) -> None:
        at = 0
        while True:
            if self._left:
                piece = bytes(memoryview(self._buffer)[at : min(at + self._left, self._filled)])
                chunks.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if self._left:
                    break
                self._after_chunk = True
            end = self._buffer.find(b"\r\n", at, self._filled)
            if end < 0:
                if self._filled - at > _LINE_BYTES:
                    raise NotHttp("a chunk has no size")
                break
            line, at = bytes(self._buffer[at:end]), end + 2
            if self._trailing:
                if not line:
                    self._finish(b"".join(chunks), framed=True)
                    return
            elif self._after_chunk:
                if line:
                    raise NotHttp("a chunk is longer than it says")
                self._after_chunk = False
            else:
                self._begin_chunk(line)
        self._consume(at)

    def _begin_chunk(self, line: bytes) -> None:
        size = line.partition(b";")[0].strip()
        if _SIZE.fullmatch(size) is None:
            raise NotHttp(f"a chunk has the size {size[:40].decode('latin-1')!r}")
        self._left = int(size, 16)
        self._size += self._left
        self._trailing = self._left == 0
        if self._size > self._limit:
            raise TooLarge

    def _consume(self, count: int) -> None:
        """Drop the first bytes of the buffer."""
        rest = self._buffer[count : self._filled]
        self._buffer[: len(rest)], self._filled = rest, len(rest)

    def _enlarge(self, size: int) -> None:
        larger = bytearray(size)
        larger[: self._filled] = memoryview(self._buffer)[: self._filled]
        self._buffers.give_back(self._buffer)
        self._buffer = larger

    # --- how it ends --------------------------------------------------------------------------------------------

    def _finish(self, body: bytes, framed: bool) -> None:
        assert self._head is not None
        self.answers += 1
        waiting = self._let_go()
        if waiting is not None and not waiting.done():
            waiting.set_result(Answer(*self._head, body, framed))
        if not self._keep and self._transport is not None:
            self._transport.close()

    def _fail(self, why: Exception) -> None:
        waiting = self._let_go()
        if waiting is not None and not waiting.done():
            waiting.set_exception(why)
        if self._transport is not None:
            self._transport.abort()

    def _let_go(self) -> asyncio.Future[Answer] | None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._buffers.give_back(self._buffer)
            self._buffer = bytearray(0)
        return waiting


def _headers(text: bytes) -> dict[str, str]:
    """Header lines; of a name that occurs twice the last one counts. Raises NotHttp for a line without a name, and for
    two lengths: which of them cuts the page off is anybody's guess."""
    found: dict[str, str] = {}
    for line in text.decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            key, value = name.strip().lower(), value.strip()
            if key == "content-length" and found.get(key, value) != value:
                raise NotHttp(f"it has two lengths, {found[key][:40]} and {value[:40]}")
            found[key] = value
        elif line.strip():
            raise NotHttp(f"it has the header {line[:40]!r}")
    return found


def _unlike(begun: bytes) -> str:
    return f"it begins with {begun[:40].decode('latin-1')!r}"
