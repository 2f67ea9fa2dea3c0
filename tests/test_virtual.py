"""The virtual clock keeps its own promises."""

import os
import time
from collections.abc import Awaitable, Callable
from random import Random

import anyio
import pytest
from anyio import to_thread

from tests.virtual import Deadlock, run_virtual


def test_sleeping_takes_no_time() -> None:
    """A week of sleep is a week by the clock, exactly, and takes no time."""

    async def sleep() -> str:
        await anyio.sleep(7 * 86400)
        return "awake"

    assert run_virtual(sleep) == ("awake", 7 * 86400)


def test_timers_go_off_in_order() -> None:
    """Who sleeps shorter wakes earlier, and each finds its own time on the clock."""
    woken: list[float] = []

    async def wake(after_s: float) -> None:
        await anyio.sleep(after_s)
        woken.append(after_s)

    async def sleep() -> None:
        async with anyio.create_task_group() as sleepers:
            for after_s in (30.0, 0.25, 60.0, 1.5):
                sleepers.start_soon(wake, after_s)

    assert run_virtual(sleep) == (None, 60)
    assert woken == [0.25, 1.5, 30.0, 60.0]


def test_what_is_ready_is_shuffled_by_a_seed() -> None:
    """
    Who is ready at one moment runs in an order that a seed draws: the same one each time for
    the same seed, and in the order of becoming ready without one.
    """

    def order(random: Random | None) -> list[int]:
        ran: list[int] = []

        async def run(number: int) -> None:
            ran.append(number)

        async def start() -> None:
            async with anyio.create_task_group() as runners:
                for number in range(20):
                    runners.start_soon(run, number)

        run_virtual(start, shuffled_by=random)
        return ran

    assert order(None) == list(range(20))
    assert order(Random(1)) == order(Random(1))
    assert order(Random(1)) != order(Random(2))
    assert sorted(order(Random(1))) == list(range(20))


def test_threads_are_waited_for() -> None:
    """
    The clock stands still while a thread works: a time-out of a second does not cut it off,
    however long it really takes.
    """

    async def work() -> float:
        started_s = time.monotonic()
        with anyio.fail_after(1.0):
            await to_thread.run_sync(os.urandom, 16 * 2**20)
        return time.monotonic() - started_s

    (really_s, took_s) = run_virtual(work)

    assert really_s > 0
    assert took_s == 0


async def _wait_for_nothing() -> None:
    await anyio.Event().wait()


async def _wait_for_a_pipe() -> None:
    reader, writer = os.pipe()
    try:
        await anyio.wait_readable(reader)
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(
    ("function", "says"),
    [(_wait_for_nothing, "nothing is ready"), (_wait_for_a_pipe, "a socket or a pipe")],
)
def test_deadlock_is_told(function: Callable[[], Awaitable[None]], says: str) -> None:
    """To wait for what never comes, or for what no clock hurries, fails and does not hang."""
    with pytest.raises(Deadlock, match=says):
        run_virtual(function)
