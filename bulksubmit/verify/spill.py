"""Records about IDs, on disk: what does not fit into memory, to be looked at a part at a time.

Each record goes to one of PARTS parts, by the hash of its folded ID, so that all records about one
ID are in the same part; there the IDs themselves are compared. A hash decides where to look and
never what is the same, so it may collide.

Records are gathered in memory, part by part, and written to one temporary file once there are
CHUNK_BYTES of them. So a part lies there in pieces, as many as chunks, in the order of writing.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryFile, gettempdir

from xxhash import xxh3_64_intdigest

from bulksubmit.errors import OutputError

# 10 million IDs are 10,000 a part, some MB in a dictionary; 100 million ten times that.
PARTS = 1024
CHUNK_BYTES = 8 * 2**20  # 8 kB a piece.

# What separates fields, and records. In JSON they are white space wherever they stand unescaped.
_SPACES = bytes.maketrans(b"\t\r\n", b"   ")


def on_one_line(body: bytes) -> bytes:
    """JSON as a record can hold it: the same value, without tabs and line ends."""
    return body.translate(_SPACES)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Where a chunk lies.

    Attributes:
        offset: Where it begins in the file.
        bounds: Of each part, the bytes before its piece; and the bytes of all.
    """

    offset: int
    bounds: Sequence[int]


class Spill:
    """Holds records; add() them, then look at one part after the other."""

    def __init__(self, folder: Path | None = None, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        """Begin with none.

        Args:
            folder: Where the temporary file goes; it has no name there. None for the platform's
                usual place.
            chunk_bytes: What is kept in memory at most.

        Raises:
            OutputError: if the temporary file cannot be made.
        """
        self._folder, self._chunk_bytes = folder, chunk_bytes
        with self._on_disk("made"):
            self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - close() closes it
        self._pieces = [bytearray() for _ in range(PARTS)]
        self._bytes, self._end = 0, 0
        self._chunks: list[_Chunk] = []

    def add(self, records: Iterable[tuple[str, bytes]]) -> None:
        """Take in records.

        Args:
            records: Each with the ID that it is about, in any case. It holds no line end.

        Raises:
            OutputError: if the temporary file cannot be written; close it then.
        """
        pieces, size = self._pieces, 0
        for task_id, record in records:
            piece = pieces[xxh3_64_intdigest(task_id.lower().encode()) % PARTS]
            piece += record
            piece += b"\n"
            size += len(record) + 1
        self._bytes += size
        if self._bytes >= self._chunk_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what was gathered.

        Raises:
            OutputError: if the temporary file cannot be written.
        """
        if not self._bytes:
            return
        bounds = array("Q", accumulate(map(len, self._pieces), initial=0))
        with self._on_disk("written"):
            self._file.seek(self._end)
            self._file.writelines(self._pieces)
            self._file.flush()  # A full disk is seen here. No fsync: it need not outlive us.
        self._chunks.append(_Chunk(self._end, bounds))
        self._end += self._bytes
        self._pieces, self._bytes = [bytearray() for _ in range(PARTS)], 0

    def part(self, number: int) -> Iterator[tuple[int, bytes]]:
        """The records of a part, in the order in which they were added; flush() before.

        Args:
            number: From 0 on, below PARTS.

        Returns:
            Where each begins, for read(); and the record.

        Raises:
            OutputError: if the temporary file cannot be read.
        """
        for chunk in self._chunks:
            begin, end = chunk.bounds[number : number + 2]
            if begin == end:
                continue
            offset = chunk.offset + begin
            for record in self.read(offset, end - begin)[:-1].split(b"\n"):
                yield offset, record
                offset += len(record) + 1

    def read(self, offset: int, length: int) -> bytes:
        """A piece of the file.

        Raises:
            OutputError: if it cannot be read.
        """
        with self._on_disk("read"):
            self._file.seek(offset)
            return self._file.read(length)

    @contextmanager
    def _on_disk(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"a temporary file in {self._folder or gettempdir()} cannot be {what}: "
                f"{error.strerror or error}; TMPDIR names another place"
            ) from error

    def close(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):  # What a full disk did not take cannot be written now either.
            self._file.close()
