"""Tasks looked up: lists restricted to a range of IDs, and one task by its ID."""

import base64

import pytest
from aioresponses import aioresponses
from yarl import URL

from bulksubmit.core.sharedkey import signature, string_to_sign
from bulksubmit.core.wire import (
    ListedTask,
    TaskPage,
    TaskRange,
    TaskSpan,
    WireError,
    decode_task_page,
)
from bulksubmit.errors import Refusal, ServiceRefused
from bulksubmit.service.replies import Unavailable, task_in
from tests.service.helpers import (
    KEY,
    Events,
    MockedResponse,
    error_body,
    make_answer,
    make_transport,
)

ENDPOINT = "https://myaccount.westeurope.batch.azure.com"
TASKS_URL = f"{ENDPOINT}/jobs/job-1/tasks"
QUERY = "api-version=2024-07-01.20.0&timeout=30"


def headers_of(service: aioresponses) -> dict[str, str]:
    """Of the one request that was made."""
    ((call,),) = service.requests.values()
    return dict(call.kwargs["headers"])


async def test_a_range_is_encoded_and_signed_as_documented() -> None:
    """
    In the URL a space is %20, and $, comma and quotes stay; what is signed is decoded.
    """
    filtered = "id ge 'a-1' and id le 'b_2'"
    encoded = "id%20ge%20'a-1'%20and%20id%20le%20'b_2'"
    url = f"{TASKS_URL}?{QUERY}&$filter={encoded}&$select=commandLine,id"
    body = b'{"value":[{"id":"a-1","commandLine":"x"},{"id":"B_2"}],"odata.nextLink":"n"}'
    events = Events()
    with aioresponses() as service:
        service.get(
            URL(f"{url}&maxresults=7", encoded=True), body=body, response_class=MockedResponse
        )
        async with make_transport(ENDPOINT, observer=events) as transport:
            page = await transport.list_tasks(
                within=TaskRange("a-1", "b_2", ("commandLine", "id"), 7)
            )
        headers = headers_of(service)

    assert page == TaskPage(
        [ListedTask("a-1", b'{"id":"a-1","commandLine":"x"}'), ListedTask("B_2", b'{"id":"B_2"}')],
        "n",
    )
    query = [
        ("api-version", "2024-07-01.20.0"),
        ("timeout", "30"),
        ("$filter", filtered),
        ("$select", "commandLine,id"),
        ("maxresults", "7"),
    ]
    text = string_to_sign("GET", "myaccount", "/jobs/job-1/tasks", query, headers)
    signed = signature(base64.b64decode(KEY), text)
    assert headers["authorization"] == f"SharedKey myaccount:{signed}"
    assert [(event.operation, event.attempt) for event in events.requests] == [("list_tasks", 0)]


def test_a_range_of_everything_selects_nothing() -> None:
    """
    With no fields given, all of them are shown; a quote in an ID is doubled.
    """
    query = TaskRange("o'clock", "z", None, 1000).query

    assert query == (("$filter", "id ge 'o''clock' and id le 'z'"), ("maxresults", "1000"))


def test_a_stretch_may_have_no_bounds() -> None:
    """
    Of a stretch, the lower bound belongs to it, and the upper one not; without any, there is no
    filter.
    """
    first, middle = TaskSpan(None, "b", ("id",), 7), TaskSpan("b", "c", None, 7)

    assert first.query == (("$filter", "id lt 'b'"), ("$select", "id"), ("maxresults", "7"))
    assert middle.query == (("$filter", "id ge 'b' and id lt 'c'"), ("maxresults", "7"))
    assert TaskSpan(None, None, None, 7).query == (("maxresults", "7"),)


async def test_a_task_is_got_by_its_id() -> None:
    """
    One task is got by its ID, signed for its own path.
    """
    events = Events()
    with aioresponses() as service:
        url = URL(f"{TASKS_URL}/t_1?{QUERY}", encoded=True)
        service.get(url, body=b'{"id":"T_1"}', response_class=MockedResponse)
        async with make_transport(ENDPOINT, observer=events) as transport:
            task = await transport.get_task("t_1")
        headers = headers_of(service)

    assert task == ListedTask("T_1", b'{"id":"T_1"}')
    query = [("api-version", "2024-07-01.20.0"), ("timeout", "30")]
    text = string_to_sign("GET", "myaccount", "/jobs/job-1/tasks/t_1", query, headers)
    signed = signature(base64.b64decode(KEY), text)
    assert headers["authorization"] == f"SharedKey myaccount:{signed}"
    assert [event.operation for event in events.requests] == ["get_task"]


def test_no_task_is_an_answer() -> None:
    """
    A 404 that says TaskNotFound, in any case, says that there is none.
    """
    assert task_in(make_answer(404, error_body("TaskNotFound"))) is None
    assert task_in(make_answer(404, error_body("tasknotfound"))) is None


def test_no_job_ends_the_run() -> None:
    """
    A 404 that says JobNotFound ends the run, as when tasks are added.
    """
    with pytest.raises(ServiceRefused) as refused:
        task_in(make_answer(404, error_body("JobNotFound")))

    assert refused.value.refusal is Refusal.NOT_FOUND


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"<html>"), (404, b""), (200, b"{}"), (200, b'{"id":7}'), (200, b"[]"), (502, b"")],
)
def test_anything_else_says_nothing_of_a_task(status: int, body: bytes) -> None:
    """
    A proxy's 404, or half an answer, does not say that there is no task.
    """
    assert isinstance(task_in(make_answer(status, body)), Unavailable)


@pytest.mark.parametrize("body", [b'{"value":[7]}', b'{"value":{}}', b"{}", b'{"value":[{"id":'])
def test_a_page_is_tasks_or_nothing(body: bytes) -> None:
    """
    What is no page of tasks is none in part, either.
    """
    with pytest.raises(WireError):
        decode_task_page(body)
