"""Tasks by the hundred, by each client's own bulk call."""

from collections import Counter
from typing import Any

import orjson
import pytest

from bulksubmit.core.taskcompare import differences
from bulksubmit.emulator import Service
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import TaskFault
from tests.clients.client import Client, Raised
from tests.core.whole_task import WHOLE, encode

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TASKS = [{"id": f"t{n:04}", "commandLine": f"echo {n}"} for n in range(1250)]

# What WHOLE leaves out, as it excludes what WHOLE has.
OTHER: dict[str, Any] = {
    "id": "task-2",
    "commandLine": "true",
    "userIdentity": {"username": "me"},
    "containerSettings": {
        "imageName": "ubuntu",
        "registry": {"identityReference": {"resourceId": "/subscriptions/s/identities/i"}},
    },
}
# What a client's models do not have, by the names on the wire: of a version of the API before
# 2024-07-01.20.0, or of one after it.
LACKING = {
    "azure-batch-14": {"containerHostBatchBindMounts"},
    "azure-batch-15": {"authenticationTokenSettings"},
    "azure-batch-15-aio": {"authenticationTokenSettings"},
    "azure-batch-10-for-node": {"containerHostBatchBindMounts"},
}

API_VERSIONS = {
    "azure-batch-14": "2024-02-01.19.0",
    "azure-batch-15": "2025-06-01",
    "azure-batch-15-aio": "2025-06-01",
    "azure-batch-10-for-node": "2022-10-01.16.0",
}


def without(value: Any, names: set[str]) -> Any:
    """A copy that leaves out members, wherever they are."""
    match value:
        case dict():
            return {name: without(each, names) for name, each in value.items() if name not in names}
        case list():
            return [without(each, names) for each in value]
        case _:
            return value


@pytest.mark.parametrize("parallel", [0, 4])
async def test_thousands_of_tasks(client: Client, service: Service, parallel: int) -> None:
    """
    All tasks arrive as they were given, a hundred a request, and one that exists is as good as
    added.
    """
    job = service.create_job("night-1")
    job.add("T0007", b'{"id":"T0007","commandLine":"mine"}', ticks=1)

    results = await client("add_tasks", job_id="night-1", tasks=TASKS, parallel=parallel)

    statuses = {each["taskId"].lower(): each["status"].lower() for each in results}
    assert statuses.pop("t0007") == "clienterror"
    assert set(statuses.values()) == {"success"}
    assert len(job) == len(results) == 1250
    ours = sorted(body for body in job.bodies() if b"mine" not in body)
    assert [*map(orjson.loads, ours)] == TASKS[:7] + TASKS[8:]
    assert service.record.by_operation[Operation.ADD_TASK_COLLECTION] == 13


async def test_what_is_sent(
    client: Client, client_name: str, service: Service, heads: list[Call]
) -> None:
    """
    Each client speaks the version of the API that it was made for, and names the body's type as
    the signature's rules want it.
    """
    service.create_job("night-1")

    await client("add_tasks", job_id="night-1", tasks=TASKS[:1])

    (head,) = heads
    assert head.target.parameter("api-version") == API_VERSIONS[client_name]
    assert head.headers["content-type"].startswith("application/json; odata=minimalmetadata")
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize("added", [False, True])
async def test_a_server_error_at_first(
    client: Client,
    client_name: str,
    service: Service,
    first_faults: dict[str, TaskFault],
    *,
    added: bool,
) -> None:
    """
    azure-batch 14 sends a task again that the service could not add, and is content when it then
    exists. azure-batch 15 takes it for added: it compares the status with "servererror", and on
    the wire it is "ServerError". The client for node leaves it to its user.
    """
    job = service.create_job("night-1")
    first_faults["t0003"] = TaskFault("ServerError", "InternalError", added=added)

    results = await client("add_tasks", job_id="night-1", tasks=TASKS[:150], parallel=2)

    statuses = Counter(each["status"].lower() for each in results)
    if client_name == "azure-batch-14":
        last = {"clienterror": 1} if added else {}
        assert statuses == {"success": 150 - added} | last
        assert len(job) == 150
    else:
        assert statuses == {"success": 149, "servererror": 1}
        assert len(job) == 149 + added


async def test_a_task_that_is_refused(client: Client, client_name: str, service: Service) -> None:
    """
    azure-batch 14 adds the others, then raises with what the service said. azure-batch 15 takes
    the task for added, as with a server error.
    """
    job = service.create_job("night-1")
    bad = {"id": "bad", "commandLine": "true", "resourceFiles": [{"httpUrl": "fake.url"}]}
    tasks = [*TASKS[:150], bad]

    if client_name == "azure-batch-14":
        with pytest.raises(Raised) as caught:
            await client("add_tasks", job_id="night-1", tasks=tasks)
        assert caught.value.type == "CreateTasksErrorException"
        (result,) = caught.value.told["failed"]
        assert (caught.value.told["pending"], caught.value.told["errors"]) == ([], [])
    else:
        results = await client("add_tasks", job_id="night-1", tasks=tasks)
        (result,) = (each for each in results if each["taskId"] == "bad")

    assert result["status"].lower() == "clienterror"
    assert result["error"]["code"] == "InvalidPropertyValue"
    assert result["error"]["message"]["value"].startswith("The value provided for one of")
    assert len(job) == 150


async def test_requests_that_are_too_large(
    client: Client, client_name: str, service: Service
) -> None:
    """
    The Python clients halve a request that is answered with a 413, and send no larger ones from
    then on. The client for node leaves it to its user.
    """
    job = service.create_job("night-1")
    tasks = [{"id": f"t{n}", "commandLine": "x" * 25_000} for n in range(100)]

    if client_name == "azure-batch-10-for-node":
        with pytest.raises(Raised) as caught:
            await client("add_tasks", job_id="night-1", tasks=tasks)
        assert caught.value.told["status"] == 413
        assert caught.value.told["code"] == "RequestBodyTooLarge"
    else:
        await client("add_tasks", job_id="night-1", tasks=tasks)
        assert len(job) == 100
        # 2.5 MB are refused, so are 1.25; then there are four requests of 25 tasks.
        assert service.record.by_operation[Operation.ADD_TASK_COLLECTION] == 6


async def test_every_field(client: Client, client_name: str, service: Service) -> None:
    """
    Every field of every model that the client has for a task arrives, and comes back as it was.
    """
    properties = {
        "usesTaskDependencies": True,
        "onTaskFailure": "performexitoptionsjobaction",
    }
    job = service.create_job("night-1", properties=properties)
    tasks = [without(task, LACKING[client_name]) for task in (WHOLE, OTHER)]

    small = await client("unset_in_tasks", tasks=TASKS[:1])
    unset = await client("unset_in_tasks", tasks=tasks)
    results = await client("add_tasks", job_id="night-1", tasks=tasks)
    shown = [await client("get_task", job_id="night-1", task_id=task["id"]) for task in tasks]

    assert len(small) > 5
    assert unset == []
    assert [each["status"].lower() for each in results] == ["success"] * 2
    for task, read in zip(tasks, shown, strict=True):
        stored = job.task(task["id"])
        assert stored
        assert differences(encode(task), stored.body) == ()
        assert differences(encode(task), encode(read)) == ()
