"""What workers report, put into the journal, the counts, and the files of a run."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bulksubmit.core.account import Counts, Place
from bulksubmit.core.bitmap import BLOCK
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.core.shard import SHARD_BITS, Unit, number_of
from bulksubmit.distribute.messages import Blocks, Report
from bulksubmit.errors import BulkSubmitError
from bulksubmit.journal import Journal
from bulksubmit.ledger import SUMMED
from bulksubmit.observe.files import Files

_BLOCKS_BITS = SHARD_BITS - BLOCK.bit_length() + 1  # Of a bitmap, a shard.
# What has happened, whether or not it is known what became of the tasks.
_SENT = ("total", "requests", "retried_requests", "throttled_requests", "bytes_sent")


def _ordinal_of(place: Place) -> int:
    return place.ordinal


class RowPlaces:
    """Says where rejected tasks are, for the rows of the files.

    Attributes:
        names: Of the source's files, by number.
        wheres: By ordinal, of those that are being written.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.wheres: dict[int, str] = {}
        self.file_number: Callable[[int], int] = lambda _: 0

    def file_of(self, ordinal: int) -> str:
        """See Places."""
        return self.names[self.file_number(ordinal)]

    def where(self, ordinal: int, line: int) -> str:
        """See Places."""
        return self.wheres.get(ordinal) or f"{self.file_of(ordinal)}:{line}"


