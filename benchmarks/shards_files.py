"""The task files of ``shards``: small tasks, each of 76 bytes and a line end."""

from pathlib import Path

TASK_BYTES = 76
LINE_BYTES = TASK_BYTES + 1
_BLOCK_TASKS = 100_000


def task(number: int) -> bytes:
    """A task, without its line end."""
    return b'{"id":"task-%010d","commandLine":"/bin/sh run.sh --section %010d"}' % (number, number)


def small_tasks(folder: Path, *, tasks: int) -> Path:
    """A file of so many tasks; written if it is not there yet."""
    path = folder / f"small-{tasks}.jsonl"
    if not path.exists() or path.stat().st_size != tasks * LINE_BYTES:
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            for first in range(0, tasks, _BLOCK_TASKS):
                block = range(first, min(first + _BLOCK_TASKS, tasks))
                file.write(b"".join([task(number) + b"\n" for number in block]))
        partial.replace(path)
    return path


def hollow_tasks(folder: Path, *, tasks: int) -> Path:
    """A file of so many lines, of which only the first one takes room on the disk."""
    path = folder / f"hollow-{tasks}.jsonl"
    with path.open("wb") as file:
        file.write(task(0) + b"\n")
        file.truncate(tasks * LINE_BYTES)
    return path
