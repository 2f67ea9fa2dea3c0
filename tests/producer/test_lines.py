"""NDJSON: what is a task, what is not, and where."""

import os
import threading
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Kind, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.lines import ITEM_BYTES_MAX, LineParser
from bulksubmit.producer.opening import BLOCK_BYTES
from bulksubmit.producer.source import AnySource, Block
from tests.producer.reading import BOM, Items, line, read
from tests.producer.reading import parse as parse_with


def make_parser() -> LineParser:
    return LineParser("tasks.jsonl", at=BEGINNING, checker=Checker(allow_unknown=True))


def parse(*pieces: bytes) -> list[Task]:
    """All tasks of these bytes; none of them is invalid."""
    items = parse_with(make_parser(), *pieces)
    assert not items.invalid
    return items.tasks


def problems(data: bytes) -> list[tuple[int, str]]:
    return parse_with(make_parser(), data).problems


# --- What is a task ----------------------------------------------------------------------------


def test_a_task_a_line() -> None:
    """Each line is a task: its bytes stay as they are, ordinals count from 0, lines from 1."""
    body = b'{ "commandLine" : "\\u0061" , "id":"A-1_b", "x": [1.50, 1e3] }'

    assert parse(line("a") + b"\n" + body + b"\n") == [
        Task(0, 1, "a", line("a")),
        Task(1, 2, "A-1_b", body),
    ]


@pytest.mark.parametrize(
    "data",
    [
        line("a") + b"\r\n" + line("b") + b"\r\n",
        line("a") + b"\n" + line("b"),
        BOM + line("a") + b"\n" + line("b") + b"\n",
        b"  " + line("a") + b" \t\n\t" + line("b") + b" \r\n",
    ],
    ids=["CR LF", "no last line end", "byte order mark", "white space around"],
)
def test_what_is_around_a_task(data: bytes) -> None:
    """Line ends, white space around a line, and a BOM at the start are no part of tasks."""
    assert parse(data) == [Task(0, 1, "a", line("a")), Task(1, 2, "b", line("b"))]


def test_blank_lines_count_but_are_no_tasks() -> None:
    """A blank line has a number, as an editor shows it, and no ordinal."""
    tasks = parse(b"\n \t\r\n" + line("a") + b"\n\n\n" + line("b") + b"\n\n")

    assert [(task.ordinal, task.line, task.id) for task in tasks] == [(0, 3, "a"), (1, 6, "b")]


def test_what_json_allows_is_a_task() -> None:
    """Any UTF-8, escapes and line separators of Unicode inside of strings; IDs of 64."""
    extra = ',"displayName":"\u2028 \u00e4 \\ud83d\\ude00 \U0001f600"'
    tasks = parse(line("x" * 64, extra) + b"\n")

    assert tasks == [Task(0, 1, "x" * 64, line("x" * 64, extra))]


LINES = (
    BOM + line("a"),
    b"",
    line("b", ',"displayName":"\u00e4\u20ac\U0001f600"') + b"\r",
    b"   ",
    line("c"),
    line("d"),
)


@given(
    cuts=st.lists(st.integers(0, len(b"\n".join(LINES)))),
    last_line_end=st.booleans(),
)
def test_wherever_the_bytes_are_cut(cuts: list[int], last_line_end: bool) -> None:  # noqa: FBT001 - hypothesis's
    """However the bytes of a file arrive, in whatever pieces, the tasks are the same."""
    data = b"\n".join(LINES) + (b"\n" if last_line_end else b"")
    parser = make_parser()

    ends = [0, *sorted(cuts), len(data)]
    tasks = parse_with(parser, *(data[start:end] for start, end in pairwise(ends))).tasks

    assert tasks == parse(data)
    assert [(task.line, task.id) for task in tasks] == [(1, "a"), (3, "b"), (5, "c"), (6, "d")]
    assert parser.place == Place(4, len(data), 6 + last_line_end)


