"""CSV: each row fills a template, in flat memory.

Lines without a quote are cut by hand. Where there is a quote, Python's csv module says where a
row ends, so that no second opinion about that can differ from it.
"""

import csv
import io
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import PurePath
from typing import Self

import msgspec

from bulksubmit.core.account import Place
from bulksubmit.core.model import Invalid, Kind, Problem
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.taskjson import show
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_sparse_block
from bulksubmit.producer.lines import BOM, ITEM_BYTES_MAX, SHOWN_BYTES
from bulksubmit.producer.opening import BLOCK_BYTES
from bulksubmit.producer.source import Block
from bulksubmit.producer.template import Template

CELL_BYTES = 8  # A guess, for the first block.

_OPEN_QUOTE = "unexpected end of data"  # csv's words for a quoted cell that does not end.
_BLANK = re.compile(rb"(?:[ \t\r]*\n)*")
_BAD_BYTE = re.compile(r"[\udc80-\udcff]")  # What surrogateescape makes of one.


class _Cut(msgspec.Struct, frozen=True):
    """Rows, as bytes were cut into them.

    Attributes:
        rows: The cells of each, or its line if nothing in it has quotes.
        lines: The line at which each begins.
        length: How many bytes they take, blank lines among them too.
        line_ends: How many lines they take.
        odd: Whether some are no rows, or not UTF-8.
    """

    rows: Sequence[list[str] | str]
    lines: Sequence[int]
    length: int
    line_ends: int
    odd: bool = False


