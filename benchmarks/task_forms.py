"""Writes the same tasks in one of the forms that ``submit`` reads, and says how to name it.

A process of its own for each form: see ``forms``. It holds a few tasks at a time, and of a
Parquet file all rows.
"""

import csv
import gzip
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from benchmarks.task_file import make_task

TASK_BYTES = 300
_PARTS = 8
_AT_ONCE = 1_000  # Tasks that are held while they are written.
# What the rows have, and the place of each in a task; the rest of it is the template's.
_NUMBER = f"{0:08}"
_COLUMNS = {
    "n": _NUMBER,
    "url": "https://account.blob.core.windows.net/in/data.csv",
    "limit": "PT1H",
}


def bodies(tasks: int, first: int = 0) -> Iterator[bytes]:
    """The tasks, without line ends."""
    return (make_task(number, TASK_BYTES) for number in range(first, tasks))


def lines(tasks: int) -> Iterator[bytes]:
    """NDJSON."""
    return (body + b"\n" for body in bodies(tasks))


def array(tasks: int) -> Iterator[bytes]:
    """A JSON array without any white space."""
    yield b"["
    yield from _with_commas(bodies(tasks), b",")
    yield b"]"


def pretty(tasks: int) -> Iterator[bytes]:
    """``{"value": [...]}`` as a person or an editor has it: two spaces a level."""
    spread = (
        orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2) for body in bodies(tasks)
    )
    yield b'{\n  "value": [\n    '
    yield from _with_commas((text.replace(b"\n", b"\n    ") for text in spread), b",\n    ")
    yield b"\n  ]\n}\n"


def rejects(tasks: int) -> Iterator[bytes]:
    """Rows as a run writes them of tasks that were rejected."""
    for number, body in enumerate(bodies(tasks)):
        row = {
            "source": "/data/tasks.jsonl",
            "line": number + 1,
            "task_id": f"task-{number:08}",
            "code": "InvalidPropertyValue",
            "message": "The value provided for one of the properties is invalid.",
            "values": {"PropertyName": "requiredSlots", "PropertyValue": "0"},
            "request_id": "5a0f9c3c-5b1c-4a6e-9f4e-0d3a3c6f4e10",
            "client_request_id": "7b8d2a86-6f0e-4d3b-8d1a-9d9d0b0b3c55",
            "attempts": 1,
            "in_doubt": False,
            "task": orjson.Fragment(body),
        }
        yield orjson.dumps(row) + b"\n"


def _with_commas(texts: Iterable[bytes], comma: bytes) -> Iterator[bytes]:
    before = b""
    for text in texts:
        yield before + text
        before = comma


class _Sink(Protocol):
    """Where bytes go: a file, or what compresses for it."""

    def write(self, data: bytes, /) -> int:
        """Take some bytes."""


Write = Callable[[Path, int], list[str]]  # Into a folder, so many; gives submit's arguments.


def _plain(name: str, content: Callable[[int], Iterator[bytes]], *, url: bool = False) -> Write:
    def write(folder: Path, tasks: int) -> list[str]:
        path = folder / name
        with path.open("wb") as file:
            _fill(file, content(tasks))
        return [f"file://{path}" if url else str(path)]

    return write


def _gzip(name: str, content: Callable[[int], Iterator[bytes]]) -> Write:
    def write(folder: Path, tasks: int) -> list[str]:
        path = folder / name
        with gzip.open(path, "wb", compresslevel=1) as file:
            _fill(file, content(tasks))
        return [str(path)]

    return write


def _zstd(name: str, content: Callable[[int], Iterator[bytes]]) -> Write:
    def write(folder: Path, tasks: int) -> list[str]:
        path = folder / name
        with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file) as packed:
            _fill(packed, content(tasks))
        return [str(path)]

    return write


def _fill(file: _Sink, pieces: Iterator[bytes]) -> None:
    while some := b"".join(islice(pieces, _AT_ONCE)):
        file.write(some)


def _parts(folder: Path, tasks: int) -> list[str]:
    """Several files, of which a pattern finds all in order."""
    for part in range(_PARTS):
        with (folder / f"part-{part}.jsonl").open("wb") as file:
            some = bodies(tasks * (part + 1) // _PARTS, tasks * part // _PARTS)
            _fill(file, (body + b"\n" for body in some))
    return [str(folder / "part-*.jsonl")]


def _csv(folder: Path, tasks: int) -> list[str]:
    path = folder / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        same = [*_COLUMNS.values()][1:]
        writer.writerows([f"{number:08}", *same] for number in range(tasks))
    return [str(path), "--template", _template(folder)]


def _parquet(folder: Path, tasks: int) -> list[str]:
    """With row groups as pyarrow makes them, up to 1,048,576 rows: hardly more than one."""
    path = folder / "rows.parquet"
    same = [*_COLUMNS.values()][1:]
    columns = [pa.array([f"{number:08}" for number in range(tasks)])]
    columns += [pa.array([value] * tasks) for value in same]
    pq.write_table(pa.table(columns, names=[*_COLUMNS]), path)
    return [str(path), "--template", _template(folder)]


def _template(folder: Path) -> str:
    text = make_task(0, TASK_BYTES).decode()
    for name, value in _COLUMNS.items():
        text = text.replace(value, f"{{{name}}}")
    path = folder / "task.json"
    path.write_text(text)
    return str(path)


def _sweep(folder: Path, tasks: int) -> list[str]:
    path = folder / "sweep.toml"
    task = json.loads(make_task(0, TASK_BYTES).decode().replace(_NUMBER, "{n}"))
    members = "\n".join(f"{name} = {_toml(value)}" for name, value in task.items())
    path.write_text(f'[sweep]\nn = "{_NUMBER}..{tasks - 1:08}"\n\n[task]\n{members}\n')
    return [str(path)]


def _toml(value: object) -> str:
    match value:
        case dict():
            members = (f"{name} = {_toml(inner)}" for name, inner in value.items())
            return f"{{ {', '.join(members)} }}"
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return json.dumps(value)


FORMS: dict[str, Write] = {
    "lines": _plain("tasks.jsonl", lines),
    "array": _plain("array.json", array),
    "pretty": _plain("value.json", pretty),
    "rejects": _plain("rejects.ndjson", rejects),
    "lines.gz": _gzip("tasks.jsonl.gz", lines),
    "array.gz": _gzip("array.json.gz", array),
    "pretty.zst": _zstd("value.json.zst", pretty),
    "csv": _csv,
    "parquet": _parquet,
    "sweep": _sweep,
    "parts": _parts,
    "remote": _plain("tasks.jsonl", lines, url=True),
}


def main() -> None:
    """Write one form of so many tasks into a folder; print submit's arguments as JSON."""
    form, folder, tasks = sys.argv[1:]
    print(json.dumps(FORMS[form](Path(folder), int(tasks))))


if __name__ == "__main__":
    main()
