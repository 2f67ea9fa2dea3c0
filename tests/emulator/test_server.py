"""The HTTP shell, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from io import BytesIO
from typing import Any

import aiohttp
import pytest

from bulksubmit.core.wire import WireError, decode_results
from bulksubmit.emulator import Fault, Faults, Service
from bulksubmit.emulator.server import Server, serve
from tests.emulator.calls import ADD, VERSION, answer_of, make_body, make_service

IDS = [f"t{place:02}" for place in range(100)]
BODY = make_body(*IDS)

JSON = {"Content-Type": "application/json"}


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[tuple[Server, aiohttp.ClientSession]]:
    async with (
        serve(service) as server,
        aiohttp.ClientSession(
            server.endpoint,
            timeout=aiohttp.ClientTimeout(10),
            headers=JSON,
        ) as http,
    ):
        yield server, http


async def post(
    http: aiohttp.ClientSession, body: Any = BODY
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with http.post(ADD, data=body) as response:
        return response, await response.read()


async def until(condition: Callable[[], object]) -> None:
    """Give way to the server until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  What the server has seen is data, no event.
            await asyncio.sleep(0)


async def test_a_collection_goes_through() -> None:
    """A 200 is chunked, has the recorded headers, and names the endpoint that was called."""
    service = make_service()
    async with serving(service) as (server, http):
        response, body = await post(http)

    assert response.headers["Transfer-Encoding"] == "chunked"
    assert response.headers["Server"] == "Microsoft-HTTPAPI/2.0"
    assert "Content-Length" not in response.headers
    assert {each.task_id for each in decode_results(body)} == set(IDS)
    assert server.endpoint.encode() in body


async def test_a_refusal_is_not_chunked() -> None:
    """Errors have a Content-Length, and the connection stays open."""
    service = make_service()
    async with serving(service) as (_, http):
        responses = [(await post(http, b"{"))[0] for _ in range(2)]

    assert [each.status for each in responses] == [400, 400]
    assert all("Transfer-Encoding" not in each.headers for each in responses)
    assert service.record.connections == 1


async def test_a_large_body_is_read_and_refused() -> None:
    """The 413 arrives, though the body is larger than every buffer."""
    async with serving(make_service()) as (_, http):
        response, body = await post(http, BytesIO(b" " * 4_000_000))

    assert response.status == 413
    assert b"RequestBodyTooLarge" in body


async def test_a_chunked_request_is_refused() -> None:
    """A request without Content-Length is a 411."""

    async def chunks() -> AsyncIterator[bytes]:
        yield BODY

    async with serving(make_service()) as (_, http):
        response, _ = await post(http, chunks())

    assert response.status == 411


async def test_an_empty_answer() -> None:
    """Creating a job answers 201 with an empty body."""
    service = make_service()
    async with serving(service) as (_, http):
        body = b'{"id":"j2","poolInfo":{"poolId":"p"}}'
        async with http.post(f"/jobs?{VERSION}", data=body) as response:
            answered = response.status, await response.read()

    assert answered == (201, b"")
    assert service.job("j2").properties["poolInfo"] == {"poolId": "p"}


async def test_a_link_is_followed_as_given() -> None:
    """Following odata.nextLink lists every task once, odd characters of the token and all."""
    service = make_service()
    listed, url = [], f"/jobs/j1/tasks?{VERSION}&maxresults=30&$filter=startswith(id,'t')"
    async with serving(service) as (_, http):
        await post(http)
        while url:
            async with http.get(url) as response:
                page = await response.json(content_type=None)
            listed += [each["id"] for each in page["value"]]
            url = page.get("odata.nextLink")

    assert listed == IDS


@pytest.mark.parametrize(
    ("fault", "error", "tasks"),
    [
        (Fault.DROP_BEFORE, aiohttp.ClientConnectionError, 0),
        (Fault.DROP_BODY, aiohttp.ClientConnectionError, 0),
        (Fault.DROP_AFTER, aiohttp.ServerDisconnectedError, 100),
        (Fault.DROP_ANSWER, aiohttp.ClientPayloadError, 100),
    ],
)
async def test_drops(fault: Fault, error: type[Exception], tasks: int) -> None:
    """Each drop shows to a client as what it is, and the next request goes through."""
    service = make_service(script=[fault])
    async with serving(service) as (_, http):
        with pytest.raises(error):
            await post(http)

        assert len(service.job("j1")) == tasks
        response, body = await post(http)

    assert response.status == 200
    assert len(decode_results(body)) == 100
    assert service.record.connections == 2


