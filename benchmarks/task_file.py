"""Task files for benchmarks: the same bytes every time, every task of exactly the same size."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# What every ID is made of; the text with the quote before it occurs nowhere else in a task.
ID_START = "task-"
ID_DIGITS = 8

SMALL_BYTES, MEDIUM_BYTES, RICH_BYTES = 76, 300, 1200

_RESOURCE_FILE = (
    '{"httpUrl":"https://account.blob.core.windows.net/in/data.csv","filePath":"data.csv"}'
)
_RICH_FILES = ("model.bin", "part.parquet")
_RICH_VARIABLES = {
    "OMP_NUM_THREADS": "4",
    "MODEL": "/mnt/in/model.bin",
    "RUN": "2026-11-28T18-00",
    "REGION": "westeurope",
    "STAGE": "production",
    "LOG_LEVEL": "info",
    "TZ": "UTC",
    "CACHE": "/mnt/cache",
    "SEED": "20261128",
    "LIMIT": "1000",
}


def make_small(number: int) -> bytes:
    """One task of 76 bytes as a line of its file, without the line end: an ID and a command."""
    name = f"{number:0{ID_DIGITS}}"
    command = f"/bin/sh -c './process {name} --dry'"
    return f'{{"id":"{ID_START}{name}","commandLine":"{command}"}}'.encode()


def make_task(number: int, size_bytes: int) -> bytes:
    """One task as a line of its file, without the line end.

    It has a command, resource files, constraints and environment settings: as many resource
    files as fit, and an environment setting that fills up the rest.

    Args:
        number: 0-based; makes the ID.
        size_bytes: Of the result; at least about 280.
    """
    head = (
        f'{{"id":"{ID_START}{number:08}",'
        f'"commandLine":"/bin/bash -c \'process --part {number:08}\'",'
        f'"constraints":{{"maxWallClockTime":"PT1H"}},"resourceFiles":[{_RESOURCE_FILE}'
    )
    tail = '],"environmentSettings":[{"name":"PADDING","value":"'
    end = '"}]}'
    room = size_bytes - len(head) - len(tail) - len(end)
    if room < 0:
        raise ValueError(f"a task has at least {size_bytes - room} bytes, not {size_bytes}")
    files, padding = divmod(room, len(_RESOURCE_FILE) + 1)
    return f"{head}{(',' + _RESOURCE_FILE) * files}{tail}{'x' * padding}{end}".encode()


def make_rich(number: int) -> bytes:
    """One task of 1,200 bytes as a line of its file, without the line end.

    It has a command, a user, constraints, two files and eleven environment settings.
    """
    name = f"{number:0{ID_DIGITS}}"
    place = f"https://account.blob.core.windows.net/in/{name}"
    files = ",".join(
        f'{{"httpUrl":"{place}/{file}","filePath":"{file}","fileMode":"0644"}}'
        for file in _RICH_FILES
    )
    head = (
        f'{{"id":"{ID_START}{name}","displayName":"part {name}",'
        f'"commandLine":"/bin/bash -c \'process --part {name} --in model.bin\'",'
        f'"resourceFiles":[{files}],'
        f'"userIdentity":{{"autoUser":{{"scope":"pool","elevationLevel":"nonadmin"}}}},'
        f'"constraints":{{"maxWallClockTime":"PT1H","retentionTime":"P1D","maxTaskRetryCount":2}},'
        f'"requiredSlots":1,"environmentSettings":['
    )
    variables = ",".join(
        f'{{"name":"{variable}","value":"{value}"}}' for variable, value in _RICH_VARIABLES.items()
    )
    tail = ',{"name":"NOTE","value":"'
    end = '"}]}'
    padding = RICH_BYTES - len(head) - len(variables) - len(tail) - len(end)
    return f"{head}{variables}{tail}{'x' * padding}{end}".encode()


def task_file(folder: Path, *, tasks: int, task_bytes: int) -> Path:
    """The file of so many tasks of that size; written if it is not there yet.

    Tasks of 76 bytes are those of make_small(), of 1,200 bytes those of make_rich(), of any
    other size those of make_task().
    """
    makers: dict[int, Callable[[int], bytes]] = {SMALL_BYTES: make_small, RICH_BYTES: make_rich}
    make = makers.get(task_bytes) or partial(make_task, size_bytes=task_bytes)
    path = folder / f"tasks-{tasks}x{task_bytes}.jsonl"
    if not _is_whole(path, tasks, make(0)):
        partial_path = path.with_suffix(".partial")
        with partial_path.open("wb") as file:
            for number in range(tasks):
                file.write(make(number) + b"\n")
        partial_path.replace(path)
    return path


def _is_whole(path: Path, tasks: int, first: bytes) -> bool:
    """Whether the file is as task_file() would write it now: by its size and its first task."""
    if not path.exists() or path.stat().st_size != tasks * (len(first) + 1):
        return False
    with path.open("rb") as file:
        return file.read(len(first)) == first
