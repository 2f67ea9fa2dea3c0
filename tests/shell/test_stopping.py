"""Stopped, out of patience or cut off: what was settled stands, and the books add up."""

import math
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import pytest

from bulksubmit.consumer import Outcomes, running
from bulksubmit.core.model import Attempt, Lost, Reply, Verdict
from bulksubmit.errors import NotConverged
from bulksubmit.observe.report import Report
from bulksubmit.producer import open_source
from bulksubmit.producer.survey import IdWatch
from bulksubmit.settings import RejectsBound, Settings
from tests.core.helpers import make_tasks
from tests.shell.doubles import (
    Blocks,
    FakeService,
    adds,
    assert_adds_up,
    bad_gateway,
    flood,
    make_submission,
    slowly,
    spec,
    stopping,
)
from tests.virtual import START_S, run_virtual


def test_stopped_in_the_middle(task_file: Path) -> None:
    """
    stop() sends nothing more, takes in the answers in flight, and ends with what it was given;
    tasks that were never sent are unsettled, and none of them in doubt. Exit 5.
    """
    service = FakeService()

    ended, took_s = run_virtual(
        lambda: flood(task_file, service, Settings(concurrency=4), beside=stopping(2.5))
    )

    assert isinstance(ended.error, NotConverged)
    assert str(ended.error) == "told to"
    assert took_s == 3
    assert ended.report.added == len(ended.outcomes) == 1200
    assert ended.report.in_doubt == 0
    assert not ended.report.converged
    assert ended.report.exit_code == 5
    assert ended.error.report == ended.report


