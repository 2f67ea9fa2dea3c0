"""What is to be said of the input while it is read: errors, warnings, duplicate IDs."""

from contextlib import closing
from pathlib import Path

from bulksubmit.core.account import Counts
from bulksubmit.core.events import Noted, Observer
from bulksubmit.core.model import ErrorDetail, Invalid, Kind, Outcome, Problem, Verdict
from bulksubmit.errors import BulkSubmitError, OutputError, SettingsError, SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Block, Source
from bulksubmit.producer.survey import IdWatch, survey
from bulksubmit.settings import Settings

ERRORS_NAMED_MAX = 10  # In one message; bulksubmit validate lists all.

# The code of what was rejected by ourselves, before it was sent.
INVALID = "Invalid"


class Intake:
    """Looks at each block before its tasks are taken in."""

    def __init__(
        self,
        source: Source,
        settings: Settings,
        observer: Observer,
        *,
        folder: Path | None,
        resumed: bool,
        doubt_below: int = 0,
    ) -> None:
        """Look at a source.

        Args:
            source: Which is going to be read.
            settings: What is to be done about what is wrong.
            observer: Told of what is odd.
            folder: Where a temporary file goes; None for the usual place.
            resumed: Whether only a part of the source is going to be read, so that duplicates
                cannot be told from it.
            doubt_below: Items of a lower ordinal may have been sent by an earlier process.
        """
        self._source, self._settings, self._observer = source, settings, observer
        self._resumed, self._doubt_below = resumed, doubt_below
        self._ids: IdWatch | None = None
        if settings.dedupe and not resumed:
            self._ids = IdWatch(source, folder=folder)

    def look_at(self, block: Block) -> list[Outcome]:
        """Before anything of a block is sent.

        Returns:
            One REJECTED outcome for each item that is no task.

        Raises:
            SourceError: if there is one, and it is to stop the run.
        """
        if block.invalid and self._settings.invalid == "stop":
            raise stopped_at(self._source, block.invalid[0])
        for warned in block.warned:
            where = self._source.where(warned.ordinal, warned.line)
            for problem in warned.problems:
                self._observer(Noted("warning", f"{where}: {problem.text}"))
        return [self._rejected(invalid) for invalid in block.invalid]

    def take_in(self, block: Block) -> None:
        """Once a block is being sent: watch its IDs."""
        if self._ids is None:
            return
        try:
            self._ids.add(block)
        except OutputError as error:  # No reason to stop a flood.
            self._ids.close()
            self._ids = None
            self._observer(Noted("unchecked", str(error)))

    async def look_first(self) -> None:
        """Read all of the source before anything is sent.

        Raises:
            SourceError: if something in it is wrong, and nothing wrong is to be passed over.
        """
        if self._resumed:
            return
        if self._source.spec is None:
            reason = "check_first (--check-first) reads the source twice"
            raise SettingsError(f"{reason}: give a file, or keep a copy by spool (--spool)")
        first: list[str] = []

        def tell(where: str, _task_id: str, problem: Problem) -> None:
            if not problem.warning:
                first.append(f"{where}: {problem.text}")
                del first[ERRORS_NAMED_MAX:]

        with closing(open_source(self._source.spec, self._source.checker)) as source:
            found = await survey(
                source,
                tell,
                body_bytes_max=self._settings.body_bytes_max,
                dedupe=self._ids is not None,
            )
        if not found.errors:
            return
        count = sum(found.errors.values())
        told = f"{count:,} error{'s' if count > 1 else ''}; bulksubmit validate lists all"
        reason = "\n  ".join([told, *first])
        if self._settings.invalid == "stop":
            raise SourceError(self._source.name, None, reason)
        self._observer(Noted("errors", f"{self._source.name}: {reason}"))

    async def tell_duplicates(self) -> None:
        """What a service that refuses the second of two has told, or will tell, one by one."""
        if self._ids is None:
            if self._settings.dedupe:
                reason = (
                    "duplicate IDs are not looked for after a resume, which reads only a part of "
                    "the source; bulksubmit validate does"
                )
                self._observer(Noted("unchecked", reason))
            return
        try:
            count, named = await self._ids.find()
        except BulkSubmitError as error:
            self._observer(Noted("unchecked", str(error)))
            return
        if count:
            tasks = f"{count:,} tasks have" if count > 1 else "one task has"
            what = f"{tasks} the ID of an earlier one; the service takes one of each"
            self._observer(Noted("duplicates", what))
        for where, _, text in named:
            self._observer(Noted("duplicate", f"{where}: {text}"))

    def _rejected(self, invalid: Invalid) -> Outcome:
        # What is wrong with anyone's task was never sent; what the model does not know was, if an
        # earlier process was told to allow it.
        errors = {problem.kind for problem in invalid.problems if not problem.warning}
        return Outcome(
            ordinal=invalid.ordinal,
            line=invalid.line,
            task_id=invalid.id,
            verdict=Verdict.REJECTED,
            attempts=0,
            in_doubt=invalid.ordinal < self._doubt_below and errors == {Kind.UNKNOWN},
            code=INVALID,
            message="; ".join(problem.text for problem in invalid.problems),
            values=tuple(ErrorDetail(p.path, p.kind.value) for p in invalid.problems),
            body=invalid.body,
        )

    def close(self) -> None:
        """Remove the temporary file."""
        if self._ids is not None:
            self._ids.close()


def stopped_at(source: Source, invalid: Invalid) -> SourceError:
    """The error that an item which is no task ends a run with."""
    texts = [problem.text for problem in invalid.problems]
    reason = texts[0] if len(texts) == 1 else f"{len(texts)} errors\n  " + "\n  ".join(texts)
    where = source.where(invalid.ordinal, invalid.line)
    error = SourceError(source.file_of(invalid.ordinal), invalid.line, reason, where=where)
    error.of_item = True
    return error


def ways_on(error: SourceError, counts: Counts, run_id: str | None) -> str | None:
    """How to go on after an error in the source; None if there is nothing to be said.

    Args:
        error: What ended the run.
        counts: What was counted of it.
        run_id: The run's name, if it can be resumed.
    """
    if not counts.requests:
        way = "mend it and submit again, or leave out what is invalid by --invalid reject"
        return f"nothing was sent: {way}" if error.of_item else None
    settled = f"{counts.added + counts.existed:,} tasks were added before"
    mend = "mend the file and submit it again: tasks that exist are told"
    if run_id is None:
        return f"{settled}; {mend}"
    resume = f"bulksubmit runs resume {run_id}"
    if error.of_item:
        return f"{settled}; go on without what is invalid by {resume} --invalid reject, or {mend}"
    return f"{settled}; once it is as it was and can be read, go on by {resume}, or {mend}"
