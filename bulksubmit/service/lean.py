"""HTTP by a client of our own: as much of HTTP/1.1 (RFC 9112) as one service needs, and no more.

A connection carries one request at a time. Whatever is odd in an answer ends the connection and
leaves the request in doubt: nothing is guessed, so that no answer is taken for another's.
"""

import asyncio
import re
import socket
import ssl
import time
import zlib
from collections import deque
from collections.abc import Generator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Self, TypeAlias, cast

from aiohappyeyeballs import start_connection
from multidict import CIMultiDict
from yarl import URL

from bulksubmit.errors import SettingsError
from bulksubmit.service.endpoint import CONNECT_TIMEOUT_S, proxy_for
from bulksubmit.service.replies import (
    ANSWER_BYTES_MAX,
    Answer,
    Unavailable,
    insecure,
    nameless,
    one_line,
)

HEAD_BYTES_MAX = 32 * 1024  # The service's is below 1 kB; gateways send some more.
CHUNK_LINE_BYTES_MAX = 8 * 1024  # A size of eight digits, and extensions that nobody sends.
_KEPT_S = 15.0  # As aiohttp: a connection that lies idle for longer is closed at the next use.
_NEXT_ADDRESS_S = 0.25  # RFC 8305, section 8: so long is an address waited for on its own.

# RFC 9112, sections 4 and 5: lines end with CRLF, a name is a token, no line is folded.
_HEAD = re.compile(
    r"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n\0]*)?\r\n"
    r"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*\r\n)*)\r\n"
)
_FIELD = re.compile(r"([^:\r\n]+):([^\r\n]*)\r\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n\0]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")


class _OddError(Exception):
    """An answer that does not come to its end, or is not what we understand."""


_Wanting: TypeAlias = Generator[None, None, bytes]  # Goes on when more has come.


class Lean:
    """An Http on connections of our own."""

    def __init__(self, origin: str) -> None:
        """Prepare for one origin.

        Raises:
            SettingsError: if a proxy is set for it.
        """
        if proxy_for(origin) is not None:
            raise SettingsError(
                "transport is lean, which goes through no proxy, and HTTPS_PROXY sets one: "
                "use aiohttp, or name the endpoint's host in NO_PROXY"
            )
        self._url = URL(origin)
        self._tls: ssl.SSLContext | None = None
        self._open: set[_Connection] = set()
        self._idle: deque[_Connection] = deque()  # The one that was used last is used next.

    async def __aenter__(self) -> Self:
        if self._url.scheme == "https":
            self._tls = ssl.create_default_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lost = [connection.abort() for connection in self._open]
        if lost:
            await asyncio.wait(lost)

    async def exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes, *, timeout_s: float
    ) -> Answer | Unavailable:
        """See Http."""
        ends_s = asyncio.get_running_loop().time() + timeout_s
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        head = f"{method} {url.raw_path_qs} HTTP/1.1\r\nhost: {self._host}\r\n{fields}\r\n"
        assert head.count("\n") == head.count("\r") == len(headers) + 3, "no line breaks in a value"
        connection = self._kept() or await self._connected()
        if isinstance(connection, Unavailable):
            return connection
        answer = await connection.exchange(head.encode(), body, ends_s=ends_s)
        if connection.usable:
            self._idle.append(connection)
        return answer

    @property
    def _host(self) -> str:
        return self._url.host_port_subcomponent or ""

    def _kept(self) -> "_Connection | None":
        """A connection that is open and idle, if there is one."""
        stale_s = asyncio.get_running_loop().time() - _KEPT_S
        while self._idle and (not self._idle[0].usable or self._idle[0].used_s < stale_s):
            self._idle.popleft().abort()
        while self._idle:
            if (connection := self._idle.pop()).usable:
                return connection
        return None

    async def _connected(self) -> "_Connection | Unavailable":
        """A new connection: until it stands, nothing of a request is sent."""
        loop, host, port = asyncio.get_running_loop(), self._url.host or "", self._url.port
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                sock = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._open),
                    sock=sock,
                    ssl=self._tls,
                    server_hostname=host if self._tls else None,
                )
        except socket.gaierror:
            return nameless(host)
        except ssl.SSLError as error:
            return insecure(one_line(f"{type(error).__name__}: {error}"))
        except TimeoutError:
            return Unavailable(f"no connection within {CONNECT_TIMEOUT_S:g} s", sent=False)
        except OSError as error:
            return Unavailable(one_line(f"{type(error).__name__}: {error}"), sent=False)
        if not connection.usable:
            return Unavailable("the connection was closed before anything was sent", sent=False)
        return connection


