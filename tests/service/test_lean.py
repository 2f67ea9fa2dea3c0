"""The lean HTTP client by itself: its connections, which it keeps, and which it does not."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import time
from typing import Any

import pytest
import uvloop
from yarl import URL

from bulksubmit.emulator.tls import make_tls
from bulksubmit.errors import SettingsError
from bulksubmit.service import lean, transport
from bulksubmit.service.auth import SharedKey
from bulksubmit.service.lean import Lean
from bulksubmit.service.replies import Answer, Unavailable
from tests.service.helpers import KEY, Events, Peer, http, read_request, serving

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
TURNS = 40  # More turns of the loop than a request on loopback takes.


def on(loop: Callable[[], asyncio.AbstractEventLoop], test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on a loop of this kind."""

    async def run() -> None:
        await test()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


async def ask(client: Lean, endpoint: str, body: bytes = b"") -> Answer | Unavailable:
    """One request."""
    length = {"content-length": str(len(body))} if body else {}
    method, url = "POST" if body else "GET", URL(f"{endpoint}/x?y=1")
    return await client.exchange(method, url, length, body, timeout_s=20.0)


class Saying:
    """A peer that answers each connection's requests with these bytes, one after the other.

    Attributes:
        connections: How many there were.
    """

    def __init__(self, *answers: bytes) -> None:
        self.connections = 0
        self._answers = answers

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for answer in self._answers:
            await read_request(reader)
            writer.write(answer)


async def bodies(peer: Peer, count: int) -> list[bytes | None]:
    """What so many requests, one after the other, are answered with; None for no answer."""
    async with serving(peer) as endpoint, Lean(endpoint) as client:
        answers = [await ask(client, endpoint) for _ in range(count)]
    return [answer.body if isinstance(answer, Answer) else None for answer in answers]


async def test_connection_closed_while_idle_is_not_used() -> None:
    """
    A connection that the service closed between two requests costs no request: there is another.
    """
    peer = Saying(http(b"1"))
    async with serving(peer) as endpoint, Lean(endpoint) as client:
        first = await ask(client, endpoint)
        await asyncio.wait([connection._lost for connection in client._open])  # noqa: SLF001
        second = await ask(client, endpoint)

    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert peer.connections == 2


@pytest.mark.parametrize("more", [http(b"2"), b"HTTP/1.1 2", b"\0"])
async def test_more_than_was_asked_for_is_nobodys_answer(more: bytes) -> None:
    """
    What comes after an answer is not taken for the next one: that connection is given up.
    """
    peer = Saying(http(b"1") + more, http(b"never"))

    assert await bodies(peer, 3) == [b"1"] * 3
    assert peer.connections == 3


async def test_answer_unasked_is_nobodys_answer() -> None:
    """
    Nor is what comes later, while nothing is asked.
    """
    over = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(http(b"1"))
        await over.wait()
        writer.write(http(b"unasked"))
        await reader.read()

    async with serving(peer) as endpoint, Lean(endpoint) as client:
        assert isinstance(await ask(client, endpoint), Answer)
        over.set()
        await asyncio.wait([connection._lost for connection in client._open])  # noqa: SLF001
        again = await ask(client, endpoint)

    assert isinstance(again, Answer)
    assert again.body == b"1"


async def test_silence_after_an_answer_without_a_body_is_no_answer() -> None:
    """
    A connection that is closed instead of a second answer does not give the first one again.
    """
    peer = Saying(b"HTTP/1.1 204 No Content\r\n\r\n", b"")

    assert await bodies(peer, 2) == [b"", None]


@pytest.mark.parametrize(
    "head", [b"HTTP/1.0 200 OK\r\nContent-Length: 1", b"HTTP/1.1 200 OK\r\nConnection: close"]
)
async def test_last_answer_of_a_connection(head: bytes) -> None:
    """
    An answer that says that it is the connection's last is followed by nothing.
    """
    peer = Saying(head + b"\r\n\r\n1")

    assert await bodies(peer, 2) == [b"1", b"1"]
    assert peer.connections == 2


async def test_early_answer_ends_the_connection() -> None:
    """
    An answer before the request was sent whole is taken, and the rest is not sent: what the
    service would take for a new request is the middle of an old one.
    """
    connections = 0

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(b"too large", "413 No"))
        await writer.drain()
        await asyncio.Event().wait()

    async with serving(peer) as endpoint, Lean(endpoint) as client:
        for _ in range(2):
            answer = await ask(client, endpoint, bytes(2**24))
            assert isinstance(answer, Answer)
            assert answer.status == 413

    assert connections == 2


