"""One task at a time: added, updated, terminated, reactivated, deleted; and counted after each."""

from typing import Any

import orjson
import pytest

from bulksubmit.emulator import Faults, Service, Switches
from bulksubmit.emulator.store import Counts
from tests.emulator.calls import (
    NOW_S,
    VERSION,
    add,
    answer_of,
    error_of,
    make_body,
    make_service,
    statuses,
)

TASKS = f"/jobs/j1/tasks?{VERSION}"
AT_ONCE = Switches(counts_lag_s=0.0)
NO_LIMIT = "P10675199DT2H48M5.4775807S"
DEFAULTS = {"maxWallClockTime": NO_LIMIT, "retentionTime": "P7D", "maxTaskRetryCount": 0}
COUNTED = ("active", "completed", "succeeded", "failed")


def at(path: str) -> str:
    """The request target of a path below the job's tasks."""
    return f"/jobs/j1/tasks{path}?{VERSION}"


def shown(service: Service, task_id: str = "a") -> dict[str, Any]:
    task: dict[str, Any] = orjson.loads(answer_of(service, "GET", at(f"/{task_id}")).body)
    return task


def counts(service: Service, *, of: str = "taskCounts", now_s: float = NOW_S) -> tuple[int, ...]:
    """Active, completed, succeeded, failed; nothing ever runs."""
    answer = answer_of(service, "GET", f"/jobs/j1/taskcounts?{VERSION}", now_s=now_s)
    counted = orjson.loads(answer.body)[of]
    assert counted["running"] == 0
    return tuple(counted[word] for word in COUNTED)


def test_one_task_is_added() -> None:
    """
    201 without a body; the headers name the task and its eTag, and it is one as any other.
    """
    service = make_service(switches=AT_ONCE)

    answer = answer_of(service, "POST", TASKS, b'{"id":"A","commandLine":"x"}')

    url = "http://batch.test/jobs/j1/tasks/A"
    assert (answer.status, answer.body) == (201, b"")
    assert (answer.headers["Location"], answer.headers["DataServiceId"]) == (url, url)
    task = shown(service)
    assert (task["id"], task["url"], task["state"]) == ("A", url, "active")
    assert answer.headers["ETag"] == task["eTag"]
    assert statuses(add(service, make_body("a"))) == {"a": "TaskExists"}
    assert counts(service) == (1, 0, 0, 0)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"id":"TAKEN","commandLine":"x"}', 409, "TaskExists"),
        (b'{"id":"a"}', 400, "MissingRequiredProperty"),
        (b'{"commandLine":"x"}', 400, "MissingRequiredProperty"),
        (b'{"id":"a b","commandLine":"x"}', 400, "InvalidPropertyValue"),
        (b'{"id":"a","commandLine":"x","requiredSlots":0}', 400, "InvalidPropertyValue"),
        (b'{"id":"a","commandLine":"x","priority":1}', 400, "UnsupportedProperty"),
        (b'{"id":"a","commandLine":"x","dependsOn":{}}', 400, "UnsupportedProperty"),
        (b"", 400, "InvalidRequestBody"),
        (b"[]", 400, "InvalidRequestBody"),
        (b'{"value":[]}', 400, "UnsupportedProperty"),
    ],
)
def test_one_task_is_refused(body: bytes, status: int, code: str) -> None:
    """
    What would be an error of one task of a collection is here an error of the request.
    """
    service = make_service()
    add(service, make_body("taken"))

    answer = answer_of(service, "POST", TASKS, body)

    assert error_of(answer)[:2] == (status, code)
    assert len(service.job("j1")) == 1


def test_one_task_is_too_large() -> None:
    """
    The limit is that of any request's body.
    """
    service = make_service()
    frame = len(b'{"id":"a","commandLine":""}')

    for size, status in ((1_048_577, 413), (1_048_576, 201)):
        body = b'{"id":"a","commandLine":"%s"}' % (b"x" * (size - frame))
        assert answer_of(service, "POST", TASKS, body).status == status


