"""Which line a shard begins at, when its workers have not counted all lines before it."""

from anyio import to_thread

from bulksubmit.errors import SourceError
from bulksubmit.ledger import Ledger
from bulksubmit.producer.shards import count_lines
from bulksubmit.producer.spec import SourceSpec


async def counted_up_to(ledger: Ledger, spec: SourceSpec, number: int) -> int:
    """The 1-based line that a shard begins at; what nobody has counted is counted now.

    Raises:
        SourceError: if the file cannot be read.
    """
    while (line := ledger.first_line(number)) is None:
        file = ledger.states[number].shard.file
        before = next(
            state
            for state in reversed(ledger.states[:number])
            if state.lines is None and state.shard.file == file
        )
        lines = await to_thread.run_sync(count_lines, spec, before.shard)
        ledger.changed(before.shard.number).lines = lines
    return line


def further(error: SourceError, lines: int) -> SourceError:
    """The error of an item so many lines further on."""
    assert error.line is not None
    moved = SourceError(error.path, error.line + lines, error.reason)
    moved.of_item = error.of_item
    return moved
