"""CSV: what is a row, what it becomes, and what is none."""

import csv
import gzip
import io
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Kind
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.files import FileSource, NamedFile
from bulksubmit.producer.lines import ITEM_BYTES_MAX, SHOWN_BYTES
from bulksubmit.producer.opening import OpenFile
from bulksubmit.producer.rows import RowParser
from bulksubmit.producer.source import Done, Source
from bulksubmit.producer.spec import SourceSpec, change_of, fingerprints
from bulksubmit.producer.template import Template
from tests.producer.reading import BOM, Items, in_pieces, read

TEMPLATE = '{"id": "{id}", "commandLine": "run {mode}"}'


def parser(
    data: bytes,
    *,
    name: str = "rows.csv",
    template: str = TEMPLATE,
    at: Place = Place(0, 0, 1),  # noqa: B008 - it is frozen
    rows_max: int | None = None,
) -> RowParser:
    made = RowParser(
        name,
        data,
        template=Template(template, name="task.json", allow_unused=True),
        at=at,
        checker=Checker(),
    )
    if rows_max:
        made._filler.rows_max = rows_max  # noqa: SLF001 - a thousand rows a block take a large file
        made._step_bytes = 1  # noqa: SLF001
    return made


def items_of(made: RowParser, pieces: Sequence[bytes]) -> Items:
    """All items of a file's pieces."""
    items = Items()
    for piece in pieces:
        items.add(made.feed(piece))
        while made.more:
            items.add(made.feed(b""))
    items.add(made.finish())
    return items


def parse(data: bytes, *, name: str = "rows.csv", template: str = TEMPLATE) -> Items:
    return items_of(parser(data, name=name, template=template), [data])


def refusal(data: bytes) -> str:
    with pytest.raises(SourceError) as raised:
        parse(data)
    return str(raised.value)


def commands(items: Items) -> list[tuple[int, str, str]]:
    """The line, ID, and mode of each row."""
    return [
        (task.line, task.id, json.loads(task.body)["commandLine"].removeprefix("run "))
        for task in items.tasks
    ]


# --- What is a row -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"id,mode\na,fast\nb,slow\n", [(2, "a", "fast"), (3, "b", "slow")]),
        (b"id,mode\na,fast\nb,slow", [(2, "a", "fast"), (3, "b", "slow")]),
        (BOM + b"id,mode\r\na,fast\r\nb,slow\r\n", [(2, "a", "fast"), (3, "b", "slow")]),
        (b"\n\r\n id , mode \n\na,fast\n\n\nb,slow\n\n", [(5, "a", "fast"), (8, "b", "slow")]),
        (b"mode;x;id\nfast;1,5;a\n", [(2, "a", "fast")]),
        (b"mode\tid\nfa,st\ta\n", [(2, "a", "fa,st")]),
        (b"id,mode\na,\n", [(2, "a", "")]),
        (b"id,mode\na, fast \n", [(2, "a", " fast ")]),
        (b'id,mode\na,5" wide\n', [(2, "a", '5" wide')]),
        (b'"id","mode"\r\n"a","fast"\r\n', [(2, "a", "fast")]),
        (b'id,mode\na,"x,""y"", z"\n', [(2, "a", 'x,"y", z')]),
        (b'id,mode\na,"x\ny\r\n"\n\nb,z\n', [(2, "a", "x\ny\r\n"), (6, "b", "z")]),
        (b'"id","mo\nde",mode\na,b,c\n', [(3, "a", "c")]),
        ("id,mode\na,\u00e4\u2028\x85\x0b\n".encode(), [(2, "a", "\u00e4\u2028\x85\x0b")]),
        (b"id,mode\na,\\n\n", [(2, "a", "\\n")]),
    ],
)  # fmt: skip
def test_what_a_row_is(data: bytes, rows: list[tuple[int, str, str]]) -> None:
    """
    Cells stand between commas, semicolons or tabs, as the header has them, quoted or not; blank
    lines are no rows; a row's line is the one at which it begins.
    """
    items = parse(data)

    assert items.invalid == []
    assert commands(items) == rows
    assert items.places[-1].offset == len(data)
    assert items.places[-1].line == 1 + data.count(b"\n")


def test_the_name_tells_tabs() -> None:
    """
    In a file named .tsv tabs separate the cells, even if its header has one column with a comma.
    """
    items = parse(b"id,1\nx\n", name="rows.tsv.gz", template='{"id": "{id,1}", "commandLine": "y"}')

    assert items.ids == ["x"]