async def test_as_many_connections_as_requests_at_once() -> None:
    """
    Requests share connections one after the other, never at once.
    """
    peer = Saying(*[http(b"1")] * 100)
    async with serving(peer) as endpoint, Lean(endpoint) as client:
        for _ in range(3):
            async with asyncio.TaskGroup() as group:
                asked = [group.create_task(ask(client, endpoint)) for _ in range(8)]
            assert all(isinstance(each.result(), Answer) for each in asked)

    assert peer.connections == 8


async def test_connection_that_lay_idle_for_long_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    The service closes idle connections when it likes: who sends at that moment is in doubt.
    """
    monkeypatch.setattr(lean, "KEPT_S", 0.0)
    peer = Saying(http(b"1"), http(b"2"))

    assert await bodies(peer, 2) == [b"1", b"1"]


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secure", [False, True])
def test_cancelled_anywhere(
    loop: Callable[[], Any],
    secure: bool,  # noqa: FBT001 - a parameter
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """
    A request may be cancelled at any turn of the loop: nothing is left open, nothing hangs, and
    the next one is answered.
    """
    tls = make_tls(tmp_path, now_s=time())
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_path))

    async def test() -> None:
        peer = Saying(*[http(b"1")] * 100)
        async with serving(peer, tls.context if secure else None) as endpoint:
            for turns in range(TURNS):
                async with Lean(endpoint) as client:
                    task = asyncio.ensure_future(ask(client, endpoint))
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    task.cancel()
                    await asyncio.wait([task])
                    assert isinstance(await ask(client, endpoint), Answer)
                assert not client._open  # noqa: SLF001 - that is the point

    on(loop, test)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_host_is_who_it_says(
    loop: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A certificate is good for the names in it, and for whoever trusts its issuer, only.
    """
    tls = make_tls(tmp_path, now_s=time())

    async def test() -> None:
        async with serving(Saying(http(b"1")), tls.context) as endpoint:
            elsewhere = endpoint.replace("127.0.0.1", "127.0.0.2")
            async with Lean(endpoint) as client:
                stranger = await ask(client, endpoint)
            monkeypatch.setenv("SSL_CERT_FILE", str(tls.ca_path))
            async with Lean(endpoint) as client:
                known = await ask(client, endpoint)
            async with Lean(elsewhere) as client:
                client._url = URL(endpoint)  # noqa: SLF001 - nobody listens at 127.0.0.2
                other = await ask(client, endpoint)

        assert isinstance(known, Answer)
        for refused, why in ((stranger, "verify failed"), (other, "not valid for '127.0.0.2'")):
            assert isinstance(refused, Unavailable)
            assert not refused.sent
            assert why in refused.reason

    on(loop, test)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connecting_takes_so_long_at_most(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where no connection comes about in time, or no keys are agreed on, nothing was sent.
    """

    async def never(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(lean, "CONNECT_TIMEOUT_S", 0.05)
    if scheme == "http":
        monkeypatch.setattr(lean, "start_connection", never)
    async with serving(silent) as open_endpoint:
        endpoint = open_endpoint.replace("http:", f"{scheme}:")
        async with Lean(endpoint) as client:
            answer = await ask(client, endpoint)

    assert answer == Unavailable("no connection within 0.05 s", sent=False)


def make(**options: Any) -> transport.Transport:
    """A transport by the lean client, to a real account's address."""
    endpoint, credential = "https://a.b.batch.azure.com", SharedKey("a", KEY)
    return transport.Transport(
        endpoint, "j", credential, server_timeout_s=1, observer=Events(), http="lean", **options
    )


def test_a_proxy_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    It does not go past a proxy that is set, and says what to do.
    """
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")

    with pytest.raises(SettingsError, match=r"through no proxy, and HTTPS_PROXY .*aiohttp"):
        make()
    monkeypatch.setenv("NO_PROXY", "b.batch.azure.com")
    make()


def test_its_parser_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Without the extra, it says what to install.
    """
    monkeypatch.delitem(sys.modules, "bulksubmit.service.lean")
    monkeypatch.setitem(sys.modules, "httptools", None)

    with pytest.raises(SettingsError, match=r"install bulksubmit\[lean\]"):
        make()