class RowParser:
    """See Parser."""

    form = "row"
    seeks = True

    def __init__(
        self,
        name: str,
        head: bytes,
        *,
        template: Template,
        at: Place,
        checker: Checker,
        settled: Container[int] | None = None,
    ) -> None:
        """Parse a file, or the rest of it.

        Args:
            name: For messages; if it ends in ``.tsv``, tabs separate the cells.
            head: The file's first bytes, with its whole header.
            template: What each row fills.
            at: Where the bytes to parse begin.
            checker: Says what is a task.
            settled: The ordinals of rows to leave out, unparsed; None for none.

        Raises:
            SourceError: if there is no header, or it does not fit the template.
        """
        self.place, self.more = at, False
        self._name, self._checker, self._settled = name, checker, settled
        self._header = _header_of(name, head)
        names = self._header.names
        self._filler = template.on(names, of=name)
        self._used = [names.index(column) for column in self._filler.names]
        self._rest = b""  # Bytes of rows that were not given yet.
        self._dropped = 0  # How many more of the first one are not kept, as it is too long.
        # How many are parsed at once: they make about as many rows as fill a block.
        self._step_bytes = self._filler.rows_max * len(names) * CELL_BYTES

    def feed(self, data: bytes) -> Block:
        """See Parser."""
        self._rest += self._without_header(data)
        if self._dropped:
            return self._pass(self._rest.find(b"\n") + 1)
        step = self._step_bytes
        while True:
            piece = self._rest[:step]
            piece = piece[: piece.rfind(b"\n") + 1]
            cut = self._cut(piece) if piece else None
            if cut and cut.length:
                break
            if step >= len(self._rest):
                self.more = False
                if len(self._rest) > ITEM_BYTES_MAX:
                    self._shorten(self._rest)
                return Block([], self.place)
            step *= 2
        self._rest = self._rest[cut.length :]
        self.more = b"\n" in self._rest
        if cut.rows:
            row_bytes = cut.length / len(cut.rows)
            self._step_bytes = min(BLOCK_BYTES, int(self._filler.rows_max * row_bytes) + 1)
        return self._block(cut)

    def part(self, data: bytes) -> Block:
        """See Parser."""
        return self._block(self._cut(self._without_header(data), whole=True))

    def finish(self) -> Block:
        """See Parser."""
        if self._dropped:
            return self._pass(len(self._rest))
        rest, self._rest = self._rest, b""
        return self._block(self._cut(rest, whole=True))

    def _without_header(self, data: bytes) -> bytes:
        if self.place.offset:
            return data
        header, at = self._header, self.place
        assert len(data) >= header.length  # The first piece is the head, or more.
        self.place = Place(at.ordinal, header.length, 1 + header.line_ends, at.file)
        return data[header.length :]

    def _shorten(self, row: bytes) -> None:
        """Keep of a row that is too long only what is to be shown. Without a quote, it is a line.

        Raises:
            SourceError: if it has a quote: nobody knows where such a row ends.
        """
        if b'"' in row:
            reason = (
                f"a quoted cell does not end, or the row has more than {ITEM_BYTES_MAX:,} bytes"
            )
            raise SourceError(self._name, self.place.line, reason)
        self._rest = row[:SHOWN_BYTES]
        self._dropped += len(row) - len(self._rest)

    def _pass(self, end: int) -> Block:
        """Look for the end of a row of which only the beginning is kept: there, if not at 0."""
        row, rest = (self._rest[:end], self._rest[end:]) if end else (self._rest, b"")
        self._shorten(row)
        self.more = end > 0 and b"\n" in rest
        if not end:
            return Block([], self.place)
        shown = _NoRow.too_long(self._rest.decode(errors="surrogateescape"))
        length, line_ends = len(self._rest) + self._dropped, row.count(b"\n")
        self._rest, self._dropped = rest, 0
        return self._block(_Cut([shown], [self.place.line], length, line_ends, odd=True))

    def _cut(self, data: bytes, *, whole: bool = False) -> _Cut:
        """Cut lines into rows.

        Args:
            data: Whole lines.
            whole: Whether the last row ends with them; otherwise it is left, if it is open.
        """
        try:
            text, odd = data.decode(), False
        except UnicodeDecodeError:
            text, odd = data.decode(errors="surrogateescape"), True
        plain = text.replace("\r\n", "\n") if "\r" in text else text
        if '"' in plain or "\r" in plain:
            return self._cut_quoted(text, whole=whole, odd=odd)
        lines = plain.split("\n")
        line_ends = len(lines) - 1
        numbers: Sequence[int] = range(self.place.line, self.place.line + len(lines))
        if not lines[-1]:
            lines.pop()
        if not all(lines):
            numbers = [number for number, line in zip(numbers, lines, strict=False) if line]
            lines = [line for line in lines if line]
        rows: Sequence[list[str] | str] = lines
        if len(data) > ITEM_BYTES_MAX:
            rows = [_NoRow.too_long(line) if _is_too_long(line) else line for line in lines]
            odd = True
        return _Cut(rows, numbers[: len(lines)], len(data), line_ends, odd)

    def _cut_quoted(self, text: str, *, whole: bool, odd: bool) -> _Cut:
        lines = [*io.StringIO(text, newline="\n")]
        rows: list[list[str]] = []
        numbers: list[int] = []
        begin = 0  # Lines before the row.
        with _long_cells():
            reader = csv.reader(lines, delimiter=self._header.delimiter, strict=True)
            while begin < len(lines):
                try:
                    row = next(reader, [])
                except csv.Error as error:
                    if str(error) == _OPEN_QUOTE:
                        if not whole:
                            break
                        reason = "a quoted cell of this row does not end"
                        line = self.place.line + begin
                        raise SourceError(self._name, line, reason) from error
                    row, odd = _NoRow.of(error, lines[begin]), True
                if _is_too_long(whole_row := "".join(lines[begin : reader.line_num])):
                    row, odd = _NoRow.too_long(whole_row), True
                if row:
                    rows.append(row)
                    numbers.append(self.place.line + begin)
                begin = reader.line_num
        length = len("".join(lines[:begin]).encode(errors="surrogateescape"))
        ended = begin - (begin == len(lines) and not text.endswith("\n"))
        return _Cut(rows, numbers, length, ended, odd)

    def _block(self, cut: _Cut) -> Block:
        place, rows, lines = self.place, cut.rows, cut.lines
        self.place = Place(
            place.ordinal + len(rows),
            place.offset + cut.length,
            place.line + cut.line_ends,
            place.file,
        )
        ordinals: Sequence[int] = range(place.ordinal, self.place.ordinal)
        if self._settled is not None:
            settled = self._settled
            left = [at for at, ordinal in enumerate(ordinals) if ordinal not in settled]
            rows, lines = [rows[at] for at in left], [lines[at] for at in left]
            ordinals = [ordinals[at] for at in left]
        delimiter = self._header.delimiter
        cells = [row.split(delimiter) if isinstance(row, str) else row for row in rows]
        if cut.odd or {*map(len, cells)} - {len(self._header.names)}:
            return self._with_odd_rows(cells, lines, ordinals)
        return self._filled(cells, lines, ordinals)

    def _with_odd_rows(
        self, rows: Sequence[list[str]], lines: Sequence[int], ordinals: Sequence[int]
    ) -> Block:
        problems = [self._problem(row) for row in rows]
        invalid = [
            Invalid(ordinal, line, "", self._as_line(row), (problem,))
            for ordinal, line, row, problem in zip(ordinals, lines, rows, problems, strict=True)
            if problem
        ]
        left = [at for at, problem in enumerate(problems) if not problem]
        return self._filled(
            [rows[at] for at in left],
            [lines[at] for at in left],
            [ordinals[at] for at in left],
            invalid,
        )

    def _filled(
        self,
        rows: Sequence[list[str]],
        lines: Sequence[int],
        ordinals: Sequence[int],
        invalid: Sequence[Invalid] = (),
    ) -> Block:
        columns = [[row[at] for row in rows] for at in self._used]
        return to_sparse_block(
            self._filler.fill(columns, len(rows)),
            lines,
            ordinals,
            checker=self._checker,
            after=self.place,
            known_invalid=invalid,
        )

    def _problem(self, row: list[str]) -> Problem | None:
        """Why a row fills no template."""
        names, count = self._header.names, len(row)
        if isinstance(row, _NoRow):
            return Problem("", row.kind, row.reason)
        if count < len(names):
            text = (
                f"the row has {_cells(count)}, and the header {len(names)}: "
                f"column {names[count]!r} is missing"
            )
            return Problem("", Kind.TEMPLATE, text)
        if count > len(names):
            text = (
                f"the row has {_cells(count)}, and the header {len(names)}; a cell that holds "
                f"{self._header.delimiter!r} stands in double quotes"
            )
            return Problem("", Kind.TEMPLATE, text, value=show(row[len(names)]))
        for name, cell in zip(names, row, strict=True):
            if _BAD_BYTE.search(cell):
                text = f"column {name!r} is not UTF-8; save the file as CSV in UTF-8"
                return Problem("", Kind.ENCODING, text)
        return None

    def _as_line(self, row: list[str]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=self._header.delimiter, lineterminator="").writerow(row)
        return text.getvalue().encode(errors="surrogateescape")


