"""A look at the whole of a source, without sending anything: every problem of every item."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
from anyio import to_thread

from bulksubmit.core.model import Invalid, Kind, Problem, Task
from bulksubmit.producer.duplicates import DuplicateCheck, Lines, texts_of
from bulksubmit.producer.source import Block, Source, Warned

DUPLICATES_NAMED_MAX = 1_000  # The rest is counted.

# Told where an item is, its ID ("" if it has none), and what is to be said of it.
Tell: TypeAlias = Callable[[str, str, Problem], None]


class Survey(msgspec.Struct):
    """What a source came to.

    Attributes:
        items: How many items it holds.
        invalid: How many of them are no tasks.
        errors: How many problems of each kind.
        warnings: The same for what is sent all the same.
    """

    items: int = 0
    invalid: int = 0
    errors: Counter[Kind] = msgspec.field(default_factory=Counter)
    warnings: Counter[Kind] = msgspec.field(default_factory=Counter)

    def count(self, problem: Problem) -> None:
        """Count a problem."""
        (self.warnings if problem.warning else self.errors)[problem.kind] += 1


class IdWatch:
    """Sees to it that IDs which are there twice are told, with both places."""

    def __init__(self, source: Source, *, folder: Path | None) -> None:
        """Watch a source.

        Args:
            source: Which is going to be read.
            folder: Where a temporary file goes; None for the usual place.
        """
        self._source = source
        self._check, self._lines = DuplicateCheck(folder), Lines()

    def add(self, block: Block, *, invalid_too: bool = False) -> None:
        """Take in the next block.

        Args:
            block: The next one.
            invalid_too: Also the IDs of items that are no tasks for another reason.

        Raises:
            OutputError: if the temporary file cannot be written; there is no use going on.
        """
        items: Sequence[Task | Invalid] = block.tasks
        if invalid_too and block.invalid:
            items = [item for item in block.items if item.id]
        self._check.add(items, block.after.ordinal)
        self._lines.add(block.after)

    async def find(self) -> tuple[int, list[tuple[str, str, str]]]:
        """Look for duplicates, at the source's end.

        Returns:
            How many items have the ID of an earlier one; and of the first DUPLICATES_NAMED_MAX
            the place, the ID, and a text that names the earlier place.

        Raises:
            OutputError: if the temporary file cannot be read.
            SourceError: if the source cannot be read again, to find the places.
        """
        found = await to_thread.run_sync(
            partial(self._check.find, named_max=DUPLICATES_NAMED_MAX), abandon_on_cancel=True
        )
        return found.count, await texts_of(found.named, self._source, self._lines)

    def close(self) -> None:
        """Remove the temporary file."""
        self._check.close()


async def survey(
    source: Source,
    tell: Tell,
    *,
    body_bytes_max: int,
    dedupe: bool = True,
    folder: Path | None = None,
) -> Survey:
    """Read a source to its end.

    Args:
        source: Not read before.
        tell: Told of each problem, in order; of duplicate IDs at the end, of the first
            DUPLICATES_NAMED_MAX.
        body_bytes_max: What a task may have; no request holds a larger one.
        dedupe: Whether to look for duplicate IDs.
        folder: Where a temporary file goes; None for the usual place.

    Raises:
        SourceError: if the source cannot be read.
        OutputError: if the temporary file cannot be written.
    """
    found = Survey()
    with closing(IdWatch(source, folder=folder)) as watch:

        async def look(block: Block) -> None:
            found.items = block.after.ordinal
            found.invalid += len(block.invalid)
            odd: list[Invalid | Warned] = [*block.invalid, *block.warned]
            too_large = [t for t in block.tasks if len(t.body) > body_bytes_max]
            found.invalid += len(too_large)
            odd += [_too_large(task, body_bytes_max) for task in too_large]
            for item in sorted(odd, key=lambda one: one.ordinal):
                where = source.where(item.ordinal, item.line)
                for problem in item.problems:
                    found.count(problem)
                    tell(where, getattr(item, "id", ""), problem)
            if dedupe:
                watch.add(block, invalid_too=True)

        await source.read(look)
        if dedupe:
            count, named = await watch.find()
            found.errors[Kind.DUPLICATE] += count
            for where, task_id, text in named:
                tell(where, task_id, Problem("id", Kind.DUPLICATE, text))
    found.errors += Counter()  # Without the kinds that there are none of.
    return found


def _too_large(task: Task, body_bytes_max: int) -> Invalid:
    size = len(task.body)
    text = f"the task has {size:,} bytes; a request holds at most {body_bytes_max:,} of one"
    problem = Problem("", Kind.LENGTH, text)
    return Invalid(task.ordinal, task.line, task.id, b"", (problem,))
