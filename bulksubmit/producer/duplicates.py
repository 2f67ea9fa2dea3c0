"""IDs that come twice, over the whole input and in flat memory.

The service takes IDs that differ only in case for the same (REST reference, TaskAddParameter.id),
so it is lower-cased IDs that are compared, by their 128-bit xxh3 digests. That two different IDs
of 100 million have one digest has a probability of 1e-23: no second look at them is needed. (The
digest is no cryptographic one: someone who wanted to could make two IDs that seem alike.)

Digests are spilled to one temporary file, in chunks of CHUNK_IDS or a little more. A chunk is:

    the first byte of each digest, in order of ordinals        1 byte an ID
    the digests, by their first byte; within it, in order     16 bytes an ID

All digests with one first byte are a partition. At the end one set after the other holds a
partition, 1/256 of all: at 100 million IDs, 390,000 digests and 60 MB. The first bytes say which
ordinal a digest belongs to; they save a second file, partitioned at the end, and twice the disk.
"""

import io
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, groupby, pairwise
from pathlib import Path
from struct import iter_unpack
from tempfile import SpooledTemporaryFile, gettempdir

import msgspec
from xxhash import xxh3_128_digest

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.model import Invalid, Task
from bulksubmit.core.tasks import Columns
from bulksubmit.errors import OutputError
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Block, Done, Source

# 4 kB a partition and chunk; some 2 MB in memory before the disk is touched at all. Taking in the
# last ID of a chunk takes about 1 ms.
CHUNK_IDS = 65_536
_PARTITIONS = 256
_DIGEST_BYTES = 16

# How far known places are apart, so how much is read again to name one item. In 30 GB, they are
# 30,000, and take 6 MB.
_PLACES_BYTES = 1024 * 1024
_RUNS_MAX = 10_000  # 1 MB.


class Duplicate(msgspec.Struct, frozen=True, order=True):
    """Two items with one ID.

    Attributes:
        second: Ordinal of the later one.
        first: Ordinal of the first of all items with this ID.
    """

    second: int
    first: int


class Found(msgspec.Struct, frozen=True):
    """What DuplicateCheck found.

    Attributes:
        count: How many items have the ID of an earlier one.
        named: The first of them, in order.
    """

    count: int
    named: list[Duplicate]


class _Chunk(msgspec.Struct, frozen=True):
    """Where a chunk lies.

    Attributes:
        first: Its first ordinal.
        count: Its ordinals.
        offset: Where it begins in the file.
        bounds: Of each partition, the number of digests before it; and that of all.
    """

    first: int
    count: int
    offset: int
    bounds: Sequence[int]


