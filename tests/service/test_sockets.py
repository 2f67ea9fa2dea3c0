"""The transport against peers that misbehave, over real sockets: nothing raises, nothing hangs."""

import asyncio
import contextlib
import gzip
import random
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from bulksubmit.core.model import Answered, Lost, Reply
from bulksubmit.emulator.tls import make_tls
from bulksubmit.errors import ServiceRefused
from bulksubmit.service import operations
from bulksubmit.service.replies import Unavailable
from tests.service.helpers import (
    Events,
    Peer,
    answering,
    free_port,
    http,
    make_attempt,
    make_transport,
    read_request,
    results_body,
    serving,
)

RESULTS = results_body("t0")
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nrequest-id: r-1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


async def reply_of(peer: Peer, *, server_timeout_s: int = 30) -> Reply:
    async with (
        serving(peer) as endpoint,
        make_transport(endpoint, server_timeout_s=server_timeout_s) as transport,
    ):
        return await transport.add(make_attempt())


async def lost(peer: Peer, **options: int) -> Lost:
    reply = await reply_of(peer, **options)
    assert isinstance(reply, Lost)
    return reply


# --- What works ---------------------------------------------------------------------------------


async def test_streamed_answer_is_read() -> None:
    """
    The service streams its 200 in chunks; they make one answer.
    """
    middle = len(RESULTS) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (RESULTS[:middle], RESULTS[middle:]))

    reply = await reply_of(answering(CHUNKED + chunks + b"0\r\n\r\n"))

    assert isinstance(reply, Answered)
    assert [result.task_id for result in reply.results] == ["t0"]
    assert reply.request_id == "r-1"


async def test_gzipped_answer_is_read() -> None:
    """
    A gateway may compress, as we offer it.
    """
    packed = http(gzip.compress(RESULTS), headers={"Content-Encoding": "gzip"})

    assert isinstance(await reply_of(answering(packed)), Answered)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(RESULTS),
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + http(RESULTS),
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + RESULTS,
        b"HTTP/1.0 200 OK\r\n\r\n" + RESULTS,
        CHUNKED + b"%x;a=b\r\n%s\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(RESULTS), RESULTS),
    ],
    ids=["continue", "hints", "until it closes", "1.0", "trailer"],
)
async def test_odd_but_good_answers_are_read(raw: bytes) -> None:
    """
    HTTP has more than one way to send an answer.
    """
    assert isinstance(await reply_of(answering(raw)), Answered)


async def test_request_on_the_wire() -> None:
    """
    The request has its line, and each header of the protocol once.
    """
    seen: list[bytes] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(http(RESULTS))

    async with serving(peer) as endpoint, make_transport(endpoint, job_id="a/b") as transport:
        await transport.add(make_attempt())

    line, *fields = seen[0].decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    path = "/jobs/a%2Fb/addtaskcollection?api-version=2024-07-01.20.0&timeout=30"
    assert line == f"POST {path} HTTP/1.1"
    headers = dict(field.lower().split(": ", 1) for field in fields)
    assert headers["host"] == endpoint.removeprefix("http://")
    assert sorted(field.split(":")[0].lower() for field in fields) == [
        "accept",
        "accept-encoding",
        "authorization",
        "client-request-id",
        "content-length",
        "content-type",
        "host",
        "ocp-date",
        "return-client-request-id",
        "user-agent",
    ]


async def test_connection_is_kept() -> None:
    """
    Attempts one after the other share a connection.
    """
    connections = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await read_request(reader)
            writer.write(http(RESULTS))

    async with serving(peer) as endpoint, make_transport(endpoint) as transport:
        for number in range(1, 4):
            assert isinstance(await transport.add(make_attempt(number=number)), Answered)

    assert connections == 1


async def test_large_body_arrives_whole() -> None:
    """
    A body that aiohttp would rather have streamed arrives with its length and all its bytes.
    """
    lengths: list[int] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lengths.append(len((await read_request(reader))[2]))
        writer.write(http(RESULTS))

    attempt = make_attempt(100_000)
    async with serving(peer) as endpoint, make_transport(endpoint) as transport:
        assert isinstance(await transport.add(attempt), Answered)

    assert lengths == [len(b'{"value":[]}') + sum(len(t.body) + 1 for t in attempt.tasks) - 1]


async def test_cookies_and_redirects_are_ignored() -> None:
    """
    A cookie is not sent back, and a redirect is not followed: we talk to the service alone.
    """
    seen: list[dict[str, str]] = []

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append((await read_request(reader))[1])
            location = {"Location": "/elsewhere", "Set-Cookie": "a=b"}
            writer.write(http(b"", "302 Found", location))

    async with serving(peer) as endpoint, make_transport(endpoint) as transport:
        for number in (1, 2):
            reply = await transport.add(make_attempt(number=number))
            assert reply == Lost("HTTP 302, a redirect to /elsewhere", sent=True)

    assert len(seen) == 2
    assert "cookie" not in seen[1]


# --- What does not ------------------------------------------------------------------------------


async def test_refused_connection_was_not_sent() -> None:
    """
    Where nobody listens, nothing was sent.
    """
    async with make_transport(f"http://127.0.0.1:{free_port()}") as transport:
        reply = await transport.add(make_attempt())
        job = await transport.get_job()

    assert isinstance(reply, Lost)
    assert not reply.sent
    assert isinstance(job, Unavailable)
    assert not job.answered
    assert not job.name_unknown


