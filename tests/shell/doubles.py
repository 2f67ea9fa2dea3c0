"""A service in process, and what is needed to run a pool or a submission against it."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import IO

import anyio

from bulksubmit.consumer import Outcomes, running
from bulksubmit.core.account import Place
from bulksubmit.core.events import Event, Observer, RequestEnded
from bulksubmit.core.model import Attempt, Lost, Outcome, Reply, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.wire import Job, ListedTask, TaskPage, TaskRange
from bulksubmit.journal import NoJournal
from bulksubmit.observe.report import Report, Tally
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Admit, AnySource, Block, Done, Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Run, new_run_id, run_folder
from bulksubmit.service.replies import Unavailable
from bulksubmit.settings import Settings
from bulksubmit.submission import Submission
from tests.core.helpers import answered

Answering = Callable[[Attempt, float], Reply]
Beside = Callable[[Outcomes], Coroutine[object, object, None]]


def adds(attempt: Attempt, _now_s: float) -> Reply:
    """Every task is added."""
    return answered(attempt.tasks)


def rejects(attempt: Attempt, _now_s: float) -> Reply:
    """Every task is rejected."""
    return answered(attempt.tasks, "ClientError", "InvalidPropertyValue")


def exists(attempt: Attempt, _now_s: float) -> Reply:
    """Every ID is taken."""
    return answered(attempt.tasks, "ClientError", "TaskExists")


def server_errors(attempt: Attempt, _now_s: float) -> Reply:
    """Every task ends in a servererror."""
    return answered(attempt.tasks, "ServerError", "InternalError")


def bad_gateway(_attempt: Attempt, _now_s: float) -> Reply:
    """Nothing answers but a gateway."""
    return Lost("502", sent=True)


class FakeService:
    """Answers each attempt after a while, and remembers.

    Attributes:
        reply: What it answers; may raise.
        reply_s: How long an answer takes, each or by its attempt.
        job: What it says of the job; an exception is raised.
        job_s: How long it takes to say so.
        patched: What the job's onAllTasksComplete was set to, one after the other.
        patch: What it says to that; an exception is raised.
        held: The tasks that it shows, by folded ID; what it adds is not among them.
        list_s: How long it takes to list some.
        listed: What was to be listed, in order; an exception in ``refusal`` is raised then.
        observer: Told of each attempt as it ends, like a Transport's.
        sent: Every attempt, in order, with its time.
        in_flight: Attempts not answered yet.
        in_flight_peak: The most there ever were.
        ended: How many were answered; the others were cut off.
    """

    def __init__(
        self, reply: Answering = adds, *, reply_s: float | Callable[[Attempt], float] = 1.0
    ) -> None:
        self.reply, self.reply_s = reply, reply_s
        self.job: Job | Unavailable | Exception = Job("job-1", "active")
        self.job_s = 0.0
        self.patched: list[str] = []
        self.patch: Unavailable | Exception | None = None
        self.held: dict[str, bytes] = {}
        self.list_s = 1.0
        self.listed: list[TaskRange | str] = []
        self.refusal: Exception | None = None
        self.observer: Observer = lambda _: None
        self.sent: list[tuple[float, Attempt]] = []
        self.in_flight = self.in_flight_peak = self.ended = 0

    async def patch_job(self, on_all_tasks_complete: str) -> Unavailable | None:
        if isinstance(self.patch, Exception):
            raise self.patch
        if self.patch is None:
            self.patched.append(on_all_tasks_complete)
        return self.patch

    async def get_job(self) -> Job | Unavailable:
        await anyio.sleep(self.job_s)
        if isinstance(self.job, Exception):
            raise self.job
        return self.job

    async def list_tasks(
        self, link: str | None = None, *, within: TaskRange | None = None
    ) -> TaskPage | Unavailable:
        assert within is not None
        assert link is None
        await self._look_up(within)
        ids = sorted(i for i in self.held if within.first <= i <= within.last)
        page = [ListedTask(task_id, self.held[task_id]) for task_id in ids[: within.page_max]]
        return TaskPage(page, "more" if len(ids) > len(page) else None)

    async def get_task(self, task_id: str) -> ListedTask | Unavailable | None:
        await self._look_up(task_id)
        body = self.held.get(task_id.lower())
        return None if body is None else ListedTask(task_id, body)

    async def _look_up(self, what: TaskRange | str) -> None:
        self.listed.append(what)
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        try:
            await anyio.sleep(self.list_s)
        finally:
            self.in_flight -= 1
        if self.refusal:
            raise self.refusal

    async def add(self, attempt: Attempt) -> Reply:
        self.sent.append((anyio.current_time(), attempt))
        self.in_flight += 1
        self.in_flight_peak = max(self.in_flight_peak, self.in_flight)
        word = "lost"
        try:
            reply_s = self.reply_s
            await anyio.sleep(reply_s if isinstance(reply_s, float | int) else reply_s(attempt))
            word = "ended"
            reply = self.reply(attempt, anyio.current_time())
            word = type(reply).__name__.lower()
        finally:
            self.in_flight -= 1
            self.observer(_request_ended(attempt, word))
        self.ended += 1
        return reply

    @property
    def sent_s(self) -> list[float]:
        """When each attempt was sent."""
        return [at_s for at_s, _ in self.sent]

    @property
    def tasks(self) -> list[Task]:
        """Every task of every attempt, in the order of sending."""
        return [task for _, attempt in self.sent for task in attempt.tasks]


def _request_ended(attempt: Attempt, reply: str) -> RequestEnded:
    return RequestEnded(
        operation="add_task_collection",
        method="POST",
        url="",
        attempt=attempt.number,
        client_request_id=attempt.client_request_id,
        request_id=None,
        status=None,
        reply=reply,
        reason=None,
        tasks=len(attempt.tasks),
        resent=attempt.resent,
        bytes_sent=0,
        latency_s=0.0,
    )


@dataclass
class Blocks:
    """A source that is at hand as tasks: one block after another, each after its pause.

    Attributes:
        blocks: Each with how long it takes to come.
        error: What is raised after the last one, if anything.
        read_s: When each block was asked for.
    """

    blocks: Iterable[tuple[float, list[Task]]]
    error: Exception | None = None
    name: str = "blocks"
    bytes_total: int | None = None
    bytes_read: int = 0
    spec: SourceSpec | None = None
    checker: Checker = field(default_factory=Checker)
    admitted: list[Task] = field(default_factory=list)

    async def read(self, admit: Admit, done: Done | None = None) -> None:
        assert done is None
        for pause_s, tasks in self.blocks:
            await anyio.sleep(pause_s)
            await admit(Block(tasks, Place(tasks[-1].ordinal + 1, 0, tasks[-1].line + 1)))
            self.admitted += tasks
        if self.error:
            raise self.error

    async def copy(self, to: IO[bytes]) -> None:
        to.write(b"".join(task.body + b"\n" for _, tasks in self.blocks for task in tasks))

    def file_of(self, ordinal: int) -> str:  # noqa: ARG002 - as Source has it
        return self.name

    def where(self, ordinal: int, line: int) -> str:  # noqa: ARG002 - as Source has it
        return f"{self.name}:{line}"

    def close(self) -> None:
        pass


def spec(number: int, *, body_bytes: int = 0) -> bytes:
    """The task ``t<number>`` as bytes, of at least so many."""
    head = b'{"id":"t%d","commandLine":"' % number
    return head + b"x" * max(1, body_bytes - len(head) - 2) + b'"}'


def lines(count: int, *, first: int = 0) -> bytes:
    """So many tasks, one a line."""
    return b"".join(spec(n) + b"\n" for n in range(first, first + count))


async def slowly(
    specs: Iterable[bytes], *, pause_s: float, stays_open_s: float = 0.0
) -> AsyncIterator[bytes]:
    """Task by task with a pause before each; after the last one it is not at its end yet."""
    for each in specs:
        await anyio.sleep(pause_s)
        yield each
    await anyio.sleep(stays_open_s)


@dataclass
class Ended:
    """How a run ended.

    Attributes:
        report: The final account.
        outcomes: What the consumer was handed.
        error: What iteration raised at the end.
    """

    report: Report
    outcomes: list[Outcome]
    error: Exception | None


def without_journal() -> Run:
    """A run that remembers nothing."""
    run_id = new_run_id()
    return Run(run_id, run_folder(run_id), NoJournal())


def make_submission(
    source: Source,
    service: FakeService,
    settings: Settings | None = None,
    observer: Callable[[Event], None] = lambda _: None,
    work: Run | None = None,
    *,
    cpu_s: Callable[[], float] = lambda: 0.0,
) -> Submission:
    """A submission on the running loop; the same jitter each time.

    Args:
        source: What to submit.
        service: Where to.
        settings: How.
        observer: Told of each event.
        work: The run; None for one without a journal.
        cpu_s: How long the process has kept a core busy.
    """
    tally = Tally(anyio.current_time)

    def tell(event: Event, /) -> None:
        tally(event)
        observer(event)

    service.observer = tell
    return Submission(
        source,
        service,
        work=work or without_journal(),
        job_id="job-1",
        settings=settings or Settings(),
        observer=tell,
        tally=tally,
        random=Random(1),
        cpu_s=cpu_s,
    )


async def flood(
    source: AnySource | Blocks,
    service: FakeService,
    settings: Settings | None = None,
    *,
    beside: Beside | None = None,
    pause_s: float = 0.0,
    observer: Callable[[Event], None] = lambda _: None,
) -> Ended:
    """Run a submission to its end.

    Args:
        source: What to submit.
        service: Where to.
        settings: How.
        beside: Runs along with it, and is cut off at its end.
        pause_s: How long the consumer takes for each outcome.
        observer: Told of each event.
    """
    opened = source if isinstance(source, Blocks) else open_source(source)
    with closing(opened):
        async with running(make_submission(opened, service, settings, observer)) as outcomes:
            taken, error = await take_all(outcomes, beside, pause_s)
    report = outcomes.report
    assert_adds_up(report)
    return Ended(report, taken, error)


async def take_all(
    outcomes: Outcomes, beside: Beside | None = None, pause_s: float = 0.0
) -> tuple[list[Outcome], Exception | None]:
    """The outcomes to their end, and what iteration raised there; see flood()."""
    taken: list[Outcome] = []
    async with anyio.create_task_group() as group:
        if beside:
            group.start_soon(beside, outcomes)
        try:
            async for outcome in outcomes:
                taken.append(outcome)
                if pause_s:
                    await anyio.sleep(pause_s)
        except Exception as raised:  # noqa: BLE001 - the test looks at it
            return taken, raised
        finally:
            group.cancel_scope.cancel()
    return taken, None


def stopping(after_s: float, reason: str = "told to") -> Beside:
    """Stops a run after a while."""

    async def stop(outcomes: Outcomes) -> None:
        await anyio.sleep(after_s)
        outcomes.stop(reason)

    return stop


def assert_adds_up(report: Report) -> None:
    """Every task that was read is in exactly one place."""
    parts = (report.added, report.existed, report.rejected, report.abandoned, report.unsettled)
    assert report.total == sum(parts)
    assert report.in_doubt <= report.unsettled
    assert report.existed_own <= report.existed
