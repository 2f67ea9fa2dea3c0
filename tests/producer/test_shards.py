"""Shards: whatever the cuts, what comes of them together is what comes of the whole source."""

import asyncio
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from bulksubmit.core.account import Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.shard import Shard, Unit, number_of, place_of
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import lines as lines_module
from bulksubmit.producer import open_source, opening
from bulksubmit.producer import plan as planning
from bulksubmit.producer.opening import OpenFile
from bulksubmit.producer.plan import plan
from bulksubmit.producer.shards import ShardedSource, count_lines, open_shard
from bulksubmit.producer.source import Block, Done
from bulksubmit.producer.spec import SourceSpec, fingerprint
from tests.producer.reading import BOM, Items, line, parse, read

TEMPLATE = '{"id": "t{i}", "commandLine": "true"}'
TASKS = b"".join(line(f"t{number}") + b"\n" for number in range(100))
CHECKER = Checker(allow_unknown=True)


def spec_of(*paths: Path | str, template: str | None = None) -> SourceSpec:
    return SourceSpec(files=tuple(map(str, paths)), template=template).expanded()


def of_bytes(bounds: Sequence[int]) -> list[Shard]:
    """Shards of one file of lines."""
    return [
        Shard(number, 0, Unit.BYTES, begin, end, end - begin, None if begin else 1)
        for number, (begin, end) in enumerate(pairwise(bounds))
    ]


def in_order(items: Items) -> list[Task | Invalid]:
    return sorted([*items.tasks, *items.invalid], key=lambda item: item.ordinal)


def alike(item: Task | Invalid) -> object:
    """What is the same of an item, whatever its number and line."""
    return item.id, item.body, getattr(item, "problems", None)


async def check_together(spec: SourceSpec, shards: Sequence[Shard], whole: Items) -> None:
    """
    One after the other the shards hold the items of the whole, by their own ordinals and lines;
    so does the source of all of them, by those of a journal and of the whole.
    """
    expected, sharded = in_order(whole), ShardedSource(spec, shards, CHECKER)
    together = await read(sharded)
    again = iter(in_order(together))
    assert len(expected) == len(together.tasks) + len(together.invalid)
    at = 0
    for shard in shards:
        source = open_shard(spec, shard, CHECKER)
        items = await read(source)
        before = 0 if shard.line else None
        for ordinal, item in enumerate(in_order(items)):
            true, other = expected[at], next(again)
            at += 1
            before = true.line - item.line if before is None else before
            assert (item.ordinal, item.line + before) == (ordinal, true.line)
            assert (other.ordinal, other.line) == (shard.base + ordinal, true.line)
            assert alike(item) == alike(other) == alike(true)
            where = sharded.where(other.ordinal, true.line)
            if shard.line is None:  # Nobody knows how many lines are before it.
                where = f"{sharded.file_of(other.ordinal)}, line 7 from byte {shard.begin:,}"
            line = true.line if shard.line else 7
            assert source.where(item.ordinal, line) == where
            assert source.file_of(item.ordinal) == sharded.file_of(other.ordinal)
        assert source.bytes_read == (source.bytes_total or 0) == shard.bytes
        assert {place.file for place in items.places} <= {shard.file}
    assert at == len(expected)
    assert sharded.bytes_read == (sharded.bytes_total or 0) == sum(s.bytes for s in shards)


async def check_resumed(spec: SourceSpec, shard: Shard, left: set[int], known: int) -> None:
    """What is left of a shard comes again, and nothing else."""
    items = await read(open_shard(spec, shard, CHECKER))
    count = items.places[-1].ordinal if items.places else 0
    settled = Bitmap()
    for ordinal in {*range(count)} - left:
        settled.add(ordinal)

    again = await read(open_shard(spec, shard, CHECKER), Done(settled, items.places[:known]))

    assert in_order(again) == [item for item in in_order(items) if item.ordinal in left]
    assert again.places[-1:] == items.places[-1:]


# --- Bytes -------------------------------------------------------------------------------------

