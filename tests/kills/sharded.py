"""One run of several workers: they are killed, and so is whoever coordinates them, to the end.

Like ``run``; what is struck is drawn each time: a worker, the coordinator, and of a Dask cluster
also a nanny or the scheduler. Whatever has died that the run cannot do without is started again,
as whoever keeps a cluster does.
"""

import json
import signal
import sqlite3
import subprocess
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, TypeAlias

from tests.kills import rest
from tests.kills.processes import Cluster, kill, running, wait_gone, workers_of
from tests.kills.run import (
    COLLECTION,
    CONCURRENCY,
    CONVERGED,
    INTERRUPTED,
    SIGNALS,
    Journal,
    Killer,
    Story,
    read_journal,
)

WORKERS = 2
ORPHANS_END_S = 10.0  # After their coordinator's death; a busy machine takes a part of it.

_SHARD_BITS = 40
_NOTHING_SENT = 2  # The scheduler was lost before it was connected to.
_STOPPED = 5  # A shard was given up, or the scheduler was lost.
_WHILE_IT_SENDS = 0.8  # The share of kills that wait for a request.
_STOPS = 0.15  # The share of coordinators that are only told to stop.
_BEGUN_S = 30.0  # For a process to have workers, and for these to send something.

Victim: TypeAlias = Literal["worker", "nanny", "scheduler", "coordinator"]

_LOCAL: dict[Victim, int] = {"worker": 65, "coordinator": 35}
_OF_CLUSTER: dict[Victim, int] = {"worker": 40, "nanny": 20, "scheduler": 15, "coordinator": 25}


@dataclass(frozen=True)
class Kill:
    """A process that was killed.

    Attributes:
        what: Which part it played.
        at_s: When, as POSIX time.
        life: The index of the coordinator at that time.
    """

    what: Victim
    at_s: float
    life: int


@dataclass
class ShardedStory(Story):
    """See Story.

    Attributes:
        results: Whether a file of results was asked for.
        kills: In order.
        orphans_s: How long the workers of a coordinator that was killed went on, each time.
        shards: The ordinals of each shard, once there is a run.
    """

    results: bool = True
    kills: list[Kill] = field(default_factory=list)
    orphans_s: list[float] = field(default_factory=list)
    shards: list[range] = field(default_factory=list)


