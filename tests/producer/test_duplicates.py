"""IDs that come twice: each is found, and named by its place."""

import io
import os
import resource
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from bulksubmit.core.account import Place
from bulksubmit.core.model import Task
from bulksubmit.errors import OutputError
from bulksubmit.producer import open_source
from bulksubmit.producer.duplicates import (
    CHUNK_IDS,
    Duplicate,
    DuplicateCheck,
    Found,
    Lines,
    texts_of,
)
from bulksubmit.producer.source import AnySource, Block

# None stands for an item that is no task.
Ids = Sequence[str | None]


def feed(check: DuplicateCheck, ids: Ids, *, block: int = 800) -> None:
    for first in range(0, len(ids), block):
        part = ids[first : first + block]
        named = [(first + at, task_id) for at, task_id in enumerate(part) if task_id is not None]
        tasks = [Task(ordinal, ordinal + 1, task_id, b"") for ordinal, task_id in named]
        check.add(tasks, first + len(part))


def find(ids: Ids, *, chunk_ids: int, block: int = 800, named_max: int = 1_000) -> Found:
    with closing(DuplicateCheck(chunk_ids=chunk_ids)) as check:
        feed(check, ids, block=block)
        return check.find(named_max=named_max)


def truth(ids: Ids) -> list[Duplicate]:
    """The same by a dictionary."""
    firsts: dict[str, int] = {}
    duplicates = []
    for ordinal, task_id in enumerate(ids):
        if task_id is None:
            continue
        first = firsts.setdefault(task_id.lower(), ordinal)
        if first < ordinal:
            duplicates.append(Duplicate(ordinal, first))
    return duplicates


# --- What is found -----------------------------------------------------------------------------


@given(
    ids=st.lists(st.one_of(st.none(), st.text("abAB-_09", min_size=1, max_size=3)), max_size=80),
    chunk_ids=st.integers(1, 90),
    block=st.integers(1, 30),
    named_max=st.integers(0, 20),
)
def test_exactly_those_are_found(ids: Ids, chunk_ids: int, block: int, named_max: int) -> None:
    """
    However the items are cut, every item that has the ID of an earlier one is counted, whatever
    its case; the first of them are named, with the first item of that ID. Items without an ID
    are like no other.
    """
    duplicates = truth(ids)

    found = find(ids, chunk_ids=chunk_ids, block=block, named_max=named_max)

    assert found == Found(len(duplicates), duplicates[:named_max])


@pytest.mark.parametrize("chunk_ids", [700, CHUNK_IDS])
def test_among_many(chunk_ids: int) -> None:
    """
    So it is with so many that every partition has some in every chunk.
    """
    random = Random(7)
    ids = [f"Task-{random.randrange(40_000)}" for _ in range(20_000)]
    duplicates = truth(ids)

    assert len(duplicates) > 4_000
    found = find(ids, chunk_ids=chunk_ids)
    assert found == Found(len(duplicates), duplicates[:1_000])


def test_half_a_digest_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    IDs are alike only if their whole digests are.
    """

    def alike_by_half(data: bytes) -> bytes:
        return xxh3_64_digest(data) + b"alike..."

    monkeypatch.setattr("bulksubmit.producer.duplicates.xxh3_128_digest", alike_by_half)
    ids = [f"t{n}" for n in range(2_000)]

    assert find(ids, chunk_ids=300) == Found(0, [])
    assert find([*ids, "T5"], chunk_ids=300) == Found(1, [Duplicate(2_000, 5)])


def test_a_file_twice() -> None:
    """
    When all comes a second time, all of that is counted, and its beginning is named.
    """
    ids = [f"t{n}" for n in range(5_000)] * 2

    assert find(ids, chunk_ids=1_000, named_max=3) == Found(
        5_000, [Duplicate(5_000, 0), Duplicate(5_001, 1), Duplicate(5_002, 2)]
    )


def test_one_id_everywhere() -> None:
    """
    The first item of an ID is the other one of each pair.
    """
    found = find(["x"] * 20_000, chunk_ids=3_000, named_max=2_000)

    assert found == Found(19_999, [Duplicate(ordinal, 0) for ordinal in range(1, 2_001)])


def test_the_last_one() -> None:
    """
    One in many is found, be they the two ends.
    """
    ids = [f"t{n}" for n in range(10_000)]

    assert find([*ids, "T0"], chunk_ids=1_000) == Found(1, [Duplicate(10_000, 0)])
    assert find(ids, chunk_ids=1_000) == Found(0, [])


def test_no_items() -> None:
    """
    Nothing is found in nothing.
    """
    assert find([], chunk_ids=10) == Found(0, [])


def test_it_may_be_asked_before_the_end() -> None:
    """
    What is added after a look is found by the next one.
    """
    with closing(DuplicateCheck(chunk_ids=3)) as check:
        ids = ["a", "b", "c", "d", "A"]
        feed(check, ids)
        assert check.find().count == 1

        check.add([Task(5, 6, "b", b"")], 6)

        assert check.find() == Found(2, [Duplicate(4, 0), Duplicate(5, 1)])


# --- The temporary file ------------------------------------------------------------------------


@contextmanager
def file_bytes_max(size: int) -> Iterator[None]:
    """No file of this process gets larger: as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_few_ids_stay_in_memory(tmp_path: Path) -> None:
    """
    As long as there are few, the disk is not touched: the folder need not even be there.
    """
    with closing(DuplicateCheck(tmp_path / "missing", chunk_ids=10)) as check:
        feed(check, ["a", "b", "c", "d", "e", "f", "g", "h", "A"])

        assert check.find().count == 1

    with (
        closing(DuplicateCheck(tmp_path / "missing", chunk_ids=10)) as check,
        pytest.raises(OutputError, match=r"missing.*cannot be written: No such file"),
    ):
        feed(check, ["a"] * 10)