async def test_a_truncated_answer_ends_well_as_http() -> None:
    """The client reads it to its end, and it is no JSON."""
    async with serving(make_service(script=[Fault.TRUNCATED])) as (_, http):
        response, body = await post(http)

    assert response.status == 200
    with pytest.raises(WireError):
        decode_results(body)


async def test_late_processing_needs_no_connection() -> None:
    """The connection is cut first; the tasks exist some time later."""
    service = make_service(script=[Fault.LATE], faults=Faults(late_s=0.01))
    async with serving(service) as (_, http):
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(http)
        assert len(service.job("j1")) == 0
        await until(lambda: service.record.requests)

    assert len(service.job("j1")) == 100


async def test_what_is_late_is_forgotten_at_the_end() -> None:
    """Closing the server cancels what would be processed later."""
    service = make_service(script=[Fault.LATE], faults=Faults(late_s=60.0))
    async with serving(service) as (_, http):
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(http)

    assert service.record.requests == 0


async def test_a_client_that_gives_up() -> None:
    """A request is processed though its client has left before the answer."""
    service = make_service(faults=Faults(latency_s=0.05))
    async with serve(service) as server:
        host, _, port = server.endpoint.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {ADD} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
        writer.write(head.encode() + BODY)
        await until(lambda: service.record.in_flight)
        writer.close()
        await writer.wait_closed()
        await until(lambda: service.record.requests)

    assert len(service.job("j1")) == 100


async def test_a_client_that_leaves_in_mid_body() -> None:
    """A body that never ends is not processed, and counts for nothing."""
    service = make_service()
    async with serve(service) as server:
        host, _, port = server.endpoint.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"POST {ADD} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{{".encode())
        await until(lambda: service.record.in_flight)
        writer.close()
        await writer.wait_closed()
        await until(lambda: not service.record.in_flight)

    assert (service.record.requests, service.record.connections) == (0, 1)


async def test_requests_wait_side_by_side() -> None:
    """Latency holds up each request for itself, and the peak of requests in flight is known."""
    service = make_service(faults=Faults(latency_s=0.02))
    async with serving(service) as (_, http), asyncio.TaskGroup() as group:
        for block in range(8):
            group.create_task(post(http, make_body(*[f"{block}-{each}" for each in IDS])))

    assert service.record.in_flight_peak == 8
    assert len(service.job("j1")) == 800


async def test_the_clock_is_passed_in() -> None:
    """Dates and times come from the clock that the server was given."""
    service = make_service()
    now_s = 1_700_000_000.0
    async with (
        serve(service, clock=lambda: now_s) as server,
        aiohttp.ClientSession(server.endpoint, headers=JSON) as http,
    ):
        response, body = await post(http)

    assert response.headers["Date"] == formatdate(now_s, usegmt=True)
    assert b'"2023-11-14T22:13:20' in body


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/jobs", b'{"id":"j2","poolInfo":{"poolId":"p"}}'),
        ("POST", "/jobs/j1/tasks", b'{"id":"a","commandLine":"x"}'),
        ("PATCH", "/jobs/j1", b'{"priority":1}'),
        ("POST", "/jobs/j1/disable", b'{"disableTasks":"wait"}'),
        ("DELETE", "/jobs/j1", b""),
        ("GET", "/jobs/j1", b""),
        ("GET", "/jobs/none", b""),
    ],
)
async def test_the_headers_are_the_service_s_own(method: str, target: str, body: bytes) -> None:
    """On the wire there is none beside them: the recorded 201 and 202 have no Content-Type."""
    expected = answer_of(make_service(), method, f"{target}?{VERSION}", body).headers
    async with (
        serving(make_service()) as (_, http),
        http.request(method, f"{target}?{VERSION}", data=body or None) as response,
    ):
        names = {name.lower() for name in response.headers}

    assert names == {name.lower() for name in expected}
