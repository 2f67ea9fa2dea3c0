"""One run: the command line, interrupted again and again, until it has converged."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

from tests.kills import rest
from tests.kills.service import KEY, NAME

ROOT = Path(__file__).parents[2]
CONCURRENCY = 4
COLLECTION = 100

# A process that is not interrupted ends well before.
_LIFE_MAX_S = 60.0
_START_UP_S = 0.6
BLOCK = 65_536
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CONVERGED = {0, 6}  # Every task exists; or some were rejected.
INTERRUPTED = {-signal.SIGKILL, *(128 + n for n in SIGNALS), *(-n for n in SIGNALS)}

# Interrupts a process that runs, unless it ends before; returns the signals that it was sent.
Interrupting: TypeAlias = Callable[["subprocess.Popen[bytes]"], list[signal.Signals]]


@dataclass(frozen=True)
class Journal:
    """What a journal says, read with nothing but SQLite.

    Attributes:
        row: The row of its table ``run``.
        settled: Ordinals.
        existed: Ordinals.
        rejected: Ordinals.
        exceptions: How many rows of exceptions there are.
        shards: The rows of its table ``shard``, in order; none of a run of one process.
        waiting: Ordinals of rejected tasks whose line is not known yet.
    """

    row: dict[str, Any]
    settled: frozenset[int]
    existed: frozenset[int]
    rejected: frozenset[int]
    exceptions: int
    shards: tuple[dict[str, Any], ...] = ()
    waiting: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Life:
    """A process, from its begin to its end.

    Attributes:
        arguments: Of the command line.
        begun_s: As POSIX time.
        signals: What it was sent, in order.
        ended_s: When it had ended; if it was killed, no later than a moment after.
        exit_code: Negative for a signal that ended it.
        stdout: What it said.
        stderr: The same.
        rows: The rows that it added to the results file, in order.
        cut_row: Whether there is half a row after them.
        journal: As it left it; None if there is no run yet.
    """

    arguments: tuple[str, ...]
    begun_s: float
    signals: tuple[signal.Signals, ...]
    ended_s: float
    exit_code: int
    stdout: str
    stderr: str
    rows: tuple[dict[str, Any], ...]
    cut_row: bool
    journal: Journal | None

    @property
    def killed(self) -> bool:
        """Whether it ended by SIGKILL."""
        return self.exit_code == -signal.SIGKILL


@dataclass
class Story:
    """A whole run.

    Attributes:
        job_id: Of a job of its own.
        tasks: The tasks as bytes, by ordinal.
        ordinals: By line of the source.
        on_exists: What is done about IDs that are taken.
        same: The tasks that exist already, by ordinal: added by somebody else, but alike.
        other: The same with other content.
        lives: Its processes, in order; the last one converged.
        asked: Processes that were only asked something, and had nothing to do.
        listed: What the service shows of the job's tasks at the end.
        runs: What ``runs list`` says at the end.
    """

    job_id: str
    tasks: list[bytes]
    ordinals: dict[int, int]
    on_exists: str = "verify"
    same: dict[int, dict[str, Any]] = field(default_factory=dict)
    other: dict[int, dict[str, Any]] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    asked: list[Life] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)


class Killer:
    """Tells one story."""

    _padding = ""  # Of each task.
    _planted: tuple[float, ...] = (
        0.0,
        0.002,
        0.02,
        0.2,
    )  # Shares of IDs that somebody else may have taken.

    def __init__(self, endpoint: str, folder: Path, *, seed: int, tasks: int) -> None:
        """Begin one.

        Args:
            endpoint: The service's.
            folder: An empty one, for the source and the run's files.
            seed: Of all that is drawn here.
            tasks: In the source.
        """
        self._endpoint, self._folder, self._random = endpoint, folder, Random(seed)
        self._source, self._results = folder / "tasks.jsonl", folder / "results.ndjson"
        self._state = folder / "state"
        self._rows_read = 0
        self._story = self._write_source(f"kills-{seed}", tasks)

    def tell(self, *, life_s: float, interrupts_max: int) -> Story:
        """Run it to its end.

        Args:
            life_s: How long a process takes that is not interrupted. Each is interrupted at
                any moment of what it would take for the rest, be it before it has begun anything.
            interrupts_max: After so many interruptions it is left alone.
        """
        story, draw = self._story, self._random
        planted = [*story.same.values(), *story.other.values()]
        rest.create_job(self._endpoint, story.job_id, planted)
        interrupts = draw.randint(min(4, interrupts_max), interrupts_max)
        while True:
            plan = self._plan(_START_UP_S + self._left * life_s) if interrupts > 0 else ()
            life = self._live(self._next_command(), partial(_send, plan))
            story.lives.append(life)
            if life.exit_code in CONVERGED:
                break
            if not life.signals or life.exit_code not in INTERRUPTED:
                raise AssertionError(
                    f"exit code {life.exit_code} of {life.arguments}: {life.stderr}"
                )
            interrupts -= 1
        story.asked.append(self._live(self._resume("last")))
        story.listed = list(rest.list_tasks(self._endpoint, story.job_id))
        story.runs = json.loads(self._live(("runs", "list", "--output", "json")).stdout)
        return story

    @property
    def _left(self) -> float:
        """Which share of the tasks is not settled yet."""
        journal = self._story.lives[-1].journal if self._story.lives else None
        return 1 - len(journal.settled if journal else ()) / len(self._story.tasks)

    def _write_source(self, job_id: str, count: int) -> Story:
        """Some lines are blank, and the last one may lack its line end."""
        tasks, ordinals, lines = [], {}, []
        for ordinal in range(count):
            do = f"do {ordinal}{self._padding}"
            values = {"id": f"t-{ordinal:06}", "displayName": "Ü", "commandLine": do}
            tasks.append(json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode())
            if self._random.random() < 0.001:
                lines.append(b"")
            lines.append(tasks[-1])
            ordinals[len(lines)] = ordinal
        self._source.write_bytes(b"\n".join(lines) + self._random.choice([b"", b"\n"]))
        story = Story(job_id, tasks, ordinals)
        self._plant(story)
        return story

    def _plant(self, story: Story) -> None:
        """Somebody else has taken some of the IDs, and spells them otherwise."""
        draw, count = self._random, len(story.tasks)
        story.on_exists = draw.choice(["verify", "verify", "verify", "accept", "reject"])
        planted = draw.sample(range(count), int(count * draw.choice(self._planted)))
        for ordinal in planted:
            task = json.loads(story.tasks[ordinal])
            task["id"] = task["id"].upper()
            if ordinal % 2:
                story.same[ordinal] = task | {"requiredSlots": 1}
            else:
                story.other[ordinal] = task | {"commandLine": "not ours"}

    def _plan(self, life_s: float) -> tuple[tuple[float, signal.Signals], ...]:
        """Which signals are sent, and how long before each is waited."""
        draw, first_s = self._random, self._random.uniform(0.0, life_s)
        match draw.choices(["kill", "stop", "leave"], [85, 10, 5]):
            case ["kill"]:
                return ((first_s, signal.SIGKILL),)
            case ["stop"]:
                return ((first_s, draw.choice(SIGNALS)),)
            case _:
                again_s = draw.uniform(0.0, 0.1)
                then = draw.choice([*SIGNALS, signal.SIGKILL])
                return ((first_s, signal.SIGINT), (again_s, then))

    def _next_command(self) -> tuple[str, ...]:
        """How whoever uses it would go on now."""
        journal = self._story.lives[-1].journal if self._story.lives else None
        if journal is None:
            return self._submit()
        ways = [self._resume("last"), self._resume(journal.row["run_id"])]
        converged = journal.row["source_complete"] and len(journal.settled) == len(
            self._story.tasks
        )
        # A run of which nothing was ever sent is none that submit knows of.
        if journal.row["doubt_below"] and not converged:
            ways.append(self._submit("--resume"))
            if self._random.random() < 0.15:
                self._story.asked.append(self._live(self._submit()))
        return self._random.choice(ways)

    def _submit(self, *more: str) -> tuple[str, ...]:
        return ("submit", str(self._source), "--job-id", self._story.job_id, *more, *self._flags)

    def _resume(self, run: str) -> tuple[str, ...]:
        return ("runs", "resume", run, *self._flags)

    @property
    def _flags(self) -> tuple[str, ...]:
        settings = ("--concurrency", str(CONCURRENCY), "--max-tasks-per-request", str(COLLECTION))
        taken = ("--on-exists", self._story.on_exists)
        return (*settings, *taken, "--results", str(self._results), "--output", "json")

    def _live(self, arguments: tuple[str, ...], interrupt: Interrupting = lambda _: []) -> Life:
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            begun_s = time.time()
            process = subprocess.Popen(
                [sys.executable, "-m", "bulksubmit", *arguments],
                cwd=ROOT,
                env=os.environ
                | {
                    "BULKSUBMIT_STATE_DIR": str(self._state),
                    "AZURE_BATCH_ENDPOINT": self._endpoint,
                    "AZURE_BATCH_ACCOUNT": NAME,
                    "AZURE_BATCH_ACCESS_KEY": KEY,
                },
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
            sent = interrupt(process)
            try:
                process.wait(_LIFE_MAX_S)
            finally:
                process.kill()
            ended_s = time.time()
            said = []
            for file in (stdout, stderr):
                file.seek(0)
                said.append(file.read().decode())
        rows, cut_row = self._new_rows()
        return Life(
            arguments,
            begun_s,
            tuple(sent),
            ended_s,
            process.returncode,
            said[0],
            said[1],
            rows,
            cut_row,
            self._look(),
        )

    def _new_rows(self) -> tuple[tuple[dict[str, Any], ...], bool]:
        if not self._results.exists():
            return (), False
        # Of a row that was cut by an earlier kill, there is the line end at most.
        *lines, rest_of_it = self._results.read_bytes()[self._rows_read :].split(b"\n")
        self._rows_read = self._results.stat().st_size
        return tuple(json.loads(line) for line in lines if line), bool(rest_of_it)

    def _look(self) -> Journal | None:
        """Read the journal from a copy, so that SQLite mends nothing of the one that counts."""
        found = []
        for path in self._state.glob("runs/*/run.db"):
            with tempfile.TemporaryDirectory() as copy:
                for part in path.parent.glob("run.db*"):
                    if not part.name.endswith("-shm"):
                        shutil.copy(part, copy)
                with closing(sqlite3.connect(Path(copy, "run.db"))) as db:
                    journal = self._read(db)
            if journal is not None:
                found.append(journal)
        assert len(found) <= 1, "there is one run, whatever was begun and killed before"
        return found[0] if found else None

    def _read(self, db: sqlite3.Connection) -> Journal | None:
        return read_journal(db)


def _send(
    plan: tuple[tuple[float, signal.Signals], ...], process: "subprocess.Popen[bytes]"
) -> list[signal.Signals]:
    sent = []
    for wait_s, number in plan:
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            sent.append(number)
    return sent


def read_journal(db: sqlite3.Connection) -> Journal | None:
    """What a journal says; None if it does not hold a run yet."""
    db.row_factory = sqlite3.Row
    if not db.execute("SELECT * FROM sqlite_master WHERE name = 'run'").fetchone():
        return None
    row = db.execute("SELECT * FROM run").fetchone()
    if row is None:
        return None
    settled: set[int] = set()
    existed: set[int] = set()
    for number, settled_bits, existed_bits in db.execute(
        "SELECT number, settled, existed FROM block"
    ):
        settled |= _ordinals(number, settled_bits)
        existed |= _ordinals(number, existed_bits or b"")
    (exceptions,) = db.execute("SELECT count(*) FROM exception").fetchone()
    rejected = db.execute("SELECT ordinal FROM exception WHERE verdict = 'rejected'")
    return Journal(
        dict(row),
        frozenset(settled),
        frozenset(existed),
        frozenset(ordinal for (ordinal,) in rejected),
        exceptions,
    )


def _ordinals(number: int, bits: bytes) -> set[int]:
    return {
        number * BLOCK + index * 8 + place
        for index, byte in enumerate(bits)
        for place in range(8)
        if byte >> place & 1
    }


@contextmanager
def service(folder: Path, seed: int) -> Iterator[tuple[str, Path]]:
    """The emulator, in a process of its own; gives its endpoint, and the file of its record."""
    record = folder / "record.ndjson"
    command = [sys.executable, "-m", "tests.kills.service", str(seed), str(record)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), record
        finally:
            process.terminate()