def test_the_file_is_no_longer_there(tmp_path: Path) -> None:
    """
    The file has no name while it is used: however the process ends, the disk is free again.
    """
    with closing(DuplicateCheck(tmp_path, chunk_ids=10)) as check:
        feed(check, ["a"] * 100)

        assert [*tmp_path.iterdir()] == []
        assert os.fstat(check._file.fileno()).st_size == 17 * 100  # noqa: SLF001 - it has no name


def test_a_full_disk(tmp_path: Path) -> None:
    """
    When the disk is full, that is said, with what was not done; and it can be let go of.
    """
    with (
        closing(DuplicateCheck(tmp_path, chunk_ids=1_000)) as check,
        file_bytes_max(20_000),
        pytest.raises(OutputError) as raised,
    ):
        feed(check, [f"t{n}" for n in range(3_000)])

    assert str(raised.value) == (
        f"the list of IDs in {tmp_path}, of 17 bytes a task, cannot be written: File too large; "
        "IDs that come twice were not looked for"
    )
    assert [*tmp_path.iterdir()] == []


def test_close_ends_a_look() -> None:
    """
    A look that is under way when it is closed does not go on in its thread.
    """
    check = DuplicateCheck()
    feed(check, ["a", "b"])
    check.close()

    with pytest.raises(ValueError, match="closed"):
        check.find()


# --- Where they are ----------------------------------------------------------------------------


async def texts(source: AnySource, *, chunk_ids: int = CHUNK_IDS) -> list[tuple[str, str, str]]:
    """All that is said of the duplicates of a source."""
    opened, lines = open_source(source), Lines()
    with closing(opened), closing(DuplicateCheck(chunk_ids=chunk_ids)) as check:

        async def admit(block: Block) -> None:
            check.add([item for item in block.items if item.id], block.after.ordinal)
            lines.add(block.after)

        await opened.read(admit)
        return await texts_of(check.find().named, opened, lines)


def line(task_id: str) -> str:
    return f'{{"id":"{task_id}","commandLine":"true"}}\n'


def many(*ids: str, count: int = 30_000) -> Iterator[str]:
    """Lines of several blocks, the last of them with these IDs."""
    yield from (line(f"t{n}") for n in range(count))
    yield from map(line, ids)


async def test_both_lines_are_named(tmp_path: Path) -> None:
    """
    The text has the ID as the later line spells it, and both lines: blank ones count.
    """
    path = tmp_path / "tasks.jsonl"
    path.write_text(line("a") + "\n\n" + line("b") + line("A") + "[]\n" + line("b"))

    assert await texts(path) == [
        (
            f"{path}:5",
            "A",
            f"id 'A' is also that of {path}:1; IDs must be unique, ignoring case",
        ),
        (
            f"{path}:7",
            "b",
            f"id 'b' is also that of {path}:4; IDs must be unique, ignoring case",
        ),
    ]


async def test_what_is_no_task_is_named_too(tmp_path: Path) -> None:
    """
    An ID that is there twice is told even if one of both is no task for another reason.
    """
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id":"a"}\n{"id":5}\n{}\n{"id":6}\n' + line("a"))

    assert await texts(path) == [
        (f"{path}:5", "a", f"id 'a' is also that of {path}:1; IDs must be unique, ignoring case")
    ]


