"""Bodies to blocks: each is checked once, and then only bytes."""

from collections.abc import Container, Sequence

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.model import Invalid, Kind, Problem, Task
from bulksubmit.core.taskcheck import Checker, Finding
from bulksubmit.core.tasks import Columns
from bulksubmit.producer.source import Block, Warned


class _RejectRow(msgspec.Struct, gc=False):
    """A row of an earlier run's rejects file: an object with a task inside, and no ``id``.

    Attributes:
        task: The task.
        text: In place of it, a line that was no JSON.
        code: Why it was rejected; each row has it.
    """

    task: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    text: str | msgspec.UnsetType = msgspec.UNSET
    code: msgspec.UnsetType | object = msgspec.UNSET
    id: msgspec.UnsetType | object = msgspec.UNSET


# As runs write it. What is no row at first sight is one all the same, but is explained before.
_ROW_HINT = b'"task":'
_NO_TASK = Problem(
    "text",
    Kind.NOT_JSON,
    "the row of a rejects file whose line was no JSON: mend `text`, and put it on a line by itself",
)

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
    return to_sparse_block(bodies, lines, ordinals, checker=checker, after=after)


def to_sparse_block(
    bodies: list[bytes],
    lines: Sequence[int],
    ordinals: Sequence[int],
    *,
    checker: Checker,
    after: Place,
    known_invalid: Sequence[Invalid] = (),
) -> Block:
    """Check bodies between which others may be left out.

    Args:
        bodies: As for to_block().
        lines: The line of each.
        ordinals: The ordinal of each.
        checker: Says what is a task.
        after: Where the item after them begins.
        known_invalid: Items of the block that have no body, since nothing came of them; in order.
    """
    rows: dict[int, bytes] = {}
    if bodies and _ROW_HINT in bodies[0]:  # Only the first: the look takes a tenth of a check.
        rows = {at: task for at, body in enumerate(bodies) if (task := _task_of_row(body))}
        bodies = [rows.get(at, body) for at, body in enumerate(bodies)]
    ids, findings = checker.check(bodies)
    if not findings:
        return Block(Columns(ordinals, lines, ids, bodies), after, known_invalid)
    tasks, warned, invalid = [], [], [*known_invalid]
    for at, (ordinal, line) in enumerate(zip(ordinals, lines, strict=True)):
        body, task_id, finding = bodies[at], ids[at], findings.get(at)
        inner = _unwrapped(body) if finding and at not in rows else None
        if isinstance(inner, Problem):
            finding = Finding(task_id, (inner,))
        elif inner:
            body = inner
            (task_id,), inside = checker.check([inner])
            finding = inside.get(0)
        if finding and finding.invalid:
            invalid.append(Invalid(ordinal, line, task_id, body, finding.problems))
            continue
        if finding:
            warned.append(Warned(ordinal, line, finding.problems))
        tasks.append(Task(ordinal, line, task_id, body))
    if known_invalid:  # A run that stops at the first names that one.
        invalid.sort(key=lambda item: item.ordinal)
    return Block(tasks, after, invalid, warned)


def _task_of_row(body: bytes) -> bytes | None:
    """The task in a row of a rejects file, without any look at what is wrong otherwise."""
    inner = _unwrapped(body)
    return None if isinstance(inner, Problem) else inner


def _unwrapped(body: bytes) -> bytes | Problem | None:
    """The task in a row of a rejects file, or what is wrong with the row; None if it is none."""
    try:
        row = _reject_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if row.id is not msgspec.UNSET:
        return None
    if isinstance(row.task, msgspec.Raw):
        return bytes(row.task)
    is_row = isinstance(row.text, str) and row.code is not msgspec.UNSET
    return _NO_TASK if is_row else None