class _NoRow(list[str]):
    """Cells that could not be told from each other, or are not looked at."""

    reason: str
    kind = Kind.TEMPLATE

    @classmethod
    def too_long(cls, row: str) -> Self:
        beginning = row[:SHOWN_BYTES].encode(errors="surrogateescape")[:SHOWN_BYTES]
        made = cls([beginning.decode(errors="surrogateescape")])
        made.kind = Kind.LENGTH
        made.reason = (
            f"the row has more than {ITEM_BYTES_MAX:,} bytes, of which only the beginning is kept"
        )
        return made

    @classmethod
    def of(cls, error: csv.Error, line: str) -> Self:
        row = cls([line.rstrip("\r\n")])
        if "new-line character" in str(error):
            row.reason = "a carriage return stands in the row; lines end in LF or CR LF"
        else:
            row.reason = (
                f"the row's quotes are odd ({error}); a quote within a quoted cell is written twice"
            )
        return row


class _Header(msgspec.Struct, frozen=True):
    """A file's first row.

    Attributes:
        names: Of the columns.
        delimiter: Between cells, in all of the file.
        length: How many bytes of the file come before the first row.
        line_ends: How many of its lines.
    """

    names: Sequence[str]
    delimiter: str
    length: int
    line_ends: int


def _header_of(name: str, head: bytes) -> _Header:
    """The header of a file that begins so.

    Raises:
        SourceError: if it has none, or a column without a name, or two of one name.
    """
    begin = len(BOM) if head.startswith(BOM) else 0
    blank = _BLANK.match(head, begin)
    begin = blank.end() if blank else begin
    lines_before = head.count(b"\n", 0, begin)
    text = head[begin:].decode(errors="surrogateescape")
    line = text.partition("\n")[0].rstrip("\r")
    if not line:
        reason = "is empty; a CSV file begins with a row that names its columns"
        raise SourceError(name, None, reason)
    if "\r" in line:
        raise SourceError(name, None, "its lines end in CR alone; save it with LF or CR LF")
    if _BAD_BYTE.search(line):
        raise SourceError(name, None, "is not UTF-8; save it as CSV in UTF-8")
    delimiter = _delimiter_of(name, line)
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter, strict=True)
    try:
        names = [column.strip() for column in next(reader)]
    except csv.Error as error:
        reason = f"the header's quotes are odd ({error})"
        raise SourceError(name, lines_before + 1, reason) from error
    for number, column in enumerate(names, 1):
        if not column:
            raise SourceError(name, lines_before + 1, f"column {number} of the header has no name")
        if names.count(column) > 1:
            reason = f"two columns of the header have the name {column!r}"
            raise SourceError(name, lines_before + 1, reason)
    taken = "".join(islice(io.StringIO(text, newline="\n"), reader.line_num))
    length = begin + len(taken.encode(errors="surrogateescape"))
    return _Header(names, delimiter, length, lines_before + reader.line_num)


def _delimiter_of(name: str, line: str) -> str:
    """What separates cells: told by the name and the header, never guessed from rows."""
    if ".tsv" in PurePath(name).suffixes or "\t" in line:
        return "\t"
    return ";" if ";" in line and "," not in line else ","


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let csv read cells as long as any row; its bound is the process's: set it back.

    Twice as much as a row may have: only the end of a row tells where the next one begins.
    """
    before = csv.field_size_limit(2 * ITEM_BYTES_MAX)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _is_too_long(row: str) -> bool:
    """Whether a row has more than ITEM_BYTES_MAX, of which a character takes four at most."""
    if len(row) <= ITEM_BYTES_MAX // 4:
        return False
    return len(row.encode(errors="surrogateescape")) > ITEM_BYTES_MAX


def _cells(count: int) -> str:
    return f"{count} cell" + ("s" if count != 1 else "")
