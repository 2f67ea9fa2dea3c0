"""The same over HTTPS, with a certificate that the clients are told to trust."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bulksubmit.emulator import Service
from bulksubmit.emulator.entra import Authority
from tests.clients.client import Client, running
from tests.clients.conftest import Clock

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

TASKS = [{"id": f"t{n:03}", "commandLine": f"echo {n}"} for n in range(250)]


@pytest.fixture
def scheme() -> str:
    return "https"


@pytest_asyncio.fixture(loop_scope="session")
async def client(
    command: list[str], account: dict[str, str], trust: dict[str, str]
) -> AsyncIterator[Client]:
    """A client of its own, as some learn at their start whom they trust."""
    async with running(command, trust) as client:
        await client("connect", **account)
        yield client


async def test_a_night(client: Client, service: Service, clock: Clock) -> None:
    """
    A job from its creation to its deletion. The links from page to page are https as well, or
    the service would not be found.
    """
    await client("create_job", job={"id": "night-1", "poolInfo": {"poolId": "pool-1"}})
    results = await client("add_tasks", job_id="night-1", tasks=TASKS, parallel=2)
    pages = await client("list_tasks", job_id="night-1", filter="id ge 't1'", max_results=60)
    clock.pass_by(60)
    counts = await client("count_tasks", job_id="night-1")
    job = service.job("night-1")
    await client("delete_job", job_id="night-1")

    assert {each["status"].lower() for each in results} == {"success"}
    assert {each["location"].split(":")[0] for each in results} == {"https"}
    assert [len(page) for page in pages] == [60, 60, 30]
    assert counts["taskCounts"]["active"] == len(job) == 250


async def test_a_token(
    client: Client, account: dict[str, str], authority: Authority, service: Service, clock: Clock
) -> None:
    """
    With a token of Entra instead of the key; once it has expired, the client is told that it
    may not.
    """
    service.create_job("night-1")
    await client("connect", **account, token=authority.token(now_s=clock()))
    results = await client("add_tasks", job_id="night-1", tasks=TASKS, parallel=2)
    (page,) = await client("list_tasks", job_id="night-1")
    clock.pass_by(3601)
    raised = await client.raised("get_job", job_id="night-1")

    assert len(page) == len(results) == 250
    assert (raised.told["status"], raised.told["code"]) == (401, "AuthenticationFailed")
