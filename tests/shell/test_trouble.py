"""A service in trouble is spared, and the books agree with what it holds in the end."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.model import Attempt, Lost, Reply, Throttled, Verdict
from bulksubmit.errors import BulkSubmitError
from bulksubmit.settings import Settings
from tests.core.helpers import answered
from tests.shell.doubles import (
    Ended,
    FakeService,
    adds,
    bad_gateway,
    flood,
    server_errors,
    spec,
    stopping,
)
from tests.virtual import START_S, run_virtual


@pytest.mark.parametrize("reply", [bad_gateway, server_errors])
def test_a_service_that_is_down_is_spared(
    task_file: Path, reply: Callable[[Attempt, float], Reply]
) -> None:
    """
    A service that fails every request for 25 s sees fewer than 60 after the first second, and
    the run converges once it works again.
    """

    def down(attempt: Attempt, now_s: float) -> Reply:
        return reply(attempt, now_s) if now_s < START_S + 25 else adds(attempt, now_s)

    service = FakeService(down, reply_s=0.05)

    ended, _ = run_virtual(lambda: flood(task_file, service))

    assert ended.error is None
    assert ended.report.added == 5000
    assert len([at for at in service.sent_s if START_S + 1 < at < START_S + 25]) < 60


def test_retry_after_holds_all_senders(task_file: Path) -> None:
    """After one 429 with Retry-After, no sender sends before that time is over."""
    replies = count()

    def once(attempt: Attempt, now_s: float) -> Reply:
        return Throttled(30.0, "429") if next(replies) == 0 else adds(attempt, now_s)

    service = FakeService(once)

    ended, _ = run_virtual(lambda: flood(task_file, service, Settings(concurrency=4)))

    assert ended.error is None
    assert ended.report.throttled_requests == 1
    assert not [at for at in service.sent_s if START_S + 1 < at < START_S + 31]


def test_a_retry_after_beyond_the_retry_timeout_ends_the_run(task_file: Path) -> None:
    """It says when to come back, and does not wait for half an hour first."""
    service = FakeService(lambda _attempt, _now_s: Throttled(7200.0, "429"))

    ended, took_s = run_virtual(lambda: flood(task_file, service, Settings(concurrency=16)))

    assert took_s < 60
    assert "7200 s" in str(ended.error)
    assert ended.report.abandoned == 1600
    assert ended.report.exit_code == 5


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), stop_s=st.none() | st.floats(0, 60))
def test_whatever_happens_the_books_agree_with_the_service(seed: int, stop_s: float | None) -> None:
    """
    Under any mixture of failures, stopped or not: the sums add up to the tasks read, each
    outcome is handed over once, what we call added or existed is there, and what we call
    unsettled without doubt is not.
    """
    random, held = Random(seed), dict[str, int]()

    def moody(attempt: Attempt, _now_s: float) -> Reply:
        chance = random.random()
        if chance < 0.1:
            return Lost("no connection", sent=False)
        taken = [task for task in attempt.tasks if random.random() < 0.9]
        exist = [task for task in taken if task.id in held]
        new = [task for task in taken if task.id not in held]
        held.update({task.id: task.ordinal for task in new})
        service.held.update({task.id: task.body for task in new})
        if chance < 0.3:
            return Lost("reset", sent=True) if chance < 0.2 else Throttled(None, "429")
        reply = answered(new)
        reply.results.extend(answered(exist, "ClientError", "TaskExists").results)
        return reply

    service = FakeService(moody, reply_s=lambda _attempt: random.random())
    source = [spec(n) for n in range(1500)]
    beside = None if stop_s is None else stopping(stop_s)

    ended: Ended
    ended, _ = run_virtual(lambda: flood(source, service, Settings(concurrency=3), beside=beside))

    added = [o for o in ended.outcomes if o.verdict in {Verdict.ADDED, Verdict.EXISTED}]
    assert ended.report.total == len(ended.outcomes) + ended.report.unsettled
    assert len({outcome.ordinal for outcome in ended.outcomes}) == len(ended.outcomes)
    assert all(held[outcome.task_id] == outcome.ordinal for outcome in added)
    assert len(held) <= len(added) + ended.report.in_doubt
    assert isinstance(ended.error, BulkSubmitError | None)
    if ended.error is None:
        assert len(added) == ended.report.total == 1500
