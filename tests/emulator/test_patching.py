"""Jobs are patched, and complete once their tasks are."""

from typing import Any

import orjson
import pytest

from bulksubmit.emulator import Faults, JobState, Service, Switches
from tests.emulator.calls import ADD, VERSION, add, answer_of, error_of, make_body, make_service

JOB = f"/jobs/j1?{VERSION}"
TERMINATE: dict[str, Any] = {"onAllTasksComplete": "terminateJob"}
NO_ACTION: dict[str, Any] = {"onAllTasksComplete": "noaction"}
MANAGER = {"jobManagerTask": {"id": "manager", "commandLine": "x"}}


def patch(service: Service, sent: object, *, now_s: float = 1_751_000_100.0) -> tuple[Any, ...]:
    """Status, code and values; code and values are empty for a patch that is taken."""
    answer = answer_of(service, "PATCH", JOB, orjson.dumps(sent), now_s=now_s)
    return (200, "", {}) if answer.status == 200 else error_of(answer)


def shown(service: Service) -> dict[str, Any]:
    job: dict[str, Any] = orjson.loads(answer_of(service, "GET", JOB).body)
    return job


def test_a_patch_replaces_what_it_gives() -> None:
    """The rest stays, nulls too; lastModified and the ETag change, creationTime does not."""
    service = make_service()
    before = shown(service)
    sent = {"priority": 100, "constraints": {"maxWallClockTime": "PT1H"}, "metadata": None}

    answer = answer_of(service, "PATCH", JOB, orjson.dumps(sent), now_s=1_751_000_100.0)

    after = shown(service)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["ETag"] == after["eTag"] != before["eTag"]
    assert after["lastModified"] != before["lastModified"]
    assert after["priority"] == 100
    assert after["constraints"] == {"maxWallClockTime": "PT1H", "maxTaskRetryCount": 0}
    for same in ("creationTime", "poolInfo", "onAllTasksComplete", "state"):
        assert after[same] == before[same]
    assert "metadata" not in after


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"name": "x"}, "UnsupportedProperty"),
        ({"usesTaskDependencies": True}, "UnsupportedProperty"),
        ({"id": "j2"}, "UnsupportedProperty"),
        ({"onAllTasksComplete": "stop"}, "InvalidPropertyValue"),
        ({"onAllTasksComplete": True}, "InvalidPropertyValue"),
        ({"priority": 1001}, "InvalidPropertyValue"),
        ({"priority": True}, "InvalidPropertyValue"),
        ({"metadata": {}}, "InvalidPropertyValue"),
        ([], "InvalidRequestBody"),
    ],
)
def test_a_bad_patch_changes_nothing(sent: object, code: str) -> None:
    """A patch is taken whole or not at all."""
    service = make_service()
    before = shown(service)

    found = patch(service, {"priority": 5, **sent} if isinstance(sent, dict) else sent)

    assert found[:2] == (400, code)
    if isinstance(sent, dict):
        assert found[2]["PropertyName"] in sent
    assert shown(service) == before


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (JobState.TERMINATING, "JobBeingTerminated"),
        (JobState.COMPLETED, "JobCompleted"),
        (JobState.DELETING, "JobBeingDeleted"),
    ],
)
def test_a_job_that_is_over_is_not_patched(state: JobState, code: str) -> None:
    """Each state has its code."""
    service = make_service()
    service.job("j1").state = state

    assert patch(service, {"priority": 1}) == (409, code, {})


def test_the_pool_changes_only_while_the_job_is_disabled() -> None:
    """The reference says so; the code is the emulator's choice."""
    service = make_service()
    sent = {"poolInfo": {"poolId": "other"}}

    assert patch(service, sent) == (409, "OperationInvalidForCurrentState", {})
    service.job("j1").state = JobState.DISABLED
    assert patch(service, sent) == (200, "", {})
    assert shown(service)["poolInfo"] == {"poolId": "other"}


