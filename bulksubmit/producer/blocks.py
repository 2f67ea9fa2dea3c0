"""Bodies to blocks: each is checked once, and then only bytes."""

from collections.abc import Container, Sequence

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.producer.source import Block, Warned


class _RejectRow(msgspec.Struct, gc=False):
    """A row of an earlier run's rejects file: an object with ``task`` and no ``id``."""

    task: msgspec.Raw
    id: msgspec.UnsetType | object = msgspec.UNSET


_reject_decoder = msgspec.json.Decoder(_RejectRow)


def to_block(
    bodies: list[bytes],
    lines: Sequence[int],
    *,
    checker: Checker,
    after: Place,
    settled: Container[int] | None = None,
) -> Block:
    """Check bodies that follow each other.

    Args:
        bodies: One an item, without white space around it.
        lines: The line of each.
        checker: Says what is a task.
        after: Where the item after them begins; its ordinal is one more than the last one's.
        settled: The ordinals to leave out, unlooked at; None for none.
    """
    first = after.ordinal - len(bodies)
    ordinals: Sequence[int] = range(first, after.ordinal)
    if settled is not None:
        left = [at for at, ordinal in enumerate(ordinals) if ordinal not in settled]
        bodies = [bodies[at] for at in left]
        lines, ordinals = [lines[at] for at in left], [ordinals[at] for at in left]
    ids, findings = checker.check(bodies)
    if not findings:
        return Block([*map(Task, ordinals, lines, ids, bodies)], after)
    tasks, invalid, warned = [], [], []
    for at, (ordinal, line) in enumerate(zip(ordinals, lines, strict=True)):
        body, task_id, finding = bodies[at], ids[at], findings.get(at)
        if finding and (inner := _unwrapped(body)):
            body = inner
            (task_id,), inside = checker.check([inner])
            finding = inside.get(0)
        if finding and finding.invalid:
            invalid.append(Invalid(ordinal, line, task_id, body, finding.problems))
            continue
        if finding:
            warned.append(Warned(ordinal, line, finding.problems))
        tasks.append(Task(ordinal, line, task_id, body))
    return Block(tasks, after, invalid, warned)


def _unwrapped(body: bytes) -> bytes | None:
    """The task in a row of a rejects file, if it is one."""
    try:
        row = _reject_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return bytes(row.task) if row.id is msgspec.UNSET else None
