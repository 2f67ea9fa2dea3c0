"""HTTP by a client of our own, on llhttp: as much of HTTP/1.1 as one service needs, and no more.

A connection carries one request at a time. Whatever is odd in an answer ends the connection and
leaves the request in doubt: nothing is guessed, so that no answer is taken for another's.
"""

import asyncio
import socket
import ssl
import time
import zlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Self, cast

from aiohappyeyeballs import start_connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from multidict import CIMultiDict
from yarl import URL

from bulksubmit.errors import SettingsError
from bulksubmit.service.endpoint import CONNECT_TIMEOUT_S, proxy_for
from bulksubmit.service.replies import ANSWER_BYTES_MAX as BYTES_MAX
from bulksubmit.service.replies import Answer, Unavailable, failed, insecure, nameless

HEAD_BYTES_MAX = 64 * 1024  # The service's is below 1 kB; gateways send some more.
KEPT_S = 15.0  # As aiohttp: a connection that lay idle for longer is not used again.
_NEXT_ADDRESS_S = 0.25  # RFC 8305, section 8: so long is an address waited for on its own.


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
        self._tls: dict[str, Any] = {}
        self._open: set[_Connection] = set()
        # And since when, by the loop's clock; the one that was used last is used next.
        self._idle: list[tuple[_Connection, float]] = []

    async def __aenter__(self) -> Self:
        if self._url.scheme == "https":
            self._tls = {"ssl": ssl.create_default_context(), "server_hostname": self._url.host}
            self._tls["ssl"].set_alpn_protocols(["http/1.1"])
        return self

    async def __aexit__(self, *_: object) -> None:
        if lost := [connection.abort() for connection in tuple(self._open)]:
            await asyncio.wait(lost)

    async def exchange(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes, *, timeout_s: float
    ) -> Answer | Unavailable:
        """See Http."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + timeout_s
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        host = self._url.host_port_subcomponent
        head = f"{method} {url.raw_path_qs} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n"
        assert head.count("\n") == head.count("\r") == len(headers) + 3, "a value has one line"
        connection = self._kept() or await self._connected()
        if isinstance(connection, Unavailable):
            return connection
        try:
            return await connection.exchange(head.encode(), body, ends_s=ends_s)
        finally:
            if connection.usable:
                self._idle.append((connection, loop.time()))

    def _kept(self) -> "_Connection | None":
        """A connection that is open and idle, if there is one."""
        stale_s = asyncio.get_running_loop().time() - KEPT_S
        while self._idle:
            connection, since_s = self._idle.pop()
            if connection.usable and since_s > stale_s:
                return connection
            connection.abort()
        return None

    async def _connected(self) -> "_Connection | Unavailable":
        """A new connection: until it stands, nothing of a request is sent."""
        loop, host = asyncio.get_running_loop(), self._url.host or ""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                found = await loop.getaddrinfo(host, self._url.port, type=socket.SOCK_STREAM)
                sock = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S)
                _, connection = await loop.create_connection(
                    lambda: _Connection(self._open), sock=sock, **self._tls
                )
        except socket.gaierror:
            return nameless(host)
        except ssl.SSLError as error:
            return insecure(error)
        except TimeoutError:
            return Unavailable(f"no connection within {CONNECT_TIMEOUT_S:g} s", sent=False)
        except OSError as error:
            return failed(error, sent=False)
        if not connection.usable:
            return Unavailable("the connection was closed before anything was sent", sent=False)
        self._open.add(connection)  # Not before: uvloop closes one that was given up silently.
        return connection


class _Connection(asyncio.Protocol):
    """One connection.

    Attributes:
        usable: Whether a request can be sent: it is open, and the last answer was read to its end.
    """

    _transport: asyncio.Transport
    _waiting: asyncio.Future[Answer | Unavailable] | None = None

    def __init__(self, among: "set[_Connection]") -> None:
        self._loop, self._among, self.usable = asyncio.get_running_loop(), among, False
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._reading = _Reading()

    async def exchange(self, head: bytes, body: bytes, *, ends_s: float) -> Answer | Unavailable:
        """Send a request, and wait for its answer until the loop's clock shows ``ends_s``."""
        self.usable = False
        answer: asyncio.Future[Answer | Unavailable] = self._loop.create_future()
        self._waiting = answer
        silence = Unavailable("no answer in time", sent=True, timed_out=True)
        timer = self._loop.call_at(ends_s, self._end, silence)
        self._transport.writelines((head, body) if body else (head,))
        try:
            return await answer
        finally:
            timer.cancel()
            if not self.usable:  # Given up on in its midst, by whomever.
                self.abort()

    def abort(self) -> asyncio.Future[None]:
        """Close at once; the future is done when it is closed."""
        self.usable, self._waiting = False, None
        self._transport.abort()
        return self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base.
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.abort()  # Nobody asked: it would be taken for the next answer.
        elif answer := self._reading.feed(data):
            # An answer that came early leaves some of its request unsent.
            unsent = self._transport.get_write_buffer_size()
            self.usable = isinstance(answer, Answer) and self._reading.kept and not unsent
            self._end(answer)

    def eof_received(self) -> None:
        self.usable = False
        self._end(self._reading.closed())

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        self._end(failed(exc or ConnectionError("the connection was closed"), sent=True))
        self._among.discard(self)
        self._lost.set_result(None)

    def _end(self, answer: Answer | Unavailable) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():  # It is, if it was cancelled just now.
            waiting.set_result(answer)


