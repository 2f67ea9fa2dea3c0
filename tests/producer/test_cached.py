"""A file on disk is read alike, whether the system has it in memory, in part, or not at all."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from bulksubmit.errors import SourceError
from bulksubmit.producer import opening
from bulksubmit.producer.opening import BLOCK_BYTES, OpenFile, open_file

DATA = Random(1).randbytes(3 * BLOCK_BYTES + 1_000)
ON_FROM_HERE = -1

Read = Callable[[int, Sequence[bytearray], int, int], int]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(DATA)
    return path


@pytest.fixture
def by_thread(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is read by a thread, as it is read."""
    read: list[bytes] = []
    original = OpenFile.read

    async def noted(file: OpenFile) -> bytes:
        read.append(await original(file))
        return read[-1]

    monkeypatch.setattr(OpenFile, "read", noted)
    return read


async def read_all(path: Path) -> list[bytes]:
    parts = []
    with closing(open_file(str(path))) as file:
        while part := await file.read():
            parts.append(part)
            assert file.position == sum(map(len, parts))
        await file.check_unchanged()
    return parts


def answering(monkeypatch: pytest.MonkeyPatch, read: Read) -> None:
    """The system answers like this when it is asked for what it has in memory."""
    monkeypatch.setattr(opening, "_TELLS_CACHED", True)
    monkeypatch.setattr(os, "RWF_NOWAIT", 8, raising=False)
    monkeypatch.setattr(os, "preadv", read, raising=False)


def reads(descriptor: int, buffers: Sequence[bytearray], count: int) -> int:
    """Read so many bytes, at the most, from where the file is."""
    data = os.read(descriptor, count)
    buffers[0][: len(data)] = data
    return len(data)


async def test_all_in_memory(
    path: Path, by_thread: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread has anything to read, but for the end."""
    answering(monkeypatch, lambda fd, to, _at, _flags: reads(fd, to, len(to[0])))

    assert b"".join(await read_all(path)) == DATA
    assert by_thread == [b""]


async def test_none_in_memory(
    path: Path, by_thread: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread reads all of it."""

    def nothing(_fd: int, _to: Sequence[bytearray], at: int, _flags: int) -> int:
        assert at == ON_FROM_HERE
        raise BlockingIOError

    answering(monkeypatch, nothing)

    assert b"".join(await read_all(path)) == DATA
    assert b"".join(by_thread) == DATA


async def test_some_in_memory(
    path: Path, by_thread: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces of any size from here and from there follow each other."""
    random = Random(2)

    def some(fd: int, to: Sequence[bytearray], _at: int, _flags: int) -> int:
        if random.random() < 0.5:
            raise BlockingIOError
        return reads(fd, to, random.randint(1, BLOCK_BYTES // 4))

    answering(monkeypatch, some)

    parts = await read_all(path)

    assert b"".join(parts) == DATA
    assert 0 < len(b"".join(by_thread)) < len(DATA)


async def test_another_place_in_between(path: Path) -> None:
    """Reading goes on behind a part that was read from elsewhere."""
    with closing(open_file(str(path))) as file:
        first = await file.read()
        part = await file.read_part(100, 50)
        rest = [await file.read() for _ in range(5)]

    assert DATA.startswith(first)
    assert part == DATA[100:150]
    assert b"".join(rest) == DATA[150:]


async def test_changed_meanwhile(path: Path) -> None:
    """Also of a file in memory it is told that it was changed."""
    with closing(open_file(str(path))) as file:
        await file.read()
        os.truncate(path, len(DATA) - 1)
        with pytest.raises(SourceError, match="was changed while it was read"):
            await file.check_unchanged()


async def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe with a name is read by waiting for it, not by asking what is in memory."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(fifo, os.O_WRONLY)
    os.write(writer, b"some")
    with closing(open_file(str(fifo))) as file:
        assert await file.read() == b"some"
    os.close(reader)
    os.close(writer)
