"""Whether all is true that should be, after a run was killed again and again.

What settles a line is a row of the results file, and then its bit in the journal, in this order.
So when a process is killed, rows may be there whose bits are not: the journal's last group was
lost. Those lines, and no others, are settled once more by a later process, and have one more row:

- a process adds at most one row a line;
- it adds none for a line that had its bit when the process began;
- a line that has its bit has a row; its last row and its bit say the same.

Under some of the IDs somebody else has added tasks before, alike or not: they stay as they were,
and one with other content is never called ours, unless told to be accepted unread.
"""

import json
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.kills.run import COLLECTION, CONCURRENCY, Journal, Life, Story

# No process sends anything sooner after its begin: an arrival before is of the one before it.
_START_UP_S = 0.1
_SECOND_S = 1.0
_DIFFERS = {"key": "commandLine", "value": "differs"}


@dataclass
class Figures:
    """What was seen, over one run or more.

    Attributes:
        runs: How many there were.
        tasks: Of all of them.
        kills: Processes that ended by SIGKILL: before there was a run, before the first request,
            while it sent, and when all was settled.
        stops: Processes that ended in order by SIGINT or SIGTERM.
        resent: For each kill, the tasks whose settling answer was on its way or had come, and
            which were sent again.
        resent_max_share: The most that this was, as a share of what is allowed.
        rows_again: Rows of lines that had one already.
        cut_rows: Rows that were cut by a kill.
    """

    runs: int = 0
    tasks: int = 0
    kills: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    stops: int = 0
    resent: list[int] = field(default_factory=list)
    resent_max_share: float = 0.0
    rows_again: int = 0
    cut_rows: int = 0

    @property
    def killed(self) -> int:
        """How many processes were killed."""
        return sum(self.kills.values())

    def add(self, other: "Figures") -> None:
        """Take in those of another run."""
        self.runs += other.runs
        self.tasks += other.tasks
        for phase, kills in other.kills.items():
            self.kills[phase] += kills
        self.stops += other.stops
        self.resent += other.resent
        self.resent_max_share = max(self.resent_max_share, other.resent_max_share)
        self.rows_again += other.rows_again
        self.cut_rows += other.cut_rows


@dataclass(frozen=True)
class Sent:
    """A collection as the service got it.

    Attributes:
        arrived_s: When its head arrived.
        answered_s: When it was processed, be it after the connection was cut.
        life: The index of the process that sent it.
        sender: Tells it from all others; of a sharded run, each worker's turn at a shard is one.
        tasks: Ordinals.
        settled: Those of them that its answer settles.
    """

    arrived_s: float
    answered_s: float
    life: int
    sender: str
    tasks: list[int]
    settled: list[int]


def audit(story: Story, record: Path) -> Figures:
    """Check a run.

    Raises:
        AssertionError: if anything is not as it should be.
    """
    figures = Figures(runs=1, tasks=len(story.tasks))
    sent = list(all_sent(story, record))
    check_service(story)
    check_end(story)
    check_asked(story)
    _check_journals(story, sent)
    check_rows(story, figures)
    _check_resent(story, sent, figures)
    for index, life in enumerate(story.lives):
        if life.killed:
            figures.kills[_phase(story, index, sent)] += 1
        figures.stops += life.exit_code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    return figures


def check_service(story: Story) -> None:
    """
    The service has exactly the tasks of the source, each as its line says, byte for byte, or as
    somebody else has added it.
    """
    listed = {task["id"].lower(): task for task in story.listed}
    assert len(listed) == len(story.listed) == len(story.tasks)
    for ordinal, line in enumerate(story.tasks):
        names = json.loads(line)
        found = listed[names["id"]]
        if theirs := story.same.get(ordinal) or story.other.get(ordinal):
            assert {name: found[name] for name in theirs} == theirs
            continue
        shown = {name: found[name] for name in names}
        assert json.dumps(shown, ensure_ascii=False, separators=(",", ":")).encode() == line