class Books:
    """The accounts of all shards.

    Attributes:
        counts: Of the run.
        ledger: Of the shards.
        knowing: Shards whose workers count lines as the file does.
    """

    def __init__(self, journal: Journal, counts: Counts, files: Files, places: RowPlaces) -> None:
        """Go on with a journal.

        Args:
            journal: Of a sharded run.
            counts: Of the run; kept up to date.
            files: Where rejected tasks are written, and all outcomes if that is wanted.
            places: Given to the files.
        """
        assert journal.ledger
        self.counts, self.ledger = counts, journal.ledger
        self._journal, self._files, self._places = journal, files, places
        self._attempts: dict[int, Mapping[int, int]] = {}
        self.knowing: set[int] = set()
        self._to_read = sum(not s.counts.source_complete for s in self.ledger.states)
        places.file_number = lambda ordinal: self.ledger.states[number_of(ordinal)].shard.file
        journal.file_of = places.file_of

    def blocks_of(self, number: int) -> Blocks:
        """What is settled of a shard, as its worker counts."""
        if not self.ledger.states[number].counts.settled:  # All blocks would be looked at for it.
            return []
        first = number << _BLOCKS_BITS
        found = self._journal.settled.blocks(first, first + (1 << _BLOCKS_BITS))
        return [(block - first, bits) for block, bits in found]

    def places_of(self, number: int) -> list[Place]:
        """Where some of its items begin, as its worker counts, which has begun."""
        base, places = number << SHARD_BITS, self._journal.places
        before = self._lines_before(number)
        begin = bisect_left(places, base, key=_ordinal_of)
        end = bisect_left(places, base + (1 << SHARD_BITS), begin, key=_ordinal_of)
        return [
            Place(place.ordinal - base, place.offset, place.line + before, place.file)
            for place in places[begin:end]
        ]

    def begin(self, number: int, *, line_known: bool) -> None:
        """A worker begins a shard: it counts attempts anew.

        Args:
            number: The shard.
            line_known: Whether it knows the line that the shard begins at; otherwise it counts
                from 1.
        """
        self._attempts[number] = {}
        (self.knowing.add if line_known else self.knowing.discard)(number)

    def take_in(self, number: int, report: Report) -> list[Outcome]:
        """Take in a report, whole, with no wait in between.

        Returns:
            The tasks that were rejected or abandoned, with the journal's ordinals.

        Raises:
            OutputError: if a file cannot be written. Then what has settled is not taken in.
        """
        self._places.wheres.clear()
        state, base = self.ledger.states[number], number << SHARD_BITS
        before = state.lines
        if state.lines is None:
            state.lines = report.lines
        first_line = 1 if number in self.knowing else self.ledger.first_line(number)
        outcomes = self._renumbered(report.exceptions, base, first_line)
        results = self._renumbered([(o, "") for o in report.results], base, first_line)
        # Before the journal says that they are settled: after a crash a row may be there twice,
        # but none is missing.
        known = outcomes if first_line is not None else []
        try:
            self._files.record(results, known)
        except BulkSubmitError:
            self._count_sent(report, number)
            raise
        state = self.ledger.changed(number)
        self._count(state.counts, report, number)
        state.counts = Counts.of(report.counts)
        first = number << _BLOCKS_BITS
        for block, bits in report.settled:
            self._journal.settled.add_block(first + block, bits)
        for block, bits in report.existed:
            self._journal.existed.add_block(first + block, bits)
        for place in report.places:
            ordinal, line = base + place.ordinal, place.line - self._lines_before(number)
            self._journal.place(Place(ordinal, place.offset, line, place.file))
        self._journal.note_exceptions(outcomes)
        if first_line is None:
            for outcome in outcomes:
                self.ledger.wait(outcome)
        if report.ended:
            state.doubt_below = report.ended.sent_below
        if before is None and state.lines is not None:
            self.number_lines()
        return outcomes

    def _lines_before(self, number: int) -> int:
        """What the lines of its worker begin after.

        The journal's places count them from the shard's beginning, unless it is known from the
        first where that is.
        """
        if self.ledger.states[number].shard.line is not None or number not in self.knowing:
            return 0
        return (self.ledger.first_line(number) or 1) - 1

    def _count(self, before: Counts, report: Report, number: int) -> None:
        counts = self.counts
        for name in SUMMED:
            more = report.counts[name] - getattr(before, name)
            setattr(counts, name, getattr(counts, name) + more)
        known = self._attempts.get(number, {})
        for begin, tasks in report.attempts.items():
            counts.attempts[begin] = counts.attempts.get(begin, 0) + tasks - known.get(begin, 0)
        self._attempts[number] = report.attempts
        self._to_read -= bool(report.counts["source_complete"]) - before.source_complete
        counts.source_complete = self._to_read == 0

    def _count_sent(self, report: Report, number: int) -> None:
        """What has settled is not written down: it was sent all the same."""
        state = self.ledger.changed(number)
        for name in _SENT:
            more = report.counts[name] - getattr(state.counts, name)
            for counts in (state.counts, self.counts):
                setattr(counts, name, getattr(counts, name) + more)

    def _renumbered(
        self, outcomes: Sequence[tuple[Outcome, str]], base: int, first_line: int | None
    ) -> list[Outcome]:
        """With the journal's ordinals, and the file's lines as far as they are known."""
        shift = (first_line or 1) - 1
        state = self.ledger.states[base >> SHARD_BITS]
        found = []
        for outcome, where in outcomes:
            ordinal = base + outcome.ordinal
            if where and state.shard.unit is not Unit.BYTES:
                self._places.wheres[ordinal] = where
            found.append(
                msgspec.structs.replace(outcome, ordinal=ordinal, line=outcome.line + shift)
            )
        return found

    def number_lines(self) -> None:
        """Write the rows of rejected tasks whose line is known by now.

        Raises:
            BulkSubmitError: if they cannot be written.
        """
        for number in [*self.ledger.waiting]:
            first_line = self.ledger.first_line(number)
            if first_line is None:
                continue
            waiting = [
                msgspec.structs.replace(outcome, line=outcome.line + first_line - 1)
                for outcome in self.ledger.waiting.pop(number)
            ]
            self._places.wheres.clear()
            self._files.record([], [o for o in waiting if o.verdict is Verdict.REJECTED])
            self._journal.number_lines(number, first_line, self.counts)
