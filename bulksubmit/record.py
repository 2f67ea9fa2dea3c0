"""What a journal holds: its tables, and how they are read and trusted again.

What is in them, and what it is for, ``journal`` says.
"""

import sqlite3
from pathlib import Path

import msgspec

from bulksubmit.core.account import Counts, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.database import digest, translated
from bulksubmit.errors import JournalError
from bulksubmit.history import SCHEMA as HISTORY
from bulksubmit.ledger import SUMMED, ShardState, doubted, summed
from bulksubmit.ledger import read as read_shards

FILE = "run.db"
FORMAT = 3
# Format 2 is the same without a history; it is read as it is, and gets one when it is written to.
FORMAT_BEFORE = 2
FORMAT_SHARDED = 4  # Format 3, and shards.


class Identity(msgspec.Struct, frozen=True):
    """What a run is about; a resume must find it unchanged.

    Attributes:
        run_id: Names the run.
        job_id: The Batch job.
        endpoint: The account's.
        source: Names the source.
        source_spec: How it is opened again; see SourceSpec.
        source_files: What its files were: Fingerprints, as JSON.
        begun_at: When the run was begun, UTC, ISO 8601.
        version: Of bulksubmit, then.
    """

    run_id: str
    job_id: str
    endpoint: str
    source: str
    source_spec: str
    source_files: str
    begun_at: str
    version: str


IDENTITY = [*Identity.__struct_fields__]

SCHEMA = f"""
PRAGMA user_version = {FORMAT};
CREATE TABLE run (
    run_id TEXT NOT NULL, job_id TEXT NOT NULL, endpoint TEXT NOT NULL, source TEXT NOT NULL,
    source_spec TEXT NOT NULL, source_files TEXT NOT NULL,
    begun_at TEXT NOT NULL, version TEXT NOT NULL, held TEXT,
    ended TEXT, doubt_below INTEGER NOT NULL DEFAULT 0,
    {", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in Counts.NUMBERS)},
    digest TEXT NOT NULL DEFAULT ''
);
CREATE TABLE block (
    number INTEGER PRIMARY KEY, settled BLOB NOT NULL, existed BLOB, digest TEXT NOT NULL
);
CREATE TABLE exception (
    ordinal INTEGER PRIMARY KEY, line INTEGER NOT NULL, task_id TEXT NOT NULL,
    verdict TEXT NOT NULL, attempts INTEGER NOT NULL, in_doubt INTEGER NOT NULL,
    code TEXT, message TEXT, request_id TEXT, client_request_id TEXT, file TEXT
);
CREATE TABLE place (
    ordinal INTEGER NOT NULL, offset INTEGER NOT NULL, line INTEGER NOT NULL,
    file INTEGER NOT NULL, digest TEXT NOT NULL, PRIMARY KEY (file, offset)
);
CREATE VIEW summary AS
    SELECT run_id, job_id AS job, endpoint, source, begun_at, ended,
        total AS tasks_read, source_complete, added, existed, rejected, abandoned,
        total - added - existed - rejected - abandoned AS unsettled,
        requests, retried_requests, throttled_requests, bytes_sent, doubt_below
    FROM run;
CREATE VIEW exceptions AS
    SELECT file, line, task_id AS task, verdict, code, message, attempts,
        CASE in_doubt WHEN 1 THEN 'may exist' ELSE '' END AS doubt, request_id, client_request_id
    FROM exception ORDER BY ordinal;
CREATE VIEW blocks AS
    SELECT number * 65536 AS first_ordinal, (number + 1) * 65536 - 1 AS last_ordinal,
        hex(settled) AS settled_bits FROM block ORDER BY number;
{"; ".join(HISTORY)};
"""


class Look(msgspec.Struct, frozen=True):
    """What a journal says. The other attributes are as those of Journal.

    Attributes:
        existed: Of the settled, the ordinals that existed.
        shards: Of a sharded run, how far each is; otherwise none.
        held: What the job's onAllTasksComplete was before the run changed it, and is to be
            again; None if the run did not change it.
    """

    identity: Identity
    counts: Counts
    doubt_below: int
    settled: Bitmap
    existed: Bitmap
    places: list[Place]
    shards: list[ShardState] = msgspec.field(default_factory=list)
    held: str | None = None

    @property
    def in_doubt(self) -> int:
        """How many unsettled tasks may have been sent; those that were given up are left out."""
        if self.shards:
            return sum(max(0, s.in_doubt - s.counts.abandoned) for s in self.shards)
        sent = self.settled.missing(0, min(self.doubt_below, self.counts.total))
        return max(0, sent - self.counts.abandoned)

    def doubted(self, ordinal: int) -> bool:
        """Whether an unsettled task may have been sent."""
        if self.shards:
            return doubted(self.shards, ordinal)
        return ordinal < self.doubt_below


def look(db: sqlite3.Connection, path: Path) -> Look:
    """Read a journal, and see whether it can be trusted.

    Raises:
        JournalError: if it cannot.
    """
    with translated(path):
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version not in {FORMAT, FORMAT_BEFORE, FORMAT_SHARDED}:
            raise JournalError(_unknown_format(path, version))
        (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise JournalError(f"{path} is damaged: {verdict}")
        cursor = db.execute("SELECT * FROM run")
        row = cursor.fetchone()
        if row is None:
            raise JournalError(f"{path} is damaged: it does not say which run it is of")
        run = {column[0]: value for column, value in zip(cursor.description, row, strict=True)}
        shards = read_shards(db) if version == FORMAT_SHARDED else []
        blocks = db.execute("SELECT * FROM block").fetchall()
        places = db.execute("SELECT * FROM place ORDER BY file, offset").fetchall()
        for row in [tuple(run.values()), *blocks, *places]:
            if row[-1] != digest(*row[:-1]):
                raise JournalError(f"{path} is damaged: it holds what was not written")
        counts = Counts.of(run)
        identity = Identity(**{name: run[name] for name in IDENTITY})
        doubt_below = run["doubt_below"]
    settled, existed = Bitmap(), Bitmap()
    for number, settled_bits, existed_bits, _ in blocks:
        settled.load(number, settled_bits)
        if existed_bits is not None:
            existed.load(number, existed_bits)
    if len(settled) != counts.settled:
        told = f"{len(settled):,} tasks have their bit, but {counts.settled:,} were counted"
        raise JournalError(f"{path} is damaged: {told}")
    if shards and summed(shards) != {name: run[name] for name in SUMMED}:
        raise JournalError(f"{path} is damaged: its shards do not add up to the run")
    begins = [Place(*place) for *place, _ in places]
    return Look(identity, counts, doubt_below, settled, existed, begins, shards, run["held"])


def _unknown_format(path: Path, version: int) -> str:
    if version > FORMAT_SHARDED:
        return f"{path} was made by a newer version of bulksubmit: its format is {version}"
    return f"{path} is no journal of this version of bulksubmit"
