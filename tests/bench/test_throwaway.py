"""The job that throw-away tasks go to, as far as a service that does not answer goes."""

from random import Random

import orjson
import pytest

from bulksubmit.bench.throwaway import PATIENCE_S, POOL_PREFIX, PREFIX, ThrowAwayJob
from bulksubmit.core.taskspec import explain_id
from bulksubmit.errors import Refusal, ServiceRefused, ServiceUnreachable
from bulksubmit.service.replies import Answer, Unavailable, created_in, deleted_in
from tests.virtual import run_virtual

MADE, THERE = True, False
LOST = Unavailable("no answer in time", sent=True)
UNSENT = Unavailable("no connection", sent=False)
REFUSED = ServiceRefused(Refusal.REQUEST, "ActiveJobAndScheduleQuotaReached", "there are too many")


class Service:
    """Answers as told; the last answer again and again."""

    def __init__(self, *answers: bool | Unavailable | ServiceRefused) -> None:
        self._answers = list(reversed(answers))
        self.asked: list[bytes] = []

    async def create_job(self, job: bytes) -> bool | Unavailable:
        self.asked.append(job)
        answer = self._answers.pop() if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ServiceRefused):
            raise answer
        return answer

    async def delete_job(self) -> Unavailable | None:
        answer = await self.create_job(b"")
        return answer if isinstance(answer, Unavailable) else None


def make(service: Service) -> ThrowAwayJob:
    """A job that was asked of the service."""
    job = ThrowAwayJob(Random(1))
    run_virtual(lambda: job.create(service))
    return job


def test_it_is_as_it_should_be() -> None:
    """
    It is drawn anew each time, its pool too, which nobody has; and it ends by itself.
    """
    service = Service(MADE)
    jobs = [ThrowAwayJob(Random(seed)) for seed in range(50)]

    job = make(service)

    sent = orjson.loads(service.asked[0])
    assert sent["id"] == job.id
    assert sent["poolInfo"] == {"poolId": POOL_PREFIX + job.id.removeprefix(PREFIX)}
    assert sent["constraints"]["maxWallClockTime"] == "P1D"
    assert "onAllTasksComplete" not in sent
    assert len({each.id for each in jobs}) == len(jobs)
    assert [explain_id(each.id) for each in jobs] == [None] * len(jobs)


def test_a_lost_answer() -> None:
    """
    The next try finds it there: it is ours. And so does the service that tries again by itself.
    """
    for answers in ((LOST, THERE), (UNSENT, MADE), (THERE,)):
        service = Service(*answers)

        assert make(service).perhaps_there
        assert len(service.asked) == len(answers)


@pytest.mark.parametrize(
    ("answers", "perhaps_there"), [((REFUSED,), False), ((LOST, REFUSED), True)]
)
def test_refused(answers: tuple[Unavailable | ServiceRefused, ...], perhaps_there: bool) -> None:  # noqa: FBT001
    """
    What is refused is not there, unless an earlier answer was lost.
    """
    job = ThrowAwayJob(Random(1))

    with pytest.raises(ServiceRefused, match="too many"):
        run_virtual(lambda: job.create(Service(*answers)))

    assert job.perhaps_there is perhaps_there


@pytest.mark.parametrize(("answer", "perhaps_there"), [(LOST, True), (UNSENT, False)])
def test_no_answer(answer: Unavailable, perhaps_there: bool) -> None:  # noqa: FBT001
    """
    It does not ask for ever, and what may be there is not forgotten.
    """
    job, service = ThrowAwayJob(Random(1)), Service(answer)

    async def create() -> None:
        with pytest.raises(ServiceUnreachable, match="cannot be created: no "):
            await job.create(service)

    _, took_s = run_virtual(create)

    assert took_s <= PATIENCE_S
    assert 3 <= len(service.asked) <= 40
    assert job.perhaps_there is perhaps_there


def test_deleted() -> None:
    """
    When the service says so, after as many tries as it takes.
    """
    job = make(Service(MADE))

    run_virtual(lambda: job.delete(Service(LOST, MADE)))

    assert job.deleted
    assert not job.perhaps_there


# --- The service's words ---------------------------------------------------------------------


def answer(status: int, code: str = "") -> Answer:
    """An answer, with an error's body if there is a code."""
    error = {"code": code, "message": {"lang": "en-us", "value": "words\nRequestId:1"}}
    return Answer(status, {}, orjson.dumps(error) if code else b"", 0.0)


def test_answers_to_creating() -> None:
    """
    201 is made, JobExists is there; what will not change by itself is an error, in its words.
    """
    assert created_in(answer(201)) is True
    assert created_in(answer(409, "JobExists")) is False
    for unclear in (answer(500, "InternalError"), answer(502), answer(200), answer(429, "Busy")):
        assert isinstance(created_in(unclear), Unavailable)
    for status, code in ((409, "ActiveJobAndScheduleQuotaReached"), (400, "InvalidPropertyValue")):
        with pytest.raises(ServiceRefused, match=f"{code}: words"):
            created_in(answer(status, code))
    with pytest.raises(ServiceRefused) as refused:
        created_in(answer(403, "AuthenticationFailed"))
    assert refused.value.refusal is Refusal.AUTHENTICATION


def test_answers_to_deleting() -> None:
    """
    What is gone, or on its way, is deleted.
    """
    assert deleted_in(answer(202)) is None
    assert deleted_in(answer(404, "JobNotFound")) is None
    assert deleted_in(answer(409, "JobBeingDeleted")) is None
    assert isinstance(deleted_in(answer(404)), Unavailable)
    with pytest.raises(ServiceRefused, match="OperationInvalidForCurrentState"):
        deleted_in(answer(409, "OperationInvalidForCurrentState"))