def check_end(story: Story) -> None:
    """Report, journal and ``runs list`` tell of a run that has converged."""
    last, count = story.lives[-1], len(story.tasks)
    report, journal = json.loads(last.stdout), last.journal
    assert journal is not None
    for said in (report, journal.row, story.runs[0]):
        assert said["added"] + said["existed"] + said["rejected"] == count
        assert said["abandoned"] == 0
        assert said["source_complete"]
    assert report["total"] == journal.row["total"] == story.runs[0]["tasks_read"] == count
    assert report["unsettled"] == report["in_doubt"] == 0
    assert report["exit_code"] == last.exit_code == (6 if report["rejected"] else 0)
    assert report["converged"]
    ours = journal.existed - story.same.keys() - story.other.keys()
    assert len(ours) <= report["existed_own"] <= report["existed"] == len(journal.existed)
    _check_planted(story, journal)
    assert journal.row["ended"] == "converged"
    assert journal.row["doubt_below"] >= count  # An earlier process's mark may have been ahead.
    assert journal.settled == frozenset(range(count))
    assert [run["state"] for run in story.runs] == ["converged"]


def _check_planted(story: Story, journal: Journal) -> None:
    """What became of IDs that somebody else had taken; all of them are told, and why."""
    same, other = story.same.keys(), story.other.keys()
    match story.on_exists:
        case "verify":
            assert journal.rejected == other
            assert journal.existed >= same
        case "accept":
            assert not journal.rejected
            assert journal.existed >= same | other
        case "reject":  # Unless an attempt may have been ours, and what exists is alike.
            assert other <= journal.rejected <= same | other
            assert same <= journal.rejected | journal.existed
    rows = read_rejects(story.lives[-1])
    told = {story.ordinals[row["line"]] for row in rows}
    # One that was rejected unread, and forgotten by a kill, may have been read then.
    assert journal.rejected <= told <= journal.rejected | same
    if story.on_exists == "verify":
        assert all(row["values"] == [_DIFFERS] for row in rows)


def read_rejects(life: Life) -> list[dict[str, Any]]:
    """The rows of the file that a report names."""
    path = json.loads(life.stdout)["rejects_path"]
    return [json.loads(row) for row in Path(path).read_bytes().splitlines()] if path else []


def check_asked(story: Story) -> None:
    """
    A plain submit beside an unfinished run stops and names the ways on; to resume a run that
    has converged prints its report once more.
    """
    *refused, shown = story.asked
    for life in refused:
        assert life.exit_code == 2, life.stderr
        assert life.journal is not None
        assert life.journal.row["run_id"] in life.stderr
        assert "--resume" in life.stderr
        assert "--new-run" in life.stderr
    said, report = json.loads(shown.stdout), json.loads(story.lives[-1].stdout)
    assert shown.exit_code == story.lives[-1].exit_code, shown.stderr
    for name in ("total", "added", "existed", "requests", "bytes_sent", "run_id"):
        assert said[name] == report[name]
    assert not any(life.rows for life in story.asked)


def _check_journals(story: Story, sent: list[Sent]) -> None:
    """
    However a process ends, the journal counts what it has bits for; nothing that was settled is
    ever unsettled or settled otherwise; and nothing was sent above the mark.
    """
    sent_below: dict[int, int] = defaultdict(int)
    for one in sent:
        sent_below[one.life] = max(sent_below[one.life], *(ordinal + 1 for ordinal in one.tasks))
    for index, life in enumerate(story.lives):
        if life.journal is None:
            assert index not in sent_below
            continue
        row = life.journal.row
        assert row["added"] + row["existed"] + row["rejected"] == len(life.journal.settled)
        assert row["existed"] == len(life.journal.existed)
        assert life.journal.existed <= life.journal.settled
        assert row["rejected"] == len(life.journal.rejected) == life.journal.exceptions
        assert life.journal.rejected <= life.journal.settled - life.journal.existed
        assert row["abandoned"] == 0
        assert row["total"] > max(life.journal.settled, default=-1)
        assert row["doubt_below"] >= sent_below[index]
    journals = [life.journal for life in story.lives if life.journal is not None]
    for before, after in pairwise(journals):
        assert before.row["run_id"] == after.row["run_id"]
        assert before.settled <= after.settled
        assert before.existed == after.existed & before.settled
        assert before.row["requests"] <= after.row["requests"]


