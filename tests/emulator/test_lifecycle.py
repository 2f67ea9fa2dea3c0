"""Jobs change their states when someone asks for it: what is allowed when, and what is shown."""

from typing import Any

import orjson
import pytest

from bulksubmit.core.wire import to_ticks
from bulksubmit.emulator import JobState, Service, Switches
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

JOB = f"/jobs/j1?{VERSION}"
DISABLE = b'{"disableTasks":"requeue"}'
PUT = b'{"poolInfo":{"poolId":"pool"}}'
NEW = b'{"id":"new","commandLine":"x"}'
STATES = list(JobState)  # active, disabling, disabled, enabling, terminating, completed, deleting


def at(path: str) -> str:
    """The request target of a path below the job."""
    return f"/jobs/j1{path}?{VERSION}"


def shown(service: Service, *, now_s: float = NOW_S) -> dict[str, Any]:
    job: dict[str, Any] = orjson.loads(answer_of(service, "GET", JOB, now_s=now_s).body)
    return job


# What each operation says to a job in each of the STATES; nothing if it is done.
_CLOSED = ["JobBeingTerminated", "JobCompleted", "JobBeingDeleted"]
_NOT_NOW = "OperationInvalidForCurrentState"
_TAKES_TASKS = ["", "JobNotActive", "JobDisabled", "JobNotActive", *_CLOSED]
_NEVER_DELETING = [*[""] * 6, "JobBeingDeleted"]
OPERATIONS = {
    ("GET", "", b""): [""] * 7,
    ("GET", "/tasks", b""): [""] * 7,
    ("GET", "/taskcounts", b""): [""] * 7,
    ("GET", "/tasks/a", b""): [""] * 7,
    ("POST", "/disable", DISABLE): ["", "", "", _NOT_NOW, *_CLOSED],
    ("POST", "/enable", b""): [_NOT_NOW, _NOT_NOW, "", _NOT_NOW, *_CLOSED],
    ("POST", "/terminate", b""): ["", "", "", "", *_CLOSED],
    ("PATCH", "", b'{"priority":1}'): ["", "", "", "", *_CLOSED],
    ("PATCH", "", PUT): [_NOT_NOW, _NOT_NOW, "", _NOT_NOW, *_CLOSED],
    ("PUT", "", PUT): ["", "", "", "", *_CLOSED],
    ("PUT", "", b'{"poolInfo":{"poolId":"other"}}'): [_NOT_NOW, _NOT_NOW, "", _NOT_NOW, *_CLOSED],
    ("DELETE", "", b""): _NEVER_DELETING,
    ("POST", "/addtaskcollection", b'{"value":[%s]}' % NEW): _TAKES_TASKS,
    ("POST", "/tasks", NEW): _TAKES_TASKS,
    ("PUT", "/tasks/a", b"{}"): _NEVER_DELETING,
    ("POST", "/tasks/a/terminate", b""): _NEVER_DELETING,
    ("POST", "/tasks/ended/reactivate", b""): ["", "", "", "", *_CLOSED],
    ("DELETE", "/tasks/a", b""): _NEVER_DELETING,
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: " ".join(each[:2]))
def test_each_operation_in_each_state(operation: tuple[str, str, bytes]) -> None:
    """
    A state allows an operation, or forbids it with the code of its own and leaves all as it is.
    """
    method, path, body = operation
    for state, code in zip(STATES, OPERATIONS[operation], strict=True):
        service = make_service()
        add(service, make_body("a", "ended"))
        answer_of(service, "POST", at("/tasks/ended/terminate"))
        job = service.job("j1")
        job.state = state
        before, tasks = shown(service), len(job)

        answer = answer_of(service, method, at(path), body, now_s=NOW_S + 1)

        if code:
            assert error_of(answer) == (409, code, {}), state
            assert (shown(service, now_s=NOW_S + 2), len(job)) == (before, tasks), state
        else:
            assert answer.status < 300, state


@pytest.mark.parametrize(
    ("before", "path", "body", "on_the_way", "afterwards"),
    [
        ("active", "/disable", DISABLE, "disabling", "disabled"),
        ("disabled", "/enable", b"", "enabling", "active"),
        ("active", "/terminate", b"", "terminating", "completed"),
        ("disabled", "/terminate", b"", "terminating", "completed"),
    ],
)
def test_a_state_comes_after_another(
    before: str, path: str, body: bytes, on_the_way: str, afterwards: str
) -> None:
    """
    The answer comes when the job has set out; it arrives job_change_s later, whether or not
    someone looks just then. Each state tells what was before and since when, and is a change.
    """
    service = make_service(switches=Switches(job_change_s=30.0))
    service.job("j1").state = JobState(before)
    start = shown(service)

    answer = answer_of(service, "POST", at(path), body, now_s=NOW_S + 1)
    first, last = shown(service, now_s=NOW_S + 30.9), shown(service, now_s=NOW_S + 100)

    assert (answer.status, answer.body) == (202, b"")
    assert [each["state"] for each in (first, last)] == [on_the_way, afterwards]
    assert [each["previousState"] for each in (first, last)] == [before, on_the_way]
    times = [each["previousStateTransitionTime"] for each in (first, last)]
    assert times == [start["stateTransitionTime"], first["stateTransitionTime"]]
    assert [each["stateTransitionTime"] for each in (first, last)] == [
        "2025-06-27T04:53:21.5Z",
        "2025-06-27T04:53:51.5Z",
    ]
    assert answer.headers["ETag"] == first["eTag"]
    assert len({each["eTag"] for each in (start, first, last)}) == 3
    assert ("endTime" in last["executionInfo"]) == (afterwards == "completed")


