"""Which form a file has: told by its first bytes, not by its name."""

import re
from collections.abc import Container
from pathlib import PurePath

from bulksubmit.core.account import Place
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.arrays import MEMBER, ArrayParser, ObjectParser
from bulksubmit.producer.compressed import PACKED
from bulksubmit.producer.lines import BOM, LineParser
from bulksubmit.producer.opening import BLOCK_BYTES
from bulksubmit.producer.parquet import PARQUET
from bulksubmit.producer.parser import Parser
from bulksubmit.producer.rawjson import ends_early
from bulksubmit.producer.rows import RowParser
from bulksubmit.producer.template import Template

# Members before the ``value`` of a list, as OData has them; a task's own tell that it is none.
_BEFORE = (
    rb"(?:\xef\xbb\xbf)?+\s*+\{(?:(?!\s*+" + rb'"(?:id|commandLine|value)")' + MEMBER + rb"\s*+,)*+"
)
_ARRAY = re.compile(rb"(?:\xef\xbb\xbf)?+\s*+\[")
_LIST = re.compile(_BEFORE + rb'\s*+"value"\s*+:\s*+\[', re.DOTALL)
_TASK = re.compile(_BEFORE + rb'\s*+"(?:id|commandLine)"', re.DOTALL)
_HEADER = re.compile(rb'(?:[^"\n]++|"[^"]*+")*+\n')  # Of CSV: a row may go over several lines.
# A mark, or a first character of which three bytes are zero.
_UTF_32 = re.compile(
    rb"\xff\xfe\0\0|\0\0\xfe\xff|[^\0]\0\0\0|\0\0\0[^\0]",
)
_SWEEP = re.compile(rb"(?:\xef\xbb\xbf)?+(?:\s++|#[^\n]*+\n)*+\[[ \t]*+(?:sweep|task)[ \t]*+\]")
_CSV_SUFFIXES = frozenset([".csv", ".tsv"])
_GOES_ON = (b"{", b"[", b",", b":")  # How a line ends in the middle of a task.


def tells(head: bytes, *, rows: bool = False) -> bool:
    """Whether a file's first bytes say its form; otherwise more of them are needed.

    Args:
        head: The bytes.
        rows: Whether the file is to hold rows, whose form is told by their header.
    """
    text = head.removeprefix(BOM).lstrip()
    if not text or BOM.startswith(head):
        return False
    if rows and len(head) < BLOCK_BYTES and not PARQUET.startswith(head[: len(PARQUET)]):
        return _HEADER.match(text) is not None
    if text[:1] != b"{" or len(head) >= BLOCK_BYTES or _LIST.match(head):
        return True
    line, line_end, _ = text.partition(b"\n")
    return bool(line_end) and (not ends_early(line) or _TASK.match(text) is not None)


def parser_for(
    name: str,
    head: bytes,
    *,
    first: int,
    at: Place,
    checker: Checker,
    settled: Container[int] | None = None,
    template: Template | None = None,
) -> Parser:
    """The parser for a file that begins so.

    Args:
        name: For messages.
        head: The file's first bytes: so many that they tell its form, or all.
        first: The ordinal of the file's first item.
        at: Where the parser is to begin.
        checker: Says what is a task.
        settled: The ordinals of items to leave out; None for none.
        template: What the rows of the file fill; None for a file of tasks.

    Raises:
        SourceError: if it is no file of tasks.
    """
    if reason := _why_no_text(head):
        raise SourceError(name, None, reason)
    if _SWEEP.match(head):
        reason = "is a sweep (TOML), which is read from a plain file that ends in .toml"
        raise SourceError(name, None, reason)
    text = head.removeprefix(BOM).lstrip()
    if template:
        if text[:1] in (b"{", b"["):
            reason = "is JSON, and a template takes rows, of CSV or Parquet; leave out --template"
            raise SourceError(name, None, reason)
        return RowParser(name, head, template=template, at=at, checker=checker, settled=settled)
    _refuse_rows(name, text)
    if begin := _ARRAY.match(head) or _LIST.match(head):
        return ArrayParser(
            name,
            begin=begin.end(),
            wrapped=b"{" in begin[0],
            first=first,
            at=at,
            checker=checker,
            settled=settled,
        )
    if _is_over_lines(text):
        return ObjectParser(name, at=at, checker=checker, settled=settled)
    return LineParser(name, at=at, checker=checker, settled=settled)


def _why_no_text(head: bytes) -> str | None:
    if head.startswith(PACKED):
        return "is compressed twice; decompress it once"
    if _UTF_32.match(head):
        return "is UTF-32; save it as UTF-8"
    if b"\0" in head[:4] or head.startswith((b"\xff\xfe", b"\xfe\xff")):
        if not head[:4].strip(b"\0"):
            return "begins with NUL bytes; it is no text"
        return "is UTF-16, as PowerShell's > writes it; save it as UTF-8"
    return None


def _refuse_rows(name: str, text: bytes) -> None:
    is_csv = _CSV_SUFFIXES.intersection(PurePath(name).suffixes) and text[:1] not in (b"{", b"[")
    form = "CSV" if is_csv else "Parquet" if text.startswith(PARQUET) else None
    if form:
        reason = f"is {form}: give a task by --template, with {{column}} where values go"
        raise SourceError(name, None, reason)


def _is_over_lines(text: bytes) -> bool:
    """Whether a file is one task over several lines, as people and editors write it."""
    line, line_end, _ = text.partition(b"\n")
    line = line.rstrip()
    return bool(line_end) and line[:1] == b"{" and line.endswith(_GOES_ON) and ends_early(line)
