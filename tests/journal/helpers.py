"""A journal to write to, and what it says when it is read back."""

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from bulksubmit.core.account import Counts
from bulksubmit.core.model import Attempt, Outcome, Task, Verdict
from bulksubmit.journal import Journal
from bulksubmit.observe.report import Tally
from bulksubmit.record import Identity
from tests.core.helpers import make_tasks

IDENTITY = Identity(
    run_id="20260131-235959-4f2a",
    job_id="night-1",
    endpoint="https://myaccount.westeurope.batch.azure.com",
    source="/data/tasks.jsonl",
    source_spec='{"files":["/data/tasks.jsonl"]}',
    source_files='[{"bytes":123456,"changed":"17","digest":"00ff"}]',
    begun_at="2026-01-31T23:59:59+00:00",
    version="1.0",
)


class Clock:
    """A time that is set by hand."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def begun(folder: Path, clock: Clock | None = None) -> Journal:
    """A new journal."""
    return Journal.begin(folder, IDENTITY, clock or Clock())


def reopened(folder: Path) -> Journal:
    """The journal of a run that goes on."""
    return Journal(folder, Clock())


def attempt_of(ordinals: Sequence[int], *, number: int = 1) -> Attempt:
    """An attempt that holds these tasks."""
    tasks: list[Task] = [make_tasks(1, first=ordinal)[0] for ordinal in ordinals]
    return Attempt(number, f"c-{number}", tuple(tasks), resent=0)


def outcomes_of(ordinals: Iterable[int], verdict: Verdict = Verdict.ADDED) -> list[Outcome]:
    """One outcome each."""
    added = verdict is Verdict.ADDED
    return [
        Outcome(
            ordinal=ordinal,
            line=ordinal + 1,
            task_id=f"t{ordinal}",
            verdict=verdict,
            attempts=2,
            code=None if added else "InvalidPropertyValue",
            message=None if added else "not like this",
            request_id="r-1",
            client_request_id="c-1",
        )
        for ordinal in ordinals
    ]


class Writer:
    """Records in a journal as a submission does: the tally and the journal together.

    Attributes:
        journal: It.
        tally: What is counted.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.tally = Tally(lambda: 0.0)
        self.tally.go_on(replace(journal.counts))

    @property
    def counts(self) -> Counts:
        return self.tally.counts

    def record(self, outcomes: Sequence[Outcome], *, in_order: bool = False) -> None:
        """Put outcomes into the open group."""
        others = [outcome for outcome in outcomes if outcome.verdict is not Verdict.ADDED]
        self.counts.total = max(self.counts.total, *(o.ordinal + 1 for o in outcomes))
        self.tally.record(outcomes, others)
        self.journal.record(outcomes, others, in_order=in_order)

    def commit(self) -> None:
        """Commit the open group."""
        self.journal.commit(self.counts)


def settled_in(folder: Path, below: int) -> set[int]:
    """The ordinals that a journal holds as settled."""
    with closing(reopened(folder)) as journal:
        return {ordinal for ordinal in range(below) if ordinal in journal.settled}
