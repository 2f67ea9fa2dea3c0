"""The consumer's side of a run: its outcomes, as they settle."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Protocol

import anyio

from bulksubmit.core.model import Outcome
from bulksubmit.errors import NotConverged
from bulksubmit.observe.progress import Progress
from bulksubmit.observe.report import Report
from bulksubmit.runs import Run


class Work(Protocol):
    """A run that is going on: a Submission, or the Coordinator of a sharded one."""

    @property
    def work(self) -> Run:
        """The run, and where its files are."""

    @property
    def report(self) -> Report:
        """The account up to now, or the final one."""

    @property
    def progress(self) -> Progress:
        """How far it is."""

    async def run(self) -> None:
        """To its end."""

    async def next_outcomes(self) -> list[Sequence[Outcome]]:
        """The next outcomes, a list for each reply; none at the end, or its reason is raised."""

    def stop(self, error: Exception) -> None:
        """Send nothing more, take in the answers in flight, and end with this error."""

    def cut(self) -> None:
        """After stop(): do not wait for the answers in flight, either."""

    def drop(self) -> None:
        """Outcomes are only counted from now on: there may be none until the end."""

    def leave(self) -> None:
        """Nobody takes outcomes in any more."""

    def close(self) -> None:
        """run() has ended, or was never begun."""


class Outcomes:
    """The outcomes of a run, as they settle: iterate it to the end.

    Iteration ends when every task is settled, rejected tasks included; if the run ends in any
    other way, it raises the reason, a BulkSubmitError whose ``report`` is the final account.
    Tasks flow only while someone takes them in: a slow consumer slows the run.
    """

    def __init__(self, submission: Work) -> None:
        self._submission = submission
        self._ready: deque[Outcome] = deque()

    def __aiter__(self) -> AsyncIterator[Outcome]:
        return self

    async def __anext__(self) -> Outcome:
        if not self._ready:
            for outcomes in await self._submission.next_outcomes():
                self._ready.extend(outcomes)
        if not self._ready:
            raise StopAsyncIteration
        return self._ready.popleft()

    async def drain(self) -> None:
        """Let all outcomes be dropped, and wait for the end; raises like iteration does."""
        self._submission.drop()
        while await self._submission.next_outcomes():
            pass

    @property
    def report(self) -> Report:
        """The account up to now; the final one once iteration has ended."""
        return self._submission.report

    @property
    def progress(self) -> Progress:
        """How far the run is."""
        return self._submission.progress

    @property
    def run(self) -> Run:
        """The run, and where its files are."""
        return self._submission.work

    def stop(self, reason: str, *, exit_code: int = 5) -> None:
        """Send nothing more, take in the answers in flight, and end with NotConverged."""
        self._submission.stop(NotConverged(reason, exit_code=exit_code))

    def cut(self) -> None:
        """After stop(): do not wait for the answers in flight, either."""
        self._submission.cut()


@asynccontextmanager
async def running(submission: Work) -> AsyncIterator[Outcomes]:
    """The outcomes of a submission that runs as long as the context lasts.

    Whoever leaves early, be it by an exception or by being cancelled, waits for the answers in
    flight: at most the settings' ``drain_s``.
    """
    raised: BaseException | None = None
    with closing(submission):
        async with anyio.create_task_group() as background:
            background.start_soon(_shielded, submission.run)
            try:
                yield Outcomes(submission)
            except anyio.get_cancelled_exc_class():
                submission.leave()
                raise
            except BaseException as error:  # noqa: BLE001 - out of the group, which would wrap it
                raised = error
            submission.leave()
    if raised:
        raise raised


async def _shielded(run: Callable[[], Awaitable[None]]) -> None:
    with anyio.CancelScope(shield=True):
        await run()
