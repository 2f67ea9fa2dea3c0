"""Add collection: what becomes of a collection's tasks."""

import json
from datetime import UTC, datetime

import orjson
import pytest

from bulksubmit.emulator import JobState
from tests.emulator.calls import (
    ADD,
    NOW_S,
    VERSION,
    add,
    answer_of,
    error_of,
    make_body,
    make_service,
    statuses,
)


def test_each_task_gets_a_result_in_an_order_of_its_own() -> None:
    """A hundred tasks get a hundred results, and their order is not the request's."""
    service = make_service()
    ids = [f"t{place:02}" for place in range(100)]

    results = add(service, make_body(*ids))

    assert statuses(results) == dict.fromkeys(ids, "Success")
    assert [each["taskId"] for each in results] != ids
    assert list(service.job("j1").task_ids()) == ids


def test_bodies_are_kept_as_they_were_sent() -> None:
    """A task's bytes are stored as they came, without the white space between tasks."""
    service = make_service()

    add(
        service,
        b'{ "value": [\n {"id" : "a", "commandLine": "\\u0041"} , {"commandLine":"b","id":"b"}]}',
    )

    assert list(service.job("j1").bodies()) == [
        b'{"id" : "a", "commandLine": "\\u0041"}',
        b'{"commandLine":"b","id":"b"}',
    ]


def test_ids_collide_ignoring_case_and_keep_theirs() -> None:
    """An ID is taken if it differs from an existing one in case only; the first spelling stays."""
    service = make_service()

    add(service, make_body("Task-A"))

    assert statuses(add(service, make_body("task-a", "b"))) == {
        "task-a": "TaskExists",
        "b": "Success",
    }
    target = f"/jobs/J1/tasks/TASK-A?{VERSION}"
    assert orjson.loads(answer_of(service, "GET", target).body)["id"] == "Task-A"


def test_an_id_twice_in_one_request_is_added_once() -> None:
    """Of two equal IDs in one request the second finds the first one there."""
    service = make_service()

    results = add(service, make_body("a", "A"))

    assert statuses(results) == {"a": "Success", "A": "TaskExists"}
    assert len(service.job("j1")) == 1


def test_the_error_of_an_existing_task_has_no_values() -> None:
    """TaskExists says nothing of the task that has the ID."""
    service = make_service()
    add(service, make_body("a"))

    (result,) = add(service, make_body("a"))

    assert list(result) == ["error@odata.navigationLinkUrl", "error", "status", "taskId"]
    assert list(result["error"]) == ["code", "message"]
    assert result["status"] == "ClientError"


@pytest.mark.parametrize(
    ("task", "code", "values"),
    [
        ({"commandLine": "x"}, "MissingRequiredProperty", {"PropertyName"}),
        ({"id": None, "commandLine": "x"}, "MissingRequiredProperty", {"PropertyName"}),
        ({"id": "a"}, "MissingRequiredProperty", {"PropertyName"}),
        ({"id": "", "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": "a b", "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": "a\n", "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": "a" * 65, "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": 7, "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": 10**30, "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": 'a"b', "commandLine": "x"}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": "a", "commandLine": 7}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
        ({"id": "a", "commandLine": ""}, "InvalidPropertyValue", {"PropertyName", "Reason"}),
    ],
)
def test_a_bad_task_fails_alone(task: dict[str, object], code: str, values: set[str]) -> None:
    """A task without a valid ID or command line is a ClientError; its neighbours are added."""
    service = make_service()
    body = json.dumps({"value": [task, {"id": "good", "commandLine": "x"}]}).encode()

    results = add(service, body)

    (bad,) = [each for each in results if each["status"] == "ClientError"]
    assert bad["error"]["code"] == code
    assert values <= {each["key"] for each in bad["error"]["values"]}
    assert list(service.job("j1").task_ids()) == ["good"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"value":null}',
        b'{"value":[1]}',
        b'{"value":[{"id":"a","commandLine":"\xff"}]}',
        b'{"value":[{"id":"a","commandLine":"x"}]} more',
        make_body(*[f"t{place}" for place in range(101)]),
    ],
)
def test_a_bad_body_is_refused_whole(body: bytes) -> None:
    """A body that is no collection of at most 100 objects adds nothing."""
    service = make_service()

    answer = answer_of(service, "POST", ADD, body)

    assert error_of(answer)[:2] == (400, "InvalidRequestBody")
    assert len(service.job("j1")) == 0


def test_the_byte_limit_counts_the_body_as_received() -> None:
    """1,048,576 bytes are taken, one more is not, whatever the number of tasks."""
    service = make_service()
    empty = len(b'{"value":[{"id":"a","commandLine":""}]}')
    fits = b'{"value":[{"id":"a","commandLine":"%s"}]}' % (b"x" * (1_048_576 - empty))

    refused = answer_of(service, "POST", ADD, fits + b" ")

    assert error_of(refused) == (413, "RequestBodyTooLarge", {"MaxLimit": "1048576"})
    assert statuses(add(service, fits)) == {"a": "Success"}


def test_no_content_length_is_refused() -> None:
    """A POST without Content-Length, such as a chunked one, is answered with 411."""
    service = make_service()
    plan = service.plan("POST", ADD, {"transfer-encoding": "chunked"}, now_s=NOW_S)

    answer = service.answer(plan, b"", now_s=NOW_S)

    assert answer is not None
    assert error_of(answer)[:2] == (411, "MissingContentLengthHeader")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.DISABLING, "JobNotActive"),
        (JobState.DISABLED, "JobDisabled"),
        (JobState.ENABLING, "JobNotActive"),
        (JobState.TERMINATING, "JobBeingTerminated"),
        (JobState.COMPLETED, "JobCompleted"),
        (JobState.DELETING, "JobBeingDeleted"),
    ],
)
def test_a_job_that_is_not_active_takes_no_tasks(state: JobState, code: str) -> None:
    """The state may change at any time; each has its code, and GET job shows it."""
    service = make_service()
    add(service, make_body("a"))

    service.job("j1").state = state

    assert error_of(answer_of(service, "POST", ADD, make_body("b"))) == (409, code, {})
    job = orjson.loads(answer_of(service, "GET", f"/jobs/j1?{VERSION}").body)
    assert job["state"] == state.value
    assert len(service.job("j1")) == 1


def test_etag_is_the_moment_in_ticks() -> None:
    """
    An eTag is lastModified in .NET ticks, and several tasks of a request share one; a task shows
    the same afterwards.
    """
    service = make_service()

    results = add(service, make_body("a", "b", "c"))

    year_1 = datetime(1, 1, 1, tzinfo=UTC)
    for each in results:
        seconds, _, fraction = each["lastModified"].removesuffix("Z").partition(".")
        whole = datetime.fromisoformat(seconds).replace(tzinfo=UTC) - year_1
        ticks = int(whole.total_seconds()) * 10**7 + int(f"{fraction:0<7}")
        assert int(each["eTag"], 16) == ticks
        shown = orjson.loads(answer_of(service, "GET", _task(each["taskId"])).body)
        assert (shown["eTag"], shown["creationTime"]) == (each["eTag"], each["lastModified"])
    assert len({each["eTag"] for each in results}) == 2


def test_trailing_zeros_are_dropped() -> None:
    """A time shows up to seven fractional digits, without zeros at the end."""
    service = make_service()

    (result,) = add(service, make_body("a"))

    assert result["lastModified"] == "2025-06-27T04:53:20.5Z"


def _task(task_id: str) -> str:
    return f"/jobs/j1/tasks/{task_id}?{VERSION}"
