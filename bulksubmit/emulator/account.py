"""The account: its jobs, by their IDs."""

from collections.abc import Iterator, Mapping

from bulksubmit.core.wire import to_ticks
from bulksubmit.emulator.answers import ServiceError
from bulksubmit.emulator.jobs import check_job_id, properties_of
from bulksubmit.emulator.store import Job, JobState


class Account:
    """The jobs that there are.

    Attributes:
        touched: Folded IDs of jobs that were asked for, created or deleted since whoever keeps
            the account on disk last looked; None if nobody does.
    """

    def __init__(self, *, watched: bool = False) -> None:
        self.touched: set[str] | None = set() if watched else None
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        """The jobs, in the order in which they were created."""
        yield from self._jobs.values()

    def create(self, job_id: str, properties: Mapping[str, object], *, now_s: float) -> Job:
        """Create a job.

        Args:
            job_id: Unique in the account, ignoring case.
            properties: What else a client sends. With ``onAllTasksComplete`` terminatejob it
                completes at once, as it has no tasks, unless there is a ``jobManagerTask``.
            now_s: The time, as POSIX time.

        Raises:
            ServiceError: if the ID is taken or not a valid one, or a property is not.
        """
        checked = properties_of(properties)
        ticks = to_ticks(now_s)
        former = self.find(check_job_id(job_id), ticks=ticks)
        if former is not None:
            # Recorded: the ID of a job that is completed gives JobCompleted.
            codes = {JobState.COMPLETED: "JobCompleted", JobState.DELETING: "JobBeingDeleted"}
            raise ServiceError(codes.get(former.state, "JobExists"))
        job = Job(job_id, ticks, checked, modified_ticks=ticks, state_ticks=ticks)
        job.complete_if_done(ticks=ticks)
        self.keep(job)
        return job

    def keep(self, job: Job) -> None:
        """Take in a job whose ID is free."""
        folded = job.id.lower()
        self._jobs[folded] = job
        if self.touched is not None:
            self.touched.add(folded)
            job.unsaved = []

    def find(self, job_id: str, *, ticks: int | None = None) -> Job | None:
        """The job of that ID, ignoring case, or None.

        Args:
            job_id: Its ID.
            ticks: The time, in .NET ticks: what was to happen to the job by then has happened.
                None to look at it as it is.
        """
        folded = job_id.lower()
        job = self._jobs.get(folded)
        if self.touched is not None and job is not None:
            self.touched.add(folded)
        if job is None or ticks is None:
            return job
        job.settle(ticks=ticks)
        if job.gone_ticks is not None and ticks >= job.gone_ticks:
            del self._jobs[folded]
            return None
        return job

    def job(self, job_id: str, *, ticks: int | None = None) -> Job:
        """The same, if it is there.

        Raises:
            ServiceError: JobNotFound.
        """
        job = self.find(job_id, ticks=ticks)
        if job is None:
            raise ServiceError("JobNotFound")
        return job

    def job_ids(self, *, ticks: int) -> list[str]:
        """The folded IDs of the jobs that there are at a time, ascending."""
        return sorted(each for each in list(self._jobs) if self.find(each, ticks=ticks) is not None)
