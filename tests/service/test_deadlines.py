"""Deadlines on a virtual clock: whoever is late is told so, at his time, and nobody else."""

import asyncio

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.service.deadlines import Deadlines
from tests.virtual import run_virtual

TENTHS = st.integers(0, 40).map(lambda tenths: tenths / 10)


async def took(deadlines: Deadlines, timeout_s: float, lasts_s: float) -> tuple[bool, float]:
    """Whether it was over in time, and when it ended."""
    begun_s = anyio.current_time()
    try:
        with deadlines.within(timeout_s):
            await anyio.sleep(lasts_s)
    except TimeoutError:
        return False, anyio.current_time() - begun_s
    return True, anyio.current_time() - begun_s


@given(st.lists(st.tuples(TENTHS, TENTHS, TENTHS), max_size=12))
def test_each_has_its_time(exchanges: list[tuple[float, float, float]]) -> None:
    """Begun at any time, with any time-out: what takes longer ends there, the rest does not."""
    ended: dict[int, tuple[bool, float]] = {}

    async def one(deadlines: Deadlines, number: int, begins_s: float) -> None:
        await anyio.sleep(begins_s)
        _, timeout_s, lasts_s = exchanges[number]
        ended[number] = await took(deadlines, timeout_s, lasts_s)

    async def all_of_them() -> None:
        deadlines = Deadlines()
        async with anyio.create_task_group() as group:
            for number, (begins_s, _, _) in enumerate(exchanges):
                group.start_soon(one, deadlines, number, begins_s)
        deadlines.close()

    run_virtual(all_of_them)

    for number, (_, timeout_s, lasts_s) in enumerate(exchanges):
        in_time, took_s = ended[number]
        assert took_s == pytest.approx(min(timeout_s, lasts_s))
        if lasts_s != timeout_s:
            assert in_time == (lasts_s < timeout_s)


def test_who_is_cancelled_is_not_told_of_a_time_out() -> None:
    """Cancelled by others, be it at the same moment: it stays cancelled."""
    raised: list[type[BaseException]] = []

    async def late(deadlines: Deadlines, timeout_s: float) -> None:
        try:
            with deadlines.within(timeout_s):
                await asyncio.sleep(60)
        except BaseException as error:
            raised.append(type(error))
            raise

    async def cancel(after_s: float, timeout_s: float) -> None:
        deadlines = Deadlines()
        task = asyncio.ensure_future(late(deadlines, timeout_s))
        await asyncio.sleep(after_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        deadlines.close()

    run_virtual(lambda: cancel(1.0, 5.0))
    run_virtual(lambda: cancel(5.0, 5.0))

    assert raised == [asyncio.CancelledError, asyncio.CancelledError]


def test_no_timer_is_left() -> None:
    """A loop that has nothing else to do does not wait for what is over."""

    async def over() -> None:
        deadlines = Deadlines()
        assert await took(deadlines, 40.0, 1.0) == (True, 1.0)
        deadlines.close()

    _, took_s = run_virtual(over)
    assert took_s == 1.0
