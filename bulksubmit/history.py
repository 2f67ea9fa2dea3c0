"""How a run went, in its journal: for the report. What is sent again does not depend on it.

    life      a row for each process that worked on the run, the last hundred of them
    sample    what happened in a span of such a process's time, five hundred rows at most
    attempts  how many tasks needed how many attempts

It is committed along with what was settled, never by itself, and never waits for the disk; attempts
with each commit, so that they add up, and the rest once a second, which is three pages less to
write. What of it cannot be read is forgotten: a run goes on without.
"""

import json
import math
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from operator import attrgetter
from typing import Any

from bulksubmit.core.history import (
    LIVES_MAX,
    SAMPLE_S,
    SAMPLES_MAX,
    Given,
    Life,
    Sample,
    merged,
    thinned,
)

SCHEMA = (
    """CREATE TABLE life (
        number INTEGER PRIMARY KEY, begun_at TEXT NOT NULL, lived_s REAL NOT NULL, ended TEXT,
        versions TEXT NOT NULL, settings TEXT NOT NULL, causes TEXT NOT NULL, advice TEXT,
        limit_raised INTEGER NOT NULL, limit_cut TEXT NOT NULL, troubles TEXT NOT NULL
    )""",
    """CREATE TABLE sample (
        life INTEGER NOT NULL, begun_s REAL NOT NULL, span_s REAL NOT NULL,
        settled INTEGER NOT NULL, requests INTEGER NOT NULL, throttled INTEGER NOT NULL,
        lost INTEGER NOT NULL, "limit" REAL NOT NULL, in_flight REAL NOT NULL,
        p50_s REAL, p95_s REAL, cause TEXT, PRIMARY KEY (life, begun_s)
    ) WITHOUT ROWID""",
    "CREATE TABLE attempts (attempts_from INTEGER PRIMARY KEY, tasks INTEGER NOT NULL)",
)

WRITE_PERIOD_S = 1.0

_INSERT_SAMPLE = "INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_LIFE = "INSERT OR REPLACE INTO life VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_figures = attrgetter(
    *[field.name for field in fields(Sample)]
)  # astuple() copies, 20 times slower.
_UNREADABLE = (sqlite3.Error, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class Told:
    """What a journal tells of how its run went.

    Attributes:
        lives: The processes that worked on it, in order; the first ones may be left out.
        samples: Of each life, by its number, in order.
        attempts: Tasks settled, by the attempts that they needed; see ``attempts_from``.
    """

    lives: list[Life] = field(default_factory=list)
    samples: dict[int, list[Sample]] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)


def told(db: sqlite3.Connection) -> Told:
    """Read what a journal tells; nothing, if it is of an older format, or cannot be read."""
    try:
        lives = [_life(row) for row in db.execute("SELECT * FROM life ORDER BY number")]
        samples: dict[int, list[Sample]] = {life.number: [] for life in lives}
        for number, *row in db.execute("SELECT * FROM sample ORDER BY life, begun_s"):
            if number in samples:
                samples[number].append(_sample(row))
        found = db.execute("SELECT * FROM attempts ORDER BY attempts_from").fetchall()
        attempts = {int(begin): int(tasks) for begin, tasks in found}
    except _UNREADABLE:
        return Told()
    return Told(lives, samples, attempts)