LINES = [
    *(b"", b" ", b"\r", BOM, b"\xff", b"[1]", b"{", b"{}"),
    *(line("a"), line("b") + b"\r", b" " + line("c"), line("d", f',"x":"{"x" * 90}"')),
    *(BOM + line("e"), b" " * 150, b" " * 150 + line("f"), b"x" * 150),
]


@dataclass(frozen=True)
class _Cut:
    """A file of lines, in shards.

    Attributes:
        data: The file.
        shards: All of it.
    """

    data: bytes
    shards: list[Shard]


@st.composite
def cut_files(draw: st.DrawFn) -> _Cut:
    data = b"\n".join(draw(st.lists(st.sampled_from(LINES), min_size=1, max_size=12)))
    data = BOM * draw(st.booleans()) + data + b"\n" * draw(st.booleans())
    line_begins = [at + 1 for at, byte in enumerate(data[:-1]) if byte == ord("\n")]
    cuts = draw(st.sets(st.sampled_from(line_begins))) if line_begins else set()
    return _Cut(data, of_bytes([0, *sorted(cuts), len(data)]) if data else [])


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file for one example after the other."""
    return tmp_path_factory.mktemp("shards") / "tasks.jsonl"


@pytest.fixture(scope="module")
def _small() -> Iterator[None]:
    """Blocks of 64 bytes, and lines that are too long from 120 on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "BLOCK_BYTES", 64)
        patch.setattr(lines_module, "ITEM_BYTES_MAX", 120)
        patch.setattr(lines_module, "SHOWN_BYTES", 10)
        yield


@pytest.mark.usefixtures("_small")
@given(cut=cut_files())
def test_wherever_a_file_is_cut(scratch: Path, cut: _Cut) -> None:
    """
    Blank lines, CR LF, a last line without an end, lines that are no tasks or too long, a BOM at
    the beginning or elsewhere: each is in a shard what it is in the whole file, and at its line.
    """
    scratch.write_bytes(cut.data)
    parser = lines_module.LineParser(str(scratch), at=Place(0, 0, 1), checker=CHECKER)
    whole = parse(parser, cut.data)
    spec = spec_of(scratch)

    if in_order(whole):
        asyncio.run(check_together(spec, cut.shards, whole))
    for shard in cut.shards:
        assert count_lines(spec, shard) == cut.data[shard.begin : shard.end].count(b"\n")


@pytest.mark.usefixtures("_small")
@given(
    cut=cut_files().filter(lambda cut: cut.shards),
    which=st.integers(0, 11),
    left=st.sets(st.integers(0, 11)),
    known=st.integers(0, 12),
)
def test_what_is_left_of_a_shard(
    scratch: Path, cut: _Cut, which: int, left: set[int], known: int
) -> None:
    """However far the places reach that are known of it."""
    scratch.write_bytes(cut.data)
    shard = cut.shards[which % len(cut.shards)]

    asyncio.run(check_resumed(spec_of(scratch), shard, left, known))


