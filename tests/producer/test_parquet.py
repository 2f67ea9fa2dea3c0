"""Parquet: what a row becomes, type by type, and what is none."""

import gzip
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Kind
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Done, Source
from bulksubmit.producer.spec import SourceSpec
from tests.producer.reading import Items, read

TEMPLATE = '{"id": "t{i}", "commandLine": "run {x}"}'


def write(path: Path, columns: dict[str, Any], *, group: int = 1_000) -> Path:
    parquet.write_table(pa.table(columns), path, row_group_size=group)
    return path


def source_of(path: Path, template: str | None = TEMPLATE, *, allow_unused: bool = False) -> Source:
    return open_source(
        SourceSpec(
            files=(str(path),),
            template=template,
            allow_unused=allow_unused,
            template_name="task.json",
        )
    )


async def values_of(path: Path, column: Any) -> list[str]:
    """The text that each value of a column becomes."""
    items = await read(source_of(write(path, {"i": [*range(len(column))], "x": column})))
    assert items.invalid == []
    return [json.loads(task.body)["commandLine"].removeprefix("run ") for task in items.tasks]


async def refusal(source: Source) -> str:
    with pytest.raises(SourceError) as raised:
        await read(source)
    return str(raised.value)


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array(["a", 'b"\n', ""]), ["a", 'b"\n', ""]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["\u00e4".encode()]), ["\u00e4"]),
        (pa.array([-1, 0, 2**63 - 1]), ["-1", "0", "9223372036854775807"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([True, False]), ["true", "false"]),
        (
            pa.array([1.0, 0.1, 1e20, 1e-7, float("nan")]),
            ["1.0", "0.1", "1e+20", "1e-07", "nan"],
        ),
        (pa.array([1.0, 0.1], pa.float32()), ["1.0", "0.1"]),
        (pa.array([Decimal("1.10"), Decimal("-0.05")]), ["1.10", "-0.05"]),
        (pa.array([date(2024, 1, 2)]), ["2024-01-02"]),
        (pa.array([time(1, 2, 3), time(1, 2, 3, 500_000)]), ["01:02:03", "01:02:03.500000"]),
        (pa.array([datetime(2024, 1, 2, 3, 4, 5)]), ["2024-01-02T03:04:05"]),  # noqa: DTZ001
        (pa.array([datetime(2024, 1, 2, 3, 4, 5, 600)]), ["2024-01-02T03:04:05.000600"]),  # noqa: DTZ001
        (pa.array([datetime(2024, 1, 2, tzinfo=UTC)]), ["2024-01-02T00:00:00Z"]),
        (
            pa.array([datetime(2024, 1, 2, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")),
            ["2024-01-02T01:00:00+01:00"],
        ),
        (pa.array([1], pa.timestamp("ns")), ["1970-01-01T00:00:00.000000001"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
async def test_what_a_value_becomes(tmp_path: Path, column: Any, texts: list[str]) -> None:
    """
    Text as it is; numbers as Python writes them, of singles the fewest digits that tell them;
    booleans in lower case; dates and times by ISO 8601.
    """
    assert await values_of(tmp_path / "rows.parquet", column) == texts


async def test_numbers_where_the_task_takes_them(tmp_path: Path) -> None:
    """
    A whole number is one, even in a column of floats (as pandas makes them of integers with
    gaps); a boolean is one; and what is neither is named with its field, row and value.
    """
    template = json.dumps(
        {
            "id": "t{i}",
            "commandLine": "x",
            "requiredSlots": "{x}",
            "outputFiles": [],
        }
    )
    path = write(tmp_path / "rows.parquet", {"i": [0, 1, 2], "x": [1.0, 2.5, 3.0]})

    source = source_of(path, template)
    items = await read(source)

    assert [json.loads(task.body)["requiredSlots"] for task in items.tasks] == [1, 3]
    (invalid,) = items.invalid
    assert source.where(invalid.ordinal, invalid.line) == f"{path}: row 2"
    (problem,) = invalid.problems
    assert (problem.path, problem.kind, problem.value) == ("requiredSlots", Kind.TYPE, '"2.5"')


async def test_null_fills_nothing(tmp_path: Path) -> None:
    """
    A row that is null in a column that the template uses is named with it; the others are tasks.
    """
    path = write(
        tmp_path / "rows.parquet",
        {"i": [0, None, 2, 3], "x": ["a", None, "c", None], "y": [None, 1, 2, 3]},
    )

    source = source_of(path, allow_unused=True)
    items = await read(source)

    assert items.ids == ["t0", "t2"]
    assert [(item.ordinal, item.line) for item in items.invalid] == [(1, 2), (3, 4)]
    assert [problem.text for problem in items.invalid[0].problems] == [
        "column 'i' is null in this row; give it a value, or leave the row out",
        "column 'x' is null in this row; give it a value, or leave the row out",
    ]
    assert items.invalid[0].problems[0].kind is Kind.TEMPLATE
    assert json.loads(items.invalid[1].body) == {"i": "3", "x": None}
    assert source.where(3, 4) == f"{path}: row 4"


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "large_binary"])
async def test_bytes_that_are_no_text(tmp_path: Path, kind: str) -> None:
    """
    A row whose text is not UTF-8, which nobody checks on writing, is named with its column; the
    others are tasks.
    """
    values = pa.array([b"a", b"b\xff", None, b"", "\u00e4".encode()], pa.large_binary())
    odd = values.cast(kind.replace("string", "binary")).view(kind)
    path = write(tmp_path / "rows.parquet", {"i": [*range(5)], "x": odd})

    items = await read(source_of(path))

    assert [json.loads(task.body)["commandLine"] for task in items.tasks] == [
        "run a",
        "run ",
        "run \u00e4",
    ]
    assert [(item.ordinal, item.line) for item in items.invalid] == [(1, 2), (2, 3)]
    (problem,) = items.invalid[0].problems
    assert (problem.kind, problem.text) == (Kind.ENCODING, "column 'x' is not UTF-8 in this row")
    assert json.loads(items.invalid[0].body) == {"i": "1", "x": "b\\xff"}


async def test_only_what_is_used_is_read(tmp_path: Path) -> None:
    """
    Columns that the template leaves out may hold anything; and it may leave out all.
    """
    path = write(
        tmp_path / "rows.parquet", {"i": [0, 1], "x": [1, 2], "y": [[1], {"a": 2}][:1] * 2}
    )

    assert (await read(source_of(path, allow_unused=True))).ids == ["t0", "t1"]
    template = '{"id": "same", "commandLine": "x"}'
    assert (await read(source_of(path, template, allow_unused=True))).ids == ["same", "same"]


async def rows_of(path: Path, done: Done | None = None) -> Items:
    return await read(source_of(path), done)


@pytest.mark.parametrize(
    ("settled", "left"),
    [
        ([(0, 2_500)], range(0)),
        ([(0, 1_000), (1_700, 2_500)], range(1_000, 1_700)),
        ([(0, 2_499)], range(2_499, 2_500)),
        ([(1_001, 1_999)], [*range(1_001), *range(1_999, 2_500)]),
    ],
)
async def test_what_is_settled_is_left_out(
    tmp_path: Path, settled: Sequence[tuple[int, int]], left: Sequence[int]
) -> None:
    """
    Read again with some rows settled, a file gives exactly the others, and the same end.
    """
    columns = {"i": [*range(2_500)], "x": [*range(2_500)]}
    path = write(tmp_path / "rows.parquet", columns, group=600)
    whole = await rows_of(path)
    bits = Bitmap()
    for first, end in settled:
        bits.add_range(first, end)

    again = await rows_of(path, Done(bits, whole.places))

    assert whole.ids == [f"t{n}" for n in range(2_500)]
    assert again.tasks == [whole.tasks[ordinal] for ordinal in left]
    assert again.places[-1] == whole.places[-1]


async def test_row_groups_that_are_done_are_not_read(tmp_path: Path) -> None:
    """
    What is wrong in a row group that is settled is not even seen.
    """
    path = write(tmp_path / "rows.parquet", {"i": [*range(200)], "x": ["x" * 50] * 200}, group=100)
    data = bytearray(path.read_bytes())
    data[4:60] = b"\xff" * 56  # Within the first row group.
    path.write_bytes(data)
    settled = Bitmap()
    settled.add_range(0, 100)

    assert "is not the Parquet file it was written as" in await refusal(source_of(path))
    assert (await rows_of(path, Done(settled, []))).ids == [f"t{n}" for n in range(100, 200)]


async def test_several_files_and_a_url(tmp_path: Path) -> None:
    """
    Files go on after each other, also with CSV among them; through fsspec, too.
    """
    write(tmp_path / "a.parquet", {"i": [0, 1], "x": [1, 2]})
    (tmp_path / "b.csv").write_text("x,i\n1,2\n")
    write(tmp_path / "c.parquet", {"x": [4], "i": [3]})

    spec = SourceSpec(files=(str(tmp_path / "*"),), template=TEMPLATE)
    source = open_source(spec)
    items = await read(source)

    assert items.ids == ["t0", "t1", "t2", "t3"]
    assert source.where(3, 1) == f"{tmp_path}/c.parquet: row 1"
    assert source.bytes_read == source.bytes_total

    url = SourceSpec(files=(f"file://{tmp_path}/a.parquet",), template=TEMPLATE)
    assert (await read(url)).ids == ["t0", "t1"]


async def test_what_is_no_such_file(tmp_path: Path) -> None:
    """
    Without a template, cut off, compressed as a whole, with columns that have no text or one
    name, or not those that the template names: each is told as such.
    """
    path = write(tmp_path / "rows.parquet", {"i": [1], "x": [2]})
    data = path.read_bytes()
    assert "is Parquet: give a task by --template" in await refusal(source_of(path, None))
    assert "{z} is no column of" in await refusal(source_of(path, '{"id": "{z}"}'))
    assert "does not use the column 'x'" in await refusal(source_of(path, '{"id": "{i}"}'))

    (tmp_path / "cut.parquet").write_bytes(data[:-10])
    reason = "cut.parquet: is not the Parquet file it was written as: Parquet magic bytes"
    assert reason in await refusal(source_of(tmp_path / "cut.parquet"))

    lists = write(tmp_path / "lists.parquet", {"i": [1], "x": [[1, 2]]})
    assert "column 'x' holds list<element: int64>; a template takes texts, numbers" in (
        await refusal(source_of(lists))
    )
    spans = write(tmp_path / "spans.parquet", {"i": [1], "x": [timedelta(seconds=1)]})
    assert "column 'x' holds duration[us]; a template takes" in await refusal(source_of(spans))

    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["i", "i"])
    parquet.write_table(table, tmp_path / "twice.parquet")
    reason = "twice.parquet: two columns have the name 'i'"
    assert reason in await refusal(source_of(tmp_path / "twice.parquet"))


async def test_a_file_that_cannot_seek(tmp_path: Path) -> None:
    """
    A file's index stands at its end: compressed as a whole, it cannot be read.
    """
    path = write(tmp_path / "rows.parquet", {"i": [1], "x": [2]})
    packed = tmp_path / "rows.parquet.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))

    assert "is Parquet, which is read from its end" in await refusal(source_of(packed))


async def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where pyarrow is not installed, the message says what to install.
    """
    path = write(tmp_path / "rows.parquet", {"i": [1], "x": [2]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert "is Parquet; install bulksubmit[parquet] to read it" in await refusal(source_of(path))