# --- What is none ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b'{"id":"a","commandLine":"x"', "not valid JSON"),
        (b"{'id':'a'}", "not valid JSON"),
        (b'{"id":"a","commandLine":"x"}{"id":"b","commandLine":"x"}', "not valid JSON"),
        (b'{"id":"a","commandLine":"x"},', "not valid JSON"),
        (b'{"id":"a","commandLine":"x","n":NaN}', "not valid JSON"),
        (b'{"id":"a","commandLine":"x","n":-Infinity}', "not valid JSON"),
        (b'{"id":"a","commandLine":"x","n":01}', "not valid JSON"),
        (b'{"id":"a","commandLine":"x","s":"\\ud800"}', "half of a surrogate pair"),
        (b'{"id":"a","commandLine":"x","s":"\\q"}', "not valid JSON"),
        (b'{"id":"a","commandLine":"tab\there"}', "not valid JSON"),
        (b"id,commandLine", "not valid JSON"),
        (b"[", "not valid JSON"),
        (b"[1]", "an array"),
        (b'"a"', "a string"),
        (b"17", "a number"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"{}", "id and commandLine missing"),
        (b'{"commandLine":"x"}', "id missing"),
        (b'{"id":"a"}', "commandLine missing"),
        (b'{"Id":"a","commandLine":"x"}', "id missing"),
        (b'{"id":7,"commandLine":"x"}', "id is a number"),
        (b'{"id":null,"commandLine":"x"}', "id is null"),
        (b'{"id":"a","commandLine":["x"]}', "commandLine is an array"),
        (b'{"id":"","commandLine":"x"}', "id is empty"),
        (line("x" * 71), "id has 71 characters; the service takes at most 64"),
        (line("a b"), "holds ' '"),
        (line("a\\n"), r"holds '\n'"),
        (line("\u00e4"), "holds '\u00e4'"),
        (line("a.b"), "holds '.'"),
        (b'{"id":"a","commandLine":"x","s":"\xff"}', "not UTF-8: byte 0xff at place 34"),
        (b'{"id":"a","commandLine":"\xe4"}', "not UTF-8: byte 0xe4"),
        (b'{"id":"\xe4","commandLine":"x"}', "not UTF-8: byte 0xe4"),
        (line("a", ',"x":' + "[" * 5000 + "]" * 5000), "nested too deeply"),
        (BOM + line("a"), "a byte order mark; it may stand only at the start"),
        (b"\x00", "not valid JSON"),
    ],
)
def test_a_line_that_is_no_task(bad: bytes, reason: str) -> None:
    """
    It is told by its line, with what is wrong and what would be right; its bytes are kept, it
    has an ordinal, and the tasks around it are none the worse.
    """
    data = b"\n" + line("ok") + b"\r\n\r\n" + bad + b"\n" + line("later") + b"\n"

    items = parse_with(make_parser(), data)

    assert [(item.ordinal, item.line, item.body) for item in items.invalid] == [(1, 4, bad)]
    assert reason in items.problems[0][1]
    assert items.tasks == [Task(0, 2, "ok", line("ok")), Task(2, 5, "later", line("later"))]


def test_each_bad_line_is_told() -> None:
    """Whatever is wrong with which line, each is told, in the order of the file."""
    bad = [line("a b"), b'{"id":"a","commandLine":"x","s":"\xff"}', b"nonsense"]
    data = b"\n".join([line("ok"), bad[0], line("fine"), *bad[1:], b""])

    items = parse_with(make_parser(), data)

    assert [item.body for item in items.invalid] == bad
    assert [item.line for item in items.invalid] == [2, 4, 5]
    assert items.ids == ["ok", "fine"]


def test_a_bad_line_in_a_later_piece() -> None:
    """What was completed in earlier pieces has been handed out; line numbers go on."""
    parser = make_parser()

    assert len(parser.feed(line("a") + b"\n" + line("b") + b"\n\n").tasks) == 2
    block = parser.feed(line("c") + b"\nnonsense\n")
    assert [task.line for task in block.tasks] == [4]
    assert [(item.ordinal, item.line) for item in block.invalid] == [(3, 5)]