def test_terminatejob_is_final_unless_told_otherwise() -> None:
    """The reference: from terminatejob there is no way back; a switch opens one."""
    for final in (True, False):
        switches = Switches(auto_terminate="final" if final else "revocable")
        service = make_service(switches=switches)
        add(service, make_body("a"))

        assert patch(service, TERMINATE) == (200, "", {})
        assert patch(service, TERMINATE) == (200, "", {})
        status, code, values = patch(service, NO_ACTION)

        if final:
            assert (status, code) == (400, "InvalidPropertyValue")
            assert values["PropertyName"] == "onAllTasksComplete"
        assert (status == 200) != final
        assert shown(service)["onAllTasksComplete"] == ("terminatejob" if final else "noaction")


def test_a_job_without_tasks_completes_at_once() -> None:
    """With terminatejob, be it created so or patched; unless it has a manager, which is a task."""
    service = make_service()
    created = service.create_job("j2", properties=TERMINATE)
    managed = service.create_job("j3", properties=TERMINATE | MANAGER)

    patch(service, TERMINATE)

    assert created.state is service.job("j1").state is JobState.COMPLETED
    assert managed.state is JobState.ACTIVE
    job = shown(service)
    assert (job["state"], job["executionInfo"]["terminateReason"]) == (
        "completed",
        "AllTasksComplete",
    )
    assert error_of(answer_of(service, "POST", ADD, make_body("a")))[:2] == (409, "JobCompleted")


def test_a_job_completes_between_two_requests() -> None:
    """Once its tasks are complete it takes no more; with noaction it does."""
    service = make_service()
    job = service.job("j1")
    add(service, make_body("a", "b"))
    job.complete_tasks(ticks=0)
    assert job.state is JobState.ACTIVE
    add(service, make_body("c"))
    patch(service, TERMINATE)
    assert job.state is JobState.ACTIVE

    job.complete_tasks(ticks=0)

    assert error_of(answer_of(service, "POST", ADD, make_body("d")))[:2] == (409, "JobCompleted")
    assert len(job) == 3


def test_tasks_that_run_at_once() -> None:
    """The first collection completes a job with terminatejob; its tasks show what they did."""
    service = make_service(faults=Faults(run_tasks=True))
    job = service.create_job("j2", properties=TERMINATE | MANAGER)
    target = ADD.replace("j1", "j2")

    first = answer_of(service, "POST", target, make_body("a"))
    second = answer_of(service, "POST", target, make_body("b"))

    assert (first.status, error_of(second)[1]) == (200, "JobCompleted")
    assert job.state is JobState.COMPLETED
    task = orjson.loads(answer_of(service, "GET", f"/jobs/j2/tasks/a?{VERSION}").body)
    assert (task["state"], task["executionInfo"]["exitCode"]) == ("completed", 0)
    assert (task["commandLine"], task["creationTime"]) == ("echo a", task["lastModified"])


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ({"usesTaskDependencies": "yes"}, "InvalidPropertyValue"),
        ({"onTaskFailure": "stop"}, "InvalidPropertyValue"),
        ({"usesTaskDependancies": True}, "UnsupportedProperty"),
    ],
)
def test_a_job_is_created_by_the_rules(sent: dict[str, Any], code: str) -> None:
    """A new job's properties are looked at as well."""
    body = orjson.dumps({"id": "j2", "poolInfo": {"poolId": "p"}} | sent)

    assert error_of(answer_of(make_service(), "POST", f"/jobs?{VERSION}", body))[:2] == (400, code)


def test_a_job_shows_how_it_was_created() -> None:
    """Words come back in the service's own case."""
    service = make_service()
    sent = {"usesTaskDependencies": True, "onTaskFailure": "performExitOptionsJobAction"}
    service.create_job("j2", properties=sent)

    job = orjson.loads(answer_of(service, "GET", f"/jobs/j2?{VERSION}").body)

    assert (job["usesTaskDependencies"], job["onTaskFailure"], job["onAllTasksComplete"]) == (
        True,
        "performexitoptionsjobaction",
        "noaction",
    )
