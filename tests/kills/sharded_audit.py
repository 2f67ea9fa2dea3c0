"""Whether all is true that should be, after the parts of a sharded run were killed again and again.

Beside what ``audit`` says of any run: who is sent what by whom is told by the shard. A worker has a
turn at a shard, under client-request-ids of its own; the next turn begins where the coordinator
knows the shard to be. So a task whose settling answer had come is sent again only if somebody was
killed about that time, and then no more than what was in flight and not reported.
"""

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.kills.audit import (
    Figures,
    Sent,
    all_sent,
    check_asked,
    check_end,
    check_rows,
    check_service,
    read_rejects,
)
from tests.kills.run import Journal, Life
from tests.kills.sharded import Kill, ShardedStory

# Reports go twice a second, commits five times; the rest is for a busy machine.
_UNREPORTED_S = 3.0
# Answers in flight are taken in for 10 s by a worker whose coordinator is gone.
_DRAIN_S = 12.0
# An attempt of a worker that lost its coordinator may be on its way already.
_LAST_WORDS_S = 2.0


@dataclass
class ShardedFigures(Figures):
    """What was seen, over one run or more.

    Attributes:
        worker_again_s: From the kill of a worker to the first request of its shard's next turn.
        coordinator_again_s: From the kill of a coordinator to the first request of the next one.
        scheduler_end_s: From the kill of a scheduler to the coordinator's end.
        orphans_s: From the kill of a coordinator to the end of its last worker.
    """

    worker_again_s: list[float] = field(default_factory=list)
    coordinator_again_s: list[float] = field(default_factory=list)
    scheduler_end_s: list[float] = field(default_factory=list)
    orphans_s: list[float] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take in those of another run."""
        super().add(other)
        assert isinstance(other, ShardedFigures)
        self.worker_again_s += other.worker_again_s
        self.coordinator_again_s += other.coordinator_again_s
        self.scheduler_end_s += other.scheduler_end_s
        self.orphans_s += other.orphans_s


def audit_sharded(story: ShardedStory, record: Path) -> ShardedFigures:
    """Check a run.

    Raises:
        AssertionError: if anything is not as it should be.
    """
    figures = ShardedFigures(runs=1, tasks=len(story.tasks), orphans_s=story.orphans_s)
    sent = list(all_sent(story, record))
    check_service(story)
    check_end(story)
    check_asked(story)
    _check_added(story)
    _check_journals(story, sent)
    if story.results:
        check_rows(story, figures)
    _check_rejects(story)
    turns = _turns(story, sent)
    _check_resent(story, sent, figures)
    _check_deserted(story, sent)
    _look_how_long(story, turns, figures)
    for kill in story.kills:
        figures.kills[kill.what] += 1
    figures.stops += sum(life.exit_code in (130, 143) for life in story.lives)
    return figures


def _check_added(story: ShardedStory) -> None:
    """What the service has is what was added by us, in the report or unknown to it, and theirs."""
    journal = story.lives[-1].journal
    assert journal is not None
    theirs = story.same.keys() | story.other.keys()
    ours = journal.existed - theirs
    assert len(story.listed) == journal.row["added"] + len(ours) + len(theirs)


def _check_journals(story: ShardedStory, sent: list[Sent]) -> None:
    """
    However it ends, the journal counts, for all and for each shard, what it has bits for; nothing
    that was settled is ever unsettled or settled otherwise; nothing was sent above the marks.
    """
    sent_below: dict[tuple[int, int], int] = defaultdict(int)  # By life and shard.
    for one in sent:
        number = _shard_of(story, one)
        below = max(one.tasks) + 1 - story.shards[number].start
        sent_below[one.life, number] = max(sent_below[one.life, number], below)
    for index, life in enumerate(story.lives):
        if life.journal is None:
            assert all(sender != index for sender, _ in sent_below)
            continue
        _check_journal(story, life.journal)
        for row in life.journal.shards:
            assert row["doubt_below"] >= sent_below[index, row["number"]]
    journals = [life.journal for life in story.lives if life.journal is not None]
    for before, after in pairwise(journals):
        assert before.row["run_id"] == after.row["run_id"]
        assert before.settled <= after.settled
        assert before.existed == after.existed & before.settled
        assert before.rejected == after.rejected & before.settled
        assert before.row["requests"] <= after.row["requests"]
    assert not journals[-1].waiting


def _check_journal(story: ShardedStory, journal: Journal) -> None:
    row = journal.row
    for name in ("total", "added", "existed", "rejected", "requests", "bytes_sent"):
        assert row[name] == sum(shard[name] for shard in journal.shards)
    assert row["added"] + row["existed"] + row["rejected"] == len(journal.settled)
    assert row["existed"] == len(journal.existed)
    assert journal.existed <= journal.settled
    assert row["rejected"] + row["abandoned"] == journal.exceptions
    assert row["rejected"] == len(journal.rejected)
    assert journal.rejected <= journal.settled - journal.existed
    assert journal.waiting <= journal.rejected
    for shard, ordinals in zip(journal.shards, story.shards, strict=True):
        settled = journal.settled & set(ordinals)
        assert shard["added"] + shard["existed"] + shard["rejected"] == len(settled)
        assert shard["total"] >= max(settled, default=ordinals.start - 1) + 1 - ordinals.start
        if shard["source_complete"]:
            assert shard["total"] == len(ordinals)
    assert row["source_complete"] == all(shard["source_complete"] for shard in journal.shards)


def _check_rejects(story: ShardedStory) -> None:
    """Each rejected task has a row, with its true line; after a kill it may have another."""
    last, crashes = story.lives[-1], sum(not _ended_in_order(life) for life in story.lives)
    assert last.journal is not None
    rows: dict[int, int] = defaultdict(int)
    for row in read_rejects(last):
        ordinal = story.ordinals[row["line"]]
        assert row["task_id"].lower() == f"t-{ordinal:06}"
        rows[ordinal] += 1
    assert last.journal.rejected <= rows.keys()
    assert all(count <= 1 + crashes for count in rows.values())


def _check_resent(story: ShardedStory, sent: list[Sent], figures: ShardedFigures) -> None:
    """See the module."""
    answered: dict[int, Sent] = {}
    resent: dict[int, set[int]] = defaultdict(set)  # By kill.
    moments = [(one.arrived_s, 0, index) for index, one in enumerate(sent)]
    moments += [(one.answered_s, 1, index) for index, one in enumerate(sent)]
    ends_s = [*[each.at_s for each in story.kills], *_ended_otherwise_s(story)]
    for now_s, is_answer, index in sorted(moments):
        one = sent[index]
        if is_answer:
            answered |= dict.fromkeys(one.settled, one)
            continue
        for ordinal in answered.keys() & set(one.tasks):
            before = answered[ordinal]
            assert before.sender != one.sender, f"settled, and sent again by the same: {one}"
            causes = [
                number
                for number, at_s in enumerate(ends_s)
                if before.answered_s - _DRAIN_S <= at_s <= now_s
                and at_s - _UNREPORTED_S <= before.answered_s
            ]
            assert causes, f"nobody was killed about {before.answered_s}, and sent again: {one}"
            resent[causes[-1]].add(ordinal)
    figures.resent += [len(resent[number]) for number in range(len(story.kills))]


def _ended_otherwise_s(story: ShardedStory) -> list[float]:
    """When a run ended that nobody had killed, but whose workers were cut off."""
    return [life.ended_s for life in story.lives if not _ended_in_order(life) and not life.killed]


def _ended_in_order(life: Life) -> bool:
    return life.exit_code in (0, 6, 130, 143)


def _check_deserted(story: ShardedStory, sent: list[Sent]) -> None:
    """Nobody begins anything for a coordinator that is dead."""
    for kill in story.kills:
        if kill.what == "coordinator":
            late = [
                one
                for one in sent
                if one.life == kill.life and one.arrived_s > kill.at_s + _LAST_WORDS_S
            ]
            assert not late, f"{kill}, and then {late}"


# --- How long it took ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turn:
    """A worker at a shard.

    Attributes:
        shard: Its number.
        life: The index of the coordinator.
        begun_s: When its first request arrived, as POSIX time.
        last_s: When its last one did.
    """

    shard: int
    life: int
    begun_s: float
    last_s: float


def _shard_of(story: ShardedStory, one: Sent) -> int:
    (number,) = {
        bisect_right(story.shards, ordinal, key=lambda ordinals: ordinals.start) - 1
        for ordinal in one.tasks
    }
    return number


def _turns(story: ShardedStory, sent: list[Sent]) -> list[_Turn]:
    found: dict[str, _Turn] = {}
    for one in sorted(sent, key=lambda each: each.arrived_s):
        number = _shard_of(story, one)
        begun_s = found[one.sender].begun_s if one.sender in found else one.arrived_s
        if one.sender in found:
            assert found[one.sender].shard == number
        found[one.sender] = _Turn(number, one.life, begun_s, one.arrived_s)
    return sorted(found.values(), key=lambda turn: turn.begun_s)


def _look_how_long(story: ShardedStory, turns: list[_Turn], figures: ShardedFigures) -> None:
    for kill in story.kills:
        ended_s = story.lives[kill.life].ended_s
        match kill.what:
            case "worker" | "nanny":
                again_s = _again_s(kill, turns, ended_s)
                figures.worker_again_s += [again_s - kill.at_s] if again_s else []
            case "coordinator":
                later = [turn.begun_s for turn in turns if turn.life == kill.life + 1]
                figures.coordinator_again_s += [min(later) - kill.at_s] if later else []
            case "scheduler":
                figures.scheduler_end_s.append(ended_s - kill.at_s)


def _again_s(kill: Kill, turns: list[_Turn], ended_s: float) -> float | None:
    """When the next worker began at the shard of one that was killed; None if it had none."""
    for before in turns:
        if before.life != kill.life or not before.begun_s <= kill.at_s < ended_s:
            continue
        after = [
            turn.begun_s
            for turn in turns
            if turn.shard == before.shard and turn.life == kill.life and turn.begun_s > kill.at_s
        ]
        if after and before.last_s <= kill.at_s + _LAST_WORDS_S:
            return min(after)
    return None
