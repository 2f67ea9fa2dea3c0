"""The transport against mocked answers: what it sends, and what it makes of what comes."""

import base64
import json
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import aiohttp
import anyio
import pytest
from aioresponses import CallbackResult, aioresponses
from yarl import URL

from bulksubmit.core.events import RequestEnded
from bulksubmit.core.model import Answered, Attempt, Lost, Refused, Reply, Task, Throttled
from bulksubmit.core.sharedkey import signature, string_to_sign
from bulksubmit.core.wire import Job, TaskPage
from bulksubmit.errors import Refusal, ServiceRefused, SettingsError
from bulksubmit.service.deadlines import Deadlines
from bulksubmit.service.replies import Unavailable
from tests.service.helpers import (
    KEY,
    Events,
    MockedResponse,
    error_body,
    make_attempt,
    make_transport,
    results_body,
)

ENDPOINT = "https://myaccount.westeurope.batch.azure.com"
ADD_URL = f"{ENDPOINT}/jobs/job-1/addtaskcollection?api-version=2024-07-01.20.0&timeout=30"
JOB_URL = f"{ENDPOINT}/jobs/job-1?api-version=2024-07-01.20.0&timeout=30"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Tokens:
    """A credential with a list of tokens; None stands for a failure to get one."""

    def __init__(self, *tokens: str | None) -> None:
        self.tokens = list(tokens)
        self.refused: list[str] = []

    async def authorization(
        self,
        _method: str,
        _path: str,
        _query: tuple[tuple[str, str], ...],
        _headers: Mapping[str, str],
        /,
    ) -> str | Unavailable:
        token = self.tokens[0]
        if token is None:
            return Unavailable("no token: the authority is out", sent=False)
        return f"Bearer {token}"

    def renew(self, refused: str, /) -> bool:
        self.refused.append(refused)
        if len(self.tokens) > 1:
            self.tokens.pop(0)
            return True
        return False


@pytest.fixture
def service() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


def sent_headers(service: aioresponses, method: str, url: str) -> list[dict[str, str]]:
    calls = service.requests[(method, URL(url))]
    return [dict(call.kwargs["headers"]) for call in calls]


async def add(attempt: Attempt | None = None, **options: Any) -> Reply:
    async with make_transport(ENDPOINT, **options) as transport:
        return await transport.add(attempt or make_attempt())


def mock_add(service: aioresponses, status: int, body: bytes, **options: Any) -> None:
    service.post(ADD_URL, status=status, body=body, response_class=MockedResponse, **options)


async def test_request_has_every_header_of_the_protocol(service: aioresponses) -> None:
    """
    A collection is posted with all headers that the reference names, signed with Shared Key.
    """
    mock_add(service, 200, results_body("t0"))

    await add(make_attempt(number=7))

    (call,) = service.requests[("POST", URL(ADD_URL))]
    headers = dict(call.kwargs["headers"])
    body = b'{"value":[{"id":"t0","commandLine":"true"}]}'
    assert call.kwargs["data"] == body
    assert headers["content-type"] == "application/json; odata=minimalmetadata"
    assert headers["content-length"] == str(len(body))
    assert headers["accept"] == "application/json"
    assert headers["accept-encoding"] == "gzip, deflate"
    assert headers["client-request-id"] == "00000000-0000-0000-0000-000000000007"
    assert headers["return-client-request-id"] == "true"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["ocp-date"])
    assert re.fullmatch(r"bulksubmit/\d+\.\d+\.\d+.*", headers["user-agent"])
    text = string_to_sign(
        "POST",
        "myaccount",
        "/jobs/job-1/addtaskcollection",
        [("api-version", "2024-07-01.20.0"), ("timeout", "30")],
        headers,
    )
    signed = signature(base64.b64decode(KEY), text)
    assert headers["authorization"] == f"SharedKey myaccount:{signed}"
    assert call.kwargs["allow_redirects"] is False


async def test_client_waits_longer_than_the_server(service: aioresponses) -> None:
    """
    The client's own time-out is longer than the one it asks of the server, so that an attempt
    given up here is over there; a connection has a shorter one of its own.
    """
    mock_add(service, 200, results_body("t0"))

    with (
        patch.object(Deadlines, "within", autospec=True, side_effect=Deadlines.within) as within,
        patch.object(aiohttp, "ClientSession", side_effect=aiohttp.ClientSession) as session,
    ):
        await add()

    ((_, timeout_s),) = (call.args for call in within.call_args_list)
    assert timeout_s > 30
    assert session.call_args.kwargs["timeout"].connect < 30


