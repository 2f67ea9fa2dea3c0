"""Lists, filters, pages and counts, as each client asks for them."""

from typing import Any

import pytest

from bulksubmit.core.wire import timestamp, to_ticks
from bulksubmit.emulator import Service
from tests.clients.client import Client, Raised
from tests.clients.conftest import Clock

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

EARLY_S, LATE_S = 1_735_689_600.0, 1_735_693_200.0  # An hour from one to the other.
EARLY, LATE = (f"DateTime'{timestamp(to_ticks(each))}'" for each in (EARLY_S, LATE_S))


@pytest.fixture
def service(service: Service) -> Service:
    """Eleven tasks: two of them are complete, and the last five came an hour after the others."""
    job = service.create_job("night-1", now_s=EARLY_S)
    for n in range(11):
        ticks = to_ticks(EARLY_S if n < 6 else LATE_S)
        name = f"{'ab'[n % 2]}{n:02}"
        body = f'{{"id":"{name}","commandLine":"echo {n}"}}'.encode()
        job.add(name, body, ticks=ticks, completed=n in {1, 8})
    return service


def ids(pages: list[list[dict[str, Any]]]) -> list[list[str]]:
    return [[each["id"] for each in page] for page in pages]


async def test_pages(client: Client) -> None:
    """
    The client follows the links from page to page, and each task comes once, in order.
    """
    pages = await client("list_tasks", job_id="night-1", max_results=4)

    assert ids(pages) == [
        ["a00", "a02", "a04", "a06"],
        ["a08", "a10", "b01", "b03"],
        ["b05", "b07", "b09"],
    ]


async def test_filters(client: Client) -> None:
    """
    Conditions on ID, state and time, together with pages: the links keep the filter.
    """
    expected = {
        "startswith(id,'B0')": ["b01", "b03", "b05", "b07", "b09"],
        "id eq 'a04'": ["a04"],
        "id ge 'a06' and id lt 'b03'": ["a06", "a08", "a10", "b01"],
        "startswith(id,'a') and id le 'a02' or id gt 'b05'": ["a00", "a02", "b07", "b09"],
        "state eq 'completed'": ["a08", "b01"],
        "state eq 'Active' and startswith(id,'b')": ["b03", "b05", "b07", "b09"],
        f"creationTime lt {LATE}": ["a00", "a02", "a04", "b01", "b03", "b05"],
        f"creationTime gt {EARLY} and state eq 'active'": ["a06", "a10", "b07", "b09"],
        "executionInfo/exitCode eq 0": ["a08", "b01"],
    }
    found = {}
    for text in expected:
        pages = await client("list_tasks", job_id="night-1", filter=text, max_results=3)
        found[text] = [task_id for page in ids(pages) for task_id in page]

    assert found == expected


async def test_some_members(client: Client) -> None:
    """
    What is not selected is not there, and the client is content with that.
    """
    given = {"filter": "startswith(id,'a0')", "select": "id,state"}
    (page,) = await client("list_tasks", job_id="night-1", **given)

    assert page[1] == {"id": "a02", "state": "active"}


async def test_a_filter_that_is_wrong(client: Client) -> None:
    """
    A filter that the service cannot read is a 400 that names it.
    """
    with pytest.raises(Raised) as caught:
        await client("list_tasks", job_id="night-1", filter="id is 'a'")

    assert caught.value.told["status"] == 400
    assert caught.value.told["code"] == "InvalidQueryParameterValue"
    assert caught.value.told["values"]["QueryParameterName"] == "$filter"
    assert caught.value.told["values"]["QueryParameterValue"] == "id is 'a'"


async def test_counts(client: Client, service: Service, clock: Clock) -> None:
    """
    The counts are of the whole job, and a little late.
    """
    service.create_job("night-2")
    tasks = [{"id": f"t{n}", "commandLine": "true", "requiredSlots": 2} for n in range(5)]
    await client("add_tasks", job_id="night-2", tasks=tasks)
    await client("terminate_task", job_id="night-2", task_id="t3")

    clock.pass_by(60)
    counts = await client("count_tasks", job_id="night-2")

    expected = {"active": 4, "running": 0, "completed": 1, "succeeded": 0, "failed": 1}
    assert counts["taskCounts"] == expected
    assert counts["taskSlotCounts"] == {state: 2 * number for state, number in expected.items()}


async def test_jobs(client: Client, service: Service) -> None:
    """
    Jobs are listed like tasks, those without any tasks as well.
    """
    for n in range(2, 5):
        service.create_job(f"night-{n}", now_s=LATE_S)

    pages = await client("list_jobs", max_results=3)
    late = await client("list_jobs", filter=f"creationTime ge {LATE} and state eq 'active'")
    (some,) = await client("list_jobs", filter="startswith(id,'night-1')", select="id,priority")

    assert ids(pages) == [["night-1", "night-2", "night-3"], ["night-4"]]
    assert ids(late) == [["night-2", "night-3", "night-4"]]
    assert some[0].items() >= {"id": "night-1", "priority": 0}.items()
    assert "state" not in some[0]
