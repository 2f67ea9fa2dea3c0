"""Parquet: each row fills a template. The only file that imports pyarrow (an extra).

Only the columns that the template uses are read, a batch of rows at a time; on resume, row groups
that are done are not read at all.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import orjson
from anyio import to_thread

from bulksubmit.core.account import Place
from bulksubmit.core.model import Invalid, Kind, Problem
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.taskjson import show
from bulksubmit.errors import SourceError
from bulksubmit.producer.blocks import to_sparse_block
from bulksubmit.producer.opening import Bytes
from bulksubmit.producer.source import Admit, Block, Done
from bulksubmit.producer.template import Filler, Template

PARQUET = b"PAR1"  # How such a file begins, and ends.
_ALL = slice(None)
BUFFER_BYTES = 1024 * 1024  # Read of a column at once, however large its part of a row group is.


_ZERO_FRACTION = re.compile(r"\.0+(?=$|[Z+-])")
_ZONE = re.compile(r"([+-]\d\d)(\d\d)$")


class _Batch(NamedTuple):
    """Some rows.

    Attributes:
        rows: How many.
        columns: The text of each value of each column that is used; None for null.
    """

    rows: int
    columns: Sequence[Sequence[str | None]]


class _NoText(str):
    """What is shown of bytes that are not UTF-8."""

    __slots__ = ()


class _Mixed(list[str | None]):
    """Texts among which are some that are none."""


class ParquetRows:
    """An open file of rows."""

    def __init__(self, opened: Bytes, name: str, template: Template, checker: Checker) -> None:
        """Read a file.

        Args:
            opened: Must seek: the index of such a file stands at its end.
            name: For messages.
            template: What each row fills.
            checker: Says what is a task.
        """
        self._opened, self._name = opened, name
        self._template, self._checker = template, checker

    async def read(
        self, at: Place, admit: Admit, done: Done | None, *, groups: slice = _ALL
    ) -> Place:
        """Hand every row to ``admit``, in order; see Source.

        Args:
            at: Where the rows begin. The offset of places counts rows of the file from 0, and so
                do lines, from 1.
            admit: Takes rows in, as tasks.
            done: What is to be left out.
            groups: Which row groups are read.

        Returns:
            Where they end.

        Raises:
            SourceError: if it is damaged, its columns do not fit the template, or pyarrow is
                not installed.
        """
        rows = await to_thread.run_sync(_Rows, self._opened, self._name, self._template)
        place, size = at, self._opened.size or 0
        for number, count in [*enumerate(rows.groups)][groups]:
            if done and not done.settled.missing(place.ordinal, place.ordinal + count):
                place = _later(place, count)
                continue
            batches = rows.batches(number)
            while batch := await to_thread.run_sync(next, batches, None):
                place = _later(place, batch.rows)
                await admit(self._block(rows.filler, batch, place, done))
                self._opened.position = size * (place.ordinal - at.ordinal) // rows.total
        await admit(Block([], place))
        return place

    def _block(self, filler: Filler, batch: _Batch, after: Place, done: Done | None) -> Block:
        first, to_line = after.ordinal - batch.rows, after.line - after.ordinal
        columns, ordinals = batch.columns, [*range(first, after.ordinal)]
        if done:
            ordinals = [ordinal for ordinal in ordinals if ordinal not in done.settled]
        invalid = []
        if any(None in column or isinstance(column, _Mixed) for column in columns):
            rows = {
                ordinal: [column[ordinal - first] for column in columns] for ordinal in ordinals
            }
            invalid = [
                Invalid(ordinal, ordinal + to_line, "", _as_object(filler.names, row), problems)
                for ordinal, row in rows.items()
                if (problems := _problems(filler.names, row))
            ]
            odd = {item.ordinal for item in invalid}
            ordinals = [ordinal for ordinal in ordinals if ordinal not in odd]
        texts = cast("Sequence[Sequence[str]]", columns)
        if len(ordinals) < batch.rows:
            texts = [[column[ordinal - first] for ordinal in ordinals] for column in texts]
        return to_sparse_block(
            filler.fill(texts, len(ordinals)),
            [ordinal + to_line for ordinal in ordinals],
            ordinals,
            checker=self._checker,
            after=after,
            known_invalid=invalid,
        )


def row_groups(opened: Bytes, name: str, template: Template) -> list[int]:
    """How many rows each row group of an open file has; waits for its index.

    Raises:
        SourceError: as ParquetRows does.
    """
    return _Rows(opened, name, template).groups


class _Rows:
    """A file in pyarrow's hands. It reads, so each call waits.

    Attributes:
        groups: How many rows each row group has.
        total: How many they all have.
        filler: The template, for the file's columns.
    """

    def __init__(self, opened: Bytes, name: str, template: Template) -> None:
        if not opened.seeks:
            reason = "is Parquet, which is read from its end: give it as a file, not compressed"
            raise SourceError(name, None, reason)
        self._name = name
        with self._told():
            from pyarrow import parquet  # noqa: PLC0415 - an extra, and it takes 0.2 s

            file = parquet.ParquetFile(
                _Seekable(opened), pre_buffer=False, buffer_size=BUFFER_BYTES
            )
            schema, index = file.schema_arrow, file.metadata
            for column in schema.names:
                if schema.names.count(column) > 1:
                    raise SourceError(name, None, f"two columns have the name {column!r}")
            self.filler = template.on(schema.names, of=name)
            self._writers = [_writer(name, schema.field(column)) for column in self.filler.names]
            self.total = index.num_rows
            self.groups = [index.row_group(at).num_rows for at in range(index.num_row_groups)]
        self._file = file

    def batches(self, group: int) -> Iterator[_Batch]:
        """The rows of a row group, as many at a time as fill a block."""
        columns = [*self.filler.names]
        with self._told():
            for batch in self._file.iter_batches(
                self.filler.rows_max, row_groups=[group], columns=columns, use_threads=False
            ):
                texts = [
                    write(batch.column(name))
                    for write, name in zip(self._writers, columns, strict=True)
                ]
                yield _Batch(batch.num_rows, texts)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors of pyarrow, as ours. Those of the file below it pass through it as they are."""
        try:
            yield
        except ImportError as error:
            reason = f"is Parquet; install bulksubmit[parquet] to read it ({error})"
            raise SourceError(self._name, None, reason) from error
        except (ValueError, NotImplementedError, OSError) as error:  # Those that pyarrow's are.
            if isinstance(error, OSError) and error.errno:
                raise
            said = " ".join(str(error).split())
            reason = f"is not the Parquet file it was written as: {said}"
            raise SourceError(self._name, None, reason) from error