async def test_job_is_asked_with_thirty_seconds_at_most(service: aioresponses) -> None:
    """
    Getting the job has no body and no content type, and the reference allows it 30 s.
    """
    service.get(JOB_URL, body=b'{"id":"job-1","state":"active"}', response_class=MockedResponse)
    events = Events()

    async with make_transport(ENDPOINT, server_timeout_s=120, observer=events) as transport:
        job = await transport.get_job()

    assert job == Job("job-1", "active")
    (headers,) = sent_headers(service, "GET", JOB_URL)
    assert "content-type" not in headers
    assert "content-length" not in headers
    assert GUID.fullmatch(headers["client-request-id"])
    (event,) = events.requests
    assert (event.operation, event.attempt, event.tasks) == ("get_job", 0, 0)
    assert event.reply == "answered"


async def test_job_id_cannot_leave_its_place_in_the_path(service: aioresponses) -> None:
    """
    Whatever the job is called, the request goes to that job.
    """
    service.get(
        URL(f"{ENDPOINT}/jobs/a%2Fb%3Fc?api-version=2024-07-01.20.0&timeout=30", encoded=True),
        status=404,
        body=error_body("JobNotFound"),
        response_class=MockedResponse,
    )
    async with make_transport(ENDPOINT, job_id="a/b?c") as transport:
        with pytest.raises(ServiceRefused):
            await transport.get_job()


async def test_answered_request_is_reported_whole(service: aioresponses) -> None:
    """
    A request ends with one event, which has both request ids and all that an operator wants.
    """
    mock_add(service, 200, results_body("t0", "t1"), headers={"request-id": "r-1"})
    events = Events()

    reply = await add(make_attempt(2, number=3, resent=1), observer=events)

    assert isinstance(reply, Answered)
    (event,) = events
    assert isinstance(event, RequestEnded)
    assert event == RequestEnded(
        operation="add_task_collection",
        method="POST",
        url=ADD_URL.partition("?")[0],
        attempt=3,
        client_request_id="00000000-0000-0000-0000-000000000003",
        request_id="r-1",
        status=200,
        reply="answered",
        reason=None,
        tasks=2,
        resent=1,
        bytes_sent=len(b'{"value":[,]}') + 2 * len(b'{"id":"t0","commandLine":"true"}'),
        latency_s=event.latency_s,
    )
    assert event.latency_s >= 0


@pytest.mark.parametrize(
    ("status", "body", "kind", "name"),
    [
        (429, b"", Throttled, "throttled"),
        (413, b"", Refused, "refused"),
        (502, b"", Lost, "lost"),
        (302, b"", Lost, "lost"),
    ],
)
async def test_each_reply_is_reported(
    service: aioresponses, status: int, body: bytes, kind: type[Reply], name: str
) -> None:
    """
    An attempt that was not answered is reported with a reason.
    """
    mock_add(service, status, body)
    events = Events()

    assert isinstance(await add(observer=events), kind)
    (event,) = events.requests
    assert (event.reply, event.status) == (name, status)
    assert event.reason


async def test_refusal_ends_the_run(service: aioresponses) -> None:
    """
    A job that is not there ends the run, and the request is reported as what ended it.
    """
    mock_add(service, 404, error_body("JobNotFound"))
    events = Events()

    with pytest.raises(ServiceRefused, match="JobNotFound"):
        await add(observer=events)

    (event,) = events.requests
    assert (event.reply, event.status) == ("ended", 404)


async def test_refused_key_ends_the_run_at_once(service: aioresponses) -> None:
    """
    A key that was refused stays refused: there is nothing to renew.
    """
    mock_add(service, 403, error_body("AuthenticationFailed"))

    with pytest.raises(ServiceRefused) as raised:
        await add()

    assert raised.value.refusal is Refusal.AUTHENTICATION
    assert len(sent_headers(service, "POST", ADD_URL)) == 1


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_token_is_renewed_and_the_attempt_posted_again(
    service: aioresponses, status: int
) -> None:
    """
    After a refusal the same attempt goes out once more, with a new token; both requests are
    reported, and the first did not end the run.
    """
    mock_add(service, status, error_body("AuthenticationFailed"))
    mock_add(service, 200, results_body("t0"))
    credential, events = Tokens("old", "new"), Events()

    reply = await add(credential=credential, observer=events)

    assert isinstance(reply, Answered)
    assert credential.refused == ["Bearer old"]
    first, second = sent_headers(service, "POST", ADD_URL)
    assert (first["authorization"], second["authorization"]) == ("Bearer old", "Bearer new")
    assert first["client-request-id"] == second["client-request-id"]
    assert [event.reply for event in events.requests] == ["refused", "answered"]


async def test_second_refusal_ends_the_run(service: aioresponses) -> None:
    """
    If the new token is refused too, the run ends: it is not renewed for ever.
    """
    mock_add(service, 401, error_body("AuthenticationFailed"), repeat=True)
    credential, events = Tokens("old", "new", "newer"), Events()

    with pytest.raises(ServiceRefused):
        await add(credential=credential, observer=events)

    assert len(sent_headers(service, "POST", ADD_URL)) == 2
    assert [event.reply for event in events.requests] == ["refused", "ended"]


