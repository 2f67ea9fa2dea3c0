"""The life of a single task, from each client's calls."""

from typing import Any

import pytest

from bulksubmit.emulator import Service
from tests.clients.client import Client, Raised

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TASK = {"id": "t1", "commandLine": "true", "constraints": {"maxTaskRetryCount": 2}}


@pytest.fixture
def service(service: Service) -> Service:
    """An account with a job."""
    service.create_job("night-1")
    return service


async def test_added_and_shown(client: Client) -> None:
    """
    A task is added, and shown as it was given with what the service fills in; IDs are found
    whatever their case.
    """
    await client("add_task", job_id="night-1", task=TASK)
    task = await client("get_task", job_id="NIGHT-1", task_id="T1")
    some = await client("get_task", job_id="night-1", task_id="t1", select="id,state")

    assert {name: task[name] for name in ("id", "commandLine", "state")} == {
        "id": "t1",
        "commandLine": "true",
        "state": "active",
    }
    assert task["constraints"]["maxTaskRetryCount"] == 2
    assert task["executionInfo"]["retryCount"] == 0
    assert some == {"id": "t1", "state": "active"}


async def test_its_life(client: Client) -> None:
    """
    A task gets other constraints, is terminated, made active again, and deleted.
    """
    names: dict[str, Any] = {"job_id": "night-1", "task_id": "t1"}
    await client("add_task", job_id="night-1", task=TASK)

    await client("update_task", **names, constraints={"maxTaskRetryCount": 5})
    updated = await client("get_task", **names)
    await client("terminate_task", **names)
    terminated = await client("get_task", **names)
    await client("reactivate_task", **names)
    active = await client("get_task", **names)
    await client("delete_task", **names)
    with pytest.raises(Raised) as caught:
        await client("get_task", **names)

    assert updated["constraints"]["maxTaskRetryCount"] == 5
    assert updated["lastModified"] > updated["creationTime"]
    assert (terminated["state"], terminated["previousState"]) == ("completed", "active")
    assert terminated["executionInfo"]["result"].lower() == "failure"
    assert terminated["executionInfo"]["failureInfo"]["code"] == "TaskEnded"
    assert (active["state"], active["previousState"]) == ("active", "completed")
    assert "result" not in active["executionInfo"]
    assert (caught.value.told["status"], caught.value.told["code"]) == (404, "TaskNotFound")


async def test_a_task_that_succeeded(client: Client, service: Service) -> None:
    """
    What succeeded is not made active again, and not terminated.
    """
    service.job("night-1").add("t1", b'{"id":"t1","commandLine":"true"}', ticks=1, completed=True)

    codes = []
    for call in ("reactivate_task", "terminate_task"):
        with pytest.raises(Raised) as caught:
            await client(call, job_id="night-1", task_id="t1")
        codes.append((caught.value.told["status"], caught.value.told["code"]))

    assert codes == [(409, "TaskSucceeded"), (409, "TaskCompleted")]