class _Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        usable: Whether a request can be sent: it is open, and the last answer was read to its end.
        used_s: When its last answer came, by the loop's clock.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, among: "set[_Connection]") -> None:
        self.usable, self.used_s = False, loop.time()
        self._loop, self._among = loop, among
        self._lost: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport
        self._incoming = _Incoming()
        self._reading: Generator[None, None, Answer] | None = None
        self._answer: asyncio.Future[Answer | Unavailable]

    async def exchange(self, head: bytes, body: bytes, *, ends_s: float) -> Answer | Unavailable:
        """Send a request, and wait for its answer until the loop's clock shows ``ends_s``."""
        self.usable = False
        self._answer, self._reading = self._loop.create_future(), self._incoming.answer()
        timer = self._loop.call_at(ends_s, self._time_out)
        self._transport.writelines((head, body) if body else (head,))
        try:
            return await self._answer
        finally:
            timer.cancel()
            if not self.usable:
                self.abort()  # Given up on in its midst, by whomever.

    def abort(self) -> asyncio.Future[None]:
        """Close at once; the future is done when it is closed."""
        self.usable, self._reading = False, None
        self._transport.abort()
        return self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open, and TLS has its keys."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is of no such class.
        self.usable = True
        self._among.add(self)

    def data_received(self, data: bytes) -> None:
        """Some of an answer; whatever comes unasked would be taken for the next answer."""
        if self._reading is None:
            self.abort()
            return
        self._incoming.data += data
        self._read(self._reading)

    def eof_received(self) -> None:
        """The peer says no more; the loop closes the connection."""
        self.usable, self._incoming.ended = False, True
        if self._reading is not None:
            self._read(self._reading)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self.usable = False
        self._end(Unavailable(one_line(f"the connection was lost: {exc or 'closed'}"), sent=True))
        self._among.discard(self)
        self._lost.set_result(None)

    def _time_out(self) -> None:
        self._end(Unavailable("no answer in time", sent=True, timed_out=True))

    def _read(self, reading: Generator[None, None, Answer]) -> None:
        try:
            next(reading)
        except StopIteration as read:
            # Nothing may be left over, neither of the answer nor, if it came early, of the request.
            left = self._incoming.data or self._transport.get_write_buffer_size()
            self.usable, self.used_s = not (self._incoming.ended or left), self._loop.time()
            self._end(read.value)
        except _OddError as odd:
            self._end(Unavailable(one_line(str(odd)), sent=True))

    def _end(self, answer: Answer | Unavailable) -> None:
        if self._reading is not None:
            self._reading = None
            if not self._answer.done():  # It is, if it was cancelled just now.
                self._answer.set_result(answer)