class History:
    """What a journal that is open for writing keeps of how its run goes.

    Attributes:
        attempts: As in Told; as they were when it was opened.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        """Go on with what a journal holds."""
        found = told(db)
        self.attempts = found.attempts
        self._db, self._lives, self._samples = db, found.lives, found.samples
        self._written = dict(found.attempts)
        self._life: Life | None = None
        self._unwritten_from = 0  # Of this life's samples.
        self._written_s = -math.inf  # How long this life was when it was written.
        self._settings = ""  # Of this life, as JSON: they do not change.
        self._rewrite = not found.lives  # Whatever may be there could not be read.
        self._period_s = SAMPLE_S
        while self._count() > SAMPLES_MAX // 2 and self._thin():
            pass  # Or this life, which may be a long one, would have no room.
        self._period_s = SAMPLE_S

    def begin(self, life: Life) -> None:
        """A process begins to work on the run; it is on record with the next commit."""
        life.number = self._lives[-1].number + 1 if self._lives else 1
        self._life, self._settings = life, _settings(life)
        self._lives.append(life)
        self._samples[life.number] = []
        if len(self._lives) > LIVES_MAX:
            del self._samples[self._lives.pop(0).number]
            self._rewrite = True

    def add(self, sample: Sample) -> None:
        """A span of this process's time, which begins where the last one ended.

        It becomes part of that one as long as that is shorter than samples are by now.
        """
        assert self._life is not None
        own = self._samples[self._life.number]
        self._life.lived_s = sample.end_s
        if own and own[-1].span_s < self._period_s:
            own[-1] = merged(own[-1], sample)
        else:
            own.append(sample)
        self._unwritten_from = min(self._unwritten_from, len(own) - 1)
        if self._count() > SAMPLES_MAX:
            self._thin()

    def end(self, ended: str) -> None:
        """This process works on the run no more, because it converged, or for that reason."""
        if self._life:
            self._life.ended, self._written_s = ended, -math.inf

    def write(self, attempts: Mapping[int, int] | None = None) -> None:
        """Write what is new, within a transaction of the journal.

        Args:
            attempts: As in Told, up to now; None if they are as they were.
        """
        attempts = self._written if attempts is None else attempts
        if self._rewrite:
            for all_of_it in ("DELETE FROM attempts", "DELETE FROM sample", "DELETE FROM life"):
                self._db.execute(all_of_it)
            for life in self._lives:
                self._write(life, self._samples[life.number])
        elif self._life and self._is_due(self._life):
            self._write(self._life, self._samples[self._life.number][self._unwritten_from :])
        known = {} if self._rewrite else self._written
        new = [(begin, n) for begin, n in attempts.items() if known.get(begin) != n]
        self._db.executemany("INSERT OR REPLACE INTO attempts VALUES (?, ?)", new)

    def committed(self, attempts: Mapping[int, int]) -> None:
        """The transaction is committed: what was written in it is not written again."""
        self._written = dict(attempts)
        if self._life and (self._rewrite or self._is_due(self._life)):
            # The last one may grow yet.
            self._unwritten_from = max(len(self._samples[self._life.number]) - 1, 0)
            self._written_s = self._life.lived_s
        self._rewrite = False

    def _is_due(self, life: Life) -> bool:
        return life.lived_s >= self._written_s + WRITE_PERIOD_S

    def _write(self, life: Life, samples: Iterable[Sample]) -> None:
        rows = [(life.number, *_figures(sample)) for sample in samples]
        self._db.executemany(_INSERT_SAMPLE, rows)
        settings = self._settings if life is self._life else _settings(life)
        self._db.execute(_INSERT_LIFE, _life_row(life, settings))

    def _count(self) -> int:
        return sum([len(samples) for samples in self._samples.values()])

    def _thin(self) -> bool:
        """Let samples be half as many; returns whether there were any to be joined."""
        before, self._period_s = self._count(), 2 * self._period_s
        self._samples = {life: thinned(each) for life, each in self._samples.items()}
        self._rewrite = True
        return self._count() < before


class NoHistory:
    """Keeps nothing: of a run without a journal."""

    def begin(self, life: Life) -> None:
        """See History."""

    def add(self, sample: Sample) -> None:
        """See History."""


def _settings(life: Life) -> str:
    return _json({name: asdict(given) for name, given in life.settings.items()})


def _life_row(life: Life, settings: str) -> tuple[object, ...]:
    return (
        *(life.number, life.begun_at, life.lived_s, life.ended),
        *(_json(life.versions), settings, _json(life.causes), life.advice),
        *(life.limit_raised, _json(life.limit_cut), _json(life.troubles)),
    )


def _life(row: tuple[Any, ...]) -> Life:
    number, begun_at, lived_s, ended, versions, settings, causes, advice, raised, cut, trouble = row
    return Life(
        begun_at=str(begun_at),
        settings={name: Given(**given) for name, given in json.loads(settings).items()},
        versions=json.loads(versions),
        number=int(number),
        lived_s=float(lived_s),
        ended=ended,
        causes={str(cause): float(seconds) for cause, seconds in json.loads(causes).items()},
        advice=advice,
        limit_raised=int(raised),
        limit_cut={str(reason): int(count) for reason, count in json.loads(cut).items()},
        troubles={str(what): int(count) for what, count in json.loads(trouble).items()},
    )


def _sample(row: list[Any]) -> Sample:
    begun_s, span_s, settled, requests, throttled, lost = row[:6]
    limit, in_flight, p50_s, p95_s, cause = row[6:]
    if float(span_s) <= 0.0:
        raise ValueError(span_s)
    return Sample(
        begun_s=float(begun_s),
        span_s=float(span_s),
        settled=int(settled),
        requests=int(requests),
        throttled=int(throttled),
        lost=int(lost),
        limit=float(limit),
        in_flight=float(in_flight),
        p50_s=None if p50_s is None else float(p50_s),
        p95_s=None if p95_s is None else float(p95_s),
        cause=None if cause is None else str(cause),
    )


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
