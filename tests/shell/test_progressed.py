"""How far a run is, as an observer is told: at its start, every second, at its end."""

from itertools import pairwise

import anyio

from bulksubmit.core.events import Event, Progressed
from bulksubmit.core.model import Attempt, Reply
from bulksubmit.settings import Settings
from tests.core.helpers import make_tasks
from tests.shell.doubles import Blocks, Ended, FakeService, adds, flood, rejects, stopping
from tests.virtual import START_S, run_virtual


def progress_of(
    source: Blocks, service: FakeService, *, stopped_s: float | None = None
) -> tuple[list[tuple[float, Progressed]], Ended]:
    """What an observer is told of a run at two requests a second, and when, in s of the run."""
    told: list[tuple[float, Progressed]] = []

    def observe(event: Event, /) -> None:
        if isinstance(event, Progressed):
            told.append((anyio.current_time() - START_S, event))

    async def run() -> Ended:
        beside = stopping(stopped_s) if stopped_s is not None else None
        settings = Settings(concurrency=2)
        return await flood(source, service, settings, observer=observe, beside=beside)

    return told, run_virtual(run)[0]


def blocks(count: int) -> Blocks:
    return Blocks((0.0, make_tasks(100, first=100 * n)) for n in range(count))


def test_every_second() -> None:
    """
    30 requests of 0.7 s each, two at a time, take 10.5 s: one event at the start, one a second,
    and one at the end, which agrees with the report.
    """
    told, ended = progress_of(blocks(30), FakeService(reply_s=0.7))
    times = [at_s for at_s, _ in told]
    pauses = [later - earlier for earlier, later in pairwise(times[:-1])]
    last = told[-1][1]

    assert times[0] == 0.0
    assert all(1.0 <= pause_s <= 2.0 for pause_s in pauses)
    assert 10 <= len(told) <= 13
    assert [event.ended for _, event in told] == [False] * (len(told) - 1) + [True]
    assert [event.settled for _, event in told] == sorted(event.settled for _, event in told)
    assert (told[0][1].total, told[0][1].in_flight) == (0, 0)
    assert max(event.in_flight for _, event in told) == 2
    assert (last.total, last.added, last.expected) == (3000, 3000, 3000)
    assert (last.in_flight, last.unsettled, last.source_complete) == (0, 0, True)
    assert (last.limit, last.tasks_per_s) == (2, ended.report.tasks_per_s)
    assert (last.run_id, last.job_id) == (ended.report.run_id, "job-1")


def test_the_parts_add_up_at_any_time() -> None:
    """
    Whatever was read is in exactly one of five places, also when the run is stopped.
    """

    def answer(attempt: Attempt, now_s: float) -> Reply:
        return (rejects if attempt.number % 3 == 0 else adds)(attempt, now_s)

    told, ended = progress_of(blocks(40), FakeService(answer), stopped_s=7.2)

    assert ended.error is not None
    assert told[-1][1].ended
    assert told[-1][1].rejected == ended.report.rejected > 0
    for _, event in told:
        parts = (event.added, event.existed, event.rejected, event.abandoned, event.unsettled)
        assert event.total == sum(parts)
        assert event.settled == event.added + event.existed + event.rejected
