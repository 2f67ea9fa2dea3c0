"""Which form a file has, told by its first bytes."""

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from bulksubmit.core.account import BEGINNING
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.arrays import ArrayParser, ObjectParser
from bulksubmit.producer.forms import parser_for, tells
from bulksubmit.producer.lines import LineParser
from bulksubmit.producer.opening import BLOCK_BYTES
from bulksubmit.producer.parser import Parser
from tests.producer.reading import BOM, line, parse, read


def form(head: bytes) -> Parser:
    return parser_for("a.json", head, first=0, at=BEGINNING, checker=Checker())


A = line("a")
PRETTY = b'{\n  "id": "a",\n  "commandLine": "true"\n}\n'


@pytest.mark.parametrize(
    ("data", "parser"),
    [
        (A + b"\n" + A + b"\n", LineParser),
        (A, LineParser),
        (b"\n \n" + A, LineParser),
        (b"", LineParser),
        (b"nonsense\n", LineParser),
        (b'{"id":"a","commandLine":"x"\n' + A, LineParser),  # A first line that is cut off.
        (b'{"id":"a","value":[1]}\n', LineParser),  # A task with a field of that name.
        (b'{"commandLine":"x","value":[1]}', LineParser),
        (A + b",\n" + A, LineParser),
        (b"[" + A + b"]", ArrayParser),
        (b" \r\n [\n" + A + b"\n]", ArrayParser),
        (b'{"value":[' + A + b"]}", ArrayParser),
        (b'{"value":[' + A + b"]}\n", ArrayParser),
        (b'{\n "odata.metadata" : "a{\\"[",\n "n":-1.5e3, "value" :\n [' + A + b"]}", ArrayParser),
        (PRETTY, ObjectParser),
        (b'{"id": "a",\r\n "commandLine": "true"}', ObjectParser),
        (b'{ "resourceFiles": [\n], "id": "a", "commandLine": "true"}', ObjectParser),
    ],
)
@pytest.mark.parametrize("mark", [b"", BOM])
def test_the_form_of_a_file(data: bytes, mark: bytes, parser: type) -> None:
    """NDJSON, an array, an array as an object's ``value``, or one task over several lines."""
    assert type(form(mark + data)) is parser


def test_a_form_is_told_as_soon_as_it_can_be() -> None:
    """What is in a pipe is not to wait for what may come; less than that would tell lies."""
    for data, told_at in (
        (b"  [", 3),
        (BOM + b"[", 4),
        (A + b"\n", len(A) + 1),
        (b"nonsense", 1),
        (b'{"n":1,"value":[', 16),
        (b'{"id":"a",\n"com', 11),
        (PRETTY, 8),
    ):
        assert [tells(data[:end]) for end in range(told_at)] == [False] * told_at
        assert all(tells(data[:end]) for end in range(told_at, len(data) + 1))
    assert not tells(b'{"odata.metadata":\n"x",')
    assert tells(b'{"x' * BLOCK_BYTES)


@pytest.mark.parametrize(
    "data",
    [
        PRETTY.decode().encode("utf-16"),
        A.decode().encode("utf-16-le"),
        A.decode().encode("utf-16-be"),
    ],
)
def test_utf_16(data: bytes) -> None:
    """What PowerShell's > makes of any command's output."""
    with pytest.raises(SourceError, match="is UTF-16, as PowerShell's > writes it; save it as"):
        form(data)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-be", "utf-32-le"])
def test_utf_32(encoding: str) -> None:
    """It is not taken for UTF-16, though its mark begins alike."""
    with pytest.raises(SourceError, match="is UTF-32; save it as UTF-8"):
        form(A.decode().encode(encoding))


def test_a_sweep_that_has_no_name() -> None:
    """
    From a pipe, or compressed, a file that describes a sweep is told as such; an array is none.
    """
    for data in (
        b'[sweep]\ni = "1..3"\n[task]\n',
        BOM + b"# Ours.\n\n  # And\n[ task ] # it\n",
    ):
        with pytest.raises(SourceError, match=r"is a sweep \(TOML\), which is read from a plain"):
            form(data)
    assert type(form(b'["task"]')) is ArrayParser


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
async def test_a_file_that_is_compressed_twice(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    """Said as such, since what is inside looks like text that is damaged."""
    path = tmp_path / "tasks.jsonl.gz"
    path.write_bytes(gzip.compress(pack(A)))

    with pytest.raises(SourceError, match=r"gz: is compressed twice; decompress it once"):
        await read(path)


def test_a_file_of_nothing_but_nul() -> None:
    """As some file systems leave it behind after a crash."""
    with pytest.raises(SourceError, match="begins with NUL bytes"):
        form(bytes(100))


@pytest.mark.parametrize(
    "data",
    [
        A + b"\n" + line("b") + b"\n",
        b"[" + A + b",\n" + line("b") + b"]",
        b'{"odata.metadata":"x","value":[\n' + A + b",\n" + line("b") + b"]}",
    ],
)
async def test_every_form_gives_the_same_tasks(tmp_path: Path, data: bytes) -> None:
    """A file's name says nothing."""
    path = tmp_path / "tasks"
    path.write_bytes(data)

    items = await read(path)

    assert [task.body for task in items.tasks] == [A, line("b")]
    assert parse(form(data), data).tasks == items.tasks