def test_a_single_task_runs_as_well() -> None:
    """
    Where tasks are complete at once, so is one that is added alone, and its job.
    """
    service = make_service(faults=Faults(run_tasks=True), switches=AT_ONCE)
    job = {"onAllTasksComplete": "terminatejob", "jobManagerTask": {}, "poolInfo": {}}
    service.create_job("j2", properties=job, now_s=NOW_S)

    for job_id in ("j1", "j2"):
        answer_of(service, "POST", TASKS.replace("j1", job_id), b'{"id":"a","commandLine":"x"}')

    task = shown(service)
    assert (task["state"], task["executionInfo"]["result"]) == ("completed", "success")
    assert task["executionInfo"]["exitCode"] == 0
    assert counts(service) == (0, 1, 1, 0)
    assert service.job("j2").state == "completed"


@pytest.mark.parametrize(
    ("body", "constraints"),
    [
        (
            {"constraints": {"maxWallClockTime": "PT1H", "maxTaskRetryCount": 2}},
            {"maxWallClockTime": "PT1H", "retentionTime": "P7D", "maxTaskRetryCount": 2},
        ),
        (
            {"constraints": {"retentionTime": "PT5M"}},
            {"maxWallClockTime": NO_LIMIT, "retentionTime": "PT5M", "maxTaskRetryCount": 0},
        ),
        ({}, DEFAULTS),
        ({"constraints": {}}, DEFAULTS),
        ({"constraints": None}, DEFAULTS),
    ],
)
def test_an_update_replaces_the_constraints(body: object, constraints: object) -> None:
    """
    What it leaves out has its default again; it is a change, but not of the state.
    """
    service = make_service()
    task = {"id": "a", "commandLine": "x", "constraints": {"maxTaskRetryCount": 9}}
    answer_of(service, "POST", TASKS, orjson.dumps(task))
    before = shown(service)

    answer = answer_of(service, "PUT", at("/A"), orjson.dumps(body), now_s=NOW_S + 1)

    after = shown(service)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["ETag"] == after["eTag"] != before["eTag"]
    assert after["constraints"] == constraints
    assert after["lastModified"] == "2025-06-27T04:53:21.5Z"
    for same in ("creationTime", "state", "stateTransitionTime", "commandLine"):
        assert after[same] == before[same]
    assert "previousState" not in after


@pytest.mark.parametrize(
    ("body", "code", "name"),
    [
        (b"", "InvalidRequestBody", None),
        (b"[]", "InvalidRequestBody", None),
        (b'{"constraints":[]}', "InvalidPropertyValue", "constraints"),
        (b'{"constraints":""}', "InvalidPropertyValue", "constraints"),
        (b'{"constraints":0}', "InvalidPropertyValue", "constraints"),
        (b'{"constraints":{"retentionTime":"1 h"}}', "InvalidPropertyValue", "retentionTime"),
        (
            b'{"constraints":{"maxTaskRetryCount":-2}}',
            "InvalidPropertyValue",
            "maxTaskRetryCount",
        ),
        (b'{"constraints":{"retries":1}}', "UnsupportedProperty", "retries"),
        (b'{"commandLine":"y"}', "UnsupportedProperty", "commandLine"),
    ],
)
def test_an_update_that_is_wrong(body: bytes, code: str, name: str | None) -> None:
    """
    Only constraints can be updated, by the rules they have in a new task.
    """
    service = make_service()
    add(service, make_body("a"))
    before = shown(service)

    answer = answer_of(service, "PUT", at("/a"), body, now_s=NOW_S + 1)

    status, found, values = error_of(answer)
    assert (status, found, values.get("PropertyName")) == (400, code, name)
    assert shown(service) == before


def test_a_terminated_task_has_failed() -> None:
    """
    It is complete, as a failure that says so, and tells what it was before.
    """
    service = make_service(switches=AT_ONCE)
    add(service, make_body("a", "b"))

    answer = answer_of(service, "POST", at("/A/terminate"), now_s=NOW_S + 1)

    task, ended = shown(service), "2025-06-27T04:53:21.5Z"
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["ETag"] == task["eTag"]
    assert "Transfer-Encoding" not in answer.headers
    assert (task["state"], task["previousState"]) == ("completed", "active")
    assert task["previousStateTransitionTime"] == task["creationTime"]
    assert task["stateTransitionTime"] == task["lastModified"] == ended
    assert task["executionInfo"] == {
        "endTime": ended,
        "failureInfo": {
            "category": "UserError",
            "code": "TaskEnded",
            "message": "Task Was Ended by User Request",
        },
        "retryCount": 0,
        "requeueCount": 0,
        "result": "failure",
    }
    assert counts(service, now_s=NOW_S + 1) == (1, 1, 0, 1)