def _later(place: Place, count: int) -> Place:
    return Place(place.ordinal + count, place.offset + count, place.line + count, place.file)


def _problems(names: Sequence[str], row: Sequence[str | None]) -> tuple[Problem, ...]:
    """Why a row fills no template."""
    problems = []
    for name, value in zip(names, row, strict=True):
        if value is None:
            text = f"column {name!r} is null in this row; give it a value, or leave the row out"
            problems.append(Problem("", Kind.TEMPLATE, text))
        elif isinstance(value, _NoText):
            text = f"column {name!r} is not UTF-8 in this row"
            problems.append(Problem("", Kind.ENCODING, text, value=show(value)))
    return tuple(problems)


def _as_object(names: Sequence[str], row: Sequence[str | None]) -> bytes:
    return orjson.dumps(dict(zip(names, row, strict=True)))


def _writer(file: str, field: Any) -> Callable[[Any], list[str | None]]:
    """How values of a column become text.

    Args:
        file: For messages.
        field: The column, as pyarrow describes it.

    Raises:
        SourceError: if they have no text that everybody would expect.
    """
    import pyarrow as pa  # noqa: PLC0415 - see _Rows

    kind = field.type
    if pa.types.is_dictionary(kind):
        inner = _writer(file, field.with_type(kind.value_type))
        return lambda column: inner(column.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _as_utf8
    is_one = {
        pa.types.is_null: _as_text,
        pa.types.is_integer: _as_text,
        pa.types.is_boolean: _as_text,
        pa.types.is_binary: _as_utf8,
        pa.types.is_large_binary: _as_utf8,
        pa.types.is_date32: _as_text,
        pa.types.is_floating: _as_float,
        pa.types.is_decimal: _as_decimal,
        pa.types.is_date64: _as_time,
        pa.types.is_time: _as_time,
        pa.types.is_timestamp: _as_time,
    }
    for is_kind, write in is_one.items():
        if is_kind(kind):
            return write
    reason = (
        f"column {field.name!r} holds {kind}; a template takes texts, numbers, booleans, dates "
        "and times"
    )
    raise SourceError(file, None, reason)


def _as_text(column: Any) -> list[str | None]:
    texts: list[str | None] = column.cast("string").to_pylist()
    return texts


def _as_utf8(column: Any) -> list[str | None]:
    """Texts as they are. Nobody checks them when they are written, nor when they are read."""
    try:
        texts: list[str | None] = column.cast("large_string").to_pylist()
    except ValueError:  # As pyarrow's are, and those of Python's decoder.
        return _Mixed(map(_shown, column.cast("large_binary").to_pylist()))
    return texts


def _shown(value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return _NoText(value.decode(errors="backslashreplace"))


def _as_float(column: Any) -> list[str | None]:
    """As Python writes it; of a single the fewest digits that tell it: 0.1, and 1.0 for 1."""
    return [text and repr(float(text)) for text in _as_text(column)]


def _as_decimal(column: Any) -> list[str | None]:
    return [value if value is None else f"{value:f}" for value in column.to_pylist()]


def _as_time(column: Any) -> list[str | None]:
    """ISO 8601, without a fraction that is zero."""
    return [text and _iso(text) for text in _as_text(column)]


def _iso(text: str) -> str:
    text = _ZERO_FRACTION.sub("", text.replace(" ", "T"))
    return _ZONE.sub(r"\1:\2", text)


class _Seekable(io.RawIOBase):
    """An open file, as pyarrow takes one."""

    def __init__(self, opened: Bytes) -> None:
        self._opened, self._at = opened, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        size = self._opened.size or 0
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        wanted = (self._opened.size or 0) - self._at if size < 0 else size
        data = self._opened.read_at(self._at, wanted)
        self._at += len(data)
        return data
