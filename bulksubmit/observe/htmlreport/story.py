"""What the report of a run tells."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from bulksubmit.core.account import Counts
from bulksubmit.core.history import Life, Sample


@dataclass(frozen=True, slots=True)
class Example:
    """One task that something is the matter with.

    Attributes:
        file: Where it is,
        line: and on which line, 1-based.
        task_id: Its ID.
        attempts: How many attempts held it.
        in_doubt: It may exist all the same.
        message: What the service said of it.
        request_id: The service's ID of the last request that held it.
    """

    file: str
    line: int
    task_id: str
    attempts: int
    in_doubt: bool
    message: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Exceptions:
    """The tasks of one verdict and code.

    Attributes:
        verdict: ``rejected`` or ``abandoned``.
        code: The service's, or ours; empty if there is none.
        tasks: How many.
        examples: The first of them.
    """

    verdict: str
    code: str
    tasks: int
    examples: Sequence[Example]


@dataclass(frozen=True, slots=True)
class Story:
    """A run, as its journal tells it at one moment.

    Attributes:
        run_id: Its name.
        job_id: The Batch job.
        endpoint: The account's.
        source: Names the source.
        begun_at: When it was begun, UTC, ISO 8601.
        version: Of bulksubmit, then.
        state: ``running``, ``converged`` or ``unfinished``.
        ended: What the last process ended with; None if it never said, or works still.
        counts: What was counted.
        in_doubt: Unsettled tasks that may have been added; of a running one, may be in flight.
        lives: The processes that worked on it, in order; the first may be left out.
        samples: Of each life, by its number, in order.
        attempts: Tasks settled, by attempts; see ``core.history.attempts_from``.
        exceptions: Those that the most tasks have first.
        codes: How many verdicts with different codes there are in all.
        made_at: When this was read, UTC, ISO 8601.
        made_by: The version of bulksubmit that did.
    """

    run_id: str
    job_id: str
    endpoint: str
    source: str
    begun_at: str
    version: str
    state: str
    ended: str | None
    counts: Counts
    in_doubt: int
    lives: Sequence[Life]
    samples: Mapping[int, Sequence[Sample]]
    attempts: Mapping[int, int]
    exceptions: Sequence[Exceptions]
    codes: int
    made_at: str
    made_by: str

    @property
    def unsettled(self) -> int:
        """Tasks read that are not settled, and were not given up either."""
        return self.counts.total - self.counts.settled - self.counts.abandoned

    @property
    def uncounted(self) -> int:
        """Tasks settled of which no process has counted the attempts."""
        return self.counts.settled - sum(self.attempts.values())

    @property
    def worked_s(self) -> float:
        """How long processes are known to have worked on it, together."""
        return sum(life.lived_s for life in self.lives)

    @property
    def tasks_per_s(self) -> float | None:
        """Settled tasks over the time of work; None if too little is known of that."""
        settled = sum(sample.settled for each in self.samples.values() for sample in each)
        return settled / self.worked_s if self.worked_s else None

    @property
    def lost(self) -> int:
        """Attempts without a usable answer, as far as samples tell."""
        return sum(sample.lost for each in self.samples.values() for sample in each)

    @property
    def causes(self) -> dict[str, float]:
        """Seconds for which each cause limited the speed, the most first."""
        summed: dict[str, float] = {}
        for life in self.lives:
            for cause, seconds in life.causes.items():
                summed[cause] = summed.get(cause, 0.0) + seconds
        ranked = sorted(summed.items(), key=lambda item: -item[1])
        return {cause: seconds for cause, seconds in ranked if seconds > 0.0}

    def how_ended(self, life: Life) -> str:
        """How a process ended, in a word or its own words."""
        if life.ended is not None:
            return life.ended
        last = life is self.lives[-1]
        return "at work" if last and self.state == "running" else "killed"

    def as_dict(self) -> dict[str, object]:
        """All of it as JSON types."""
        counts = self.counts.numbers | {"unsettled": self.unsettled, "in_doubt": self.in_doubt}
        lives = [
            {**asdict(life), "ended": self.how_ended(life), "samples": samples}
            for life in self.lives
            for samples in [[asdict(sample) for sample in self.samples.get(life.number, ())]]
        ]
        asked = ("run_id", "job_id", "endpoint", "source", "begun_at", "version", "state", "ended")
        return {
            **{name: getattr(self, name) for name in asked},
            **counts,
            "attempts": {str(begin): tasks for begin, tasks in sorted(self.attempts.items())},
            "exceptions": [asdict(each) for each in self.exceptions],
            "lives": lives,
            "made_at": self.made_at,
            "made_by": self.made_by,
        }
