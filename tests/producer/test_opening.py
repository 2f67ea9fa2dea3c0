"""Compressed files, whatever their name and wherever they are, and files at URLs."""

import gzip
import os
import random
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import fsspec
import pytest
import zstandard

from bulksubmit.core.bitmap import Bitmap
from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.compressed import begin
from bulksubmit.producer.opening import BLOCK_BYTES, open_file
from bulksubmit.producer.source import Done
from bulksubmit.producer.spec import SourceSpec, fingerprint
from tests.producer.reading import Items, line, read, read_until_error

COUNT = 3_000
RANDOM = random.Random(1)
# Three blocks or so, which do not become much smaller.
BODIES = [line(f"t{n}", f',"displayName":"{RANDOM.randbytes(100).hex()}"') for n in range(COUNT)]
DATA = b"\n".join(BODIES) + b"\n"


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


Pack = Callable[[bytes], bytes]
both = pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.jsonl"


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def bodies_of(items: Items) -> list[bytes]:
    return [task.body for task in items.tasks]


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """As if it were not installed."""
    monkeypatch.setitem(sys.modules, package, None)


# --- Compressed --------------------------------------------------------------------------------


@both
async def test_a_compressed_file(path: Path, pack: Pack) -> None:
    """It is told by its first bytes, and its items by their lines, as in the file unpacked."""
    write(path, pack(DATA))

    source = open_source(path)
    items = await read(source)

    assert bodies_of(items) == BODIES
    assert items.tasks[-1].line == COUNT
    assert items.places[-1].offset == len(DATA)
    assert source.bytes_total == source.bytes_read == len(pack(DATA))


