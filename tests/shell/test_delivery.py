"""Outcomes on their way to the consumer: in order, a bounded number ahead, or none at all."""

import anyio

from bulksubmit.core.matching import AllAdded
from bulksubmit.core.model import Attempt, Outcome, Verdict
from bulksubmit.delivery import Delivery
from tests.core.helpers import GUID, columns, make_tasks
from tests.virtual import run_virtual


def outcomes(number: int) -> list[Outcome]:
    return [Outcome(number, number + 1, f"t{number}", Verdict.ADDED)]


def test_in_order_and_no_more_ahead_than_may_be() -> None:
    """What has no place waits, and is counted; what is taken makes room; then comes the end."""

    async def deliver() -> None:
        delivery, taken = Delivery(2), list[int]()
        async with anyio.create_task_group() as group:
            assert [delivery.put(outcomes(n)) for n in range(3)] == [True, True, False]
            group.start_soon(delivery.wait, outcomes(2))
            await anyio.sleep(1)
            assert delivery.late == 1
            while len(taken) < 3:
                taken += [each.ordinal for one in await delivery.take() for each in one]
            await anyio.sleep(1)
            assert delivery.late == 0
        delivery.end()
        assert await delivery.take() == []
        delivery.close()
        assert taken == [0, 1, 2]

    run_virtual(deliver)


def test_an_empty_list_is_not_the_end() -> None:
    """Nothing is not put in line: the consumer would take it for the end."""

    async def deliver() -> None:
        delivery = Delivery()
        assert delivery.put([])
        assert delivery.put(outcomes(0))
        assert await delivery.take() == [outcomes(0)]
        delivery.close()

    run_virtual(deliver)


def test_dropped() -> None:
    """What was in line is there to be taken, what comes is not, and nobody waits for a place."""

    async def deliver() -> None:
        delivery = Delivery(1)
        assert delivery.put(outcomes(0))
        async with anyio.create_task_group() as group:
            group.start_soon(delivery.wait, outcomes(1))
            await anyio.sleep(1)
            delivery.drop()
            assert all(delivery.put(outcomes(n)) for n in range(2, 9))
            lists = await delivery.take()
        delivery.end()
        assert lists + await delivery.take() == [outcomes(0), outcomes(1)]
        assert delivery.late == 0
        delivery.close()

    run_virtual(deliver)


def test_nobody_takes_them_in() -> None:
    """A consumer that has left holds nobody up."""

    async def deliver() -> None:
        delivery = Delivery(1)
        delivery.put(outcomes(0))
        async with anyio.create_task_group() as group:
            group.start_soon(delivery.wait, outcomes(1))
            await anyio.sleep(1)
            delivery.leave()
        assert delivery.put(outcomes(2))
        assert delivery.late == 0
        delivery.close()

    run_virtual(deliver)


def test_large_tasks_are_not_kept_in_line() -> None:
    """Outcomes that are made when they are looked at would keep their tasks' bodies."""

    async def deliver() -> None:
        delivery = Delivery()
        for body_bytes, kind in ((100, AllAdded), (70_000, list)):
            tasks = columns(make_tasks(2, body_bytes=body_bytes))
            added = AllAdded(Attempt(1, GUID, tasks, 0), "r-1", tasks.bodies_bytes)
            delivery.put(added)
            (taken,) = await delivery.take()
            assert isinstance(taken, kind)
            assert taken == added
        delivery.close()

    run_virtual(deliver)
