"""What the clients raise when the service refuses: the class, and the service's own code."""

import base64
from typing import Any

import pytest

from bulksubmit.emulator import Service
from bulksubmit.emulator.exchange import Operation
from tests.clients.client import Client

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TASK = {"id": "t1", "commandLine": "true"}
JOB = {"id": "night-1", "poolInfo": {"poolId": "pool"}}
EARLY, LATE = "2025-01-01T00:00:00Z", "2099-01-01T00:00:00Z"
# azure-batch 15 has a class for each of some statuses; the other clients have one for all.
ONE_CLASS = {"azure-batch-14": "BatchErrorException", "azure-batch-10-for-node": "Error"}
CLASSES = {
    304: "ResourceModifiedError",
    401: "ClientAuthenticationError",
    404: "ResourceNotFoundError",
    409: "ResourceExistsError",
    412: "ResourceModifiedError",
}


@pytest.fixture
def service(service: Service) -> Service:
    """An account with a job of one task."""
    service.create_job("night-1").add("t1", b'{"id":"t1","commandLine":"true"}', ticks=1)
    return service


def class_of(client_name: str, status: int) -> str:
    return ONE_CLASS.get(client_name) or CLASSES.get(status, "HttpResponseError")


async def test_codes(client: Client, client_name: str) -> None:
    """
    The client has the service's code of what it may not do, and its own class for it.
    """
    calls: dict[str, tuple[int, dict[str, Any]]] = {
        "TaskExists": (409, {"do": "add_task", "job_id": "night-1", "task": TASK}),
        "JobExists": (409, {"do": "create_job", "job": JOB}),
        "JobNotFound": (404, {"do": "get_job", "job_id": "night-0"}),
        "TaskNotFound": (404, {"do": "get_task", "job_id": "night-1", "task_id": "t0"}),
    }
    raised = {code: await client.raised(**call) for code, (_, call) in calls.items()}

    assert {code: each.told["code"] for code, each in raised.items()} == {c: c for c in calls}
    for code, (status, _) in calls.items():
        assert raised[code].told["status"] == status
        assert raised[code].type == class_of(client_name, status)


async def test_no_job_to_add_to(client: Client, client_name: str) -> None:
    """
    The bulk calls of the Python clients raise their own class, with the errors in it.
    """
    raised = await client.raised("add_tasks", job_id="night-0", tasks=[TASK])

    if client_name == "azure-batch-10-for-node":
        error = raised.told
    else:
        own = "CreateTasksErrorException" if client_name == "azure-batch-14" else "CreateTasksError"
        assert raised.type == own
        assert raised.told["pending"] == ["t1"]
        (error,) = raised.told["errors"]
    assert (error["status"], error["code"]) == (404, "JobNotFound")


async def test_a_wrong_key(
    client: Client, client_name: str, account: dict[str, str], service: Service
) -> None:
    """
    A wrong key is a 403, and not tried again.
    """
    await client("connect", **account | {"key": base64.b64encode(b"another key").decode()})
    raised = await client.raised("get_job", job_id="night-1")

    assert (raised.told["status"], raised.told["code"]) == (403, "AuthenticationFailed")
    assert raised.type == class_of(client_name, 403)
    assert service.record.by_operation[Operation.GET_JOB] == 1


async def test_conditions_to_change(client: Client, client_name: str, service: Service) -> None:
    """
    What was changed meanwhile is not changed or deleted, nor is what was to be changed only if it
    was changed meanwhile: a 412. For a date it is recorded: azure-cli, test_batch_jobs_and_tasks.
    """
    before = await client("get_job", job_id="night-1")
    job: dict[str, Any] = {"job_id": "night-1", "job": {"priority": 1}}
    await client("patch_job", **job, if_match=before["eTag"])

    etag = await client.raised("patch_job", **job, if_match=before["eTag"])
    date = await client.raised("delete_job", job_id="night-1", if_unmodified_since=EARLY)
    task = await client.raised("delete_task", job_id="night-1", task_id="t1", if_match="0x8DD")
    now = await client("get_job", job_id="night-1")
    same = await client.raised("patch_job", **job, if_none_match=now["eTag"])

    for raised in (etag, date, task, same):
        assert (raised.told["status"], raised.told["code"]) == (412, "ConditionNotMet")
    assert etag.type == class_of(client_name, 412)
    assert len(service.job("night-1")) == 1


async def test_conditions_to_read(client: Client) -> None:
    """
    What has not changed is not sent again: a 304, which has no body and so no code.
    """
    task: dict[str, Any] = {"job_id": "night-1", "task_id": "t1"}
    etag = (await client("get_task", **task))["eTag"]

    same = await client.raised("get_task", **task, if_none_match=etag)
    old = await client.raised("get_job", job_id="night-1", if_modified_since=LATE)
    changed = await client("get_task", **task, if_none_match="0x8DD")
    newer = await client("get_job", job_id="night-1", if_modified_since="2024-01-01T00:00:00Z")

    assert [each.told["status"] for each in (same, old)] == [304, 304]
    assert (changed["id"], newer["id"]) == ("t1", "night-1")