def test_stopped_while_duplicates_are_looked_for(
    task_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever stops the run then does not wait for that; all tasks exist, so nothing is wrong."""

    async def find(_: IdWatch) -> tuple[int, list[tuple[str, str, str]]]:
        await anyio.sleep(3600)
        return 0, []

    monkeypatch.setattr(IdWatch, "find", find)

    ended, took_s = run_virtual(lambda: flood(task_file, FakeService(), beside=stopping(60)))

    assert (ended.error, took_s, ended.report.converged) == (None, 60, True)


def test_stopped_with_the_last_answer_in(task_file: Path) -> None:
    """
    A run that is stopped while the answers to its last tasks are in flight has converged once
    they are in: nothing is left to go on with, so nothing is wrong.
    """
    service = FakeService(reply_s=60)

    ended, took_s = run_virtual(
        lambda: flood(
            task_file, service, Settings(concurrency=100, drain_s=90), beside=stopping(30)
        )
    )

    assert took_s == 60
    assert ended.error is None
    assert ended.report.converged
    assert ended.report.exit_code == 0


def test_stopped_before_the_job_was_looked_at() -> None:
    """Stopping does not wait for the answer about the job, and nothing is read or sent."""
    service = FakeService()
    service.job_s = 3600
    specs = [spec(n) for n in range(1000)]

    ended, took_s = run_virtual(lambda: flood(specs, service, beside=stopping(2)))

    assert isinstance(ended.error, NotConverged)
    assert took_s == 2
    assert service.sent == []
    assert ended.report.total == 0


def test_stopped_at_once(task_file: Path) -> None:
    """A run that is stopped before it took its first step sends nothing."""
    service = FakeService()

    async def stop(outcomes: Outcomes) -> None:
        outcomes.stop("never mind")

    ended, took_s = run_virtual(lambda: flood(task_file, service, beside=stop))

    assert str(ended.error) == "never mind"
    assert took_s == 0
    assert service.sent == []


def test_stopped_while_the_source_is_silent() -> None:
    """A source that has nothing to say for an hour does not hold the end up."""
    service = FakeService()
    source = slowly([spec(n) for n in range(10)], pause_s=0, stays_open_s=3600)

    ended, took_s = run_virtual(lambda: flood(source, service, beside=stopping(60)))

    assert took_s == 60
    assert (ended.report.total, ended.report.added) == (10, 10)
    assert not ended.report.source_complete
    assert ended.report.exit_code == 5


def test_stopped_with_a_slow_consumer(task_file: Path) -> None:
    """
    What is settled is handed over, each once, also if the run was stopped long before the
    consumer had time for it.
    """
    service = FakeService()

    ended, _ = run_virtual(
        lambda: flood(
            task_file, service, Settings(concurrency=4), beside=stopping(2.5), pause_s=0.1
        )
    )

    assert len(ended.outcomes) == ended.report.added
    assert len({outcome.ordinal for outcome in ended.outcomes}) == len(ended.outcomes)


@pytest.mark.thorough
def test_stopped_while_rejected_tasks_wait_for_the_consumer() -> None:
    """
    Tasks that no request can hold are handed over too, those last that were read when the run
    was stopped.
    """
    large = [(0.0, make_tasks(2, first=2 * n, body_bytes=1_100_000)) for n in range(200)]
    bound = Settings(rejects_bound=RejectsBound(count_max=1000))

    ended, _ = run_virtual(
        lambda: flood(Blocks(large), FakeService(), bound, beside=stopping(3.05), pause_s=0.1)
    )

    assert len(ended.outcomes) == ended.report.rejected == ended.report.total < 400


def test_giving_up_abandons_what_was_tried(task_file: Path) -> None:
    """
    A service that is down for the whole retry timeout, 30 minutes, ends the run: what was tried
    is abandoned and may exist, what was never sent is unsettled and does not. Exit 5.
    """
    service = FakeService(bad_gateway)

    ended, took_s = run_virtual(lambda: flood(task_file, service, Settings(concurrency=4)))

    tried = {task.ordinal for task in service.tasks}
    assert isinstance(ended.error, NotConverged)
    assert "1800 s" in str(ended.error)
    assert "502" in str(ended.error)
    assert 1800 <= took_s <= 1800 + 10
    assert ended.report.abandoned == len(tried)
    assert ended.report.unsettled == ended.report.total - len(tried) > 0
    assert {outcome.ordinal for outcome in ended.outcomes} == tried
    assert all(o.verdict is Verdict.ABANDONED and o.in_doubt for o in ended.outcomes)
    assert ended.report.exit_code == 5


def test_giving_up_with_nothing_to_abandon() -> None:
    """
    If late answers settle all that was tried, giving up is still no success: the rest of the
    source was never sent.
    """

    def late(attempt: Attempt, now_s: float) -> Reply:
        return adds(attempt, now_s) if now_s >= START_S + 100 else Lost("502", sent=True)

    limits = Settings(concurrency=1, retry_timeout_s=60, drain_s=60)
    source = Blocks([(0.0, make_tasks(100)), (55.0, make_tasks(100, first=100))])

    ended, _ = run_virtual(lambda: flood(source, FakeService(late, reply_s=50), limits))

    assert isinstance(ended.error, NotConverged)
    assert (ended.report.added, ended.report.unsettled) == (100, 100)
    assert ended.report.exit_code == 5


def test_cancelled_in_the_middle(task_file: Path) -> None:
    """
    Cancelling a run, at whatever moment, stops it in order: the answers in flight are taken in,
    nothing is sent meanwhile, and the books add up.
    """
    for tenths in range(1, 140, 9):
        # Answers come at whole seconds; of two things at one moment either may be the first.
        service, after_s = FakeService(), tenths / 10 + 0.01
        kept: list[Outcomes] = []

        _, took_s = run_virtual(partial(cut_off, task_file, service, after_s, kept))

        (outcomes,) = kept
        assert took_s == min(math.ceil(after_s), 13)
        assert service.in_flight == 0
        assert service.ended == len(service.sent)
        assert outcomes.report.added == len(service.tasks)
        assert outcomes.report.in_doubt == 0
        assert_adds_up(outcomes.report)


def test_cancelled_with_a_slow_answer_in_flight(task_file: Path) -> None:
    """Answers that take longer than drain_s are given up: their tasks are in doubt."""
    service = FakeService(reply_s=3600)
    kept: list[Outcomes] = []

    _, took_s = run_virtual(partial(cut_off, task_file, service, 5, kept))

    assert took_s == 5 + 10
    assert (service.in_flight, service.ended) == (0, 0)
    assert kept[0].report.in_doubt == 400


def test_left_in_the_middle(task_file: Path) -> None:
    """Leaving the context early is like cancelling: the answers in flight are taken in."""
    service = FakeService()

    async def leave() -> Report:
        with closing(open_source(task_file)) as source:
            submission = make_submission(source, service, Settings(concurrency=4))
            async with running(submission) as outcomes:
                await anext(outcomes)
                await anyio.sleep(0.5)
        return outcomes.report

    report, took_s = run_virtual(leave)

    assert took_s == 2
    assert report.added == len(service.tasks) == 800
    assert report.error == "its consumer has left"


async def cut_off(source: Path, service: FakeService, after_s: float, kept: list[Outcomes]) -> None:
    """Cancel a run after a while."""

    async def keep(outcomes: Outcomes) -> None:
        kept.append(outcomes)

    with anyio.move_on_after(after_s):
        await flood(source, service, Settings(concurrency=4), beside=keep)