async def test_unknown_name_was_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name that does not resolve is told apart, and the name is in the reason.
    """

    async def resolve(*_: object, **__: object) -> list[object]:
        raise OSError(socket.EAI_NONAME, "Name or service not known")

    for variable in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(variable, raising=False)

    def look_up(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(aiohttp.resolver.DefaultResolver, "resolve", resolve)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with make_transport("https://myacount.westeurope.batch.azure.com") as transport:
        job = await transport.get_job()
        reply = await transport.add(make_attempt())

    assert isinstance(job, Unavailable)
    assert job.name_unknown
    assert "myacount.westeurope.batch.azure.com does not resolve" in job.reason
    assert isinstance(reply, Lost)
    assert not reply.sent


async def test_drop_before_reading_may_have_been_sent() -> None:
    """
    A peer that hangs up at once may have read some of it.
    """

    async def peer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    assert (await lost(peer)).sent


async def test_reset_may_have_been_sent() -> None:
    """
    A connection that is reset in the middle of the request is lost, and in doubt.
    """

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    assert (await lost(peer)).sent


async def test_drop_after_reading_is_in_doubt() -> None:
    """
    A peer that took all of it and hangs up may have added every task.
    """
    assert (await lost(answering(b""))).sent


@pytest.mark.parametrize(
    "raw",
    [
        http(RESULTS)[:-1],
        http(RESULTS)[:20],
        CHUNKED + b"%x\r\n%s\r\n" % (len(RESULTS), RESULTS),
        CHUNKED + b"%x\r\n%s" % (len(RESULTS), RESULTS[:-5]),
        CHUNKED + b"zz\r\n" + RESULTS,
        CHUNKED,
    ],
)
async def test_drop_in_mid_answer_is_in_doubt(raw: bytes) -> None:
    """
    An answer that does not come to its end is no answer, even if what came could be read.
    """
    assert (await lost(answering(raw))).sent


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\r\n\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: no name\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\0" * 1000,
    ],
)
async def test_garbage_is_in_doubt(raw: bytes) -> None:
    """
    What is not HTTP is no 400 of the service, though aiohttp reports it as one.
    """
    assert (await lost(answering(raw))).sent


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    "body",
    [RESULTS, gzip.compress(RESULTS)[:-12], b"\x1f\x8b" + b"\0" * 50],
    ids=["unpacked", "cut off", "zeros"],
)
async def test_broken_compression_is_in_doubt(encoding: str, body: bytes) -> None:
    """
    What cannot be unpacked, or is cut off before it was packed up, is lost.
    """
    assert (await lost(answering(http(body, headers={"Content-Encoding": encoding})))).sent


async def test_endless_answer_is_cut_off() -> None:
    """
    A body beyond 16 MiB is not read on: no memory is spent on it.
    """
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    written = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(CHUNKED)
        while written < 200:
            writer.write(chunk)
            await writer.drain()
            written += 1

    reply = await lost(peer)

    assert reply.sent
    assert "longer than" in reply.reason
    assert written < 100


async def test_compressed_bomb_is_cut_off() -> None:
    """
    The bound holds for what a body unpacks to.
    """
    bomb = gzip.compress(b" " * (20 * 2**20))

    reply = await lost(answering(http(bomb, headers={"Content-Encoding": "gzip"})))

    assert "longer than" in reply.reason


async def test_silence_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A peer that never answers is given up on, and may have added every task.
    """

    async def peer(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(operations, "CLIENT_MARGIN_S", 0.05)

    assert await lost(peer, server_timeout_s=0) == Lost(
        "no answer in time", sent=True, by_load=True
    )


async def test_any_bytes_are_a_reply() -> None:
    """
    Whatever a peer sends back, cut and mixed from valid answers, ends as a reply or as a
    refusal of the service; nothing else is raised, and each request is reported once.
    """
    rng = random.Random(20250101)
    valid = [
        http(RESULTS),
        CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(RESULTS), RESULTS),
        http(gzip.compress(RESULTS), headers={"Content-Encoding": "gzip"}),
        http(b"", "503 Busy", {"Retry-After": "1"}),
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(RESULTS),
    ]

    def mutated() -> bytes:
        raw = bytearray(rng.choice(valid))
        for _ in range(rng.randint(0, 6)):
            start = rng.randrange(len(raw) + 1)
            raw[start : start + rng.randint(0, 6)] = rng.randbytes(rng.randint(0, 6))
        return bytes(raw)

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(mutated())

    events = Events()
    async with serving(peer) as endpoint, make_transport(endpoint, observer=events) as transport:
        for number in range(1, 401):
            with contextlib.suppress(ServiceRefused):
                reply = await transport.add(make_attempt(number=number))
                assert not isinstance(reply, Lost) or reply.sent

    assert [event.attempt for event in events.requests] == list(range(1, 401))


# --- TLS ----------------------------------------------------------------------------------------


async def test_certificate_that_nobody_knows_was_not_sent(tmp_path: Path) -> None:
    """
    A certificate of our own making is not trusted: no byte of the request left, and the
    reason says what to do if a proxy breaks TLS open.
    """
    context = make_tls(tmp_path, now_s=time.time()).context
    server = await asyncio.start_server(lambda _, w: w.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with make_transport(f"https://127.0.0.1:{port}") as transport:
            reply = await transport.add(make_attempt())

    assert isinstance(reply, Lost)
    assert not reply.sent
    assert "SSL_CERT_FILE" in reply.reason
