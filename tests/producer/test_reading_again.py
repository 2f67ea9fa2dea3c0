"""A file read a second time, for a run that goes on: what is not settled, and nothing else."""

from pathlib import Path

import pytest

from bulksubmit.core.account import BEGINNING
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.producer.source import Done
from tests.producer.reading import read

TASKS = 4_000


def write(path: Path, *, last_line_end: bool) -> str:
    """A file of three blocks or so."""
    lines = [b'{"id":"t%d","commandLine":"%s"}' % (n, b"x" * 150) for n in range(TASKS)]
    path.write_bytes(b"\n".join(lines) + b"\n" * last_line_end)
    return str(path)


@pytest.mark.parametrize("last_line_end", [True, False])
async def test_whatever_is_left_comes_again(tmp_path: Path, last_line_end: bool) -> None:  # noqa: FBT001 - pytest's
    """
    However far the places reach, and whichever task alone is not settled, it is read again, and
    it alone: also the last one, in a line without an end.
    """
    path = write(tmp_path / "tasks.jsonl", last_line_end=last_line_end)
    items = await read(path)
    tasks, places = items.tasks, items.places

    for known in range(len(places) + 1):
        borders = [place.ordinal for place in [BEGINNING, *places[:known]]]
        for left in {0, TASKS - 1, *borders, *(border - 1 for border in borders)} & {*range(TASKS)}:
            settled = Bitmap()
            settled.add_range(0, left)
            settled.add_range(left + 1, TASKS)

            again = await read(path, Done(settled, places[:known]))

            assert again.tasks == [tasks[left]]
            assert again.places[-1] == places[-1]
