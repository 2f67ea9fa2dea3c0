"""An HTTP session in process: what aiohttp would be asked, the emulator answers by any clock.

The production transport is whole above it: its headers, tokens, time-outs and words for failure.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import BytesIO
from types import TracebackType
from typing import Any, Self

import aiohttp
import anyio
from anyio.abc import TaskGroup
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from bulksubmit.emulator import Answer, Service
from bulksubmit.service.session import Session
from bulksubmit.service.transport import Transport

EPOCH_S = 1_735_689_600.0  # The first moment of 2025.
LATENCY_S = 0.02  # Each way.


def now_s() -> float:
    """The service's time, as POSIX time."""
    return EPOCH_S + anyio.current_time()


class InProcess(Transport):
    """The production transport, with a session of ours in place of aiohttp's."""

    def __init__(self, service: Service, world: TaskGroup, **options: Any) -> None:
        super().__init__("https://account.region.batch.azure.com", **options)
        self._http = _InProcess(_Session(service, world))


class _InProcess(Session):
    def __init__(self, ours: Any) -> None:
        super().__init__("https://account.region.batch.azure.com")
        self._ours = ours

    async def __aenter__(self) -> Self:
        self._session = self._ours
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._deadlines.close()
        self._session = None


class _Session:
    """As much of an aiohttp.ClientSession as the transport asks for."""

    def __init__(self, service: Service, world: TaskGroup) -> None:
        self._service, self._world = service, world

    @asynccontextmanager
    async def request(
        self,
        method: str,
        url: URL,
        *,
        data: bytes | BytesIO | None,
        headers: Mapping[str, str],
        **_: object,
    ) -> AsyncIterator["_Response"]:
        body = data.read() if isinstance(data, BytesIO) else data or b""
        sent = {**headers, "host": url.authority}
        exchange = _Exchange()
        await anyio.sleep(LATENCY_S)
        # What the service has received it processes, also when its client has given up.
        self._world.start_soon(self._serve, method, url.raw_path_qs, body, sent, exchange)
        await exchange.done.wait()
        await anyio.sleep(LATENCY_S)
        if exchange.answer is None:
            raise aiohttp.ServerDisconnectedError
        yield _Response(exchange.answer)

    async def _serve(
        self, method: str, target: str, body: bytes, headers: dict[str, str], exchange: "_Exchange"
    ) -> None:
        """The service's side; see ``bulksubmit.emulator.exchange`` for the order."""
        service = self._service
        plan = service.plan(method, target, headers, now_s=now_s())
        if plan.read_bytes is not None:
            exchange.done.set()
            return
        plan = service.schedule(plan, body, now_s=now_s())
        if plan.hang_up:
            exchange.done.set()
        if plan.process_after_s:
            await anyio.sleep(plan.process_after_s)
        answer = service.answer(plan, body, now_s=now_s())
        if plan.answer_after_s:
            await anyio.sleep(plan.answer_after_s)
        if not plan.hang_up:
            exchange.answer = answer
        exchange.done.set()


class _Exchange:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: Answer | None = None


class _Response:
    """As much of an aiohttp.ClientResponse as the transport reads; it is its own content."""

    def __init__(self, answer: Answer) -> None:
        self.status = answer.status
        self.headers = CIMultiDictProxy(CIMultiDict(answer.headers))
        self.content = self
        self._cut = answer.cut_at is not None
        self._parts = [answer.body[: answer.cut_at]]

    def at_eof(self) -> bool:
        return not self._parts and not self._cut

    async def readany(self) -> bytes:
        if self._parts:
            return self._parts.pop()
        if self._cut:
            raise aiohttp.ClientPayloadError("the answer ends in its middle")
        return b""
