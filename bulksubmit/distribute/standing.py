"""How far a sharded run is, by the ledger and what its workers have said last."""

from collections.abc import Sequence

from bulksubmit.distribute.fleet import Fleet
from bulksubmit.distribute.roster import Roster
from bulksubmit.errors import NotConverged
from bulksubmit.ledger import Ledger, ShardState
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Run


def in_doubt(states: Sequence[ShardState], fleet: Fleet) -> int:
    """Tasks that may have been sent, and are not settled."""
    doubted = 0
    for state in states:
        if not state.counts.converged:
            gauges = fleet.of(state.shard.number)
            doubted += state.in_doubt if gauges is None else gauges.in_doubt
    return doubted


def sizes(states: Sequence[ShardState], fleet: Fleet) -> tuple[int, int, int]:
    """Of all shards: bytes (of a sweep, tasks), those read, and those settled."""
    total = read = settled = 0
    for state in states:
        shard, counts = state.shard, state.counts
        size = shard.bytes or shard.end - shard.begin
        total += size
        if counts.converged:
            read += size
            settled += size
        elif gauges := fleet.last_of(shard.number):
            read += gauges.bytes_read if shard.bytes else counts.total
            settled += (gauges.bytes_settled or 0) if shard.bytes else counts.settled
        elif counts.total and counts.source_complete:
            read += size
            settled += size * counts.settled // counts.total
    return total, read, settled


def left_alone(
    roster: Roster, ledger: Ledger, spec: SourceSpec, name: str | None, run: Run
) -> NotConverged:
    """The error for shards that have ended worker after worker.

    Args:
        roster: Says which.
        ledger: Knows their bounds.
        spec: Names their files.
        name: Of a source that is no file.
        run: The run.
    """
    listed = []
    for number, why in roster.poisoned.items():
        shard = ledger.states[number].shard
        listed.append(f"{name or spec.files[shard.file]}, {shard}: {why}")
    shards = f"{len(listed)} shards" if len(listed) > 1 else "one shard"
    lines = "\n  ".join(listed)
    return NotConverged(
        f"{shards} ended worker after worker, and were left alone\n"
        f"  {lines}\n  bulksubmit runs resume {run.run_id} tries again"
    )