class DuplicateCheck:
    """Finds the IDs that come twice.

    Told of all items in order; asked at the end. Costs 0.2 µs an ID and 0.1 to 0.2 at the end
    (benchmarks/validate.py); half a µs if everything comes twice.
    """

    def __init__(self, folder: Path | None = None, *, chunk_ids: int = CHUNK_IDS) -> None:
        """Begin with no IDs.

        Args:
            folder: Where the temporary file goes, of 17 bytes an ID, once there are more than
                ``chunk_ids``; it has no name there. None for the platform's usual place.
            chunk_ids: How many IDs are kept in memory at most.
        """
        self._folder, self._chunk_ids = folder, chunk_ids
        # A whole chunk is more than max_size: with it, the file moves to the disk.
        memory_bytes = chunk_ids * (_DIGEST_BYTES + 1) - 1
        self._file = SpooledTemporaryFile(  # noqa: SIM115 - close() closes it
            max_size=memory_bytes, dir=None if folder is None else str(folder)
        )
        self._chunks: list[_Chunk] = []
        self._end = 0
        self._order = bytearray()
        self._partitions = [bytearray() for _ in range(_PARTITIONS)]

    def add(self, tasks: Sequence[Task | Invalid], end: int) -> None:
        """Take in the next items.

        Args:
            tasks: In order; also what is no task, if it has an ID. Items that are missing are
                like no other.
            end: The ordinal after the last item.

        Raises:
            OutputError: if the temporary file cannot be written; close it then.
        """
        digests = [*map(xxh3_128_digest, _folded(tasks))]
        if len(digests) < end - self._end:
            digests = self._with_gaps(tasks, digests, end)
        assert len(digests) == end - self._end
        self._end = end
        order = b"".join(digests)[::_DIGEST_BYTES]
        self._order += order
        partitions = self._partitions
        for number, digest in zip(order, digests, strict=True):
            partitions[number] += digest
        if len(self._order) >= self._chunk_ids:
            self._spill()

    def _with_gaps(
        self, tasks: Sequence[Task | Invalid], digests: list[bytes], end: int
    ) -> list[bytes]:
        """One digest an ordinal: where there is no ID, that of the ordinal itself."""
        # No ID is this in UTF-8, so none has its digest; and the partitions stay even.
        whole = [xxh3_128_digest(b"\xff%d" % ordinal) for ordinal in range(self._end, end)]
        for task, digest in zip(tasks, digests, strict=True):
            whole[task.ordinal - self._end] = digest
        return whole

    def _spill(self) -> None:
        count = len(self._order)
        counts = [len(digests) // _DIGEST_BYTES for digests in self._partitions]
        bounds = array("I", accumulate(counts, initial=0))
        with self._on_disk("written"):
            offset = self._file.seek(0, io.SEEK_END)
            self._file.write(b"".join([self._order, *self._partitions]))
            self._file.flush()  # A full disk is seen here. No fsync: it need not outlive us.
        self._chunks.append(_Chunk(self._end - count, count, offset, bounds))
        self._order.clear()
        for digests in self._partitions:
            digests.clear()

    def find(self, *, named_max: int = 1_000) -> Found:
        """Look for IDs that came twice.

        Takes seconds at ten million IDs: call it in a thread. close() from another thread ends
        it, with a ValueError.

        Args:
            named_max: How many to name at most; all are counted.

        Raises:
            OutputError: if the temporary file cannot be written or read.
        """
        if self._order:
            self._spill()
        count, seconds = 0, list[tuple[int, bytes]]()
        for number in range(_PARTITIONS):
            repeated = self._count(number)
            count += repeated
            if repeated and named_max:
                self._find_seconds(number, seconds, named_max)
        return Found(count, sorted(self._with_firsts(seconds)))

    def _count(self, number: int) -> int:
        """How many digests of a partition came before."""
        # The second half as a number takes less memory and time than the whole. That halves of
        # one partition are alike, and wholes are not, happens once in a million inputs of 100
        # million IDs; so mostly no second look is needed.
        halves, count = set[int](), 0
        for _, data in self._partition(number):
            halves.update(memoryview(data).cast("Q")[1::2])
            count += len(data) // _DIGEST_BYTES
        if len(halves) == count:
            return 0
        del halves
        seen = set[bytes]()
        for _, data in self._partition(number):
            seen.update(_digests(data))
        return count - len(seen)

    def _find_seconds(self, number: int, seconds: list[tuple[int, bytes]], named_max: int) -> None:
        """Put a partition's digests that came before among those found in others.

        Args:
            number: The partition's.
            seconds: Ordinals and digests, in order of ordinals; stays so, and at most
                ``named_max``, at least one.
            named_max: See find().
        """
        seen, found = set[bytes](), 0
        for chunk, data in self._partition(number):
            if len(seconds) == named_max and chunk.first > seconds[-1][0]:
                return
            digests = _digests(data)
            fresh = set(digests)
            if len(fresh) == len(digests) and seen.isdisjoint(fresh):
                seen |= fresh
                continue
            order = self._order_of(chunk)
            for at, digest in enumerate(digests):
                if digest not in seen:
                    seen.add(digest)
                    continue
                if found == named_max:  # This partition's later ones come later.
                    return
                insort(seconds, (chunk.first + _place(order, number, at), digest))
                del seconds[named_max:]
                found += 1

    def _with_firsts(self, seconds: list[tuple[int, bytes]]) -> Iterator[Duplicate]:
        """Find the first item with each of these digests."""
        by_partition = sorted(seconds, key=lambda one: one[1])
        for number, group in groupby(by_partition, key=lambda one: one[1][0]):
            pairs = list(group)
            wanted, firsts = {digest for _, digest in pairs}, dict[bytes, int]()
            for chunk, data in self._partition(number):
                digests = _digests(data)
                for digest in wanted.intersection(digests):
                    order = self._order_of(chunk)
                    firsts[digest] = chunk.first + _place(order, number, digests.index(digest))
                    wanted.remove(digest)
                if not wanted:
                    break
            yield from (Duplicate(second, firsts[digest]) for second, digest in pairs)

    def _partition(self, number: int) -> Iterator[tuple[_Chunk, bytes]]:
        """A partition's digests in order, by chunks."""
        for chunk in self._chunks:
            begin, end = chunk.bounds[number : number + 2]
            offset = chunk.offset + chunk.count + begin * _DIGEST_BYTES
            yield chunk, self._read(offset, (end - begin) * _DIGEST_BYTES)

    def _order_of(self, chunk: _Chunk) -> bytes:
        return self._read(chunk.offset, chunk.count)

    def _read(self, offset: int, length: int) -> bytes:
        with self._on_disk("read"):
            self._file.seek(offset)
            return self._file.read(length)

    @contextmanager
    def _on_disk(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"the list of IDs in {self._folder or gettempdir()}, of 17 bytes a task, cannot be "
                f"{what}: {error.strerror or error}; IDs that come twice were not looked for"
            ) from error

    def close(self) -> None:
        """Remove the temporary file."""
        with suppress(OSError):  # What a full disk did not take cannot be written now either.
            self._file.close()


def _folded(tasks: Sequence[Task | Invalid]) -> list[bytes]:
    """Their IDs without regard to case."""
    if isinstance(tasks, Columns):
        return tasks.folded
    return [task.id.lower().encode() for task in tasks]


def _digests(data: bytes) -> list[bytes]:
    return [digest for (digest,) in iter_unpack(f"{_DIGEST_BYTES}s", data)]


def _place(order: bytes, byte: int, at: int) -> int:
    """The place of the ``at``-th (from 0) byte of this value."""
    return len(order) - len(order.split(bytes([byte]), at + 1)[-1]) - 1


class Lines:
    """Where the items of a source are, as far as a few notes tell; taken while it is read."""

    def __init__(self) -> None:
        self._last = BEGINNING
        self._places = [BEGINNING]
        # From which ordinal on, and by how much the line is more than the ordinal; None for
        # where there are blank lines, or items of several lines.
        self._runs: list[tuple[int, int | None]] = []

    def add(self, place: Place) -> None:
        """Note where a block ends, and the next one begins; also a file's beginning."""
        last, noted = self._last, self._places[-1]
        self._last = place
        if place.file != noted.file or place.offset - noted.offset >= _PLACES_BYTES:
            self._places.append(place)
        if place.ordinal == last.ordinal or len(self._runs) > _RUNS_MAX:
            return
        shift = place.line - place.ordinal
        even = place.file == last.file and shift == last.line - last.ordinal
        run = shift if even and len(self._runs) < _RUNS_MAX else None
        if not self._runs or self._runs[-1][1] != run:
            self._runs.append((last.ordinal, run))

    def line(self, ordinal: int) -> int | None:
        """The line of an item, if it is known without a second look.

        Between two places as many lines apart as items, each item has a line of its own. (An
        array could have several in one, and as many more in another: to count on its lines,
        read it again.)
        """
        run = self._runs[bisect_right(self._runs, ordinal, key=lambda one: one[0]) - 1][1]
        return None if run is None else ordinal + run

    async def read_again(self, source: Source, ordinals: set[int]) -> dict[int, Task | Invalid]:
        """The items with these ordinals, of a source with a spec: only what is near is read.

        Raises:
            SourceError: if it cannot be read again.
        """
        assert source.spec
        others, found = Bitmap(), dict[int, Task | Invalid]()
        for before, ordinal in pairwise([-1, *sorted(ordinals), self._last.ordinal]):
            others.add_range(before + 1, ordinal)

        async def take(block: Block) -> None:
            found.update((item.ordinal, item) for item in block.items)

        again = open_source(source.spec, source.checker)
        try:
            await again.read(take, Done(others, self._places))
        finally:
            again.close()
        return found


async def texts_of(
    named: Sequence[Duplicate], source: Source, lines: Lines
) -> list[tuple[str, str, str]]:
    """Duplicates for a person: the later one's place and ID, and what is wrong with it.

    Args:
        named: Found in the source.
        source: As it was read.
        lines: Noted meanwhile.

    Returns:
        A place such as ``tasks.jsonl:90``, the ID, and a sentence that names the first one's
        place. What cannot be read again, a pipe or an iterable, has empty IDs.

    Raises:
        SourceError: if a file cannot be read again.
    """
    ordinals = {ordinal for one in named for ordinal in (one.first, one.second)}
    items = await lines.read_again(source, ordinals) if source.spec and named else {}

    def where(ordinal: int) -> str:
        line = items[ordinal].line if ordinal in items else lines.line(ordinal)
        if line is None:
            return f"{source.file_of(ordinal)}: item {ordinal + 1} of the input"
        return source.where(ordinal, line)

    texts = []
    for one in named:
        task_id = items[one.second].id if one.second in items else ""
        what = f"id {task_id!r}" if task_id else "its id"
        text = f"{what} is also that of {where(one.first)}; IDs must be unique, ignoring case"
        texts.append((where(one.second), task_id, text))
    return texts
