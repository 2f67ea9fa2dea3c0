"""Looks at what everybody can see, and knows nothing of how the engine decides.

It reads the requests' bytes, the service's tasks, the rows of the results and rejects files, the
outcomes that were handed out, the reports, and the journal with SQL of its own. The rules:

- a task is settled at most once in a life, and not at all if the journal with which the life
  began holds its bit. Only a crash, or a journal that could not be written, may leave a settled
  task without its bit; that task, and no other, is settled a second time;
- a bit stands only for a task whose row was written before;
- after a ``kill -9`` the tasks that lost their bit were settled in the last second; after a
  power cut, after the last commit that waited for the disk, or shortly before it;
- every task that was ever sent and has no bit is below the mark;
- ADDED and EXISTED are in the service, byte for byte; REJECTED are not; and the verdict is the
  one that the task's ID tells;
- what somebody else added under an ID of ours stays as it was; with other content it is never
  called ADDED, nor EXISTED unless told to be accepted unread;
- what existed by an attempt of ours is counted apart from what somebody else added;
- a request keeps the bounds, has no ID twice, has a GUID of its own, and holds no settled task;
- requests that bring nothing are few, and so are those that look tasks up.
"""

import hashlib
import math
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree

import anyio
import orjson

from bulksubmit.core.model import Answered, Attempt, Outcome, Refused, Reply, Task, Verdict
from bulksubmit.emulator.store import Job
from bulksubmit.observe.report import Report
from tests.simulation.disk import Image
from tests.simulation.scenario import Ending, Scenario, kind

_connect = sqlite3.connect  # Not the one that a Disk watches.

LAST_MOMENT_S = 1.0  # What a kill may undo.
_SETTLED = {"added", "existed", "rejected"}
_EXPECTED = {"ok": {"added", "existed"}, "bad": {"rejected"}, "huge": {"rejected"}}
# By --on-exists. To reject is not to look, unless an attempt of ours may have added it.
_EXPECTED_SAME = {"verify": {"existed"}, "accept": {"existed"}, "reject": {"existed", "rejected"}}
_EXPECTED_OTHER = {"verify": {"rejected"}, "accept": {"existed"}, "reject": {"rejected"}}


@dataclass
class Figures:
    """What a simulation has come to.

    Attributes:
        tasks: In the source.
        lives: How many there were.
        crashes: How many of them ended by one.
        requests: All of them.
        lookups: Lists, and tasks got one by one.
        settled_again: Tasks that a crash made the journal forget, and were settled again.
        forgotten_max: The most that one ``kill -9`` made it forget.
        resent_max: The same, and the tasks in flight then.
        resent_bound: Of that crash: what was in flight, and what the last second settled.
        virtual_s: How long it took.
        endings: How many lives ended in which way.
    """

    tasks: int = 0
    lives: int = 0
    crashes: int = 0
    requests: int = 0
    lookups: int = 0
    settled_again: int = 0
    forgotten_max: int = 0
    resent_max: int = 0
    resent_bound: int = 0
    virtual_s: float = 0.0
    endings: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a journal says, read by the auditor's own hand."""

    settled: set[int]
    existed: set[int]
    rejected: set[int]
    mark: int
    run: dict[str, int]


@dataclass
class _Life:
    """What was seen of one life.

    Attributes:
        concurrency: The most requests in flight.
        tasks_max: A request's tasks.
        bytes_max: A request's bytes.
        rows: The verdict of each task settled in it, and when it was.
        handed_over: The tasks whose outcomes the consumer was given.
        in_flight: The tasks of each request that has no reply yet.
        stopped_s: When it was told to send no more.
        idle: Requests since something came of one.
        idle_since_s: When that was.
        requests: How many there were.
        looking: How many look-ups are under way.
        looked: How many were of use, all in all.
        refused: How many results said that a task exists, or is refused.
    """

    concurrency: int
    tasks_max: int
    bytes_max: int
    rows: dict[int, tuple[str, float]] = field(default_factory=dict)
    handed_over: Counter[int] = field(default_factory=Counter)
    in_flight: dict[int, list[int]] = field(default_factory=dict)
    stopped_s: float = math.inf
    idle: int = 0
    idle_since_s: float = 0.0
    requests: int = 0
    looking: int = 0
    looked: int = 0
    refused: int = 0


