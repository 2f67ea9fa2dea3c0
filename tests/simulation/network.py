"""A Transport in process: the wire's bytes, a network that loses them, and the emulator.

What the service has received it processes, also when its client has given up, or is dead: the
service's side runs in a task group that outlives the client's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import anyio
from anyio.abc import TaskGroup

from bulksubmit.core.events import Observer, RequestEnded
from bulksubmit.core.limits import API_VERSION
from bulksubmit.core.model import Attempt, Lost, Reply
from bulksubmit.core.wire import Job, ListedTask, TaskPage, TaskRange, encode_collection
from bulksubmit.emulator.service import Service
from bulksubmit.errors import Refusal, ServiceRefused
from bulksubmit.service.replies import (
    Answer,
    Unavailable,
    job_in,
    reply_to,
    task_in,
    task_page_in,
)

if TYPE_CHECKING:
    from bulksubmit.emulator.exchange import Answer as SentAnswer

EPOCH_S = 1_735_689_600.0  # The first moment of 2025.
JOB_ID = "job-1"
_QUERY = f"?api-version={API_VERSION}"


@dataclass
class Wire:
    """One life's connection to the service.

    Attributes:
        service: The service.
        world: Where the service works.
        random: Where chance comes from.
        latency_s: Each way, at most.
        timeout_s: How long the client waits.
        unsent: The share of requests that find no connection.
        refused: The share of requests that end the run.
        lag: The share of tasks that a list leaves out.
        sending: Called with each attempt and its body, before anything is sent.
        replied: Called with each attempt and its reply.
        looking: Called when tasks are looked up.
        looked: Called when they were, or could not be.
        dead: Whether the client is dead.
        observer: Told of each request as it ends.
    """

    service: Service
    world: TaskGroup
    random: Random
    latency_s: float
    timeout_s: float
    unsent: float
    refused: float
    lag: float
    sending: Callable[[Attempt, bytes], None]
    replied: Callable[[Attempt, Reply], None]
    looking: Callable[[], None]
    looked: Callable[[bool], None]
    dead: Callable[[], bool]
    observer: Observer = lambda _: None

    async def get_job(self) -> Job | Unavailable:
        """See the engine's Transport."""
        answer = await self._ask("GET", f"/jobs/{JOB_ID}{_QUERY}", b"")
        return job_in(answer) if isinstance(answer, Answer) else answer

    async def patch_job(self, on_all_tasks_complete: str) -> Unavailable | None:
        """See the engine's Transport; no run here asks for it."""
        raise AssertionError(on_all_tasks_complete)

    async def list_tasks(
        self, link: str | None = None, *, within: TaskRange | None = None
    ) -> TaskPage | Unavailable:
        """See the engine's Transport."""
        if link is not None:
            target = link[link.index("/jobs/") :]
        else:
            assert within is not None
            target = f"/jobs/{JOB_ID}/tasks{_QUERY}&{urlencode(within.query, quote_via=quote)}"
        answer = await self._look(target)
        page = task_page_in(answer) if isinstance(answer, Answer) else answer
        if isinstance(page, TaskPage):
            shown = [task for task in page.value if self.random.random() >= self.lag]
            return TaskPage(shown, page.next_link)
        return page

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        """See the engine's Transport."""
        answer = await self._look(f"/jobs/{JOB_ID}/tasks/{task_id}{_QUERY}")
        return task_in(answer) if isinstance(answer, Answer) else answer

    async def _look(self, target: str) -> Answer | Unavailable:
        if self.dead():
            await anyio.sleep_forever()
        self.looking()
        if self.dead():  # Killed at this very step.
            await anyio.sleep_forever()
        useful = False
        try:
            if self.random.random() < self.refused:
                code = "AuthenticationFailed"
                raise ServiceRefused(Refusal.AUTHENTICATION, code, "the key was changed")
            answer = await self._ask("GET", target, b"")
            useful = isinstance(answer, Answer) and answer.status in {200, 404}
        finally:
            self.looked(useful)
        return answer

    async def add(self, attempt: Attempt) -> Reply:
        """See the engine's Transport."""
        if self.dead():
            await anyio.sleep_forever()
        body = encode_collection(attempt.tasks)
        self.sending(attempt, body)
        if self.dead():  # Killed at this very step.
            await anyio.sleep_forever()
        reply: Reply = Lost("cancelled", sent=True)
        started_s = anyio.current_time()
        try:
            if self.random.random() < self.refused:
                code = "AuthenticationFailed"
                raise ServiceRefused(Refusal.AUTHENTICATION, code, "the key was changed")
            target = f"/jobs/{JOB_ID}/addtaskcollection{_QUERY}"
            answer = await self._ask("POST", target, body)
            if isinstance(answer, Answer):
                reply = reply_to(answer)
            else:
                reply = Lost(answer.reason, sent=answer.sent, by_load=answer.timed_out)
            self.replied(attempt, reply)
        finally:
            self.observer(_ended(attempt, reply, len(body), anyio.current_time() - started_s))
        return reply

    async def _ask(self, method: str, target: str, body: bytes) -> Answer | Unavailable:
        await anyio.sleep(self._delay_s())
        if self.random.random() < self.unsent:
            return Unavailable("no connection", sent=False)
        exchanged = _Exchange()
        self.world.start_soon(self._serve, method, target, body, exchanged)
        with anyio.move_on_after(self.timeout_s):
            await exchanged.done.wait()
            await anyio.sleep(self._delay_s())
            answer = exchanged.answer
            if answer is None or answer.cut_at is not None:
                return Unavailable("the connection was cut", sent=True)
            received_s = EPOCH_S + anyio.current_time()
            return Answer(answer.status, answer.headers, answer.body, received_s)
        return Unavailable("no answer in time", sent=True, timed_out=True)

    async def _serve(self, method: str, target: str, body: bytes, exchanged: "_Exchange") -> None:
        """The service's side; see ``bulksubmit.emulator.exchange`` for the order."""
        headers = {"content-length": str(len(body)), "return-client-request-id": "true"}
        plan = self.service.plan(method, target, headers, now_s=_now_s())
        if plan.read_bytes is not None:
            exchanged.done.set()
            return
        plan = self.service.schedule(plan, body, now_s=_now_s())
        if plan.hang_up:
            exchanged.done.set()
        await anyio.sleep(plan.process_after_s)
        answer = self.service.answer(plan, body, now_s=_now_s())
        await anyio.sleep(plan.answer_after_s)
        exchanged.answer = answer
        exchanged.done.set()

    def _delay_s(self) -> float:
        return self.latency_s * self.random.random()


class _Exchange:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.answer: SentAnswer | None = None


def _now_s() -> float:
    return EPOCH_S + anyio.current_time()


def _ended(attempt: Attempt, reply: Reply, body_bytes: int, latency_s: float) -> RequestEnded:
    return RequestEnded(
        operation="add_task_collection",
        method="POST",
        url="",
        attempt=attempt.number,
        client_request_id=attempt.client_request_id,
        request_id=None,
        status=None,
        reply=type(reply).__name__.lower(),
        reason=None,
        tasks=len(attempt.tasks),
        resent=attempt.resent,
        bytes_sent=body_bytes,
        latency_s=latency_s,
    )
