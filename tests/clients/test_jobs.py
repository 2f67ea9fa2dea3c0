"""The life of a job, from each client's calls."""

from typing import Any

import pytest

from bulksubmit.emulator import Service
from bulksubmit.emulator.exchange import Call
from bulksubmit.emulator.store import JobState
from tests.clients.client import Client, Raised
from tests.clients.conftest import Clock

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

JOB: dict[str, Any] = {
    "id": "night-1",
    "displayName": "The first",
    "priority": 100,
    "maxParallelTasks": 7,
    "usesTaskDependencies": True,
    "constraints": {"maxWallClockTime": "P1D", "maxTaskRetryCount": 3},
    "commonEnvironmentSettings": [{"name": "MODE", "value": "fast"}],
    "poolInfo": {"poolId": "pool-1"},
    "onAllTasksComplete": "noaction",
    "onTaskFailure": "performexitoptionsjobaction",
    "metadata": [{"name": "owner", "value": "me"}],
}


async def test_added_and_shown(client: Client, client_name: str, service: Service) -> None:
    """
    A job is added as the client describes it, and shown with all that was said. What was not
    selected is not there, but for a default that one client fills in itself.
    """
    await client("create_job", job=JOB)
    shown = await client("get_job", job_id="NIGHT-1")
    some = await client("get_job", job_id="night-1", select="id,state,priority")

    job = service.job("night-1")
    assert dict(job.properties) == {name: JOB[name] for name in JOB if name != "id"}
    assert {name: shown[name] for name in JOB} == JOB
    assert shown["state"] == "active"
    assert shown["executionInfo"]["poolId"] == "pool-1"
    filled_in = {"maxParallelTasks": -1} if client_name == "azure-batch-10-for-node" else {}
    assert some == {"id": "night-1", "state": "active", "priority": 100} | filled_in


async def test_a_timeout(
    client: Client, client_name: str, service: Service, heads: list[Call]
) -> None:
    """
    The newest client calls the query's parameter timeOut, and signs it so; by the signature's
    rules it is to be signed as timeout.
    """
    service.create_job("night-1")

    shown = await client("get_job", job_id="night-1", timeout=20)

    (head,) = heads
    name = "timeOut" if client_name.startswith("azure-batch-15") else "timeout"
    assert (name, "20") in head.target.query
    assert shown["id"] == "night-1"


async def test_changed(client: Client, service: Service) -> None:
    """
    A patch replaces what it names, constraints as a whole; an update replaces all that can be
    changed, by the defaults where it names nothing. Recorded: azure-cli,
    test_batch_jobs_and_tasks, 2024-10-24.
    """
    service.create_job("night-1", properties={name: JOB[name] for name in JOB if name != "id"})

    await client("patch_job", job_id="night-1", job={"priority": -5})
    patched = await client("get_job", job_id="night-1")
    constraints = {"maxWallClockTime": "PT1H"}
    await client("patch_job", job_id="night-1", job={"constraints": constraints})
    constrained = await client("get_job", job_id="night-1")
    await client("update_job", job_id="night-1", job={"poolInfo": JOB["poolInfo"]})
    updated = await client("get_job", job_id="night-1")

    assert (patched["priority"], patched["constraints"]) == (-5, JOB["constraints"])
    assert patched["metadata"] == JOB["metadata"]
    assert constrained["constraints"] == {**constraints, "maxTaskRetryCount": 0}
    assert patched["eTag"] != updated["eTag"]
    assert updated["priority"] == 0
    assert "metadata" not in updated
    assert updated["constraints"]["maxTaskRetryCount"] == 0
    # What an update cannot name stays: REST reference, JobUpdateParameter.
    assert updated["displayName"] == JOB["displayName"]
    assert updated["usesTaskDependencies"]


async def test_disabled_and_enabled(client: Client, service: Service, clock: Clock) -> None:
    """
    A job is disabled and enabled again, which takes the service a moment each time. The Python
    clients of the newest generation wait for it.
    """
    job = service.create_job("night-1")

    await client("disable_job", job_id="night-1", disable_tasks="requeue")
    clock.pass_by(1)
    disabled = await client("get_job", job_id="night-1")
    await client("enable_job", job_id="night-1")
    clock.pass_by(1)
    enabled = await client("get_job", job_id="night-1")

    assert (disabled["state"], disabled["previousState"]) == ("disabled", "disabling")
    assert (enabled["state"], enabled["previousState"]) == ("active", "enabling")
    assert job.state is JobState.ACTIVE


async def test_terminated(client: Client, service: Service, clock: Clock) -> None:
    """
    A terminated job is completed after a moment, says why, and takes no more tasks.
    """
    service.create_job("night-1")

    await client("terminate_job", job_id="night-1", reason="enough")
    clock.pass_by(1)
    job = await client("get_job", job_id="night-1")
    with pytest.raises(Raised) as caught:
        await client("add_task", job_id="night-1", task={"id": "t1", "commandLine": "true"})

    assert job["state"] == "completed"
    assert job["executionInfo"]["terminateReason"] == "enough"
    assert (caught.value.told["status"], caught.value.told["code"]) == (409, "JobCompleted")


async def test_deleted(client: Client, service: Service, clock: Clock) -> None:
    """
    A deleted job is gone after a moment, and then its ID is free.
    """
    service.create_job("night-1")

    await client("delete_job", job_id="night-1")
    clock.pass_by(1)
    with pytest.raises(Raised) as caught:
        await client("get_job", job_id="night-1")
    await client("create_job", job=JOB)

    assert (caught.value.told["status"], caught.value.told["code"]) == (404, "JobNotFound")
    assert (await client("get_job", job_id="night-1"))["priority"] == 100