def test_a_failed_task_is_active_again() -> None:
    """
    Reactivated, it is as it was before it was terminated, with the constraints it was updated to.
    """
    service = make_service(switches=AT_ONCE)
    add(service, make_body("a"))
    answer_of(service, "PUT", at("/a"), b'{"constraints":{"maxTaskRetryCount":4}}')
    answer_of(service, "POST", at("/a/terminate"), now_s=NOW_S + 1)

    answer = answer_of(service, "POST", at("/a/reactivate"), now_s=NOW_S + 2)

    task = shown(service)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["ETag"] == task["eTag"]
    assert (task["state"], task["previousState"]) == ("active", "completed")
    assert task["previousStateTransitionTime"] == "2025-06-27T04:53:21.5Z"
    assert task["executionInfo"] == {"retryCount": 0, "requeueCount": 0}
    assert task["constraints"]["maxTaskRetryCount"] == 4
    assert counts(service, now_s=NOW_S + 2) == (1, 0, 0, 0)


def test_what_is_no_use_with_a_task_in_its_state() -> None:
    """
    A completed task is not updated or terminated, an active or a successful one not reactivated.
    """
    service = make_service()
    add(service, make_body("active", "failed"))
    answer_of(service, "POST", at("/failed/terminate"))
    service.job("j1").add("done", b'{"id":"done","commandLine":"x"}', ticks=0, completed=True)

    refused = {
        ("PUT", "/failed", b"{}"): "TaskCompleted",
        ("PUT", "/done", b"{}"): "TaskCompleted",
        ("POST", "/failed/terminate", b""): "TaskCompleted",
        ("POST", "/done/terminate", b""): "TaskCompleted",
        ("POST", "/active/reactivate", b""): "TaskNotCompleted",
        ("POST", "/done/reactivate", b""): "TaskSucceeded",
    }
    for (method, path, body), code in refused.items():
        assert error_of(answer_of(service, method, at(path), body)) == (409, code, {})


@pytest.mark.parametrize("end", [None, "terminate"])
def test_a_deleted_task_leaves_its_id(end: str | None) -> None:
    """
    Whatever its state, it is gone from GET, list and counts, and its ID is free at once: the new
    task of that ID knows nothing of the old one.
    """
    service = make_service(switches=AT_ONCE)
    add(service, make_body("a", "b"))
    answer_of(service, "GET", TASKS)  # So that the ID is sorted in by now.
    if end:
        answer_of(service, "POST", at(f"/a/{end}"))

    deleted = answer_of(service, "DELETE", at("/A"))

    assert (deleted.status, deleted.body) == (200, b"")
    assert "ETag" not in deleted.headers
    assert error_of(answer_of(service, "GET", at("/a")))[:2] == (404, "TaskNotFound")
    assert ids_listed(service) == ["b"]
    assert counts(service) == (1, 0, 0, 0)

    assert statuses(add(service, make_body("A"))) == {"A": "Success"}
    assert ids_listed(service) == ["A", "b"]
    assert shown(service)["state"] == "active"
    assert "previousState" not in shown(service)
    assert counts(service) == (2, 0, 0, 0)


def ids_listed(service: Service) -> list[str]:
    page = orjson.loads(answer_of(service, "GET", TASKS).body)
    return [each["id"] for each in page["value"]]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("POST", "/terminate"),
        ("POST", "/reactivate"),
    ],
)
def test_a_task_that_does_not_exist(method: str, path: str) -> None:
    """
    Whatever is asked of it: TaskNotFound; and of a job that does not exist JobNotFound.
    """
    service = make_service()
    target = at(f"/a{path}")

    assert error_of(answer_of(service, method, target)) == (404, "TaskNotFound", {})
    other = answer_of(service, method, target.replace("j1", "j2"))
    assert error_of(other) == (404, "JobNotFound", {})