def test_a_byte_order_mark_in_a_later_piece() -> None:
    """Two files put together have a BOM in the middle, wherever the pieces begin."""
    parser = make_parser()
    parser.feed(BOM + line("a") + b"\n")

    (item,) = parser.feed(BOM + line("b") + b"\n").invalid

    assert item.line == 2
    assert item.problems[0].kind is Kind.ENCODING
    assert "a byte order mark" in item.problems[0].text


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\n", BOM, BOM + b"\n"])
async def test_a_file_without_tasks(tmp_path: Path, data: bytes) -> None:
    """An empty file is a mistake: nobody submits nothing on purpose."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(data)

    with pytest.raises(SourceError, match="holds no task") as raised:
        await read(path)

    assert raised.value.path == str(path)


# A row of an earlier run's rejects file, as observe/files.py writes it.
ROW = (
    b'{"source":"tasks.jsonl","line":7,"task_id":"a","code":"InvalidPropertyValue",'
    b'"message":"no","values":[],"request_id":null,"client_request_id":null,"attempts":1,'
    b'"in_doubt":false,%b}'
)


def test_a_rejects_file_is_a_source() -> None:
    """A row of an earlier run's rejects file stands for the task inside of it."""
    assert parse(ROW % (b'"task":' + line("a"))) == [Task(0, 1, "a", line("a"))]


@pytest.mark.parametrize("first", [0, 1])
def test_rows_and_tasks_are_mixed(first: int) -> None:
    """
    Tasks may stand between the rows of a rejects file, whichever comes first; and a row within
    a row is no task.
    """
    row, task = ROW % (b'"task":' + line("a")), line("b")
    data = b"\n".join([row, task][:: 1 - 2 * first])
    nested = ROW % (b'"task":' + row)

    assert {each.body for each in parse(data)} == {line("a"), line("b")}
    for before in (row, task):
        texts = [text for number, text in problems(before + b"\n" + nested) if number == 2]
        assert "id and commandLine missing" in texts[0]


def test_a_rejects_file_is_not_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is told at sight: to say all that is wrong with one takes a hundred times as long."""
    monkeypatch.setattr("bulksubmit.core.taskcheck.explain", None)

    assert len(parse(*[ROW % (b'"task":' + line(f"t{n}")) + b"\n" for n in range(3)])) == 3


def test_a_task_that_is_no_more_right_than_before() -> None:
    """What is wrong with the task in a row of a rejects file is told, not with the row."""
    ((number, text),) = problems(line("ok") + b"\n" + ROW % (b'"task":' + line("a b")))

    assert (number, text.split(";")[0]) == (2, "id 'a b' holds ' '")


def test_a_row_of_a_line_that_was_no_json() -> None:
    """It has a text in place of a task, which is to be mended first."""
    ((_, text),) = problems(ROW % b'"text":"{nonsense"')

    assert text.startswith("the row of a rejects file whose line was no JSON: mend `text`")


@pytest.mark.parametrize("row", [b'{"task":{"id":"a"},"id":"b"}', b'{"text":"x"}', b'{"task":7}'])
def test_what_is_no_row_of_a_rejects_file(row: bytes) -> None:
    """An object with an ID is a task, whatever else it holds; a text alone is no row."""
    ((_, text),) = problems(row)

    assert "rejects file" not in text


def test_a_line_too_long_for_any_task() -> None:
    """
    A line of megabytes is not kept in memory whole; it is no task, and the next line is read.
    """
    parser = make_parser()
    parser.feed(line("a") + b"\n")
    pieces = 12 * ITEM_BYTES_MAX // BLOCK_BYTES
    for _ in range(pieces):
        assert parser.feed(b"x" * BLOCK_BYTES).items == []
        assert len(parser._rest) <= ITEM_BYTES_MAX  # noqa: SLF001 - what is kept in memory
    block = parser.feed(b"x\n" + line("b") + b"\n")

    (invalid,) = block.invalid
    assert (invalid.ordinal, invalid.line) == (1, 2)
    assert len(invalid.body) <= BLOCK_BYTES
    assert "more than 4,194,304 bytes" in invalid.problems[0].text
    assert block.tasks == [Task(2, 3, "b", line("b"))]
    assert parser.place.offset == 2 * len(line("a") + b"\n") + pieces * BLOCK_BYTES + 2


@pytest.mark.parametrize("start", [b"", BOM])
def test_a_line_of_nothing_but_blanks_is_no_item(start: bytes) -> None:
    """
    However long it is and wherever it is cut: what a resume counts is what was counted before.
    """
    blanks = start + b" " * (ITEM_BYTES_MAX + 1)

    for pieces in ([blanks, b" \n", line("a")], [blanks + b" \n", line("a")], [blanks, line("a")]):
        items = parse_with(make_parser(), *pieces)
        assert (items.tasks[0].ordinal, items.ids, items.invalid) == (0, ["a"], [])
        assert items.places[-1].offset == sum(map(len, pieces))


@pytest.mark.parametrize("settled", [False, True])
def test_a_line_too_long_in_a_part(settled: bool) -> None:  # noqa: FBT001 - pytest's
    """Read again between two places, it is the same; unless it is settled."""
    done = Bitmap()
    if settled:
        done.add(1)
    parser = LineParser("tasks.jsonl", at=Place(0, 0, 1), checker=Checker(), settled=done)
    long = b"x" * (ITEM_BYTES_MAX + 1)
    block = parser.part(line("a") + b"\n" + long + b"\n" + line("b"))

    assert [task.id for task in block.tasks] == ["a", "b"]
    assert [invalid.ordinal for invalid in block.invalid] == ([] if settled else [1])


# --- Files, pipes, streams -----------------------------------------------------------------------


async def test_a_file_of_many_blocks(tmp_path: Path) -> None:
    """A file is read block by block; every task of it arrives, once and in order."""
    path = tmp_path / "tasks.jsonl"
    count = 3 * BLOCK_BYTES // 40
    path.write_bytes(b"\n".join(line(f"t{n}") for n in range(count)))

    items = await read(path)

    assert items.ids == [f"t{n}" for n in range(count)]
    assert [task.line for task in items.tasks] == list(range(1, count + 1))
    source = open_source(path)
    assert source.bytes_total == path.stat().st_size
    source.close()


@pytest.mark.parametrize("form", ["str", "Path", "stream"])
async def test_what_names_a_file(tmp_path: Path, form: str) -> None:
    """A path as text or as an object, or the open file, which stays open: it is the caller's."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(line("a"))
    with path.open("rb") as stream:
        forms: dict[str, AnySource] = {"str": str(path), "Path": path, "stream": stream}

        assert (await read(forms[form])).ids == ["a"]
        assert not stream.closed