def test_a_cell_may_be_longer_than_csv_allows() -> None:
    """
    Python's csv module takes 128 KiB a cell; here it is as much as a task may take, and the
    bound of the process is not touched.
    """
    long = "x" * 300_000
    before = csv.field_size_limit()

    items = parse(f'id,mode\na,"{long}"\nb,{long}\n'.encode())

    assert [(task_id, len(mode)) for _, task_id, mode in commands(items)] == [
        ("a", 300_000),
        ("b", 300_000),
    ]
    assert csv.field_size_limit() == before


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=6)


@given(
    rows=st.lists(CELLS | st.sampled_from(['"', "\n", ",", 'a,"b"\n\n', "\r\n"]), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 200)),
    rows_max=st.integers(1, 5),
)
def test_wherever_the_bytes_are_cut(
    rows: list[str], quoting: int, line_end: str, cuts: list[int], rows_max: int
) -> None:
    """
    Whatever the cells hold, and however the bytes of a file arrive, in whatever pieces, the rows
    are those that were written; and a parser made at any place in between gives the rest.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=quoting, lineterminator=line_end)  # type: ignore[arg-type] # typeshed wants the literals
    writer.writerows([["mode", "id"], *[[cell, f"t{n}"] for n, cell in enumerate(rows)]])
    data = text.getvalue().encode()
    header = data.index(b"id") + 4 + len(line_end)
    ends = sorted({0, *[min(header + cut, len(data)) for cut in cuts], len(data)})
    pieces = [data[start:end] for start, end in pairwise(ends)]

    items = items_of(parser(data, rows_max=rows_max), pieces)

    assert [mode for _, _, mode in commands(items)] == rows
    assert items.ids == [f"t{n}" for n in range(len(rows))]
    for place in items.places:
        rest = items_of(parser(data, at=place), [data[place.offset :]])
        assert rest.tasks == [task for task in items.tasks if task.ordinal >= place.ordinal]
    for place, end in pairwise(items.places):
        part = parser(data, at=place).part(data[place.offset : end.offset])
        assert [task.ordinal for task in part.tasks] == [*range(place.ordinal, end.ordinal)]
        assert part.after == end


def test_long_templates_make_small_blocks() -> None:
    """
    A block has about as many bytes of tasks as a block of a file, however short the rows are.
    """
    template = json.dumps({"id": "{id}", "commandLine": "x" * 50_000})
    data = b"id\n" + b"".join(b"t%d\n" % number for number in range(40))
    made = parser(data, template=template)

    blocks = [made.feed(data)]
    while made.more:
        blocks.append(made.feed(b""))

    assert sum(len(block.tasks) for block in blocks) == 40
    assert max(len(block.tasks) for block in blocks) <= 20


# --- What is none ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "kind", "text"),
    [
        (b"a", Kind.TEMPLATE, "the row has 1 cell, and the header 2: column 'mode' is missing"),
        (b"a,b,c", Kind.TEMPLATE, "the row has 3 cells, and the header 2; a cell that holds ','"),
        (b"a,b,\xff", Kind.TEMPLATE, "the row has 3 cells, and the header 2"),
        (b'a,"b"c', Kind.TEMPLATE, "the row's quotes are odd"),
        (b"a,b\rc,d", Kind.TEMPLATE, "a carriage return stands in the row; lines end in LF"),
        (b"a,\xff", Kind.ENCODING, "column 'mode' is not UTF-8; save the file as CSV in UTF-8"),
        (b'"a",\xff', Kind.ENCODING, "column 'mode' is not UTF-8"),
        (b"a b,c", Kind.VALUE, "id"),
        (b",c", Kind.LENGTH, "id is empty"),
    ],
)
def test_a_row_that_makes_no_task(row: bytes, kind: Kind, text: str) -> None:
    """
    Such a row is named by its line, with what is wrong; those around it are tasks.
    """
    items = parse(b"id,mode\nx,1\n" + row + b"\ny,2\n")

    (invalid,) = items.invalid
    assert (invalid.ordinal, invalid.line) == (1, 3)
    assert invalid.problems[0].kind is kind
    assert invalid.problems[0].text.startswith(text)
    assert invalid.body.startswith((b"a", b'"a', b"{"))
    assert items.ids == ["x", "y"]


def test_a_cell_too_many_is_shown_without_its_signature() -> None:
    """What is shown of a cell is short, and tells no secret."""
    row = b"a,b,https://x.blob.core.windows.net/c?sig=SECRET&" + b"x" * 1000

    (invalid,) = parse(b"id,mode\n" + row + b"\n").invalid

    value = invalid.problems[0].value or ""
    assert value.startswith('"https://x.blob.core.windows.net/c?sig=***')
    assert len(value) <= 60


def test_a_field_that_a_row_makes_wrong_is_named() -> None:
    """
    What the check finds bears the field's path and the value, like in any other form.
    """
    template = '{"id": "{id}", "commandLine": "x", "constraints": {"maxTaskRetryCount": "{mode}"}}'

    items = parse(b"id,mode\na,3\nb,many\n", template=template)

    assert items.ids == ["a"]
    assert json.loads(items.tasks[0].body)["constraints"] == {"maxTaskRetryCount": 3}
    (problem,) = items.invalid[0].problems
    assert (problem.path, problem.kind) == ("constraints.maxTaskRetryCount", Kind.TYPE)
    assert items.invalid[0].id == "b"
    assert items.invalid[0].line == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "rows.csv: is empty; a CSV file begins with a row that names its columns"),
        (BOM + b"\n\n", "rows.csv: is empty"),
        (b"\nid,,mode\n", "rows.csv:2: column 2 of the header has no name"),
        (b"id,mode,id\n", "rows.csv:1: two columns of the header have the name 'id'"),
        (b'"id"x,mode\n', "rows.csv:1: the header's quotes are odd"),
        (b"i\xff,mode\n", "rows.csv: is not UTF-8; save it as CSV in UTF-8"),
        (b"id,mode\ra,b\r", "rows.csv: its lines end in CR alone; save it with LF or CR LF"),
        (b"no,mode\n", "task.json: id: {id} is no column of rows.csv"),
        (b'id,mode\na,b\nc,"d\n\n\n', "rows.csv:3: a quoted cell of this row does not end"),
    ],
)
def test_what_is_no_csv(data: bytes, reason: str) -> None:
    """
    A header that is none, or a quote that is never closed, concerns the file as a whole.
    """
    assert refusal(data).startswith(reason)


@pytest.mark.parametrize("end", ["", "\n", "\r\n", '\nb,"y"\n', "\n\nb,y"])
def test_a_row_too_long_for_a_task(end: str) -> None:
    """
    Only its beginning is kept, and it is told by itself, also when it is read again.
    """
    head, long = b"id,mode\n", b"a," + "\u00e4\u20ac".encode() * ITEM_BYTES_MAX
    data = head + b"0,y\n" + long + end.encode()
    items = items_of(parser(head), in_pieces(data, 1_000_000))

    (invalid,) = items.invalid
    assert (invalid.ordinal, invalid.line) == (1, 3)
    assert invalid.problems[0].kind is Kind.LENGTH
    assert len(invalid.body) <= SHOWN_BYTES + 2
    tasks = [(task.id, task.ordinal, task.line) for task in items.tasks]
    assert tasks == [("0", 0, 2), ("b", 2, 4 + end.startswith("\n\n"))][: 1 + ("b" in end)]
    assert items.places[-1].offset == len(data)
    again = parser(head).part(data)
    assert (again.tasks, again.invalid, again.after) == (
        items.tasks,
        items.invalid,
        items.places[-1],
    )


def test_a_row_too_long_with_a_quote_in_its_end() -> None:
    """Its line may go on in the next one: nobody knows where it ends."""
    made = parser(b"id,mode\n")
    made.feed(b"id,mode\na," + b"x" * (ITEM_BYTES_MAX + 1))

    with pytest.raises(SourceError, match=r"rows\.csv:2: a quoted cell does not end, or the row"):
        made.feed(b'x,"y\nb,c\n')


def test_a_quote_that_does_not_end_is_found_in_time() -> None:
    """
    Its row is not collected beyond what a task may take.
    """
    made = parser(b"id,mode\n")
    made.feed(b'id,mode\na,"' + b"x" * (ITEM_BYTES_MAX - 3))

    with pytest.raises(SourceError, match=r"rows\.csv:2: a quoted cell does not end, or the row"):
        made.feed(b"x")


# --- Sources -----------------------------------------------------------------------------------


def source_of(path: Path, data: bytes, template: str | None = TEMPLATE) -> Source:
    path.write_bytes(data)
    return open_source(SourceSpec(files=(str(path),), template=template))


def count_of(rows: int) -> bytes:
    return b"id,mode\n" + b"".join(b't%d,"m,%d"\n' % (n, n) for n in range(rows))


@pytest.mark.parametrize("packed", [False, True])
async def test_a_file_of_rows(tmp_path: Path, packed: bool) -> None:  # noqa: FBT001
    """
    A file, compressed or not, gives a task a row, each known by its row and line.
    """
    data = count_of(3_000)

    source = source_of(tmp_path / "rows.csv", gzip.compress(data) if packed else data)
    items = await read(source)

    assert items.ids == [f"t{n}" for n in range(3_000)]
    assert len(items.places) > 3
    assert source.where(16, items.tasks[16].line) == f"{tmp_path}/rows.csv: row 17 (line 18)"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("stride", [1, 7, 4_000])
async def test_what_is_settled_is_left_out(tmp_path: Path, packed: bool, stride: int) -> None:  # noqa: FBT001
    """
    Read again with some of the rows settled, a file gives exactly the others, and the same end.
    """
    data = count_of(5_000)
    path = tmp_path / "rows.csv"
    whole = await read(source_of(path, gzip.compress(data) if packed else data))
    settled = Bitmap()
    settled.add_range(0, 3_500)
    for ordinal in range(3_500, 5_000, stride):
        settled.add(ordinal)

    done = Done(settled, [place for place in whole.places if place.ordinal < 4_000])
    again = await read(source_of(path, gzip.compress(data) if packed else data), done)

    assert again.tasks == [task for task in whole.tasks if task.ordinal not in settled]
    assert again.places[-1] == whole.places[-1]


async def test_rows_of_several_files(tmp_path: Path) -> None:
    """
    Files with the same columns go on after each other, in whatever order their columns stand.
    """
    (tmp_path / "b.csv").write_bytes(b"mode;id\nslow;b\n")
    (tmp_path / "a.csv").write_bytes(b"id,mode\na,fast\n")

    source = open_source(SourceSpec(files=(str(tmp_path / "*.csv"),), template=TEMPLATE))
    items = await read(source)

    assert commands(items) == [(2, "a", "fast"), (2, "b", "slow")]
    assert source.where(1, 2) == f"{tmp_path}/b.csv: row 1 (line 2)"


async def test_rows_that_come_in_drops() -> None:
    """
    From a pipe that gives a few bytes at a time, a header in quotes over two lines among them,
    the rows are the same.
    """
    data = BOM + b'"id","mo\nde"\na,fast\nb,slow\n'
    receiver, sender = os.pipe()
    template = Template('{"id": "{id}", "commandLine": "{mo\\nde}"}', name="task.json")
    with os.fdopen(receiver, "rb", buffering=0) as pipe:
        opened = OpenFile(pipe, name="<stdin>")
        file = NamedFile("<stdin>", lambda: opened)
        source = FileSource([file], checker=Checker(), spec=None, template=template)

        async def write() -> None:
            with os.fdopen(sender, "wb", buffering=0) as end:
                for at in range(0, len(data), 2):
                    end.write(data[at : at + 2])
                    await anyio.wait_all_tasks_blocked()

        async with anyio.create_task_group() as both:
            both.start_soon(write)
            items = await read(source)

    assert [(task.line, task.id) for task in items.tasks] == [(3, "a"), (4, "b")]


@pytest.mark.parametrize(
    ("name", "data", "template", "reason"),
    [
        ("rows.csv", b"id,mode\n", None, "rows.csv: is CSV: give a task by --template"),
        ("rows.tsv.gz", b"id\tmode\n", None, "rows.tsv.gz: is CSV: give a task by --template"),
        ("a.jsonl", b'{"id": "a"}\n', TEMPLATE, "a.jsonl: is JSON, and a template takes rows"),
        ("a.json", b'[{"id": "a"}]\n', TEMPLATE, "a.json: is JSON, and a template takes rows"),
        ("rows.csv", b"id,mode\n", TEMPLATE, "rows.csv: holds no row"),
        ("rows.csv", b"", TEMPLATE, "rows.csv: is empty"),
        ("rows.csv", b"id,mode\n", "[]", "template: is not a JSON object"),
    ],
)
async def test_rows_and_templates_belong_together(
    tmp_path: Path, name: str, data: bytes, template: str | None, reason: str
) -> None:
    """
    Rows without a template, or a template without rows, is told as such.
    """
    with pytest.raises(SourceError) as raised:
        await read(source_of(tmp_path / name, data, template))

    assert str(raised.value).removeprefix(f"{tmp_path}/").startswith(reason)


def test_a_template_may_be_reached_otherwise(tmp_path: Path) -> None:
    """
    A source is the same if its template is, by whatever path; and another one if it is not.
    """
    path = tmp_path / "rows.csv"
    path.write_bytes(b"id,mode\n")
    spec = SourceSpec(files=(str(path),), template=TEMPLATE, template_name="task.json")
    kept = spec.to_json(), fingerprints(spec)

    assert change_of(replace(spec, template_name="./task.json"), *kept) is None
    assert (
        change_of(replace(spec, template="{}"), *kept)
        == "its template, or what it runs through, is not what it was"
    )


async def test_csv_of_json_text_is_ndjson(tmp_path: Path) -> None:
    """
    A file that holds tasks is one of tasks, whatever its name.
    """
    items = await read(source_of(tmp_path / "a.csv", b'{"id":"a","commandLine":"x"}\n', None))

    assert items.ids == ["a"]
