"""bulksubmit.compat in programs that have azure-batch 15.1: its clients, models and exceptions."""

import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bulksubmit.emulator import Service
from bulksubmit.emulator.entra import Authority
from bulksubmit.emulator.exchange import Call, Operation
from bulksubmit.emulator.faults import Faults, TaskFault
from tests.clients.client import Client, running
from tests.clients.conftest import Clock
from tests.clients.published import azure_batch_15, azure_batch_15_compat

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TASKS = [{"id": f"t{n:04}", "commandLine": f"echo {n}"} for n in range(1250)]
FLAVOURS = [pytest.param("sync", marks=pytest.mark.thorough), "aio"]


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=FLAVOURS)
async def connected(request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    """A program that has switched, with a client of either kind."""
    command, variables = azure_batch_15_compat(request.param)
    async with running(command, variables) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def client(connected: Client, account: dict[str, str]) -> Client:
    """It, told of the account."""
    await connected("connect", **account)
    return connected


@pytest.mark.parametrize("parallel", [None, 0, 4])
async def test_thousands_of_tasks(client: Client, service: Service, parallel: int | None) -> None:
    """
    All tasks arrive as they were given, a hundred a request; there is a result for each, in order,
    and what exists is no failure.
    """
    job = service.create_job("night-1")
    job.add("T0007", b'{"id":"T0007","commandLine":"mine"}', ticks=1)
    job.add("t0008", orjson.dumps(TASKS[8]), ticks=1)

    results = await client("add_tasks", job_id="night-1", tasks=TASKS, parallel=parallel)

    assert [each["taskId"] for each in results] == [task["id"] for task in TASKS]
    other, same = results.pop(7), results.pop(7)
    for each in (other, same):
        assert (each["status"], each["error"]["code"]) == ("clienterror", "TaskExists")
    assert [each["key"] for each in other["error"]["values"]] == ["commandLine"]
    assert same["error"]["values"] == []
    assert {each["status"] for each in results} == {"success"}
    assert results[0]["location"].endswith("/jobs/night-1/tasks/t0000")
    assert len(job) == 1250
    ours = sorted(body for body in job.bodies() if b"mine" not in body)
    assert [*map(orjson.loads, ours)] == TASKS[:7] + TASKS[8:]
    assert service.record.by_operation[Operation.ADD_TASK_COLLECTION] == 13


async def test_what_is_sent(client: Client, service: Service, heads: list[Call]) -> None:
    """
    The version of the API is the client's own.
    """
    service.create_job("night-1")

    await client("add_tasks", job_id="night-1", tasks=TASKS[:1])

    assert {head.target.parameter("api-version") for head in heads} == {"2025-06-01"}


@pytest.mark.parametrize("added", [False, True])
async def test_a_server_error_at_first(
    client: Client, service: Service, first_faults: dict[str, TaskFault], *, added: bool
) -> None:
    """
    However the wire spells it, it is sent again; if it was added all the same, it is ours.
    """
    job = service.create_job("night-1")
    first_faults["t0003"] = TaskFault("ServerError", "InternalError", added=added)

    results = await client("add_tasks", job_id="night-1", tasks=TASKS[:150], parallel=2)

    assert Counter(each["status"] for each in results) == {"success": 150}
    assert len(job) == 150


@pytest.mark.parametrize(
    "faults",
    [
        Faults(drop_after=0.3),
        Faults(missing=1.0, missing_share=0.1),
        pytest.param(Faults(throttled=0.3), marks=pytest.mark.thorough),
    ],
)
async def test_what_the_sdk_loses(client: Client, service: Service, faults: Faults) -> None:
    """
    Answers that are lost after the tasks were added, results that are missing, throttling.
    """
    job = service.create_job("night-1")
    service.faults = faults

    results = await client("add_tasks", job_id="night-1", tasks=TASKS[:600], parallel=4)

    assert [each["taskId"] for each in results] == [task["id"] for task in TASKS[:600]]
    assert {each["status"] for each in results} == {"success"}
    assert len(job) == 600


async def test_every_failure_and_nothing_else(
    client: Client, service: Service, first_faults: dict[str, TaskFault]
) -> None:
    """
    What the service refuses, what it would refuse, and what no request can hold are the failures
    of one exception; all other tasks are added.
    """
    job = service.create_job("night-1")
    first_faults["t0003"] = TaskFault("ClientError", "InvalidPropertyValue")
    more = [{"id": "bad id", "commandLine": "x"}, {"id": "large", "commandLine": "x" * 1_100_000}]

    raised = await client.raised("add_tasks", job_id="night-1", tasks=TASKS[:150] + more)

    assert raised.type == "CreateTasksError"
    assert str(raised).startswith("CreateTasksError: Multiple client side errors")
    assert (raised.told["pending"], raised.told["errors"]) == ([], [])
    codes = {each["taskId"]: each["error"]["code"] for each in raised.told["failed"]}
    assert codes == {
        "t0003": "InvalidPropertyValue",
        "bad id": "Invalid",
        "large": "RequestBodyTooLarge",
    }
    assert len(job) == 149


Change = Callable[[Service, dict[str, str]], dict[str, Any]]


def no_job(_service: Service, account: dict[str, str]) -> dict[str, Any]:
    return account | {"job_id": "night-0"}


def wrong_key(_service: Service, account: dict[str, str]) -> dict[str, Any]:
    return account | {"key": base64.b64encode(b"another key").decode()}


@pytest.mark.parametrize("change", [no_job, wrong_key])
@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_what_ends_it_is_what_the_sdk_says(
    account: dict[str, str], service: Service, flavour: str, change: Change
) -> None:
    """
    The same exception as the SDK's own method, with the same kind of error in it, the same status
    and code, and the same tasks pending.
    """
    service.create_job("night-1")
    given = {"job_id": "night-1"} | change(service, account)
    job_id = given.pop("job_id")
    command, variables = azure_batch_15_compat(flavour)
    async with running(azure_batch_15(flavour)) as theirs, running(command, variables) as ours:
        told = []
        for client in (theirs, ours):
            await client("connect", **given)
            raised = await client.raised("add_tasks", job_id=job_id, tasks=TASKS[:3])
            (error,) = raised.told["errors"]
            error.pop("values")
            assert raised.told["failed"] == []
            told.append((raised.type, error, sorted(raised.told["pending"])))

    assert told[0] == told[1]
    assert told[1][2] == ["t0000", "t0001", "t0002"]


async def test_a_token(
    client: Client, account: dict[str, str], authority: Authority, service: Service, clock: Clock
) -> None:
    """
    With a token of Entra instead of the key, from a credential that blocks or one that does not.
    """
    service.create_job("night-1")
    await client("connect", **account, token=authority.token(now_s=clock()))

    results = await client("add_tasks", job_id="night-1", tasks=TASKS[:250], parallel=2)

    assert len(results) == len(service.job("night-1")) == 250


async def test_a_token_that_is_refused(
    client: Client, account: dict[str, str], service: Service
) -> None:
    """
    The SDK's exception, with azure-core's for it inside.
    """
    service.create_job("night-1")
    await client("connect", **account, token="no token")

    raised = await client.raised("add_tasks", job_id="night-1", tasks=TASKS[:3])

    (error,) = raised.told["errors"]
    assert (error["status"], error["code"]) == (401, "AuthenticationFailed")