async def test_what_is_no_file(tmp_path: Path) -> None:
    """A directory, a file that is not there, one without permission: each says so."""
    for path, reason in (
        (tmp_path, "is a directory"),
        (tmp_path / "nowhere.jsonl", "cannot be opened: No such file or directory"),
    ):
        with pytest.raises(SourceError, match=reason) as raised:
            open_source(path)
        assert raised.value.path == str(path)
        assert raised.value.line is None


def test_a_file_without_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The operating system's reason is told."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # For root, whom no mode keeps out.

    with pytest.raises(SourceError, match="cannot be opened: Permission denied"):
        open_source(tmp_path / "tasks.jsonl")


async def test_a_read_that_fails(tmp_path: Path) -> None:
    """A disk that fails in the middle is an error of the source."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(line("a"))
    with path.open("wb") as write_only, pytest.raises(SourceError, match="cannot be read"):
        await read(write_only)


async def test_text_is_told_from_bytes(tmp_path: Path) -> None:
    """A file opened as text is a common slip, and has a message of its own."""
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(line("a"))
    with path.open() as text, pytest.raises(SourceError, match="open it as bytes"):
        open_source(text)


async def test_nothing_on_standard_input() -> None:
    """/dev/null, as cron gives it, is an empty source and not a broken one."""
    with pytest.raises(SourceError, match="holds no task"):
        await read("/dev/null")


async def test_a_pipe_is_not_waited_for() -> None:
    """What is in a pipe is admitted while its writer is silent."""
    reader, writer = os.pipe()
    items = Items()
    came = anyio.Event()

    async def admit(block: Block) -> None:
        items.add(block)
        came.set()

    with os.fdopen(reader, "rb", buffering=0) as pipe, os.fdopen(writer, "wb", 0) as end:
        source = open_source(pipe)
        async with anyio.create_task_group() as beside:
            beside.start_soon(source.read, admit)
            end.write(line("a") + b"\n" + line("b"))
            await came.wait()
            assert items.ids == ["a"]
            end.close()
        assert items.ids == ["a", "b"]
    assert source.bytes_total is None


async def test_reading_a_silent_pipe_can_be_cancelled() -> None:
    """No thread hangs on a pipe that nobody writes to."""
    reader, writer = os.pipe()
    threads = threading.active_count()
    with os.fdopen(reader, "rb") as pipe, os.fdopen(writer, "wb"):
        with anyio.move_on_after(0.01) as scope:
            await read(pipe)
        assert scope.cancelled_caught
    assert threading.active_count() <= threads
