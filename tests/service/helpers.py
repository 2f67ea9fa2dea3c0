"""What the tests of the service room share: attempts, answers, and peers that misbehave."""

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import Mock

from aiohttp import ClientResponse
from multidict import CIMultiDict

from bulksubmit.core.events import Event, RequestEnded
from bulksubmit.core.model import Attempt, Task
from bulksubmit.service.auth import SharedKey
from bulksubmit.service.replies import Answer
from bulksubmit.service.transport import Credential, Transport

KEY = base64.b64encode(b"not a secret, but a key").decode()
JSON = "application/json; odata=minimalmetadata"
NOW_S = 1_735_689_600.0  # Wed, 01 Jan 2025 00:00:00 GMT


def make_attempt(count: int = 1, *, number: int = 1, resent: int = 0) -> Attempt:
    tasks = tuple(
        Task(i, i + 1, f"t{i}", b'{"id":"t%d","commandLine":"true"}' % i) for i in range(count)
    )
    return Attempt(number, f"00000000-0000-0000-0000-{number:012d}", tasks, resent)


def results_body(*task_ids: str) -> bytes:
    results = [{"status": "Success", "taskId": task_id} for task_id in task_ids]
    return json.dumps({"odata.metadata": "x", "value": results}).encode()


def error_body(code: str, message: str = "It did not work.", **values: str) -> bytes:
    error: dict[str, Any] = {
        "odata.metadata": "x",
        "code": code,
        "message": {
            "lang": "en-US",
            "value": f"{message}\nRequestId:3f1c\nTime:2025-01-01T00:00:00.0000000Z",
        },
    }
    if values:
        error["values"] = [{"key": key, "value": value} for key, value in values.items()]
    return json.dumps(error).encode()


def make_answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, CIMultiDict({"Content-Type": JSON} | dict(headers or {})), body, NOW_S)


class Events(list[Event]):
    """An observer that keeps what it is told."""

    def __call__(self, event: Event, /) -> None:
        self.append(event)

    @property
    def requests(self) -> list[RequestEnded]:
        return [event for event in self if isinstance(event, RequestEnded)]


def make_transport(
    endpoint: str,
    *,
    credential: Credential | None = None,
    observer: Events | None = None,
    server_timeout_s: int = 30,
    job_id: str = "job-1",
) -> Transport:
    return Transport(
        endpoint,
        job_id,
        credential or SharedKey("myaccount", KEY),
        server_timeout_s=server_timeout_s,
        observer=observer if observer is not None else Events(),
    )


class MockedResponse(ClientResponse):
    """aioresponses 0.7.9 does not know an argument that aiohttp 3.14 demands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(), **kwargs)


# --- Peers: real sockets, for what no mock can do -----------------------------------------------

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A loopback endpoint at which each connection meets the peer, and is dropped after it."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await peer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # The client went first.
        finally:
            writer.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """One request: its line, its headers with names in lower case, its body."""
    line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    pairs = (field.split(": ", 1) for field in fields)
    headers = {name.lower(): value for name, value in pairs}
    return line, headers, await reader.readexactly(int(headers.get("content-length", "0")))


def answering(raw: bytes) -> Peer:
    """A peer that reads one request and answers with these bytes."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(raw)
        await writer.drain()

    return peer


def http(body: bytes, status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """A whole HTTP answer."""
    fields = {"Content-Type": JSON, "Content-Length": str(len(body))} | dict(headers or {})
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