def test_a_job_that_never_changed_has_no_previous_state() -> None:
    """
    previousState comes with the first change.
    """
    assert "previousState" not in shown(make_service())


def test_a_job_changes_at_once_if_the_switch_says_so() -> None:
    """
    With job_change_s 0 the next call finds it disabled, active again, completed, gone.
    """
    service = make_service(switches=Switches(job_change_s=0.0))

    found = []
    for path, body in (("/disable", DISABLE), ("/enable", b""), ("/terminate", b"")):
        answer_of(service, "POST", at(path), body)
        found.append(shown(service)["state"])
    answer_of(service, "DELETE", JOB)

    assert found == ["disabled", "active", "completed"]
    assert error_of(answer_of(service, "GET", JOB))[:2] == (404, "JobNotFound")


def test_what_comes_later_gives_way() -> None:
    """
    A job that is terminated, or deleted, while it is disabling is not disabled afterwards.
    """
    service = make_service(switches=Switches(job_change_s=1.0))
    answer_of(service, "POST", at("/disable"), DISABLE)

    answer_of(service, "POST", at("/terminate"), now_s=NOW_S + 0.9)
    assert shown(service, now_s=NOW_S + 1.5)["state"] == "terminating"
    answer_of(service, "DELETE", JOB, now_s=NOW_S + 1.6)

    job = shown(service, now_s=NOW_S + 2.5)
    assert (job["state"], job["previousState"]) == ("deleting", "terminating")


def test_a_deleted_job_is_deleting_and_then_gone() -> None:
    """
    Its ID is taken until it is gone, and then free for a job that knows nothing of its tasks.
    """
    service = make_service(switches=Switches(job_change_s=1.0))
    add(service, make_body("a"))
    new = b'{"id":"J1","poolInfo":{"poolId":"p"}}'

    deleted = answer_of(service, "DELETE", JOB)
    too_early = answer_of(service, "POST", f"/jobs?{VERSION}", new, now_s=NOW_S + 0.9)
    listed = answer_of(service, "GET", f"/jobs?{VERSION}", now_s=NOW_S + 0.9)
    gone = answer_of(service, "POST", ADD, make_body("a"), now_s=NOW_S + 1.0)
    created = answer_of(service, "POST", f"/jobs?{VERSION}", new, now_s=NOW_S + 1.0)

    assert (deleted.status, deleted.body) == (202, b"")
    assert "ETag" not in deleted.headers
    assert error_of(too_early)[:2] == (409, "JobBeingDeleted")
    assert orjson.loads(listed.body)["value"][0]["state"] == "deleting"
    assert error_of(gone)[:2] == (404, "JobNotFound")
    assert created.status == 201
    assert statuses(add(service, make_body("a"))) == {"a": "Success"}


def test_a_completed_job_keeps_its_id() -> None:
    """
    Creating it again says that it is completed, as recorded.
    """
    service = make_service(switches=Switches(job_change_s=0.0))
    answer_of(service, "POST", at("/terminate"))

    answer = answer_of(service, "POST", f"/jobs?{VERSION}", b'{"id":"j1","poolInfo":{}}')

    assert error_of(answer)[:2] == (409, "JobCompleted")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "UserTerminate"),
        (b"{}", "UserTerminate"),
        (b'{"terminateReason":null}', "UserTerminate"),
        (b'{"terminateReason":"enough"}', "enough"),
    ],
)
def test_a_terminated_job_says_why(body: bytes, reason: str) -> None:
    """
    The client's reason is shown once the job is completed; its active tasks stay active.
    """
    service = make_service()
    add(service, make_body("a"))

    answer_of(service, "POST", at("/terminate"), body)

    assert "terminateReason" not in shown(service)["executionInfo"]
    job = shown(service, now_s=NOW_S + 1)
    assert job["executionInfo"]["terminateReason"] == reason
    assert job["executionInfo"]["endTime"] == job["stateTransitionTime"]
    task = service.job("j1").task("a")
    assert task is not None
    assert task.state == "active"


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("/disable", b"", "InvalidRequestBody"),
        ("/disable", b"[]", "InvalidRequestBody"),
        ("/disable", b"{}", "MissingRequiredProperty"),
        ("/disable", b'{"disableTasks":null}', "MissingRequiredProperty"),
        ("/disable", b'{"disableTasks":"stop"}', "InvalidPropertyValue"),
        ("/disable", b'{"disableTasks":"wait","x":1}', "UnsupportedProperty"),
        ("/terminate", b"no", "InvalidRequestBody"),
        ("/terminate", b'{"terminateReason":5}', "InvalidPropertyValue"),
        ("/terminate", b'{"reason":"enough"}', "UnsupportedProperty"),
    ],
)
def test_a_body_that_is_wrong(path: str, body: bytes, code: str) -> None:
    """
    What cannot be read, is missing or is none of the words is a 400, and the job stays active.
    """
    service = make_service()

    answer = answer_of(service, "POST", at(path), body)

    assert error_of(answer)[:2] == (400, code)
    assert shown(service, now_s=NOW_S + 1)["state"] == "active"