@pytest.mark.parametrize(
    ("how", "state"), [("terminate", "completed"), ("delete", "active"), ("leave", "active")]
)
def test_the_last_task_of_a_job_that_waits_for_it(how: str, state: str) -> None:
    """
    Terminating it completes the job; deleting it does not.
    """
    service = make_service()
    add(service, make_body("a"))
    answer_of(service, "PATCH", f"/jobs/j1?{VERSION}", b'{"onAllTasksComplete":"terminatejob"}')

    if how == "terminate":
        answer_of(service, "POST", at("/a/terminate"))
    elif how == "delete":
        answer_of(service, "DELETE", at("/a"))

    job = orjson.loads(answer_of(service, "GET", f"/jobs/j1?{VERSION}").body)
    assert job["state"] == state


def test_a_deleted_task_is_not_waited_for() -> None:
    """
    If all that are left are complete, deleting the last active one completes the job.
    """
    service = make_service()
    add(service, make_body("a", "b"))
    answer_of(service, "PATCH", f"/jobs/j1?{VERSION}", b'{"onAllTasksComplete":"terminatejob"}')
    answer_of(service, "POST", at("/b/terminate"))

    answer_of(service, "DELETE", at("/a"))

    assert service.job("j1").state == "completed"


# --- Counts ----------------------------------------------------------------------------------


def test_counts_lag_behind() -> None:
    """
    What happened less than counts_lag_s ago is not counted yet, be it adding or ending.
    """
    service = make_service(switches=Switches(counts_lag_s=2.0))
    for second, (method, path, body) in enumerate(
        [
            ("POST", "", b'{"id":"a","commandLine":"x"}'),
            ("POST", "", b'{"id":"b","commandLine":"x"}'),
            ("POST", "/a/terminate", b""),
            ("DELETE", "/b", b""),
        ]
    ):
        answer_of(service, method, at(path), body, now_s=NOW_S + second)

    seen = [counts(service, now_s=NOW_S + after_s) for after_s in (1.9, 2, 2.9, 3, 4, 4.9, 5, 99)]

    nothing, one, two = (0, 0, 0, 0), (1, 0, 0, 0), (2, 0, 0, 0)
    assert seen == [nothing, one, one, two, (1, 1, 0, 1), (1, 1, 0, 1), (0, 1, 0, 1), (0, 1, 0, 1)]


def test_slots_are_counted_by_what_tasks_need() -> None:
    """
    A task needs one slot unless it says how many, in each of its states.
    """
    service = make_service(switches=AT_ONCE)
    tasks = [
        {"id": "one", "commandLine": "x"},
        {"id": "three", "commandLine": "x", "requiredSlots": 3},
        {"id": "seven", "commandLine": "requiredSlots", "requiredSlots": 7},
        {"id": "null", "commandLine": "x", "requiredSlots": None},
    ]
    add(service, orjson.dumps({"value": tasks}))
    assert counts(service, of="taskSlotCounts") == (12, 0, 0, 0)

    answer_of(service, "POST", at("/three/terminate"))
    assert counts(service, of="taskSlotCounts") == (9, 3, 0, 3)
    answer_of(service, "DELETE", at("/seven"))
    assert counts(service, of="taskSlotCounts") == (2, 3, 0, 3)
    answer_of(service, "POST", at("/three/reactivate"))
    assert counts(service, of="taskSlotCounts") == (5, 0, 0, 0)
    assert counts(service) == (3, 0, 0, 0)


def test_counts_of_a_long_flood_are_kept_in_few() -> None:
    """
    However many requests a second there are, the counts of a moment ago are about right, and
    those of long ago are forgotten.
    """
    job = make_service().job("j1")
    for tick in range(30_000):  # A hundred a second, for five minutes.
        job.add(f"t{tick}", b"", ticks=0)
        job.note_counts(ticks=tick * 100_000)

    for ago_s in (0, 0.5, 10, 119):
        tasks, _ = job.counts_at((29_999 - int(ago_s * 100)) * 100_000)
        assert abs(30_000 - ago_s * 100 - tasks.active) <= 11
    assert job.counts_at(150 * 10_000_000) == (Counts(), Counts())
