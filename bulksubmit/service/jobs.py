"""The job around the tasks: looked at once, before the first task is sent."""

from random import Random
from typing import Protocol

import anyio

from bulksubmit.core.wire import Job
from bulksubmit.errors import Refusal, ServiceRefused, ServiceUnreachable
from bulksubmit.service.replies import Unavailable

SILENCE_MAX_S = 30.0  # No answer at all for so long at the start: something is set wrongly.
BACKOFF_MIN_S = 0.5
BACKOFF_MAX_S = 30.0

# Job states in which no task is taken any more. A disabled job may be enabled again, so adding
# goes ahead there, and is held back by the service's answers if it does not take them.
_CLOSED = {
    "completed": "JobCompleted",
    "terminating": "JobBeingTerminated",
    "deleting": "JobBeingDeleted",
}


class Jobs(Protocol):
    """Where the job can be looked up."""

    async def get_job(self) -> Job | Unavailable:
        """Get the job.

        Raises:
            ServiceRefused: if it does not exist, or we may not ask.
        """


async def preflight(jobs: Jobs, *, retry_timeout_s: float, random: Random) -> Job:
    """Get the job, patiently, and see that it takes tasks.

    Args and errors are those of find_job().

    Raises:
        ServiceRefused: also if the job takes no more tasks.
    """
    return _open(await find_job(jobs, retry_timeout_s=retry_timeout_s, random=random))


async def find_job(jobs: Jobs, *, retry_timeout_s: float, random: Random) -> Job:
    """Get the job, patiently, in whatever state it is.

    Args:
        jobs: The transport.
        retry_timeout_s: How long answers that are of no use (throttled, a gateway's 502) are
            asked again. Without any answer at all it ends after SILENCE_MAX_S.
        random: For the jitter between two tries.

    Raises:
        ServiceRefused: at once, if the job does not exist, or if we may not ask.
        ServiceUnreachable: if there was no usable answer in time.
    """
    started_s = anyio.current_time()
    patience_s = min(SILENCE_MAX_S, retry_timeout_s)
    heard = False
    backoff_s = BACKOFF_MIN_S
    last = Unavailable("no answer", sent=True)
    while (left_s := started_s + patience_s - anyio.current_time()) > 0:
        with anyio.move_on_after(left_s):
            answer = await jobs.get_job()
            if isinstance(answer, Job):
                return answer
            last = answer
        if last.answered:
            heard, patience_s = True, retry_timeout_s
        left_s = started_s + patience_s - anyio.current_time()
        pause_s = random.uniform(0.0, backoff_s)
        if last.retry_after_s is not None:
            if last.retry_after_s > left_s:
                break
            pause_s = max(pause_s, last.retry_after_s)
        await anyio.sleep(min(pause_s, max(left_s, 0.0)))
        backoff_s = min(2 * backoff_s, BACKOFF_MAX_S)
    raise _unreachable(last, anyio.current_time() - started_s, heard=heard)


def _open(job: Job) -> Job:
    code = _CLOSED.get(job.state.lower())
    if code is not None:
        raise ServiceRefused(
            Refusal.JOB_CLOSED,
            code,
            f"the job {job.id} is {job.state.lower()} and takes no more tasks: "
            "submit to another job",
        )
    return job


def _unreachable(last: Unavailable, waited_s: float, *, heard: bool) -> ServiceUnreachable:
    if last.answered:
        then = "the service is not able to answer"
        if last.retry_after_s is not None:
            then += f" and asks to come back in {last.retry_after_s:.0f} s"
    else:
        then = "check the endpoint and the network"
    return ServiceUnreachable(
        f"no usable answer for {waited_s:.0f} s: {last.reason}; {then}",
        name_unknown=last.name_unknown and not heard,
    )