class _Incoming:
    """What has come over a connection, and how to read an answer in it.

    Attributes:
        data: What is not read yet.
        ended: Whether no more will come, or none is wanted.
    """

    def __init__(self) -> None:
        self.data, self.ended = bytearray(), False

    def answer(self) -> Generator[None, None, Answer]:
        """Read one answer.

        Raises:
            _OddError: if it is none that we understand.
        """
        while True:
            head = (yield from self._until(b"\r\n\r\n", HEAD_BYTES_MAX)).decode("latin-1")
            found = _HEAD.fullmatch(head)
            if found is None or found[2] == "101":  # We asked for no other protocol.
                raise _OddError(f"what came is no answer in HTTP/1.1: {head[:100]!r}")
            if found[2] >= "200":
                break
        minor, status, fields = found[1], int(found[2]), _FIELD.findall(found[3])
        headers = CIMultiDict((name, value.strip(" \t")) for name, value in fields)
        body = yield from self._body(status, headers)
        if minor == "0" or "close" in headers.get("Connection", "").lower():
            self.ended = True
        return Answer(status, headers, _unpacked(body, headers), time.time())

    def _body(self, status: int, headers: CIMultiDict[str]) -> _Wanting:
        """RFC 9112, section 6.3; where it lets a client be lenient, this is an error."""
        codings = [value.lower() for value in headers.getall("Transfer-Encoding", ())]
        lengths = set(headers.getall("Content-Length", ()))
        if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            return b""
        if codings == ["chunked"] and not lengths:
            return (yield from self._chunks())
        if len(lengths) == 1 and not codings and _LENGTH.fullmatch(length := lengths.pop()):
            return (yield from self._exactly(_bounded(int(length))))
        if lengths or codings:
            raise _OddError(f"where the answer ends is not clear: {headers}")
        while not self.ended:
            _bounded(len(self.data))
            yield
        return self._take(_bounded(len(self.data)))

    def _chunks(self) -> _Wanting:
        """RFC 9112, section 7.1."""
        parts, size = [], 0
        while True:
            found = _CHUNK.fullmatch((yield from self._until(b"\r\n", CHUNK_LINE_BYTES_MAX)))
            if not found:
                raise _OddError("a chunk of the answer does not begin as one")
            if not (length := int(found[1], 16)):
                break
            size = _bounded(size + length)
            parts.append((yield from self._exactly(length)))
            if (yield from self._exactly(2)) != b"\r\n":
                raise _OddError("a chunk of the answer does not end as one")
        while (yield from self._until(b"\r\n", CHUNK_LINE_BYTES_MAX)) != b"\r\n":
            pass  # Trailers.
        return b"".join(parts)

    def _until(self, mark: bytes, bytes_max: int) -> _Wanting:
        while (start := self.data.find(mark, 0, bytes_max)) < 0:
            if len(self.data) >= bytes_max:
                raise _OddError(f"the head of the answer is longer than {bytes_max} bytes")
            yield from self._more()
        return self._take(start + len(mark))

    def _exactly(self, size: int) -> _Wanting:
        while len(self.data) < size:
            yield from self._more()
        return self._take(size)

    def _more(self) -> Generator[None]:
        if self.ended:
            raise _OddError("the connection was closed before the answer's end")
        yield

    def _take(self, size: int) -> bytes:
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken


def _bounded(size: int) -> int:
    if size > ANSWER_BYTES_MAX:
        raise _OddError(f"the answer is longer than {ANSWER_BYTES_MAX} bytes")
    return size


def _unpacked(body: bytes, headers: CIMultiDict[str]) -> bytes:
    """The body without its Content-Encoding."""
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding == "identity" or not body:
        return body
    if encoding not in ("gzip", "deflate"):
        raise _OddError(f"the answer has an encoding that was not offered: {encoding}")
    # Some send deflate as such, where RFC 9110, section 8.4.1.2, wants it inside of zlib.
    bare = encoding == "deflate" and body[0] & 0x0F != zlib.DEFLATED
    window = 31 if encoding == "gzip" else -zlib.MAX_WBITS if bare else zlib.MAX_WBITS
    unpacking = zlib.decompressobj(window)
    try:
        unpacked = unpacking.decompress(body, ANSWER_BYTES_MAX + 1)
    except zlib.error as error:
        raise _OddError(f"the answer cannot be unpacked: {error}") from error
    _bounded(len(unpacked))
    if not unpacking.eof or unpacking.unused_data:
        raise _OddError("the answer cannot be unpacked: it ends too early or too late")
    return unpacked