class ShardedKiller(Killer):
    """Tells one story."""

    _padding = f" {'x' * 250}"  # A worker has something to do, and shards are no smaller.
    _planted = (0.0, 0.001, 0.01)

    def __init__(
        self,
        endpoint: str,
        record: Path,
        folder: Path,
        *,
        seed: int,
        tasks: int,
        cluster: Cluster | None,
        victims: Sequence[Victim] = (),
    ) -> None:
        """Begin one.

        Args:
            endpoint: The service's.
            record: What the service is sent goes there.
            folder: An empty one, for the source and the run's files.
            seed: Of all that is drawn here.
            tasks: In the source.
            cluster: Whose workers do it; None for processes of the coordinator.
            victims: Who is killed, one after the other, while something is sent; none to draw
                who, and how many, and when.
        """
        super().__init__(endpoint, folder, seed=seed, tasks=tasks)
        self._cluster, self._record = cluster, record
        plain = self._story
        self.story = ShardedStory(plain.job_id, plain.tasks, plain.ordinals, plain.on_exists)
        self.story.same, self.story.other = plain.same, plain.other
        self.story.results = self._random.random() < 0.6
        self._story = self.story
        lines = self._source.read_bytes().split(b"\n")
        begins = accumulate((len(line) + 1 for line in lines), initial=0)
        self._begins = [at for at, line in zip(begins, lines, strict=False) if line]
        self._victims, self._left_to_kill = victims, 0

    def tell(self, *, life_s: float, interrupts_max: int) -> Story:
        """See Killer; a worker is struck when it has had ``life_s`` at the most."""
        story, draw = self.story, self._random
        rest.create_job(self._endpoint, story.job_id, [*story.same.values(), *story.other.values()])
        self._pause_s = life_s
        drawn = draw.randint(min(4, interrupts_max), interrupts_max)
        self._left_to_kill = len(self._victims) or drawn
        while True:
            if self._cluster:
                self._cluster.mend()
            life = self._live(self._next_command(), self._strike)
            story.lives.append(life)
            if life.journal and not story.shards:
                story.shards = self._shards(life.journal)
            if life.exit_code in CONVERGED:
                break
            struck = {each.what for each in story.kills if each.life == len(story.lives) - 1}
            expected = {*INTERRUPTED, *([_STOPPED] if struck else [])}
            if "scheduler" in struck:
                expected.add(_NOTHING_SENT)
            if life.exit_code not in expected:
                raise AssertionError(
                    f"exit code {life.exit_code} of {life.arguments}: {life.stderr}"
                )
        story.asked.append(self._live(self._resume("last")))
        story.listed = list(rest.list_tasks(self._endpoint, story.job_id))
        story.runs = json.loads(self._live(("runs", "list", "--output", "json")).stdout)
        return story

    @property
    def _flags(self) -> tuple[str, ...]:
        settings = ("--concurrency", str(CONCURRENCY), "--max-tasks-per-request", str(COLLECTION))
        taken = ("--on-exists", self.story.on_exists, "--output", "json")
        results = ("--results", str(self._results)) if self.story.results else ()
        by: tuple[str, ...] = ("--workers", str(WORKERS))
        if self._cluster:
            by = ("--executor", "dask", "--scheduler", self._cluster.address)
        return (*settings, *taken, *results, *by)

    def _submit(self, *more: str) -> tuple[str, ...]:
        return super()._submit("--shard-size", "1", *more)

    # --- Who is struck -------------------------------------------------------------------------

    def _strike(self, process: "subprocess.Popen[bytes]") -> list[signal.Signals]:
        """Kill one after the other, until the coordinator ends."""
        draw = self._random
        while self._left_to_kill > 0:
            if self._victims or draw.random() < _WHILE_IT_SENDS:
                self._await_request(process)
            try:
                process.wait(draw.uniform(0.0, self._pause_s))
            except subprocess.TimeoutExpired:
                self._left_to_kill -= 1
            else:
                return []
            victim = self._draw_victim()
            if victim == "coordinator" and not self._victims and draw.random() < _STOPS:
                number = draw.choice(SIGNALS)
                process.send_signal(number)
                return [number]
            if victim == "coordinator":
                self._kill_coordinator(process)
                return [signal.SIGKILL]
            if (pid := self._find(victim, process)) is not None:
                self._note(victim, kill(pid))
                if victim == "nanny" and self._cluster:
                    self._cluster.mend()
        return []

    def _draw_victim(self) -> Victim:
        if self._victims:
            return self._victims[len(self.story.kills)]
        weights = _OF_CLUSTER if self._cluster else _LOCAL
        (victim,) = self._random.choices([*weights], [*weights.values()])
        return victim

    def _await_request(self, process: "subprocess.Popen[bytes]") -> None:
        """Wait until something is sent, as long as the coordinator runs."""
        size, until_s = self._record.stat().st_size, time.monotonic() + _BEGUN_S
        while process.poll() is None and self._record.stat().st_size == size:
            assert time.monotonic() < until_s, "nothing is sent"
            time.sleep(0.01)

    def _find(self, victim: Victim, process: "subprocess.Popen[bytes]") -> int | None:
        """One that runs; waited for, as long as the coordinator runs."""
        until_s = time.monotonic() + _BEGUN_S
        while process.poll() is None:
            if self._cluster is None:
                found = workers_of(process.pid)
            elif victim == "scheduler":
                found = [self._cluster.scheduler]
            else:
                found = self._cluster.nannies if victim == "nanny" else self._cluster.workers
            if alive := running().keys() & set(found):
                return self._random.choice(sorted(alive))
            assert time.monotonic() < until_s, f"there is no {victim}"
            time.sleep(0.02)
        return None

    def _kill_coordinator(self, process: "subprocess.Popen[bytes]") -> None:
        """Its own workers end by themselves; a cluster's go on, without it."""
        orphans = workers_of(process.pid)
        self._note("coordinator", kill(process.pid))
        process.wait()
        if orphans:
            self.story.orphans_s.append(wait_gone(orphans, patience_s=ORPHANS_END_S))

    def _note(self, victim: Victim, at_s: float) -> None:
        self.story.kills.append(Kill(victim, at_s, len(self.story.lives)))

    # --- What the journal says -----------------------------------------------------------------

    def _shards(self, journal: Journal) -> list[range]:
        """The ordinals of each shard, as its bounds tell."""
        cuts = [bisect_left(self._begins, row["begin"]) for row in journal.shards]
        return [range(*ends) for ends in zip(cuts, [*cuts[1:], len(self._begins)], strict=True)]

    def _read(self, db: sqlite3.Connection) -> Journal | None:
        """With the source's ordinals, where the journal has those of a shard."""
        journal = read_journal(db)
        if journal is None:
            return None
        shards = tuple(dict(row) for row in db.execute("SELECT * FROM shard ORDER BY number"))
        waiting = db.execute("SELECT ordinal FROM waiting")
        journal = replace(
            journal, shards=shards, waiting=frozenset(ordinal for (ordinal,) in waiting)
        )
        ranges = self._shards(journal)

        def true(ordinals: frozenset[int]) -> frozenset[int]:
            return frozenset(ranges[o >> _SHARD_BITS][o & (1 << _SHARD_BITS) - 1] for o in ordinals)

        return replace(
            journal,
            settled=true(journal.settled),
            existed=true(journal.existed),
            rejected=true(journal.rejected),
            waiting=true(journal.waiting),
        )