async def test_without_a_token_nothing_is_sent(service: aioresponses) -> None:
    """
    While there is no token to be had, an attempt is lost and was not sent.
    """
    events = Events()

    reply = await add(credential=Tokens(None), observer=events)

    assert reply == Lost("no token: the authority is out", sent=False)
    assert not service.requests
    (event,) = events.requests
    assert (event.status, event.reply, event.reason) == (None, "lost", reply.reason)


async def test_large_body_is_sent_without_a_warning(service: aioresponses) -> None:
    """
    A task that alone is larger than 1 MiB is posted like any other; aiohttp would warn of it.
    """
    mock_add(service, 413, error_body("RequestBodyTooLarge"))
    large = Task(0, 1, "t0", b'{"id":"t0","commandLine":"' + b"x" * 2**20 + b'"}')

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reply = await add(Attempt(1, "guid", (large,), 0))

    assert isinstance(reply, Refused)


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientOSError(104, "reset"), True),
        (aiohttp.ClientPayloadError("cut"), True),
        (aiohttp.SocketTimeoutError("slow"), True),
        (TimeoutError(), True),
        (aiohttp.ConnectionTimeoutError("slow"), False),
        (ConnectionResetError(104, "reset"), True),
        (aiohttp.ClientConnectionError("odd"), True),
    ],
)
async def test_exceptions_are_lost_replies(
    service: aioresponses, error: Exception, *, sent: bool
) -> None:
    """
    An exception of the network is a Lost; it was not sent only where that is certain.
    """
    service.post(ADD_URL, exception=error)

    reply = await add()

    assert isinstance(reply, Lost)
    assert reply.sent is sent
    assert reply.reason


async def test_cancelled_request_is_reported_once(service: aioresponses) -> None:
    """
    A request that is cancelled is reported too, and the cancellation goes on its way.
    """

    async def never(_: URL, **__: Any) -> CallbackResult:
        await anyio.sleep_forever()
        raise AssertionError

    service.post(ADD_URL, callback=never)
    events = Events()

    async with make_transport(ENDPOINT, observer=events) as transport:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(transport.add, make_attempt())
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

    assert scope.cancelled_caught
    (event,) = events.requests
    assert (event.reply, event.reason, event.status) == ("lost", "cancelled", None)


async def test_list_goes_on_where_the_page_says(service: aioresponses) -> None:
    """
    A page's link is followed as it is given, signed anew for its own query.
    """
    query = "api-version=2024-07-01.20.0&timeout=30"
    link = f"{ENDPOINT}/jobs/job-1/tasks?$skiptoken=WATV2:a/b^c=:1$1&api-version=2024-07-01.20.0"
    first = json.dumps({"value": [{"id": "t0"}], "odata.nextLink": link}).encode()
    service.get(
        URL(f"{ENDPOINT}/jobs/job-1/tasks?{query}&$select=id", encoded=True),
        body=first,
        response_class=MockedResponse,
    )
    service.get(
        URL(link, encoded=True), body=b'{"value":[{"id":"t1"}]}', response_class=MockedResponse
    )

    async with make_transport(ENDPOINT) as transport:
        page = await transport.list_tasks()
        assert isinstance(page, TaskPage)
        assert page.next_link == link
        last = await transport.list_tasks(page.next_link)

    assert isinstance(last, TaskPage)
    assert [task.id for task in page.value + last.value] == ["t0", "t1"]
    assert last.next_link is None
    (call,) = (
        call for (_, url), calls in service.requests.items() if "skip" in str(url) for call in calls
    )
    headers = dict(call.kwargs["headers"])
    text = string_to_sign(
        "GET",
        "myaccount",
        "/jobs/job-1/tasks",
        [("$skiptoken", "WATV2:a/b^c=:1$1"), ("api-version", "2024-07-01.20.0")],
        headers,
    )
    signed = signature(base64.b64decode(KEY), text)
    assert headers["authorization"] == f"SharedKey myaccount:{signed}"


@pytest.mark.parametrize(
    "link", ["https://elsewhere.example/jobs?x=1", "/jobs/job-1/tasks", "https://[", "http://x:y/"]
)
async def test_list_does_not_go_on_elsewhere(service: aioresponses, link: str) -> None:
    """
    A link to another place, or to none, is not followed: our signature goes to the account only.
    """
    async with make_transport(ENDPOINT) as transport:
        page = await transport.list_tasks(link)

    assert isinstance(page, Unavailable)
    assert not service.requests


def test_endpoint_is_checked_at_the_door() -> None:
    """
    A transport is not made for an endpoint that would send the key in the clear.
    """
    with pytest.raises(SettingsError):
        make_transport("http://myaccount.westeurope.batch.azure.com")