async def test_only_what_is_near_is_read_again(tmp_path: Path) -> None:
    """
    In files of many blocks, both places are found; the files between them are not read again.
    """
    names = ["a.jsonl", "b.jsonl", "c.jsonl"]
    a, b, c = (tmp_path / name for name in names)
    a.write_text("".join(many("first", count=40_000)))
    b.write_text("".join(line(f"b{n}") for n in range(40_000)))
    c.write_text("\n" + "".join(many("FIRST", count=9)) + line("t8") + line("b39999"))

    found = await texts(tmp_path / "?.jsonl")

    assert [(where, task_id) for where, task_id, _ in found] == [
        *((f"{c}:{n + 2}", f"t{n}") for n in range(9)),
        (f"{c}:11", "FIRST"),
        (f"{c}:12", "t8"),
        (f"{c}:13", "b39999"),
    ]
    assert f"that of {a}:40001;" in found[9][2]
    assert f"that of {a}:9;" in found[10][2]
    assert f"that of {b}:40000;" in found[11][2]


async def test_items_of_an_array(tmp_path: Path) -> None:
    """
    In an array, the number among the file's items is told, and the line.
    """
    tasks = ",\n".join(many("A", "t3", count=20)).replace("t7", "a")
    path = tmp_path / "tasks.json"
    path.write_text(f"[\n{tasks}]")

    assert await texts(path) == [
        (
            f"{path}: item 21 (line 42)",
            "A",
            f"id 'A' is also that of {path}: item 8 (line 16); IDs must be unique, ignoring case",
        ),
        (
            f"{path}: item 22 (line 44)",
            "t3",
            f"id 't3' is also that of {path}: item 4 (line 8); IDs must be unique, ignoring case",
        ),
    ]


async def test_a_pipe_without_blank_lines() -> None:
    """
    What cannot be read again has lines all the same, as long as each line is an item.
    """
    stream = io.BytesIO("".join(many("t29999", "T5")).encode())

    assert await texts(stream) == [
        (
            "stream:30001",
            "",
            "its id is also that of stream:30000; IDs must be unique, ignoring case",
        ),
        ("stream:30002", "", "its id is also that of stream:6; IDs must be unique, ignoring case"),
    ]


async def test_a_pipe_with_blank_lines() -> None:
    """
    Where blank lines make a line uncertain, the item's place among all is told instead.
    """
    later = "".join(many("t29999", "T5"))
    stream = io.BytesIO(("\n" + line("a") + line("A") + later).encode())

    (first, _, first_text), (second, _, second_text), (third, _, third_text) = await texts(stream)

    assert first == "stream: item 2 of the input"
    assert first_text.startswith("its id is also that of stream: item 1 of the input;")
    assert (second, third) == ("stream:30004", "stream:30005")
    assert second_text.startswith("its id is also that of stream:30003;")
    assert third_text.startswith("its id is also that of stream: item 8 of the input;")


async def test_an_iterable() -> None:
    """
    Items of an iterable have their numbers.
    """
    items: Iterable[str] = map(line, ["a", "b", "A"])

    assert await texts(items) == [
        ("item:3", "", "its id is also that of item:1; IDs must be unique, ignoring case")
    ]


def test_notes_stay_few() -> None:
    """
    Of a source whose every block is uneven, a bounded number of notes is kept; what lies beyond
    has no line, and what lies before has its own.
    """
    lines = Lines()
    for n in range(1, 30_001):
        uneven = n % 2
        lines.add(Place(10 * n, 100 * n, 1 + 10 * n + (n + uneven) // 2))

    assert lines.line(5) is None
    assert lines.line(15) == 17
    assert lines.line(299_995) is None
    assert len(lines._runs) <= 10_001  # noqa: SLF001 - that is what this is about
    assert len(lines._places) <= 3  # noqa: SLF001


def test_places_apart() -> None:
    """
    Of 30 GB, some 30,000 places are kept, and the beginning of every file.
    """
    lines = Lines()
    for n in range(1, 120_001):
        lines.add(Place(800 * n, 262_144 * n, 800 * n + 1))
    lines.add(Place(96_000_000, 0, 1, 1))
    lines.add(Place(96_000_000, 0, 1, 2))

    assert len(lines._places) == 30_003  # noqa: SLF001 - that is what this is about