async def test_gzip_without_isal(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain install reads gzip too."""
    without(monkeypatch, "isal")
    write(path, gzip.compress(DATA))

    assert bodies_of(await read(path)) == BODIES


async def test_zstd_without_zstandard(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    without(monkeypatch, "zstandard")
    write(path, zstd(DATA))

    with pytest.raises(SourceError, match=r"is compressed with zstd; install bulksubmit\[compress"):
        await read(path)


@both
async def test_a_compressed_file_of_several_members(path: Path, pack: Pack) -> None:
    """As cat makes it of several files; empty ones too."""
    cuts = [0, 0, 1, 1000, len(DATA) // 2, len(DATA)]
    members = [pack(DATA[cut:end]) for cut, end in zip(cuts, [*cuts[1:], len(DATA)], strict=True)]
    write(path, b"".join(members))

    assert bodies_of(await read(path)) == BODIES


@pytest.mark.parametrize("zeros", [1, 3, 10, 600_000])
async def test_zeros_behind_gzip(path: Path, zeros: int) -> None:
    """As tapes leave them."""
    write(path, gzip.compress(DATA) + bytes(zeros))

    assert bodies_of(await read(path)) == BODIES


@both
async def test_a_compressed_array(path: Path, pack: Pack) -> None:
    """The form is told by what is unpacked."""
    write(path, pack(b"[" + b",".join(BODIES) + b"]"))

    items = await read(path)

    assert bodies_of(items) == BODIES


@both
@pytest.mark.parametrize("piece_bytes", [1, 1000])
async def test_compressed_data_in_a_pipe(pack: Pack, piece_bytes: int) -> None:
    """In whatever pieces it comes."""
    data = pack(b"\n".join(BODIES[:10]))
    reader, writer = os.pipe()

    async def send(end: int) -> None:
        for at in range(0, len(data), piece_bytes):
            os.write(end, data[at : at + piece_bytes])
            await anyio.lowlevel.checkpoint()
        os.close(end)

    with os.fdopen(reader, "rb", buffering=0) as pipe:
        async with anyio.create_task_group() as beside:
            beside.start_soon(send, writer)
            items = await read(pipe)

    assert bodies_of(items) == BODIES[:10]


@both
async def test_compressed_data_that_is_cut_off(path: Path, pack: Pack) -> None:
    """What came before the cut is read first: it may be submitted, and the rest later."""
    packed = pack(DATA)
    write(path, packed[: len(packed) * 9 // 10])

    items = await read_until_error(path)

    assert items.error == f"{path}: the compressed data ends early"
    assert COUNT * 7 // 10 < len(items.tasks) < COUNT
    assert bodies_of(items) == BODIES[: len(items.tasks)]


@both
async def test_compressed_data_cut_off_anywhere(path: Path, pack: Pack) -> None:
    """Wherever that is, also between the beginning of a second member and its end."""
    packed = pack(line("a") + b"\n")
    for end in range(4, len(packed)):
        for before in (b"", packed):
            write(path, before + packed[:end])
            assert (await read_until_error(path)).error == f"{path}: the compressed data ends early"


@both
@pytest.mark.parametrize("isal", [True, False])
async def test_damaged_data(
    path: Path,
    pack: Pack,
    isal: bool,  # noqa: FBT001 - pytest's
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was unpacked before the damage is read, and nothing after it."""
    if not isal:
        without(monkeypatch, "isal")
    packed = bytearray(pack(DATA))
    middle = len(packed) // 2
    packed[middle : middle + 40] = b"\xff" * 40
    write(path, bytes(packed))

    items = await read_until_error(path)

    assert items.error
    assert items.error.startswith(f"{path}: the compressed data is damaged: ")
    assert COUNT // 3 < len(items.tasks) < COUNT


@both
async def test_something_else_behind_compressed_data(path: Path, pack: Pack) -> None:
    """Nobody knows what it is, so nobody passes over it."""
    for behind in (b"x", line("a"), zlib.compress(b"x")):
        write(path, pack(DATA) + behind)

        items = await read_until_error(path)

        reason = "the compressed data is damaged: something else follows it"
        assert items.error == f"{path}: {reason}"
        assert bodies_of(items) == BODIES


@both
async def test_little_that_becomes_much(path: Path, pack: Pack) -> None:
    """Memory is flat, whatever the file: it is unpacked a small piece at a time."""
    write(path, pack(bytes(64_000_000)))
    with closing(open_file(str(path))) as packed:
        unpacked, head = await begin(packed, "tasks.jsonl")
        sizes = [len(head)]
        while data := await unpacked.read():
            sizes.append(len(data))

    assert sum(sizes) == 64_000_000
    assert max(sizes) <= BLOCK_BYTES + (4_300_000 if pack is gzip.compress else 34_000_000)


@both
async def test_a_compressed_file_read_again(path: Path, pack: Pack) -> None:
    """It is unpacked from its beginning, and what is settled is left out."""
    write(path, pack(DATA))
    items = await read(path)
    settled = Bitmap()
    settled.add_range(0, 1000)
    settled.add_range(1001, COUNT - 1)

    again = await read(path, Done(settled, items.places))

    assert [task.ordinal for task in again.tasks] == [1000, COUNT - 1]
    assert again.tasks[-1] == items.tasks[-1]


# --- At a URL ------------------------------------------------------------------------------------


@pytest.fixture
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


async def test_a_file_at_a_url(memory: Any, path: Path) -> None:
    """Whatever fsspec knows: here its memory, and the disk."""
    memory.pipe("/container/tasks.jsonl", DATA)
    write(path, DATA)

    for url in ("memory://container/tasks.jsonl", f"file://{path}"):
        source = open_source(url)
        items = await read(source)

        assert bodies_of(items) == BODIES
        assert source.bytes_total == source.bytes_read == len(DATA)
        assert source.where(3, 4) == f"{url}:4"


@both
async def test_a_compressed_file_at_a_url(memory: Any, pack: Pack) -> None:
    """The forms are those of any file."""
    memory.pipe("/tasks", pack(DATA))

    assert bodies_of(await read("memory://tasks")) == BODIES


async def test_a_pattern_of_urls(memory: Any) -> None:
    """It is written out, as a resume needs it."""
    for number in (2, 0, 1):
        memory.pipe(f"/container/{number}.jsonl", line(f"t{number}"))
    memory.pipe("/container/other.json", line("other"))

    spec = SourceSpec(files=("memory://container/*.jsonl",)).expanded()

    assert spec.files == tuple(f"memory:///container/{number}.jsonl" for number in range(3))
    assert (await read(spec)).ids == ["t0", "t1", "t2"]
    with pytest.raises(SourceError, match="no file fits this pattern"):
        open_source("memory://container/*.csv")


def test_a_missing_file_at_a_url_is_found_at_once(memory: Any) -> None:
    """Before anything is sent, and by its own name."""
    memory.pipe("/a.jsonl", line("a"))

    with pytest.raises(SourceError, match="no such file") as raised:
        open_source(SourceSpec(files=("memory://a.jsonl", "memory://b.jsonl")))

    assert raised.value.path == "memory://b.jsonl"


def test_a_folder_at_a_url(memory: Any) -> None:
    """It is no file."""
    memory.pipe("/folder/a.jsonl", line("a"))

    with pytest.raises(SourceError, match="is a directory"):
        open_source("memory://folder")


async def test_a_url_read_again(memory: Any) -> None:
    """Only what is not settled is fetched."""
    memory.pipe("/tasks.jsonl", DATA)
    items = await read("memory://tasks.jsonl")
    settled = Bitmap()
    settled.add_range(0, COUNT - 1)

    again = await read("memory://tasks.jsonl", Done(settled, items.places))

    assert again.tasks == items.tasks[-1:]
    assert again.places[-1] == items.places[-1]


async def test_a_url_that_changes_while_it_is_read(memory: Any) -> None:
    """Tasks may be missing then, and nobody would know."""
    memory.pipe("/tasks.jsonl", line("a"))
    source = open_source("memory://tasks.jsonl")

    async def admit(_: object) -> None:
        memory.pipe("/tasks.jsonl", line("a") + b"\n" + line("b"))

    with pytest.raises(SourceError, match="was changed while it was read"):
        await source.read(admit)


def test_the_fingerprint_of_a_url(memory: Any, path: Path) -> None:
    """It tells another file of the same size, and the same bytes written again."""
    memory.pipe("/tasks.jsonl", DATA)
    first = fingerprint("memory://tasks.jsonl")

    assert fingerprint("memory://tasks.jsonl") == first
    assert first.bytes == len(DATA)
    write(path, DATA)
    assert fingerprint(f"file://{path}").digest == fingerprint(str(path)).digest == first.digest
    memory.pipe("/tasks.jsonl", DATA)
    assert first.change_to(fingerprint("memory://tasks.jsonl")) == "was written to since"
    memory.pipe("/tasks.jsonl", DATA[1:])
    assert "bytes and has" in (first.change_to(fingerprint("memory://tasks.jsonl")) or "")
    memory.pipe("/empty", b"")
    assert fingerprint("memory://empty").bytes == 0


def test_a_url_without_fsspec(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to install."""
    without(monkeypatch, "fsspec")

    with pytest.raises(SourceError, match=r"is a URL; install bulksubmit\[remote\] to read it"):
        open_source("abfs://container/tasks.jsonl")


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("adlfs", r"is a URL; install bulksubmit\[remote\] to read it"),
        ("s3fs", "cannot be read: Install s3fs to access S3"),
    ],
)
def test_a_url_without_what_reads_it(
    monkeypatch: pytest.MonkeyPatch, missing: str, said: str
) -> None:
    """Of what is in no extra of ours, fsspec itself names the package."""
    without(monkeypatch, missing)
    scheme = {"adlfs": "abfs", "s3fs": "s3"}[missing]

    with pytest.raises(SourceError, match=said):
        open_source(f"{scheme}://container/tasks.jsonl")


def test_a_url_that_nobody_answers(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsspec says of it that there is no such file; what is behind that is told, if anything."""

    def refuse(path: str, **_options: object) -> None:
        try:
            raise ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")
        except OSError as error:
            raise FileNotFoundError(path) from error

    with pytest.raises(SourceError, match=r"cannot be opened: no such file$"):
        open_source("memory://tasks.jsonl")

    monkeypatch.setattr(type(memory), "info", staticmethod(refuse))
    with pytest.raises(SourceError, match=r"cannot be opened: \[Errno 111\] Connect call failed"):
        open_source("memory://tasks.jsonl")


def test_a_url_of_an_unknown_kind() -> None:
    """What fsspec says is told."""
    with pytest.raises(SourceError, match="cannot be read: Protocol not known: gopher"):
        open_source("gopher://tasks.jsonl")


@pytest.mark.parametrize(
    "url",
    [
        "https://a.blob.core.windows.net/c/tasks.jsonl?sv=2022&sig=SECRET&se=2030",
        "https://user:SECRET@example.org/tasks.jsonl",
        "abfs://c/tasks.jsonl?account_key=SECRET",
        "simplecache::https://a.blob.core.windows.net/c/tasks.jsonl?sv=2022&sig=SECRET",
        "https:/a.blob.core.windows.net/c/tasks.jsonl?sig=SECRET",
        "downloads/tasks.jsonl?sv=2022&sig=SECRET",
    ],
)
def test_a_url_that_holds_a_secret(url: str) -> None:
    """The journal would keep it, and messages would show it."""
    with pytest.raises(SourceError, match="holds a secret") as raised:
        open_source(url)

    assert "SECRET" not in str(raised.value)
    assert "***" in str(raised.value)


def test_a_folder_by_a_key_is_no_secret(tmp_path: Path) -> None:
    """Folders are often named by a column and its value."""
    path = tmp_path / "key=3" / "tasks.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"{}")

    open_source(str(path)).close()
    assert SourceSpec(files=("memory://c/key=3/x.jsonl",)).expanded().files


def test_what_a_library_says_is_told_without_secrets(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """adlfs's own words say what is missing; signatures in them are none of a log's business."""

    def refuse(*_: object, **_options: object) -> None:
        raise ValueError("Must provide\n a credential: AccountKey=SECRET; https://a/c?sig=SECRET")

    monkeypatch.setattr(type(memory), "info", refuse)

    with pytest.raises(SourceError) as raised:
        open_source("memory://tasks.jsonl")

    said = "cannot be read: Must provide a credential: AccountKey=***; https://a/c?sig=***"
    assert raised.value.reason == said
    assert raised.value.__suppress_context__


async def test_a_connection_that_breaks(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of the source, whatever its kind in the library that reads it."""
    memory.pipe("/tasks.jsonl", DATA)
    source = open_source("memory://tasks.jsonl")

    def fail(*_: object, **_options: object) -> None:
        raise RuntimeError("the connection was lost")

    monkeypatch.setattr(type(memory), "open", fail)

    with pytest.raises(SourceError, match=r"memory://tasks.jsonl: cannot be read: the connection"):
        await read(source)