@pytest.mark.parametrize("word", ["requeue", "terminate", "wait", "Requeue"])
def test_each_word_disables(word: str) -> None:
    """
    What is to become of running tasks is in any case; disabling once more changes nothing.
    """
    service = make_service()
    body = orjson.dumps({"disableTasks": word})

    once = answer_of(service, "POST", at("/disable"), body)
    again = answer_of(service, "POST", at("/disable"), body, now_s=NOW_S + 5)

    assert [once.status, again.status] == [202, 202]
    assert shown(service, now_s=NOW_S + 5)["stateTransitionTime"] == "2025-06-27T04:53:20.7Z"


def test_a_job_completes_when_it_is_enabled_again() -> None:
    """
    A disabled job does not complete; but it does once it is active, if its last task has ended
    meanwhile.
    """
    service = make_service()
    add(service, make_body("a"))
    answer_of(service, "PATCH", JOB, b'{"onAllTasksComplete":"terminatejob"}')
    answer_of(service, "POST", at("/disable"), DISABLE)
    answer_of(service, "POST", at("/tasks/a/terminate"), now_s=NOW_S + 1)
    assert shown(service, now_s=NOW_S + 2)["state"] == "disabled"

    answer_of(service, "POST", at("/enable"), now_s=NOW_S + 3)

    job = shown(service, now_s=NOW_S + 4)
    assert (job["state"], job["previousState"]) == ("completed", "active")
    assert job["executionInfo"]["terminateReason"] == "AllTasksComplete"


def put(service: Service, body: object) -> tuple[Any, ...]:
    """Status, code and values; code and values are empty for a job that is taken."""
    answer = answer_of(service, "PUT", JOB, orjson.dumps(body), now_s=NOW_S + 1)
    return (200, "", {}) if answer.status == 200 else error_of(answer)


def test_what_is_put_replaces_all_that_may_change() -> None:
    """
    What is left out has its default again; what cannot be changed stays.
    """
    service = make_service()
    created = {
        "id": "j2",
        "poolInfo": {"poolId": "pool"},
        "displayName": "two",
        "priority": 5,
        "maxParallelTasks": 7,
        "allowTaskPreemption": True,
        "metadata": [{"name": "a", "value": "b"}],
        "constraints": {"maxTaskRetryCount": 3},
        "usesTaskDependencies": True,
        "onTaskFailure": "performexitoptionsjobaction",
    }
    answer_of(service, "POST", f"/jobs?{VERSION}", orjson.dumps(created))
    target = JOB.replace("j1", "j2")
    body = {"poolInfo": created["poolInfo"], "priority": 6, "metadata": None}

    answer = answer_of(service, "PUT", target, orjson.dumps(body), now_s=NOW_S + 1)

    job = orjson.loads(answer_of(service, "GET", target).body)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["ETag"] == job["eTag"] == f"0x{to_ticks(NOW_S + 1):X}"
    assert answer.headers["DataServiceId"].endswith("/jobs/j2")
    assert (job["priority"], job["maxParallelTasks"], job["allowTaskPreemption"]) == (6, -1, False)
    assert job["constraints"]["maxTaskRetryCount"] == 0
    assert job["onAllTasksComplete"] == "noaction"
    assert "metadata" not in job
    for same in ("displayName", "usesTaskDependencies", "onTaskFailure", "poolInfo"):
        assert job[same] == created[same]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MissingRequiredProperty"),
        ([], "InvalidRequestBody"),
        ({"poolInfo": None}, "MissingRequiredProperty"),
        ({"poolInfo": {"poolId": "pool"}, "displayName": "x"}, "UnsupportedProperty"),
        ({"poolInfo": {"poolId": "pool"}, "priority": 1001}, "InvalidPropertyValue"),
    ],
)
def test_what_cannot_be_put(body: object, code: str) -> None:
    """
    The pool has to be there, and only what may change.
    """
    assert put(make_service(), body)[:2] == (400, code)


def test_leaving_auto_termination_out_turns_it_off() -> None:
    """
    What is put without onAllTasksComplete stands for noaction: an error if it was terminatejob.
    """
    pool = {"poolInfo": {"poolId": "pool"}}
    terminate = {"onAllTasksComplete": "terminatejob"}
    for switches, left in (
        (Switches(auto_terminate="final"), "terminatejob"),
        (Switches(auto_terminate="revocable"), "noaction"),
    ):
        service = make_service(switches=switches)
        add(service, make_body("a"))
        assert put(service, pool | terminate)[0] == 200

        assert put(service, pool)[0] == (400 if left == "terminatejob" else 200)
        assert shown(service)["onAllTasksComplete"] == left
