"""Task files for benchmarks: the same bytes every time, every task of exactly the same size."""

from pathlib import Path

_RESOURCE_FILE = (
    '{"httpUrl":"https://account.blob.core.windows.net/in/data.csv","filePath":"data.csv"}'
)


def make_task(number: int, size_bytes: int) -> bytes:
    """One task as a line of its file, without the line end.

    It has a command, resource files, constraints and environment settings: as many resource
    files as fit, and an environment setting that fills up the rest.

    Args:
        number: 0-based; makes the ID.
        size_bytes: Of the result; at least about 280.
    """
    head = (
        f'{{"id":"task-{number:08}","commandLine":"/bin/bash -c \'process --part {number:08}\'",'
        f'"constraints":{{"maxWallClockTime":"PT1H"}},"resourceFiles":[{_RESOURCE_FILE}'
    )
    tail = '],"environmentSettings":[{"name":"PADDING","value":"'
    end = '"}]}'
    room = size_bytes - len(head) - len(tail) - len(end)
    if room < 0:
        raise ValueError(f"a task has at least {size_bytes - room} bytes, not {size_bytes}")
    files, padding = divmod(room, len(_RESOURCE_FILE) + 1)
    return f"{head}{(',' + _RESOURCE_FILE) * files}{tail}{'x' * padding}{end}".encode()


def task_file(folder: Path, *, tasks: int, task_bytes: int) -> Path:
    """The file of so many tasks of that size; written if it is not there yet."""
    path = folder / f"tasks-{tasks}x{task_bytes}.jsonl"
    if not _is_whole(path, tasks, task_bytes):
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            for number in range(tasks):
                file.write(make_task(number, task_bytes) + b"\n")
        partial.replace(path)
    return path


def _is_whole(path: Path, tasks: int, task_bytes: int) -> bool:
    """Whether the file is as task_file() would write it now: by its size and its first task."""
    if not path.exists() or path.stat().st_size != tasks * (task_bytes + 1):
        return False
    with path.open("rb") as file:
        return file.read(task_bytes) == make_task(0, task_bytes)
