"""A file read a second time, for a run that goes on: what is not settled, and nothing else."""

from pathlib import Path

import pytest

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Task
from bulksubmit.producer.lines import LineSource
from bulksubmit.producer.source import Done

TASKS = 4_000


def write(path: Path, *, last_line_end: bool) -> str:
    """A file of three blocks or so."""
    lines = [b'{"id":"t%d","commandLine":"%s"}' % (n, b"x" * 150) for n in range(TASKS)]
    path.write_bytes(b"\n".join(lines) + b"\n" * last_line_end)
    return str(path)


async def read(path: str, done: Done | None = None) -> tuple[list[Task], list[Place]]:
    """The tasks of a file, and the places that its reader told."""
    tasks: list[Task] = []
    places: list[Place] = []

    async def admit(block: list[Task], after: Place) -> None:
        tasks.extend(block)
        places.append(after)

    source = LineSource.open(path)
    await source.read(admit, done)
    source.close()
    return tasks, places


@pytest.mark.parametrize("last_line_end", [True, False])
async def test_whatever_is_left_comes_again(tmp_path: Path, last_line_end: bool) -> None:  # noqa: FBT001 - pytest's
    """
    However far the places reach, and whichever task alone is not settled, it is read again, and
    it alone: also the last one, in a line without an end.
    """
    path = write(tmp_path / "tasks.jsonl", last_line_end=last_line_end)
    tasks, places = await read(path)

    for known in range(len(places) + 1):
        borders = [place.ordinal for place in [BEGINNING, *places[:known]]]
        for left in {0, TASKS - 1, *borders, *(border - 1 for border in borders)} & {*range(TASKS)}:
            settled = Bitmap()
            settled.add_range(0, left)
            settled.add_range(left + 1, TASKS)

            again, told = await read(path, Done(settled, places[:known]))

            assert again == [tasks[left]]
            assert told[-1] == places[-1]