class _Reading:
    """The answers on a connection, one after the other, as llhttp tells them.

    It is strict: what RFC 9112 lets a client put up with (two lengths, a length beside chunks,
    lines that are folded or end with LF alone) is an error.

    Attributes:
        kept: Whether another answer may follow.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        self.kept, self._whole = True, False
        self._headers: CIMultiDict[str] | None = None  # Of the answer that is under way.
        self.on_message_begin()

    def feed(self, data: bytes) -> Answer | Unavailable | None:
        """Take in what has come; None if that is not the whole of an answer."""
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self.kept = False
            if not self._whole:  # What comes after the last answer does not matter.
                return _odd(f"it is no HTTP/1.1: {type(error).__name__}: {error}")
        self._bytes += len(data)
        if self._bytes > (bytes_max := HEAD_BYTES_MAX if self._headers is None else BYTES_MAX):
            return _odd(f"it, or its head, is longer than {bytes_max} bytes")
        return self._answer() if self._whole else None

    def closed(self) -> Answer | Unavailable:
        """No more will come: the end of an answer that says neither its length nor its end."""
        headers = self._headers
        if headers is None or "Content-Length" in headers or "Transfer-Encoding" in headers:
            return _odd("the connection was closed before its end")
        return self._answer()

    def _answer(self) -> Answer | Unavailable:
        headers, self._headers, self._whole = self._headers, None, False
        body = b"".join(self._parts)
        assert headers is not None, "they come before the end"
        if body and headers.get("Content-Encoding", "").lower() in ("gzip", "deflate"):
            unpacking = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)  # Either, by its beginning.
            try:
                body = unpacking.decompress(body, BYTES_MAX)
            except zlib.error as error:
                return _odd(f"it cannot be unpacked: {error}")
            if not unpacking.eof:
                return _odd(f"it is longer than {BYTES_MAX} bytes unpacked, or cut off")
        return Answer(self._status, headers, body, time.time())

    def on_message_begin(self) -> None:
        if self._whole:
            raise ValueError("more came than was asked for")  # To feed(), as HttpParserError.
        self._bytes, self._parts, self._fields = 0, list[bytes](), list[tuple[str, str]]()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status >= HTTPStatus.OK:  # Not 100 Continue: the answer is still to come.
            self._headers = CIMultiDict(self._fields)

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)

    def on_message_complete(self) -> None:
        self._whole, self.kept = self._headers is not None, self._parser.should_keep_alive()


def _odd(what: str) -> Unavailable:
    return Unavailable(f"the answer is not understood: {what}", sent=True)
