"""What workers report is taken in once, whatever becomes of them, and of the coordinator."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulksubmit.core.account import Counts, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.core.shard import Shard, Unit, number_of, place_of
from bulksubmit.distribute.books import Books, RowPlaces
from bulksubmit.distribute.budget import Share
from bulksubmit.distribute.messages import Ended, Gauges, Orders, Report
from bulksubmit.distribute.roster import Roster
from bulksubmit.distribute.shardjournal import ShardJournal
from bulksubmit.journal import Journal
from bulksubmit.ledger import SUMMED, summed
from bulksubmit.observe.files import Files
from bulksubmit.record import FILE, Look, look
from tests.end_to_end.account import read_rows
from tests.journal.helpers import IDENTITY, Clock

FILES = ("a.jsonl", "b.jsonl")
LINE = 10  # Bytes.

# Of each shard: its file, how many items it has, and how many blank lines are before them.
PLANS = st.lists(
    st.tuples(st.sampled_from([0, 0, 0, 1]), st.integers(0, 6), st.integers(0, 2)),
    min_size=2,
    max_size=5,
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["begin"] * 2 + ["settle"] * 5 + ["report"] * 3 + ["lose", "commit", "crash"]
        ),
        st.integers(0, 4),
        st.sampled_from([*Verdict]),
    ),
    max_size=40,
)


TWO_SHARDS = [(0, 4, 1), (0, 4, 1)]
# A worker gives up what is left, says so, and is lost before its last word.
GIVEN_UP_AND_LOST = [
    ("begin", 1, Verdict.ADDED),
    ("settle", 1, Verdict.REJECTED),
    ("settle", 1, Verdict.ABANDONED),
    ("lose", 1, Verdict.ADDED),
    ("begin", 1, Verdict.ADDED),
    ("settle", 1, Verdict.EXISTED),
    ("report", 1, Verdict.ADDED),
]
# A shard is handed out when a report of another one is not committed yet.
REPORTED_AND_BEGUN = [
    ("begin", 0, Verdict.ADDED),
    ("settle", 0, Verdict.ADDED),
    ("report", 0, Verdict.ADDED),
    ("begin", 1, Verdict.ADDED),
    ("crash", 0, Verdict.ADDED),
]


@dataclass
class Plan:
    """Shards, and what is in them.

    Attributes:
        shards: In order; the first one of each file has line 1.
        items: How many there are in each.
        blanks: How many blank lines are before them.
    """

    shards: list[Shard]
    items: list[int]
    blanks: list[int]

    def __init__(self, drawn: list[tuple[int, int, int]]) -> None:
        self.shards, self.items, self.blanks = [], [], []
        ends = [0, 0]
        for file, items, blanks in sorted(drawn, key=lambda each: each[0]):
            begin, number = ends[file], len(self.shards)
            end = ends[file] = begin + LINE * items + blanks
            line = None if begin else 1
            size = end - begin
            self.shards.append(Shard(number, file, Unit.BYTES, begin, end, size, line))
            self.items.append(items)
            self.blanks.append(blanks)

    def line_of(self, number: int, place: int) -> int:
        """The line of an item, in its file."""
        before = [
            self.items[n] + self.blanks[n]
            for n in range(number)
            if self.shards[n].file == self.shards[number].file
        ]
        return sum(before) + self.blanks[number] + place + 1


class Worker:
    """Submits a shard, as its orders say, and settles what it is told to."""

    def __init__(self, plan: Plan, orders: Orders, generation: int) -> None:
        self.plan, self.generation, self.number = plan, generation, orders.shard.number
        self.journal = ShardJournal(orders, Clock(), gauges=Gauges, ready=lambda: None)
        self.counts = self.journal.counts
        self.items = plan.items[self.number]
        self._from_line = orders.shard.line or 1
        self.journal.place(Place(0, orders.shard.begin, self._from_line, orders.shard.file))
        if orders.count_lines:
            self.journal.lines = self.items + plan.blanks[self.number]
        # It has read all of it at once.
        lines, shard = plan.blanks[self.number] + self.items, orders.shard
        self.journal.place(Place(self.items, shard.end, self._from_line + lines, shard.file))
        self.counts.total, self.counts.source_complete = self.items, True
        self.gave_up = False

    @property
    def left(self) -> list[int]:
        """What is not settled."""
        return [n for n in range(self.items) if n not in self.journal.settled]

    def give_up(self) -> None:
        """All that is left; it is about to end, then."""
        for place in self.left if not self.gave_up else []:
            self.settle(place, Verdict.ABANDONED)
        self.gave_up = True

    def report(self) -> Report:
        """The next one; the last one if there is nothing left to do."""
        if self.left and not self.gave_up:
            return self.journal.take(self.counts)
        return self.journal.last(self.counts, Ended(self.items, None))

    def settle(self, place: int, verdict: Verdict) -> None:
        """One item has come to its end, or was given up."""
        line = self._from_line + self.plan.blanks[self.number] + place
        task_id = f"s{self.number}-{place}"
        outcome = Outcome(place, line, task_id, verdict, code="no", body=b"{}")
        others = [] if verdict is Verdict.ADDED else [outcome]
        self.journal.record([outcome], others, in_order=True)
        name = verdict.name.lower()
        setattr(self.counts, name, getattr(self.counts, name) + 1)
        self.counts.requests += 1
        self.counts.attempts[1] = self.counts.attempts.get(1, 0) + 1


class World:
    """A coordinator's books, and workers that come and go."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.open(Journal.begin(folder, IDENTITY, Clock(), plan.shards), go_on=False)

    def open(self, journal: Journal, *, go_on: bool) -> None:
        """A coordinator begins."""
        self.journal, self.counts = journal, journal.counts
        places = RowPlaces(FILES)
        rejects = self.folder / "rejects.ndjson"
        self.files = Files(places, rejects=None, rejects_default=rejects, results=None, go_on=go_on)
        self.books = Books(journal, self.counts, self.files, places)
        self.ledger = self.books.ledger
        self.roster = Roster([s.shard.number for s in self.ledger.states if not s.counts.converged])
        self.workers: dict[int, Worker] = {}
        while self.roster.hand_out(len(self.plan.shards)) is not None:
            pass

    def close(self) -> None:
        self.files.close()
        self.journal.close()

    def crash(self) -> None:
        """The coordinator is killed, and a new one goes on with what was committed."""
        self.close()
        journal = Journal(self.folder, Clock())
        journal.resumed()
        self.open(journal, go_on=True)

    def begin(self, number: int) -> Worker | None:
        """A worker asks for a shard's orders; whoever had it before is not heeded any more."""
        generation = self.roster.begin(number)
        if generation is None:
            return None
        state = self.ledger.states[number]
        doubt_below = state.doubt_below
        self.journal.will_send_shard(number, self.counts)
        line = self.ledger.first_line(number)
        self.books.begin(number, line_known=line is not None)
        shard = state.shard
        known = Shard(number, shard.file, shard.unit, shard.begin, shard.end, shard.bytes, line)
        orders = Orders(
            run_id="run",
            job_id="job",
            endpoint="",
            account=None,
            spec="",
            shard=known,
            expected=None,
            settings={},
            share=Share(1, None),
            learnt=None,
            counts=state.counts.numbers,
            settled=self.books.blocks_of(number),
            places=self.books.places_of(number),
            doubt_below=doubt_below,
            resumed=doubt_below > 0,
            count_lines=state.lines is None and number % 2 == 0,  # Others tell with their last.
            results=False,
            events=False,
        )
        worker = self.workers[number] = Worker(self.plan, orders, generation)
        return worker

    def take_in(self, worker: Worker, report: Report) -> None:
        """What a worker says comes; it is taken in if that worker is the one."""
        if self.roster.is_current(worker.number, worker.generation):
            self.roster.settled(worker.number)
            self.books.take_in(worker.number, report)
            if report.ended:
                self.roster.end(worker.number)

    def lose(self, number: int) -> None:
        """A worker dies, after its last report."""
        worker = self.workers.pop(number, None)
        if worker:
            self.roster.settled(number)  # No shard is poisoned here.
            self.roster.disconnected(number, worker.generation, "gone")

    def step(self, what: str, number: int, verdict: Verdict) -> None:
        """Something happens."""
        number %= len(self.plan.shards)
        worker = self.workers.get(number)
        match what:
            case "begin":
                late = self.workers.get(number)
                if self.begin(number) and late:  # It does not know yet that it is not heeded.
                    self.take_in(late, late.report())
            case "settle" if worker and worker.left and not worker.gave_up:
                if verdict is Verdict.ABANDONED:
                    worker.give_up()
                    self.take_in(worker, worker.journal.take(worker.counts))
                else:
                    worker.settle(worker.left[-1 if number % 2 else 0], verdict)
            case "report" if worker:
                self.take_in(worker, worker.report())
            case "lose":
                self.lose(number)
            case "commit":
                self.journal.commit(self.counts)
                assert said(committed_in(self.folder)) == self.said()
            case "crash":
                before = committed_in(self.folder)
                self.crash()
                assert self.said() == said(before, abandoned=0)

    def finish(self, *, backwards: bool) -> None:
        """A resume does what is left: all at once, but one ends after the other."""
        self.crash()
        begun = [self.begin(number) for number in range(len(self.plan.shards))]
        for worker in begun[::-1] if backwards else begun:
            if worker:
                for place in worker.left:
                    worker.settle(place, Verdict.REJECTED if place % 2 else Verdict.ADDED)
                self.take_in(worker, worker.report())
                self.check()
        self.journal.commit(self.counts)

    def check(self) -> None:
        """The run is the sum of its shards, and as many are settled as there are bits."""
        assert summed(self.ledger.states) == {n: self.counts.numbers[n] for n in SUMMED}
        for state, items in zip(self.ledger.states, self.plan.items, strict=True):
            base = state.shard.base
            settled = [n for n in range(items) if base + n in self.journal.settled]
            existed = [n for n in range(items) if base + n in self.journal.existed]
            assert (len(settled), len(existed)) == (state.counts.settled, state.counts.existed)
            assert state.counts.settled + state.counts.abandoned <= items
        assert len(self.journal.settled) == self.counts.settled
        committed_in(self.folder)  # It raises if that is not so of what is on the disk.

    def said(self) -> object:
        """What a look at the journal is to find, once it is committed."""
        return _said(self.counts, self.journal.settled, [s.counts for s in self.ledger.states])


