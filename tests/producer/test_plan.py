"""Where a source is cut: at line ends and between row groups; and what is not cut."""

import gzip
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from bulksubmit.core.shard import Shard, Unit
from bulksubmit.errors import SourceError
from bulksubmit.producer import plan as planning
from bulksubmit.producer.opening import OpenFile
from bulksubmit.producer.plan import plan
from bulksubmit.producer.spec import SourceSpec
from tests.producer.reading import BOM, line

TEMPLATE = '{"id": "t{i}", "commandLine": "true"}'
TASKS = b"".join(line(f"t{number}") + b"\n" for number in range(100))


def spec_of(*paths: Path, template: str | None = None) -> SourceSpec:
    return SourceSpec(files=tuple(map(str, paths)), template=template).expanded()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for one example after the other."""
    return tmp_path_factory.mktemp("plan") / "tasks.jsonl"


@given(
    lines=st.lists(st.sampled_from([b"", b"\r", b"{}", line("a"), line("b") * 3]), min_size=1),
    last_line_end=st.booleans(),
    shard_bytes=st.integers(1, 300),
    window_bytes=st.integers(1, 50),
)
def test_lines_are_cut_at_the_first_line_end_behind_equal_parts(
    scratch: Path,
    lines: list[bytes],
    last_line_end: bool,  # noqa: FBT001 - hypothesis's
    shard_bytes: int,
    window_bytes: int,
) -> None:
    """
    Shards follow each other from the file's first byte to its last. Each begins at the first
    beginning of a line at or behind its share, however long lines are, and is not empty.
    """
    data = b"{}\n" + b"\n".join(lines) + b"\n" * last_line_end
    count = -(-len(data) // shard_bytes)
    wanted = {
        data.find(b"\n", len(data) * number // count - 1) + 1 or len(data)
        for number in range(1, count)
    }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "_WINDOW_BYTES", window_bytes)
        patch.setattr(planning, "_LONG_WINDOW_BYTES", 2 * window_bytes)
        shards = plan(spec_of(write(scratch, data)), workers=1, shard_bytes=shard_bytes)

    bounds = [0, *sorted(wanted - {len(data)}), len(data)]
    assert shards == [
        Shard(number, 0, Unit.BYTES, begin, end, end - begin, None if begin else 1)
        for number, (begin, end) in enumerate(pairwise(bounds))
    ]


@pytest.mark.parametrize(
    ("total", "workers", "shards"),
    [(1, 4, 1), (3, 4, 1), (16, 4, 4), (64, 4, 16), (6_400, 4, 25), (102_400, 4, 400)],
)
def test_each_worker_has_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, total: int, workers: int, shards: int
) -> None:
    """
    Four each, of which none is smaller than the least size or larger than the greatest: here 4
    and 256 tasks, for MiB.
    """
    task = line("t") + b"\n"
    monkeypatch.setattr(planning, "SHARD_BYTES_MIN", 4 * len(task))
    monkeypatch.setattr(planning, "SHARD_BYTES_MAX", 256 * len(task))
    path = write(tmp_path / "tasks.jsonl", task * total)

    assert len(plan(spec_of(path), workers=workers)) == shards


def test_a_large_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But its first block, and a window a cut."""
    path = write(tmp_path / "tasks.jsonl", TASKS * 1_000)
    read: list[int] = []

    def read_at(self: OpenFile, offset: int, length: int) -> bytes:
        read.append(length)
        return original(self, offset, length)

    original = OpenFile.read_at
    monkeypatch.setattr(OpenFile, "read_at", read_at)
    shards = plan(spec_of(path), workers=1, shard_bytes=path.stat().st_size // 4)

    assert len(shards) in {4, 5}
    assert read == [256 * 1024, *[16 * 1024] * (len(shards) - 1)]


def test_each_form_of_file(tmp_path: Path) -> None:
    """
    Lines are cut, but nothing that can only be read from its beginning; files without a byte are
    left out, and keep their number.
    """
    files = {
        "1.jsonl": TASKS,
        "2.jsonl": b"",
        "3.jsonl": b"\n",
        "4.json": b"[" + line("a") + b"]",
        "5.json": b'{\n"id": "a",\n"commandLine": "true"\n}\n',
        "6.jsonl.gz": gzip.compress(TASKS),
        "7.jsonl": BOM + line("a"),
    }
    spec = spec_of(*(write(tmp_path / name, data) for name, data in files.items()))
    sizes = [len(data) for data in files.values()]

    shards = plan(spec, workers=1, shard_bytes=len(TASKS) // 2)

    middle = shards[0].end
    rest = {2: Unit.BYTES, 3: Unit.WHOLE, 4: Unit.WHOLE, 5: Unit.WHOLE, 6: Unit.BYTES}
    assert shards == [
        Shard(0, 0, Unit.BYTES, 0, middle, middle, 1),
        Shard(1, 0, Unit.BYTES, middle, sizes[0], sizes[0] - middle, None),
        *(
            Shard(number, file, unit, 0, sizes[file], sizes[file], 1)
            for number, (file, unit) in enumerate(rest.items(), start=2)
        ),
    ]


def test_rows(tmp_path: Path) -> None:
    """
    Row groups stay whole, and come together until they are large enough; their lines are rows.
    CSV is not cut.
    """
    path = tmp_path / "1.parquet"
    parquet.write_table(pa.table({"i": [*range(35)]}), path, row_group_size=10)
    other = write(tmp_path / "2.csv", b"i\n1\n2\n")
    empty = tmp_path / "3.parquet"
    parquet.write_table(pa.table({"i": pa.array([], pa.int64())}), empty)
    size = path.stat().st_size

    spec = spec_of(path, other, empty, template=TEMPLATE)
    shards = plan(spec, workers=1, shard_bytes=size * 15 // 35)

    cut = [(shard.begin, shard.end, shard.line) for shard in shards if not shard.file]
    assert cut == [(0, 2, 1), (2, 4, 21)]
    assert {shard.unit for shard in shards if not shard.file} == {Unit.GROUPS}
    assert sum(shard.bytes for shard in shards if not shard.file) == size
    assert shards[2:] == [Shard(2, 1, Unit.WHOLE, 0, 6, 6, 1)]


def test_sweeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of tasks, between two bounds, unless that gives each worker four."""
    monkeypatch.setattr(planning, "SHARD_TASKS_MIN", 10)
    monkeypatch.setattr(planning, "SHARD_TASKS_MAX", 100)

    def cut(count: int, workers: int = 1) -> list[tuple[int, int]]:
        spec = SourceSpec(sweeps=(f"i=1..{count}",), template=TEMPLATE)
        shards = plan(spec, workers=workers)
        assert all(shard.line == shard.begin + 1 for shard in shards)
        assert [shard.number for shard in shards] == [*range(len(shards))]
        return [(shard.begin, shard.end) for shard in shards]

    assert cut(9) == [(0, 9)]
    assert cut(79) == [(0, 20), (20, 40), (40, 60), (60, 79)]
    assert cut(25, workers=8) == [(0, 10), (10, 20), (20, 25)]
    assert cut(1_000) == [(first, first + 100) for first in range(0, 1_000, 100)]


@pytest.mark.parametrize(
    ("name", "data", "template", "reason"),
    [
        ("1.jsonl", None, None, "No such file"),
        ("1.jsonl", line("a").decode().encode("utf-16"), None, "is UTF-16"),
        ("1.csv", b"i\n1\n", None, "is CSV: give a task by --template"),
        ("1.parquet", b"PAR1", None, "is Parquet: give a task by --template"),
        ("1.jsonl", line("a"), TEMPLATE, "is JSON, and a template takes rows"),
        ("1.csv", b"x\n1\n", TEMPLATE, "is no column of"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, name: str, data: bytes | None, template: str | None, reason: str
) -> None:
    """It is told before anything is sent, by the file's name."""
    path, good = tmp_path / name, write(tmp_path / "0", b"")
    if data is not None:
        write(path, data)

    with pytest.raises(SourceError, match=reason) as raised:
        plan(spec_of(good, path, template=template), workers=2)

    assert raised.value.path in {str(path), "template"}