async def test_what_is_done_of_a_shard_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resume of a shard goes on from the last place that is known, behind a first block."""
    monkeypatch.setattr(opening, "BLOCK_BYTES", 1024)
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(TASKS)
    (_, shard, _) = plan(spec_of(path), workers=1, shard_bytes=-(-len(TASKS) // 3))
    items = await read(open_shard(spec_of(path), shard, CHECKER))
    settled = Bitmap()
    settled.add_range(0, len(items.tasks))
    ranges: list[tuple[int, int]] = []

    def read_at(self: OpenFile, offset: int, length: int) -> bytes:
        ranges.append((offset, length))
        return original(self, offset, length)

    original = OpenFile.read_at
    monkeypatch.setattr(OpenFile, "read_at", read_at)
    again = await read(open_shard(spec_of(path), shard, CHECKER), Done(settled, items.places))

    assert again.tasks == []
    assert again.places[-1] == Place(len(items.tasks), shard.end, len(items.tasks) + 1)
    assert ranges == [(shard.begin, 1024)]


async def test_a_shard_is_copied_as_it_is(tmp_path: Path) -> None:
    """Bytes as bytes, and the whole source as the files are."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(TASKS)
    shards = plan(spec_of(path), workers=1, shard_bytes=len(TASKS) // 2)
    part, whole = io.BytesIO(), io.BytesIO()

    await open_shard(spec_of(path), shards[1], CHECKER).copy(part)
    await ShardedSource(spec_of(path), shards, CHECKER).copy(whole)

    assert part.getvalue() == TASKS[shards[1].begin : shards[1].end]
    assert whole.getvalue() == TASKS


# --- Other forms -------------------------------------------------------------------------------


async def test_rows(tmp_path: Path) -> None:
    """A row has its number in the file, wherever the file was cut; what is left comes again."""
    path, columns = tmp_path / "1.parquet", {"i": [*range(20), None, *range(21, 35)]}
    parquet.write_table(pa.table(columns), path, row_group_size=10)
    spec = spec_of(path, template=TEMPLATE)
    shards = plan(spec, workers=1, shard_bytes=path.stat().st_size // 3)
    assert [shard.unit for shard in shards] == [Unit.GROUPS] * 2

    await check_together(spec, shards, await read(spec))
    for known in range(3):
        await check_resumed(spec, shards[1], {3, 13}, known)
    source, items, far = open_shard(spec, shards[1], CHECKER), Items(), list[int]()

    async def admit(block: Block) -> None:
        items.add(block)
        far.append(source.bytes_read)

    await source.read(admit)
    assert far[0] == 0
    assert far == sorted(far)
    assert far[-1] in {shards[1].bytes - 1, shards[1].bytes}
    assert source.where(0, items.invalid[0].line) == f"{path}: row 21"
    assert items.places[-1] == Place(15, 35, 36)
    bodies = io.BytesIO()
    await open_shard(spec, shards[1], CHECKER).copy(bodies)
    assert bodies.getvalue().splitlines() == [item.body for item in in_order(items)]


async def test_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task has its number in the sweep, and its values are told."""
    monkeypatch.setattr(planning, "SHARD_TASKS_MAX", 30)
    spec = SourceSpec(sweeps=("i=1..70", "mode=fast,slow"), template='{"commandLine": "true"}')
    shards = plan(spec, workers=1)
    assert len(shards) == 5

    await check_together(spec, shards, await read(spec))
    await check_resumed(spec, shards[1], {0, 29}, known=1)
    source = open_shard(spec, shards[1], CHECKER)
    items = await read(source)
    assert items.tasks[1].line == 32
    assert source.where(1, 32) == "sweep: task 32 (i=16, mode=slow)"
    assert items.places[-1] == Place(30, 60, 61)


async def test_several_files(tmp_path: Path) -> None:
    """Places have the file's number; a file of another form is read whole, an empty one is fine."""
    for name, data in {
        "1.jsonl": b"\n" + TASKS,
        "2.json": b"[\n" + line("a") + b",\n" + line("b") + b"]",
        "3.json": b"[]",
        "4.json": b'{\n"id": "c",\n"commandLine": "true"\n}',
        "5.jsonl": b"",
        "6.jsonl": b"\n",
        "7.jsonl": TASKS,
    }.items():
        (tmp_path / name).write_bytes(data)
    spec = spec_of(tmp_path / "*")
    shards = plan(spec, workers=1, shard_bytes=-(-len(TASKS) // 3))
    assert [shard.file for shard in shards] == [0, 0, 0, 0, 1, 2, 3, 5, 6, 6, 6]

    await check_together(spec, shards, await read(spec))
    await check_resumed(spec, shards[4], {1}, known=2)


async def test_a_source_without_a_task(tmp_path: Path) -> None:
    """A shard may hold none; if none does, that is told as of the source in one piece."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"\n\n")
    shards = of_bytes([0, 1, 2])

    assert in_order(await read(open_shard(spec_of(path), shards[1], CHECKER))) == []
    with pytest.raises(SourceError, match=r"tasks.jsonl: holds no task"):
        await read(ShardedSource(spec_of(path), shards, CHECKER))


# --- All of them -------------------------------------------------------------------------------


async def test_the_rest_of_a_source(tmp_path: Path) -> None:
    """
    By ordinals of a journal, and the source's own places; lines are right all the same, counted
    or told.
    """
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"\n".join(line(f"t{number}") + b"\n" for number in range(100)))
    shards = plan(spec_of(path), workers=1, shard_bytes=path.stat().st_size // 3)
    items = await read(ShardedSource(spec_of(path), shards, CHECKER))
    left = {task.ordinal for task in items.tasks if place_of(task.ordinal) in {0, 7, 30}}
    settled = Bitmap()
    for task in items.tasks:
        if task.ordinal not in left:
            settled.add(task.ordinal)

    for places in ([], items.places[:1], items.places):
        again = await read(ShardedSource(spec_of(path), shards, CHECKER), Done(settled, places))
        assert again.tasks == [task for task in items.tasks if task.ordinal in left]
    lines = {shard.number: 1_000 * shard.number for shard in shards[1:]}
    told = await read(ShardedSource(spec_of(path), shards, CHECKER, lines=lines))
    assert all(task.line // 1_000 == number_of(task.ordinal) for task in told.tasks)


# --- The file itself ---------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


async def test_a_file_at_a_url(memory: Any) -> None:
    """It is planned, counted, read and resumed as one on disk."""
    memory.pipe("/container/tasks.jsonl", b"\n" + TASKS)
    spec = spec_of("memory://container/tasks.jsonl")
    shards = plan(spec, workers=1, shard_bytes=len(TASKS) // 2)
    assert len(shards) == 3

    await check_together(spec, shards, await read(spec))
    assert sum(count_lines(spec, shard) for shard in shards) == 101
    await check_resumed(spec, shards[1], {0, 9}, known=1)
    with pytest.raises(SourceError, match="no such file"):
        plan(spec_of("memory://container/none.jsonl"), workers=1)


async def test_a_file_that_is_another_one(tmp_path: Path) -> None:
    """It is told before anything of it is read, in the words of a resume."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(TASKS)
    (shard,) = plan(spec_of(path), workers=1)
    spec, expected = spec_of(path), fingerprint(str(path))

    assert len((await read(open_shard(spec, shard, CHECKER, expected=expected))).tasks) == 100
    os.utime(path, ns=(1, 1))
    with pytest.raises(SourceError, match=r"tasks.jsonl: was written to since"):
        open_shard(spec, shard, CHECKER, expected=expected)
    with pytest.raises(SourceError, match="has other bytes"):
        open_shard(spec, shard, CHECKER, expected=replace(fingerprint(str(path)), digest=""))
    path.write_bytes(TASKS[:-1])
    with pytest.raises(SourceError, match=f"had {len(TASKS):,} bytes and has"):
        open_shard(spec, shard, CHECKER, expected=expected)


async def test_a_file_that_is_shorter_than_its_shard(tmp_path: Path) -> None:
    """Its tasks are missing; that is no end of a shard."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(TASKS)
    shard = of_bytes([0, len(TASKS) + 1])[0]

    with pytest.raises(SourceError, match=f"ends at byte {len(TASKS):,}"):
        await read(open_shard(spec_of(path), shard, CHECKER))
    with pytest.raises(SourceError, match=f"ends at byte {len(TASKS):,}"):
        count_lines(spec_of(path), shard)


async def test_a_file_that_changes_while_a_shard_is_read(tmp_path: Path) -> None:
    """Also behind the shard: it was to be one file for all."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(TASKS)
    (shard, *_) = plan(spec_of(path), workers=1, shard_bytes=len(TASKS) // 2)
    source = open_shard(spec_of(path), shard, CHECKER)

    async def admit(_: object) -> None:
        path.write_bytes(TASKS + TASKS)

    with pytest.raises(SourceError, match="was changed while it was read"):
        await source.read(admit)


def test_open_source_and_shards_name_a_sweep_alike() -> None:
    """By the same words, whether it is read in one piece or in shards."""
    spec = SourceSpec(sweeps=("i=1..3",), template='{"commandLine": "true"}')
    (shard,) = plan(spec, workers=1)

    assert open_shard(spec, shard, CHECKER).where(1, 2) == open_source(spec).where(1, 2)
    assert ShardedSource(spec, [shard], CHECKER).name == open_source(spec).name