def said(found: Look, *, abandoned: int | None = None) -> object:
    """What a journal says."""
    counts = [replace(state.counts) for state in found.shards]
    if abandoned is not None:
        for each in (found.counts, *counts):
            each.abandoned = abandoned
    return _said(found.counts, found.settled, counts)


def _said(counts: Counts, settled: Bitmap, of_shards: list[Counts]) -> object:
    bits = sorted((number, bits) for number, bits in settled.blocks(0, 1 << 40))
    return counts.numbers, bits, [each.numbers for each in of_shards]


def committed_in(folder: Path) -> Look:
    """What a journal says to somebody who only looks."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        return look(db, folder / FILE)


def live(
    drawn: list[tuple[int, int, int]],
    steps: list[tuple[str, int, Verdict]],
    backwards: bool,  # noqa: FBT001 - drawn
) -> None:
    """A run of many misfortunes, which is looked at all the time, and ends well."""
    plan = Plan(drawn)
    with TemporaryDirectory() as name:
        world = World(plan, Path(name, "run"))
        try:
            for step in steps:
                world.step(*step)
                world.check()
            world.finish(backwards=backwards)
        finally:
            world.close()
        found = committed_in(world.folder)
        assert found.counts.converged
        assert found.counts.total == found.counts.settled == sum(plan.items)
        wanted = {
            s.base + place: plan.line_of(s.number, place)
            for s in plan.shards
            for place in range(plan.items[s.number])
        }
        with closing(sqlite3.connect(world.folder / FILE)) as db:
            rows = db.execute("SELECT ordinal, line, verdict FROM exception").fetchall()
            assert db.execute("SELECT count(*) FROM waiting").fetchone() == (0,)
        assert [row for row in rows if row[1] != wanted[row[0]]] == []
        assert {verdict for *_, verdict in rows} <= {Verdict.REJECTED.value}
        assert len(rows) == found.counts.rejected
        written = {}
        if (rejects := world.folder / "rejects.ndjson").exists():
            written = {row["task_id"]: (row["source"], row["line"]) for row in read_rows(rejects)}
        for ordinal, line, _ in rows:
            shard = plan.shards[number_of(ordinal)]
            told = written[f"s{shard.number}-{place_of(ordinal)}"]
            assert told == (FILES[shard.file], line)


@settings(max_examples=5, deadline=None)  # Each begins a journal, and looks at it at each step.
@example(TWO_SHARDS, REPORTED_AND_BEGUN, False)  # noqa: FBT003 - as drawn
@example(TWO_SHARDS, GIVEN_UP_AND_LOST, False)  # noqa: FBT003 - as drawn
@example(TWO_SHARDS, GIVEN_UP_AND_LOST, True)  # noqa: FBT003 - as drawn
@given(PLANS, STEPS, st.booleans())
def test_accounts_add_up_whatever_happens(
    drawn: list[tuple[int, int, int]],
    steps: list[tuple[str, int, Verdict]],
    backwards: bool,  # noqa: FBT001 - drawn
) -> None:
    """
    After each report the run is the sum of its shards, and its bits are as many as are counted; in
    the file, too, whenever the coordinator is killed. Reports of workers that were replaced change
    nothing. In the end each item is settled once, and each rejected one has its line.
    """
    live(drawn, steps, backwards)


@pytest.mark.thorough
@settings(max_examples=150, deadline=None)
@given(PLANS, STEPS, st.booleans())
def test_accounts_add_up_at_length(
    drawn: list[tuple[int, int, int]],
    steps: list[tuple[str, int, Verdict]],
    backwards: bool,  # noqa: FBT001 - drawn
) -> None:
    """
    The same, with more.
    """
    live(drawn, steps, backwards)
