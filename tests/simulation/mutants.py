"""Bugs planted on purpose, each in a copy of the engine's behaviour and never in the product.

A simulation that finds nothing may be blind: these tell that it sees.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from msgspec.structs import replace

from bulksubmit.core import reconciler
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Attempt, Lost, Outcome, Reply, Throttled, Verdict
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.core.suspects import Judged, Suspect
from bulksubmit.journal import Journal
from bulksubmit.producer import files
from bulksubmit.producer.parser import Parser
from bulksubmit.producer.source import Admit, Done

_patch = mock.patch.object
Planting = Callable[[], AbstractContextManager[object]]


def no_doubt_when_lost() -> AbstractContextManager[object]:
    """A reply that was lost leaves no doubt: its tasks are taken for not added."""
    settle = Reconciler.settle

    def mutant(
        self: Reconciler, attempt: Attempt, reply: Reply, *, now_s: float
    ) -> Sequence[Outcome]:
        if isinstance(reply, Lost):
            reply = replace(reply, sent=False)
        return settle(self, attempt, reply, now_s=now_s)

    return _patch(Reconciler, "settle", mutant)


def missing_is_added() -> AbstractContextManager[object]:
    """A task without a result in a 200 is taken for added."""
    settle_one = Reconciler._settle_one  # noqa: SLF001 - the row of the decision table in question

    def mutant(
        self: Reconciler, attempt: Attempt, task: Any, result: Any, request_id: str | None
    ) -> Outcome | Suspect | None:
        if result is None:
            return self._close(attempt, task, Verdict.ADDED, request_id)
        return settle_one(self, attempt, task, result, request_id)

    return _patch(Reconciler, "_settle_one", mutant)


def no_mark() -> AbstractContextManager[object]:
    """Tasks are sent, and the journal has no mark."""
    return _patch(Journal, "will_send", lambda *_: None)


def mark_not_synced() -> AbstractContextManager[object]:
    """The mark is committed ahead, and nobody waits until it is on the disk."""
    will_send = Journal.will_send

    class Hasty:
        """A connection that never waits for the disk."""

        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def __getattr__(self, name: str) -> Any:
            return getattr(self._db, name)

        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "wal_checkpoint" in sql:
                sql = "SELECT 0"  # It would wait as well.
            return self._db.execute(sql.replace("FULL", "NORMAL"), *parameters)

    def mutant(self: Journal, attempt: Attempt) -> None:
        db = self._db
        self._db = Hasty(db)  # type: ignore[assignment]  # For this call only.
        try:
            will_send(self, attempt)
        finally:
            self._db = db

    return _patch(Journal, "will_send", mutant)


def exists_is_rejected() -> AbstractContextManager[object]:
    """TaskExists is an error like any other, on a retry as well."""
    return _patch(reconciler, "TASK_EXISTS", "no such code")


def no_doubt_on_resume() -> AbstractContextManager[object]:
    """A resumed run takes every unsettled task for never sent."""
    init = Reconciler.__init__

    def mutant(self: Reconciler, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **(kwargs | {"doubt_below": 0}))

    return _patch(Reconciler, "__init__", mutant)


def throttled_is_not_added() -> AbstractContextManager[object]:
    """A 429 is trusted to have added nothing."""
    settle = Reconciler.settle

    def mutant(
        self: Reconciler, attempt: Attempt, reply: Reply, *, now_s: float
    ) -> Sequence[Outcome]:
        if isinstance(reply, Throttled):
            reply = Lost(reply.reason, sent=False, retry_after_s=reply.retry_after_s)
        return settle(self, attempt, reply, now_s=now_s)

    return _patch(Reconciler, "settle", mutant)


def stop_lowers_mark_to_settled() -> AbstractContextManager[object]:
    """A stop lowers the mark to how many tasks are settled, not to where sending got."""
    end = Journal.end

    def mutant(self: Journal, ended: str) -> None:
        self._sent_below = len(self.settled)
        end(self, ended)

    return _patch(Journal, "end", mutant)


def gaps_are_filled() -> AbstractContextManager[object]:
    """A reply's tasks get their bits as one range, also those in between that did not settle."""
    record = Journal.record

    def mutant(
        self: Journal, outcomes: Sequence[Outcome], others: Sequence[Outcome], *, in_order: bool
    ) -> None:
        record(self, outcomes, others, in_order=in_order)
        if in_order:
            self.settled.add_range(outcomes[0].ordinal, outcomes[-1].ordinal + 1)

    return _patch(Journal, "record", mutant)


def resumes_where_reading_ended() -> AbstractContextManager[object]:
    """A resumed run reads on behind what was read, whatever of it was settled."""
    read_again = files._read_again  # noqa: SLF001 - what a resume does first

    async def mutant(opened: Any, begin: Any, parser_at: Any, admit: Admit, done: Done) -> Parser:
        everything = Bitmap()
        everything.add_range(0, done.places[-1].ordinal if done.places else 0)
        return await read_again(opened, begin, parser_at, admit, Done(everything, done.places))

    return _patch(files, "_read_again", mutant)


def exists_is_ours() -> AbstractContextManager[object]:
    """Whatever exists is taken for ours, unread."""
    init = Reconciler.__init__

    def mutant(self: Reconciler, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **(kwargs | {"on_exists": "accept"}))

    return _patch(Reconciler, "__init__", mutant)


def exists_in_doubt_is_ours() -> AbstractContextManager[object]:
    """What exists after a lost answer is taken for ours, unread: as the official SDKs do."""
    settle = Reconciler._settle_client_error  # noqa: SLF001 - the row of the table in question

    def mutant(
        self: Reconciler, attempt: Attempt, task: Any, result: Any, request_id: str | None
    ) -> Outcome | Suspect:
        word = settle(self, attempt, task, result, request_id)
        trouble = self._troubles.get(task.ordinal)
        if isinstance(word, Suspect) and word.exists and trouble and trouble.in_doubt:
            return self._close(attempt, task, Verdict.EXISTED, request_id)
        return word

    return _patch(Reconciler, "_settle_client_error", mutant)


def lagging_list_is_believed() -> AbstractContextManager[object]:
    """What a list does not show is rejected, though the service said that it exists."""
    judge = Suspect.judge

    def mutant(self: Suspect, found: bytes | None) -> Judged | None:
        lagging = Judged(self, Verdict.REJECTED, self.refused, present=False)
        return judge(self, found) or lagging

    return _patch(Suspect, "judge", mutant)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug.

    Attributes:
        plant: Plants it, for as long as the context lasts.
        seeds: Some that find it, the cheap ones first.
    """

    plant: Planting
    seeds: tuple[int, ...]


MUTANTS = {
    mutant.plant.__name__: mutant
    for mutant in (
        Mutant(no_doubt_when_lost, (119, 71, 124)),
        Mutant(missing_is_added, (1, 6, 11)),
        Mutant(no_mark, (0, 1, 2)),
        Mutant(mark_not_synced, (0, 1, 5)),
        Mutant(exists_is_rejected, (0, 2, 3)),
        Mutant(no_doubt_on_resume, (1, 3, 6)),
        Mutant(throttled_is_not_added, (77, 258, 69)),
        Mutant(stop_lowers_mark_to_settled, (1, 2, 5)),
        Mutant(gaps_are_filled, (8, 12, 15)),
        Mutant(resumes_where_reading_ended, (1, 2, 3)),
        Mutant(exists_is_ours, (1, 2, 4)),
        Mutant(exists_in_doubt_is_ours, (1, 2, 5)),
        Mutant(lagging_list_is_believed, (2, 5, 6)),
    )
}
