"""The shards of a run, in its journal: which there are, how far each is, where its lines begin.

    shard      a row for each: its bounds, its counters, and a mark ``doubt_below`` of its own
    waiting    rejected and abandoned tasks whose line is not known yet: nobody has counted the
               lines before

Rows of ``shard`` have a digest, as all that decides on which tasks are sent again.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from bulksubmit.core.account import Counts
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.core.shard import SHARD_BITS, Shard, Unit, number_of, place_of
from bulksubmit.database import digest

# A mark above all that a shard can hold: any of its items may have been sent.
ALL = 1 << SHARD_BITS

# All numbers of a run are the sum of its shards' but one, which holds if it does for each.
SUMMED = tuple(name for name in Counts.NUMBERS if name != "source_complete")

_SHARD = ("number", "file", "unit", "begin", "end", "bytes", "line")
SCHEMA = (
    f"""CREATE TABLE shard (
        number INTEGER PRIMARY KEY, file INTEGER NOT NULL, unit TEXT NOT NULL,
        "begin" INTEGER NOT NULL, "end" INTEGER NOT NULL, bytes INTEGER NOT NULL, line INTEGER,
        lines INTEGER, doubt_below INTEGER NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL" for name in Counts.NUMBERS)}, digest TEXT NOT NULL
    )""",
    "CREATE TABLE waiting (ordinal INTEGER PRIMARY KEY, outcome BLOB NOT NULL)",
)
_INSERT = (
    "INSERT OR REPLACE INTO shard VALUES "
    f"({', '.join('?' * (len(_SHARD) + 2 + len(Counts.NUMBERS) + 1))})"
)


@dataclass(slots=True)
class ShardState:
    """How far a shard is.

    Attributes:
        shard: Its bounds.
        lines: How many lines it holds, once somebody has counted them.
        doubt_below: Its unsettled items of a lower place may have been sent.
        counts: As of a run, of its items alone.
    """

    shard: Shard
    lines: int | None = None
    doubt_below: int = 0
    counts: Counts = field(default_factory=Counts)

    @property
    def in_doubt(self) -> int:
        """Of the items read, those that may have been sent and are not settled."""
        return max(0, min(self.doubt_below, self.counts.total) - self.counts.settled)


def read(db: sqlite3.Connection) -> list[ShardState]:
    """All shards of a run, in order.

    Raises:
        ValueError: if they are not what was written.
    """
    states = []
    for *values, told in db.execute("SELECT * FROM shard ORDER BY number"):
        if told != digest(*values):
            raise ValueError("a row of shard holds what was not written")
        number, file, unit, begin, end, size, line, lines, doubt_below, *numbers = values
        shard = Shard(number, file, Unit(unit), begin, end, size, line)
        counts = Counts.of(dict(zip(Counts.NUMBERS, numbers, strict=True)))
        states.append(ShardState(shard, lines, doubt_below, counts))
    return states


def insert(db: sqlite3.Connection, shards: Iterable[Shard]) -> None:
    """Make the tables, and put the shards of a new run into them."""
    for table in SCHEMA:
        db.execute(table)
    db.executemany(_INSERT, [_row(ShardState(shard)) for shard in shards])


def _row(state: ShardState) -> tuple[object, ...]:
    shard = state.shard
    bounds = (shard.number, shard.file, shard.unit.value, shard.begin, shard.end, shard.bytes)
    values = (*bounds, shard.line, state.lines, state.doubt_below)
    row = (*values, *map(int, state.counts.numbers.values()))
    return (*row, digest(*row))


class Ledger:
    """What a journal that is open for writing keeps of its shards.

    Attributes:
        states: One a shard, by its number.
        waiting: Tasks whose line is not known yet, with the journal's ordinals, by shard.
    """

    def __init__(self, states: Sequence[ShardState], db: sqlite3.Connection) -> None:
        """Go on with what a journal holds.

        Raises:
            msgspec.DecodeError: if it is damaged.
        """
        self.states = states
        self.waiting: dict[int, list[Outcome]] = {}
        for (outcome,) in db.execute("SELECT outcome FROM waiting ORDER BY ordinal"):
            self._keep(msgspec.msgpack.decode(outcome, type=Outcome))
        self._changed: set[int] = set()
        self._new: list[Outcome] = []
        self._first_lines: dict[int, int] = {}

    def changed(self, number: int) -> ShardState:
        """The state of a shard, which is going to be changed."""
        self._changed.add(number)
        return self.states[number]

    def wait(self, outcome: Outcome) -> None:
        """A rejected or abandoned task waits for its line; the one it has is its shard's."""
        self._keep(outcome)
        self._new.append(outcome)

    def _keep(self, outcome: Outcome) -> None:
        self.waiting.setdefault(number_of(outcome.ordinal), []).append(outcome)

    def first_line(self, number: int) -> int | None:
        """The 1-based line that a shard begins at; None if nobody has counted up to there."""
        at = number
        while (line := self._line_of(at)) is None:
            at -= 1
        for before in self.states[at:number]:
            if before.lines is None:
                return None
            line += before.lines
            self._first_lines[before.shard.number + 1] = line
        return line

    def _line_of(self, number: int) -> int | None:
        return self.states[number].shard.line or self._first_lines.get(number)

    def resumed(self, db: sqlite3.Connection) -> None:
        """An earlier process's last words do not hold any more; within a transaction."""
        for state in self.states:
            if state.counts.abandoned:
                self.take_back(db, state.shard.number)

    def take_back(self, db: sqlite3.Connection, number: int) -> None:
        """What was given up of a shard is going to be tried again; within a transaction."""
        base = number << SHARD_BITS
        bounds = (Verdict.ABANDONED.value, base, base + ALL)
        db.execute("DELETE FROM exception WHERE verdict = ? AND ordinal BETWEEN ? AND ?", bounds)
        waiting = self.waiting.pop(number, [])
        gone = [(o.ordinal,) for o in waiting if o.verdict is Verdict.ABANDONED]
        db.executemany("DELETE FROM waiting WHERE ordinal = ?", gone)
        if kept := [o for o in waiting if o.verdict is not Verdict.ABANDONED]:
            self.waiting[number] = kept
        self.changed(number).counts.abandoned = 0

    # --- Within a transaction of the journal ---------------------------------------------------

    def write(self, db: sqlite3.Connection) -> None:
        """Write what has changed."""
        db.executemany(_INSERT, [_row(self.states[number]) for number in self._changed])
        rows = [(outcome.ordinal, msgspec.msgpack.encode(outcome)) for outcome in self._new]
        db.executemany("INSERT OR REPLACE INTO waiting VALUES (?, ?)", rows)

    def committed(self) -> None:
        """The transaction is committed."""
        self._changed.clear()
        self._new.clear()

    def number_lines(self, db: sqlite3.Connection, number: int, first_line: int) -> None:
        """A shard's line is known: its rejected tasks get theirs, and wait no more."""
        base = number << SHARD_BITS
        bounds = (base, base + ALL)
        shift = (first_line - 1, *bounds)
        db.execute("UPDATE exception SET line = line + ? WHERE ordinal >= ? AND ordinal < ?", shift)
        db.execute("DELETE FROM waiting WHERE ordinal >= ? AND ordinal < ?", bounds)


def doubted(states: Sequence[ShardState], ordinal: int) -> bool:
    """Whether an unsettled item of a sharded run may have been sent."""
    return place_of(ordinal) < states[number_of(ordinal)].doubt_below


def summed(states: Sequence[ShardState]) -> Mapping[str, int]:
    """The counters of all shards together, of those that a run's are the sum of."""
    return {name: sum([getattr(s.counts, name) for s in states]) for name in SUMMED}
