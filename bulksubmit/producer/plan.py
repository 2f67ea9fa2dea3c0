"""Where a source is cut into shards. Files are looked at, and not read."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import pairwise
from typing import TypeAlias

from msgspec.structs import replace

from bulksubmit.core.account import BEGINNING
from bulksubmit.core.shard import Shard, Unit
from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer import remote
from bulksubmit.producer.compressed import PACKED
from bulksubmit.producer.forms import parser_for, tells
from bulksubmit.producer.lines import LineParser
from bulksubmit.producer.opening import BLOCK_BYTES, Bytes, open_file
from bulksubmit.producer.parquet import PARQUET, row_groups
from bulksubmit.producer.spec import SourceSpec, is_url
from bulksubmit.producer.sweeps import SweepSource
from bulksubmit.producer.template import Template, template_of

SHARDS_PER_WORKER = 4  # So that one that is slow, or dies, holds up a quarter of its share.
# Up to there a shard that is sent again by another worker is some ten seconds of work; below it,
# beginning one costs more than it is worth.
SHARD_BYTES_MAX = 256 * 1024 * 1024
SHARD_BYTES_MIN = 4 * 1024 * 1024
# The same of a sweep, whose tasks have no bytes yet.
SHARD_TASKS_MAX = 500_000
SHARD_TASKS_MIN = 10_000

_WINDOW_BYTES = 16 * 1024  # Looked at around each cut: most lines end in it.
_LONG_WINDOW_BYTES = 1024 * 1024  # At a time, where none does.
_FILES_AT_ONCE = 16  # A look at a remote file is a question or two, of some 50 ms.

# Bytes of a file from several places: the offsets of the first byte, and behind the last one.
_Look: TypeAlias = Callable[[Sequence[tuple[int, int]]], list[bytes]]


def plan(spec: SourceSpec, *, workers: int, shard_bytes: int | None = None) -> list[Shard]:
    """Cut a source into shards, which together are all of it.

    Waits for the files, so on a thread of its own.

    Args:
        spec: What expanded() gave; all files can be opened again.
        workers: How many shards are worked on at the same time.
        shard_bytes: How large a shard is to be, of a file that can be cut; None for a size
            between SHARD_BYTES_MIN and SHARD_BYTES_MAX that gives each worker several.

    Returns:
        In order of the source. Empty files have none, so the list may be empty.

    Raises:
        SourceError: if a file cannot be opened, or is of no form that holds tasks.
    """
    if spec.sweeps:
        return _of_sweep(spec, workers)
    template = template_of(spec)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
        sizes = [*pool.map(_size_of, spec.files)]
        share = -(-sum(sizes) // (SHARDS_PER_WORKER * workers))
        size = shard_bytes or min(max(share, SHARD_BYTES_MIN), SHARD_BYTES_MAX)
        cut = partial(_cut, template=template, shard_bytes=size)
        found = pool.map(cut, range(len(sizes)), spec.files, sizes)
        shards = [shard for each in found for shard in each]
    return [replace(shard, number=number) for number, shard in enumerate(shards)]


def _of_sweep(spec: SourceSpec, workers: int) -> list[Shard]:
    count = SweepSource(spec, name=spec.name or "sweep", checker=Checker()).tasks_total
    share = -(-count // (SHARDS_PER_WORKER * workers))
    step = min(max(share, SHARD_TASKS_MIN), SHARD_TASKS_MAX)
    return [
        Shard(number, 0, Unit.TASKS, first, min(first + step, count), 0, first + 1)
        for number, first in enumerate(range(0, count, step))
    ]


def _size_of(path: str) -> int:
    if is_url(path):
        return remote.size_of(path)
    with closing(open_file(path)) as opened:
        if opened.size is None:
            raise SourceError(path, None, "is no file; a pipe is read by one process alone")
        return opened.size


def _cut(
    file: int, path: str, size: int, *, template: Template | None, shard_bytes: int
) -> list[Shard]:
    """The shards of a file; their numbers are still to be given."""
    if not size:
        return []
    with _looking_at(path, size) as (opened, look):
        head = _head(look, size, rows=template is not None)
        if head.startswith(PACKED):
            return [Shard(0, file, Unit.WHOLE, 0, size, size, 1)]
        if template and head.startswith(PARQUET):
            groups = row_groups(opened, path, template)
            return _of_groups(file, groups, size, shard_bytes)
        parser = parser_for(path, head, first=0, at=BEGINNING, checker=Checker(), template=template)
        if not isinstance(parser, LineParser):
            return [Shard(0, file, Unit.WHOLE, 0, size, size, 1)]
        count = -(-size // shard_bytes)
        cuts = _line_ends(look, [size * number // count for number in range(1, count)], size)
    return [
        Shard(0, file, Unit.BYTES, begin, end, end - begin, None if begin else 1)
        for begin, end in pairwise([0, *cuts, size])
    ]


@contextmanager
def _looking_at(path: str, size: int) -> Iterator[tuple[Bytes, _Look]]:
    if is_url(path):
        # Not by the open file, which would read ahead of each place as of one that is read on.
        with closing(remote.RemoteFile(path, size)) as file:
            yield file, partial(remote.read_ranges, path)
        return
    with closing(open_file(path)) as opened:
        try:
            yield opened, lambda ranges: [opened.read_at(at, end - at) for at, end in ranges]
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            raise SourceError(path, None, reason) from error


def _head(look: _Look, size: int, *, rows: bool) -> bytes:
    """So many of the first bytes that they tell the form, or all."""
    head = b""
    while len(head) < size:
        (more,) = look([(len(head), min(len(head) + BLOCK_BYTES, size))])
        head += more
        if not more or head.startswith(PACKED) or tells(head, rows=rows):
            break
    return head


def _of_groups(file: int, groups: Sequence[int], size: int, shard_bytes: int) -> list[Shard]:
    """Row groups in a row, until they are large enough. Each row is as large as any other."""
    shards: list[Shard] = []
    total, begin, first, row = sum(groups), 0, 0, 0
    for number, count in enumerate(groups, start=1):
        row += count
        length = size * row // total - size * first // total if total else 0
        if row > first and (length >= shard_bytes or row == total):
            shards.append(Shard(0, file, Unit.GROUPS, begin, number, length, first + 1))
            begin, first = number, row
    return shards


def _line_ends(look: _Look, wanted: Sequence[int], size: int) -> list[int]:
    """Where lines begin, at some offsets or behind them; at none twice."""
    # From the byte before: a line may begin just there.
    windows = look([(at - 1, min(at - 1 + _WINDOW_BYTES, size)) for at in wanted]) if wanted else []
    found: list[int] = []
    for at, window in zip(wanted, windows, strict=True):
        if found and at <= found[-1]:  # Within a line that is longer than a shard.
            continue
        begin = _line_begin(look, at - 1, window, size)
        if begin == size:
            break
        found.append(begin)
    return found


def _line_begin(look: _Look, offset: int, window: bytes, size: int) -> int:
    """Where the first line begins behind an offset, from which on the window was read."""
    while window:
        if (line_end := window.find(b"\n")) >= 0:
            return offset + line_end + 1
        offset += len(window)
        if offset >= size:
            break
        (window,) = look([(offset, min(offset + _LONG_WINDOW_BYTES, size))])
    return size