def check_rows(story: Story, figures: Figures) -> None:
    """See the module."""
    verdicts: dict[int, str] = {}
    for index, life in enumerate(story.lives):
        had_bit = _settled_before(story, index)
        here = [story.ordinals[row["line"]] for row in life.rows]
        assert len(here) == len(set(here))
        assert had_bit.isdisjoint(here)
        figures.rows_again += len(verdicts.keys() & set(here))
        figures.cut_rows += life.cut_row
        assert life.killed or not life.cut_row
        for ordinal, row in zip(here, life.rows, strict=True):
            assert row["id"] == f"t-{ordinal:06}"
            verdicts[ordinal] = row["verdict"]
        if life.journal is not None:
            assert life.journal.settled <= verdicts.keys()
            for ordinal in life.journal.settled:
                assert verdicts[ordinal] == _verdict(life.journal, ordinal)
            if not life.killed and life.exit_code >= 0:
                # Ended in order: no group was open any more.
                assert set(here) <= life.journal.settled


def _check_resent(story: Story, sent: list[Sent], figures: Figures) -> None:
    """
    What one process sent, and what was answered so that it is settled, is sent again only if the
    process was killed; and then no more than was in flight and a second's work.
    """
    answered: dict[int, int] = {}  # By ordinal: in which life.
    resent: dict[int, set[int]] = defaultdict(set)
    moments = [(one.arrived_s, 0, index) for index, one in enumerate(sent)]
    moments += [(one.answered_s, 1, index) for index, one in enumerate(sent)]
    for _, is_answer, index in sorted(moments):
        one = sent[index]
        if is_answer:
            answered |= dict.fromkeys(one.settled, one.life)
            continue
        for ordinal in answered.keys() & set(one.tasks):
            assert answered[ordinal] < one.life, f"settled, and sent again by the same: {one}"
            resent[answered[ordinal]].add(ordinal)
    for index, life in enumerate(story.lives):
        in_flight = CONCURRENCY * COLLECTION
        if not (life.killed or life.exit_code < 0):
            # What was in flight when it left at once, at the second signal.
            assert len(resent[index]) <= (in_flight if len(life.signals) > 1 else 0)
            continue
        second = sum(
            len(one.settled)
            for one in sent
            if one.life == index and life.ended_s - _SECOND_S <= one.answered_s
        )
        assert len(resent[index]) <= in_flight + second
        if life.killed:
            figures.resent.append(len(resent[index]))
            share = len(resent[index]) / (in_flight + second)
            figures.resent_max_share = max(figures.resent_max_share, share)


def all_sent(story: Story, record: Path) -> Iterator[Sent]:
    """What the service got of this run, in order; which process sent it, the arrivals tell."""
    life_of: dict[str, int] = {}
    arrived_s: dict[str, float] = {}
    with record.open() as file:
        for text in file:
            row: dict[str, Any] = json.loads(text)
            if row["job"] != story.job_id:
                continue
            attempt, time_s = row["attempt"], row["time_s"]
            guid = attempt[:24]
            if guid not in life_of:
                life_of[guid] = max(
                    index
                    for index, life in enumerate(story.lives)
                    if not index or life.begun_s + _START_UP_S <= time_s
                )
            arrived_s.setdefault(attempt, time_s)
            if row.get("sent"):
                tasks, settled = _ordinals(row["sent"]), _ordinals(row["settled"])
                yield Sent(arrived_s[attempt], time_s, life_of[guid], guid, tasks, settled)


def _ordinals(task_ids: list[str]) -> list[int]:
    return [int(re.sub(r"\D", "", task_id)) for task_id in task_ids]


def _settled_before(story: Story, index: int) -> frozenset[int]:
    before = story.lives[index - 1].journal if index else None
    return before.settled if before else frozenset()


def _verdict(journal: Journal, ordinal: int) -> str:
    if ordinal in journal.rejected:
        return "rejected"
    return "existed" if ordinal in journal.existed else "added"


def _phase(story: Story, index: int, sent: list[Sent]) -> str:
    life: Life = story.lives[index]
    if life.journal is None:
        return "before there was a run"
    if all(one.life != index for one in sent):
        return "before the first request"
    if len(life.journal.settled) == len(story.tasks):
        return "when all was settled"
    return "while it sent"
