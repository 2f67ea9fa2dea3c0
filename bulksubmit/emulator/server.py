"""The service over real HTTP: a thin shell of aiohttp.

It is lean on purpose, no routes and no middleware: in benchmarks it stands beside the client on a
small machine.
"""

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from bulksubmit.emulator import page
from bulksubmit.emulator.exchange import Answer, Door, Plan
from bulksubmit.emulator.record import Record
from bulksubmit.emulator.service import Service

_BODY_BYTES_MAX = 64 * 1024 * 1024  # What is read at all; the service's own limit is far below.
_CHUNK_BYTES = 16 * 1024  # A 200 of 100 results goes out in two chunks.
_LINE_BYTES_MAX = 16 * 1024  # The default of http.sys, which the service stands behind.
_SHUTDOWN_S = 0.05  # For requests that are being answered; 0 would mean for ever.


class Server:
    """A service that listens.

    Attributes:
        endpoint: Its URL, without a slash at its end.
        service: What it serves.
    """

    def __init__(
        self, service: Service, clock: Callable[[], float], doors: Mapping[str, Door]
    ) -> None:
        self.service = service
        self.endpoint = ""
        self._clock = clock
        self._doors = [(re.compile(start), door) for start, door in doors.items()]
        self._late: set[asyncio.TimerHandle] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Go through one request, in the order that ``exchange`` gives."""
        for start, door in self._doors:
            if start.match(request.raw_path):
                return await self._enter(door, request)
        record = self.service.record
        record.enter()
        try:
            return await self._handle(request)
        finally:
            record.leave()

    def close(self) -> None:
        """Forget what was to be processed late."""
        for handle in self._late:
            handle.cancel()

    async def _enter(self, door: Door, request: web.BaseRequest) -> web.StreamResponse:
        body = await _read(request, None)
        if body is None:
            return _hang_up(request)
        now_s = self._clock()
        answer = door(request.method, request.raw_path, _headers(request), body, now_s=now_s)
        return await _send(request, answer)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = _headers(request)
        plan = self.service.plan(request.method, request.raw_path, headers, now_s=self._clock())
        body = await _read(request, plan.read_bytes)
        if body is None or plan.read_bytes is not None:
            return _hang_up(request)
        plan = self.service.schedule(plan, body, now_s=self._clock())
        if plan.hang_up:
            self._process_late(plan, body)
            return _hang_up(request)
        if plan.process_after_s:
            await asyncio.sleep(plan.process_after_s)
        answer = self.service.answer(plan, body, now_s=self._clock())
        if plan.answer_after_s:
            await asyncio.sleep(plan.answer_after_s)
        return _hang_up(request) if answer is None else await _send(request, answer)

    def _process_late(self, plan: Plan, body: bytes) -> None:
        def process() -> None:
            self._late.discard(handle)
            self.service.answer(plan, body, now_s=self._clock())

        handle = asyncio.get_running_loop().call_later(plan.process_after_s, process)
        self._late.add(handle)


@asynccontextmanager
async def serve(
    service: Service,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float] = time.time,
    doors: Mapping[str, Door] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """Listen, for as long as the context is open.

    Args:
        service: What to serve.
        host: The address to listen at.
        port: 0 for any free one; see the server's ``endpoint``.
        clock: POSIX time.
        doors: What else stands at this address, by a regular expression for the start of its
            paths; beside the page, which always does.
        ssl_context: For HTTPS; None for HTTP. The service's own ``scheme`` is to say the same.

    Raises:
        OSError: if the port is taken.
    """
    looked_at = page.Page(service, since_s=clock())
    server = Server(service, clock, {page.PATH: looked_at, **(doors or {})})
    web_server = _CountingServer(
        server.handle,
        access_log=None,
        auto_decompress=False,  # The body counts as it was received.
        max_line_size=_LINE_BYTES_MAX,
    )
    web_server.record = service.record
    runner = web.ServerRunner(web_server, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024, ssl_context=ssl_context).start()
        bound_host, bound_port = runner.addresses[0][:2]
        shown = f"[{bound_host}]" if ":" in bound_host else bound_host
        scheme = "http" if ssl_context is None else "https"
        server.endpoint = looked_at.endpoint = f"{scheme}://{shown}:{bound_port}"
        yield server
    finally:
        server.close()
        await runner.cleanup()


class _CountingServer(web.Server):
    record: Record

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        self.record.connections += 1
        super().connection_made(handler, transport)


def _headers(request: web.BaseRequest) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def _read(request: web.BaseRequest, read_bytes: int | None) -> bytes | None:
    """Read the body, or so many bytes of it; None if the client did not send it to its end."""
    # Without a length there is no body, or one that the service refuses unread.
    length = request.content_length or 0
    wanted = length if read_bytes is None else read_bytes
    if wanted == 0:
        return b""
    if wanted > _BODY_BYTES_MAX:
        return None
    try:
        return await request.content.readexactly(wanted)
    except (ConnectionError, asyncio.IncompleteReadError, web.RequestPayloadError):
        return None


class _Response(web.StreamResponse):
    """An answer with its own headers alone: aiohttp gives one without Content-Type some."""

    async def _prepare_headers(self) -> None:
        without = "Content-Type" not in self.headers
        await super()._prepare_headers()
        if without:
            self.headers.pop("Content-Type", None)


async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    response = _Response(status=answer.status, headers=answer.headers)
    if "Transfer-Encoding" in answer.headers:
        response.enable_chunked_encoding()
    body = answer.body if answer.cut_at is None else answer.body[: answer.cut_at]
    try:
        await response.prepare(request)
        last = max(0, len(body) - 1) // _CHUNK_BYTES * _CHUNK_BYTES
        for start in range(0, last, _CHUNK_BYTES):
            await response.write(body[start : start + _CHUNK_BYTES])
        if answer.cut_at is None:
            await response.write_eof(body[last:])  # The last chunk and the end in one piece.
        else:
            await response.write(body[last:])
    except ConnectionError:
        return response  # The client has gone.
    if answer.cut_at is not None and request.transport is not None:
        request.transport.close()  # Sends what was written, and no end of the body.
    return response


def _hang_up(request: web.BaseRequest) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # aiohttp wants one; it goes nowhere.
