"""The job's onAllTasksComplete: held back while tasks are added, and set at the end.

With ``terminatejob`` a job completes whenever all its tasks are complete, be it between two
requests: then the rest is refused. (Reference page "Best practices": set it after the last add.)
A service that keeps to its reference does not let a job go back from it (JobPatchParameter,
onAllTasksComplete: "you cannot turn it off again"); it is asked all the same, since only it knows.
"""

from random import Random
from typing import Protocol

import anyio

from bulksubmit.core.backoff import PRESSURE_BACKOFF
from bulksubmit.core.events import Noted, Observer
from bulksubmit.core.wire import Job
from bulksubmit.errors import (
    BulkSubmitError,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SettingsError,
)
from bulksubmit.service.replies import Unavailable

TERMINATE, NO_ACTION = "terminatejob", "noaction"


class Patcher(Protocol):
    """Where the job can be changed."""

    async def patch_job(self, on_all_tasks_complete: str) -> Unavailable | None:
        """Set the job's onAllTasksComplete.

        Raises:
            ServiceRefused: if it cannot be.
        """


class Memory(Protocol):
    """Remembers what the job is to have again, whatever becomes of this process."""

    held: str | None

    def hold(self, former: str | None) -> None:
        """Note it on the disk; None: it has it again."""


class AutoTerminate:
    """One run's care for its job."""

    def __init__(
        self,
        jobs: Patcher,
        memory: Memory,
        *,
        hold: bool,
        then_terminate: bool,
        patience_s: float,
        random: Random,
        observer: Observer,
    ) -> None:
        """Care for a job.

        Args:
            jobs: The transport.
            memory: The journal.
            hold: Whether to hold back a job that would complete by itself.
            then_terminate: Whether to let it complete by itself once every task exists.
            patience_s: How long the service is asked again when it does not answer.
            random: For jitter.
            observer: Told what is done.
        """
        self._jobs, self._memory = jobs, memory
        self._hold, self._then_terminate = hold, then_terminate
        self._patience_s, self._random, self._observer = patience_s, random, observer

    async def begin(self, job: Job) -> None:
        """Before the first task is sent: hold the job back, or warn.

        Raises:
            BulkSubmitError: if it cannot be held back.
        """
        if job.on_all_tasks_complete.lower() != TERMINATE:
            return
        if not self._hold:
            reason = (
                f"the job {job.id} has onAllTasksComplete=terminatejob: it can complete between "
                "two requests, and would refuse the rest; better create jobs with noaction, and "
                "let --then-terminate set it, or ask for --hold-auto-terminate"
            )
            self._observer(Noted("job", reason))
            return
        # On the disk first: whoever resumes after a crash must know what to put back.
        self._memory.hold(job.on_all_tasks_complete)
        try:
            await self._patch(NO_ACTION)
        except ServiceRefused as refused:
            if refused.refusal is Refusal.REQUEST:
                self._memory.hold(None)
                raise SettingsError(
                    f"the service does not let the job {job.id} go back from terminatejob to "
                    f"noaction ({refused.code}): submit without --hold-auto-terminate, or to a "
                    "job with onAllTasksComplete=noaction, and let --then-terminate set it"
                ) from refused
            raise
        self._observer(Noted("job", "onAllTasksComplete is noaction while the run lasts"))

    async def end(self, *, complete: bool, failed: bool) -> None:
        """At any end: put back what was held, or let the job complete.

        Args:
            complete: Every task of the source exists.
            failed: The run ends with an error anyhow: one more is only told.

        Raises:
            BulkSubmitError: if the job cannot be changed, unless the run has failed.
        """
        held = self._memory.held
        value = TERMINATE if self._then_terminate and complete else held
        if value is None:
            return
        try:
            await self._patch(value)
            if held is not None:
                self._memory.hold(None)
        except BulkSubmitError as error:
            if not failed:
                raise
            reason = f"onAllTasksComplete could not be set to {value}: {error}"
            self._observer(Noted("job", reason))
            return
        self._observer(Noted("job", f"onAllTasksComplete is {value}"))

    async def _patch(self, value: str) -> None:
        ends_s = anyio.current_time() + self._patience_s
        failures = 0
        while (last := await self._jobs.patch_job(value)) is not None:
            failures += 1
            delay_s = PRESSURE_BACKOFF.delay_s(failures, self._random)
            delay_s = max(delay_s, last.retry_after_s or 0.0)
            if anyio.current_time() + delay_s > ends_s:
                reason = f"onAllTasksComplete cannot be set: {last.reason}"
                raise ServiceUnreachable(reason, name_unknown=False)
            await anyio.sleep(delay_s)
