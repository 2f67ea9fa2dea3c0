"""The look at the job before the first task, on a clock that jumps."""

from random import Random
from typing import Any

import anyio
import pytest

from bulksubmit.core.wire import Job
from bulksubmit.errors import Refusal, ServiceRefused, ServiceUnreachable
from bulksubmit.service.jobs import preflight
from bulksubmit.service.replies import Unavailable
from tests.virtual import START_S, run_virtual

SILENT = Unavailable("ClientConnectorError: refused", sent=False)
NAMELESS = Unavailable("the name x does not resolve", sent=False, name_unknown=True)
BUSY = Unavailable("HTTP 502 without a Batch error", sent=True, answered=True)
OPEN = Job("job-1", "active")


class Scripted:
    """Answers from a list, the last one again and again; remembers when it was asked."""

    def __init__(self, *answers: Job | Unavailable | ServiceRefused) -> None:
        self.answers = list(answers)
        self.asked_s: list[float] = []

    async def get_job(self) -> Job | Unavailable:
        self.asked_s.append(anyio.current_time() - START_S)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, ServiceRefused):
            raise answer
        return answer


class Mute:
    """Takes the question and never answers."""

    async def get_job(self) -> Job | Unavailable:
        await anyio.sleep_forever()
        raise AssertionError


def run(jobs: Scripted | Mute, *, retry_timeout_s: float = 1800.0, seed: int = 1) -> float:
    """Preflight on a virtual clock; the time it took."""

    _, took_s = run_virtual(
        lambda: preflight(jobs, retry_timeout_s=retry_timeout_s, random=Random(seed))
    )
    return took_s


def failure(jobs: Scripted | Mute, **settings: Any) -> ServiceUnreachable:
    with pytest.raises(ServiceUnreachable) as raised:
        run(jobs, **settings)
    return raised.value


def test_open_job_goes_ahead_at_once() -> None:
    """
    A job that is there and active is asked for once.
    """
    jobs = Scripted(OPEN)

    assert run(jobs) == 0.0
    assert len(jobs.asked_s) == 1


@pytest.mark.parametrize("state", ["disabled", "disabling", "enabling", "Active", "", "new"])
def test_any_state_but_the_closed_ones_goes_ahead(state: str) -> None:
    """
    A disabled job may be enabled again, and a state we do not know is the service's business.
    """
    run(Scripted(Job("job-1", state)))


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("completed", "JobCompleted"),
        ("Terminating", "JobBeingTerminated"),
        ("deleting", "JobBeingDeleted"),
    ],
)
def test_closed_job_ends_the_run_at_once(state: str, code: str) -> None:
    """
    A job that takes no more tasks ends the run before any was sent, saying why.
    """
    with pytest.raises(ServiceRefused, match=f"{code}: the job job-1 is") as raised:
        run(Scripted(Job("job-1", state)))

    assert raised.value.refusal is Refusal.JOB_CLOSED


def test_refusal_is_not_retried() -> None:
    """
    404, 401 and 403 end the run at once.
    """
    jobs = Scripted(ServiceRefused(Refusal.NOT_FOUND, "JobNotFound", "no such job"))

    with pytest.raises(ServiceRefused):
        run(jobs)
    assert len(jobs.asked_s) == 1


def test_no_answer_for_thirty_seconds_is_unreachable() -> None:
    """
    If nobody answers at all, the run ends 30 s after its start and says what to check.
    """
    jobs = Scripted(SILENT)

    error = failure(jobs)

    assert not error.name_unknown
    assert "for 30 s" in str(error)
    assert "check the endpoint and the network" in str(error)
    assert jobs.asked_s[-1] < 30.0


def test_unknown_name_is_told_apart() -> None:
    """
    A host whose name does not resolve is a setting to mend, not a service to wait for.
    """
    assert failure(Scripted(NAMELESS)).name_unknown


def test_question_without_an_end_is_cut_off_too() -> None:
    """
    A peer that takes the connection and then says nothing does not prolong the 30 s.
    """
    assert "for 30 s" in str(failure(Mute()))


@pytest.mark.parametrize("unavailable", [SILENT, BUSY])
def test_it_comes_back(unavailable: Unavailable) -> None:
    """
    A service that comes back in time is gone ahead with.
    """
    assert run(Scripted(unavailable, unavailable, unavailable, OPEN)) > 0.0


def test_answers_of_no_use_are_asked_again_until_the_retry_timeout() -> None:
    """
    A gateway's 502 is an answer: the run waits for the service as long as it is told to, and
    gives the last reason.
    """
    error = failure(Scripted(BUSY), retry_timeout_s=600.0)

    assert "for 600 s" in str(error)
    assert "HTTP 502" in str(error)


def test_name_lost_after_an_answer_is_an_outage() -> None:
    """
    A name that resolved before is not a wrong name.
    """
    assert not failure(Scripted(BUSY, NAMELESS), retry_timeout_s=60.0).name_unknown


@pytest.mark.parametrize("seed", range(20))
def test_pauses_double_with_full_jitter(seed: int) -> None:
    """
    The pause before try n is anywhere between 0 and 0.5 s times 2 to the n, 30 s at most.
    """
    jobs = Scripted(BUSY)
    failure(jobs, retry_timeout_s=600.0, seed=seed)

    pauses_s = [b - a for a, b in zip(jobs.asked_s, jobs.asked_s[1:], strict=False)]
    for number, pause_s in enumerate(pauses_s):
        assert pause_s <= min(0.5 * 2**number, 30.0) + 1e-6


def test_retry_after_is_a_floor() -> None:
    """
    If the service says when to come back, nobody comes sooner.
    """
    wait = Unavailable("HTTP 429", sent=True, answered=True, retry_after_s=45.0)
    jobs = Scripted(wait, OPEN)

    run(jobs)

    assert jobs.asked_s[1] >= 45.0


def test_retry_after_beyond_the_retry_timeout_ends_it_at_once() -> None:
    """
    To wait longer than we may is no use: it ends at once and says when to come back.
    """
    wait = Unavailable("HTTP 429", sent=True, answered=True, retry_after_s=3600.0)
    jobs = Scripted(wait)

    assert "come back in 3600 s" in str(failure(jobs))
    assert jobs.asked_s == [0.0]