class Auditor:
    """Of one simulation.

    Attributes:
        figures: What it has come to.
        failure: The first rule that was broken. Kept, because what is raised in the midst of
            the engine is an error like any other to it, and may be covered by another one.
    """

    def __init__(self, scenario: Scenario, job: Job, folder: Path, results: Path) -> None:
        self._scenario, self._job = scenario, job
        self._folder, self._results = folder / "audit", results
        self._by_line = {task.line: task for task in scenario.tasks}
        self._by_ordinal = {task.ordinal: task for task in scenario.tasks}
        self._by_id = {task.id: task for task in scenario.tasks}
        self._planted = {name.lower(): body for name, body in scenario.planted.items()}
        on_exists = scenario.healthy.on_exists
        self._expected = _EXPECTED | {
            "same": _EXPECTED_SAME[on_exists],
            "other": _EXPECTED_OTHER[on_exists],
        }
        self._verdicts: dict[int, str] = {}  # What holds now.
        self._durable: set[int] = set()
        self._sent: set[int] = set()
        self._ever: set[int] = set()  # Settled in any life.
        self._guids: set[str] = set()
        self._offset = 0
        self._trace = hashlib.sha256()
        self.failure: Exception | None = None
        self.figures = Figures(tasks=len(scenario.tasks))

    @property
    def trace(self) -> str:
        """A hash of all that happened, with its times."""
        return self._trace.hexdigest()[:16]

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except Exception as failure:
            self.failure = self.failure or failure
            raise

    def note(self, *words: object) -> None:
        """Something has happened."""
        self._trace.update(f"{anyio.current_time():.9f} {words}\n".encode())

    # --- While a life lasts ------------------------------------------------------------------

    def begin(self, concurrency: int, tasks_max: int, bytes_max: int) -> None:
        """A life begins."""
        self._life = _Life(concurrency, tasks_max, bytes_max, idle_since_s=anyio.current_time())
        self.figures.lives += 1

    def stopped(self) -> None:
        """The life was told to send no more."""
        self._life.stopped_s = anyio.current_time()

    def sending(self, attempt: Attempt, body: bytes) -> None:
        """A request goes out."""
        self.poll()
        with self._judging():
            self._judge_request(attempt, body)

    def _judge_request(self, attempt: Attempt, body: bytes) -> None:
        life = self._life
        ids = [task["id"] for task in orjson.loads(body)["value"]]
        self.note("request", attempt.client_request_id, len(body), ids[0], len(ids))
        tasks = [self._by_id[task_id] for task_id in ids]
        ordinals = [task.ordinal for task in tasks]
        assert body == b'{"value":[' + b",".join([task.body for task in tasks]) + b"]}"
        assert len(ids) <= life.tasks_max, f"{len(ids)} tasks in a request"
        assert len(body) <= life.bytes_max, f"{len(body)} bytes in a request"
        assert len({task_id.lower() for task_id in ids}) == len(ids), "an ID twice in a request"
        assert attempt.client_request_id not in self._guids, "a GUID is used again"
        # What was on its way at that moment may still go.
        assert anyio.current_time() <= life.stopped_s, "a request after the stop"
        settled = [o for o in ordinals if o in life.rows or o in self._durable]
        assert not settled, f"settled tasks are sent again: {settled}"
        flying = {o for others in life.in_flight.values() for o in others}
        assert not flying.intersection(ordinals), "a task in two requests at once"
        self._guids.add(attempt.client_request_id)
        self._sent.update(ordinals)
        life.in_flight[attempt.number] = ordinals
        assert len(life.in_flight) + life.looking <= life.concurrency, "too many in flight"
        self.figures.requests += 1
        life.requests += 1
        self._look_for_anger()

    def replied(self, attempt: Attempt, reply: Reply) -> None:
        """The client has got its reply."""
        self.note("reply", attempt.number, type(reply).__name__)
        del self._life.in_flight[attempt.number]
        if isinstance(reply, Refused):  # Halved, or held: something came of it.
            self._life.refused += len(attempt.tasks) == 1
            self._came_to_something()
        elif isinstance(reply, Answered):
            refused = sum(result.status.lower() == "clienterror" for result in reply.results)
            self._life.refused += refused
            if refused:  # It is looked at, at least.
                self._came_to_something()

    def looking(self) -> None:
        """Tasks are looked up."""
        life = self._life
        self.note("look-up")
        life.looking += 1
        self.figures.lookups += 1
        with self._judging():
            assert len(life.in_flight) + life.looking <= life.concurrency, "too many in flight"

    def looked(self, *, useful: bool) -> None:
        """They were, or could not be."""
        life = self._life
        life.looking -= 1
        life.looked += useful
        with self._judging():
            # A list that shows others, one of its own that shows none; then the task by its ID.
            most = 3 * life.refused
            assert life.looked <= most, f"{life.looked} look-ups of {life.refused} tasks"

    def handed_over(self, outcome: Outcome) -> None:
        """The consumer has got an outcome."""
        if outcome.verdict is not Verdict.ABANDONED:
            self._life.handed_over[outcome.ordinal] += 1

    def poll(self) -> None:
        """Read the rows of the results file that were written since."""
        try:
            with self._results.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        self._offset += len(data)
        with self._judging():
            for line in data.splitlines():
                row = orjson.loads(line)
                self._take(self._by_line[row["line"]], row["id"], row["verdict"])
        if data:
            self._came_to_something()

    def _take(self, task: Task, task_id: str, verdict: str) -> None:
        assert task.id == task_id, f"the row of {task.id} says {task_id}"
        self.note("row", task_id, verdict)
        if verdict not in _SETTLED:
            assert verdict == "abandoned", verdict
            return
        ordinal = task.ordinal
        assert ordinal not in self._life.rows, f"{task_id} is settled twice"
        assert ordinal not in self._durable, f"{task_id} is settled again, though it had its bit"
        assert verdict in self._expected[kind(task_id)], f"{task_id} is {verdict}"
        stored = self._job.task(task_id)
        theirs = self._planted.get(task_id.lower())
        if theirs is not None:
            assert stored, f"somebody else's {task_id} is lost"
            assert stored.body == theirs, f"somebody else's {task_id} was changed"
        elif verdict == "rejected":
            assert not stored, f"{task_id} is rejected, and exists"
            assert kind(task_id) != "huge" or ordinal not in self._sent, f"{task_id} was sent"
        else:
            assert stored, f"{task_id} is {verdict}, and does not exist"
            assert stored.body == task.body, f"{task_id} has other bytes"
        self.figures.settled_again += ordinal in self._ever
        self._ever.add(ordinal)
        self._life.rows[ordinal] = verdict, anyio.current_time()
        self._verdicts[ordinal] = verdict

    def _came_to_something(self) -> None:
        self._life.idle, self._life.idle_since_s = 0, anyio.current_time()

    def _look_for_anger(self) -> None:
        """A volley, another while its replies come in, and then probes and a token a second."""
        life = self._life
        life.idle += 1
        elapsed_s = anyio.current_time() - life.idle_since_s
        most = 2 * life.concurrency + 2 + 4 * elapsed_s
        assert life.idle <= most, f"{life.idle} requests in {elapsed_s:.1f} s, and nothing settled"

    def look_at(self, report: Report) -> None:
        """The numbers add up at any time."""
        with self._judging():
            self._judge_report(report)

    def _judge_report(self, report: Report) -> None:
        counted = report.added + report.existed + report.rejected
        assert report.total == counted + report.abandoned + report.unsettled, report
        assert 0 <= report.in_doubt <= report.unsettled, report
        assert 0 <= report.existed_own <= report.existed, report
        assert min(report.unsettled, report.abandoned) >= 0, report

    # --- When it has ended -------------------------------------------------------------------

    def end(
        self, image: Image, ending: Ending, report: Report | None, *, synced_s: float, left: bool
    ) -> None:
        """A life has ended.

        Args:
            image: The journal's files as it has left them.
            ending: How it really ended.
            report: Its final account, if it came to one.
            synced_s: When a commit last waited for the disk.
            left: Whether its consumer was not there to the end.
        """
        self.poll()
        with self._judging():
            self._judge_end(image, ending, report, synced_s, left=left)

    def _judge_end(
        self, image: Image, ending: Ending, report: Report | None, synced_s: float, *, left: bool
    ) -> None:
        self.note("end", ending.name)
        self.figures.endings[ending.name] += 1
        rows = self._life.rows
        found = self._read(image)
        self._check_journal(found)
        crashed = ending in {Ending.KILL, Ending.POWER_CUT, Ending.DISK_FULL}
        assert all(count == 1 for count in self._life.handed_over.values()), "handed over twice"
        assert rows.keys() >= self._life.handed_over.keys(), "handed over before it is on record"
        forgotten = self._verdicts.keys() - found.settled
        if crashed:
            self._check_forgotten(forgotten, ending, synced_s)
        else:
            assert not forgotten, f"settled tasks have no bit: {sorted(forgotten)}"
            assert left or rows.keys() == self._life.handed_over.keys(), "not handed over"
        for ordinal in forgotten:
            del self._verdicts[ordinal]
        assert self._verdicts.keys() == found.settled, "a bit without a row"
        self._durable = found.settled
        existed = {o for o, verdict in self._verdicts.items() if verdict == "existed"}
        rejected = {o for o, verdict in self._verdicts.items() if verdict == "rejected"}
        assert (existed, rejected) == (found.existed, found.rejected), "verdicts on record differ"
        if report is not None:
            self._check_report(report, crashed=crashed)

    def _check_forgotten(self, forgotten: set[int], ending: Ending, synced_s: float) -> None:
        rows, now_s = self._life.rows, anyio.current_time()
        assert forgotten <= rows.keys(), "tasks of an earlier life are forgotten"
        since_s = now_s if ending is Ending.KILL else min(now_s, synced_s)
        old = [o for o in forgotten if rows[o][1] < since_s - LAST_MOMENT_S]
        assert not old, f"forgotten, though settled for long: {old}"
        if ending is Ending.DISK_FULL:
            return
        figures = self.figures
        figures.crashes += 1
        if ending is Ending.KILL:
            flying = sum(map(len, self._life.in_flight.values()))
            lately = sum(at_s >= now_s - LAST_MOMENT_S for _, at_s in rows.values())
            figures.forgotten_max = max(figures.forgotten_max, len(forgotten))
            if flying + len(forgotten) > figures.resent_max:
                figures.resent_max = flying + len(forgotten)
                figures.resent_bound = flying + lately

    def _check_journal(self, found: _Found) -> None:
        run = found.run
        counted = run["added"] + run["existed"] + run["rejected"]
        assert counted == len(found.settled), f"{counted} counted, {len(found.settled)} bits"
        # Those that nobody else added are ours; of the others some may be taken for ours,
        # where an attempt of ours was lost.
        ours = {o for o in found.existed if kind(self._by_ordinal[o].id) == "ok"}
        assert len(ours) <= run["existed_own"] <= run["existed"] == len(found.existed)
        assert run["rejected"] == len(found.rejected)
        assert found.existed | found.rejected <= found.settled
        assert run["total"] <= len(self._scenario.tasks)
        above = {o for o in self._sent - found.settled if o >= found.mark}
        assert not above, f"sent, and not below the mark at {found.mark}: {sorted(above)}"

    def _check_report(self, report: Report, *, crashed: bool) -> None:
        self.look_at(report)
        if crashed:
            return
        counts = Counter(self._verdicts.values())
        told = {"added": report.added, "existed": report.existed, "rejected": report.rejected}
        assert told == {name: counts[name] for name in told}, (told, counts)
        if report.source_complete:
            assert report.total == len(self._scenario.tasks)
        assert report.converged == (len(self._verdicts) == len(self._scenario.tasks))

    def converged(self, report: Report, rejects: Path) -> None:
        """The last life has ended, and the service has nothing more to do."""
        tasks = self._scenario.tasks
        assert report.converged, report
        assert self._durable == {task.ordinal for task in tasks}
        wanted = {task.id.lower(): task.body for task in tasks if kind(task.id) == "ok"}
        wanted |= self._planted
        assert len(self._job) == len(wanted), f"{len(self._job)} tasks, not {len(wanted)}"
        for task_id, body in wanted.items():
            stored = self._job.task(task_id)
            assert stored, f"{task_id} is lost"
            assert stored.body == body, f"{task_id} has other bytes"
        assert report.exit_code == (6 if report.rejected else 0), report
        told = {row["task_id"] for row in map(orjson.loads, _lines(rejects))}
        rejected = {task.id for task in tasks if self._verdicts[task.ordinal] == "rejected"}
        # One that was rejected unread, and forgotten by a crash, may be read then.
        assert {i for i in told ^ rejected if i in rejected or kind(i) != "same"} == set()

    def requests_now(self) -> int:
        """How many requests this life has made."""
        return self._life.requests

    def _read(self, image: Image) -> _Found:
        """Read a journal without touching it."""
        rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        (self._folder / "run.db").write_bytes(image.file)
        (self._folder / "run.db-wal").write_bytes(image.log)
        db = _connect(self._folder / "run.db")
        try:
            db.row_factory = sqlite3.Row
            run = dict(db.execute("SELECT * FROM run").fetchone())
            settled: set[int] = set()
            existed: set[int] = set()
            for number, bits, more in db.execute("SELECT number, settled, existed FROM block"):
                settled |= _ordinals(number, bits)
                existed |= _ordinals(number, more or b"")
            rejected = "SELECT ordinal FROM exception WHERE verdict = 'rejected'"
            return _Found(
                settled, existed, {row[0] for row in db.execute(rejected)}, run["doubt_below"], run
            )
        finally:
            db.close()


def _ordinals(number: int, bits: bytes) -> set[int]:
    first = number * len(bits) * 8
    text = "".join(f"{byte:08b}"[::-1] for byte in bits)
    return {first + match.start() for match in re.finditer("1", text)}


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []
