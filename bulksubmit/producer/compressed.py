"""Compressed files: told by their first bytes, whatever the name, and unpacked as they are read."""

import zlib
from collections.abc import Callable
from typing import Protocol, cast

import msgspec
from anyio import to_thread

from bulksubmit.errors import SourceError
from bulksubmit.producer.opening import BLOCK_BYTES, Bytes

_MAGIC_BYTES = 4
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PACKED = _GZIP, _ZSTD  # How a compressed file begins.


class _Unpacker(Protocol):
    """What unpacks one member of a file; zlib, isal and zstandard have it alike."""

    @property
    def eof(self) -> bool:
        """Whether the member is at its end."""

    @property
    def unused_data(self) -> bytes:
        """What came after it."""

    def decompress(self, data: bytes, /) -> bytes:
        """What these bytes unpack to."""


class _Packing(msgspec.Struct, frozen=True):
    """A way to compress.

    Attributes:
        magic: How each member begins.
        slice_bytes: How much is unpacked at once, so that what comes out is bounded: gzip makes
            at most 1,032 bytes of one (4 MB of a slice), zstd 128 KiB of four (32 MB).
        unpacker: For one member.
        errors: Raised for damaged bytes.
    """

    magic: bytes
    slice_bytes: int
    unpacker: Callable[[], _Unpacker]
    errors: tuple[type[Exception], ...]


class Unpacked:
    """See Bytes. The position and size are those of the compressed bytes."""

    seeks = False

    def __init__(self, packed: Bytes, packing: _Packing, *, begin: bytes, name: str) -> None:
        """Unpack a file.

        Args:
            packed: The file.
            packing: How it is compressed.
            begin: What was read of it.
            name: For messages.
        """
        self.size, self.position = packed.size, packed.position
        self._packed, self._packing, self._name = packed, packing, name
        self._data, self._at = begin, 0  # To be unpacked from there on.
        self._unpacker: _Unpacker | None = None  # None: between two members.
        self._error: SourceError | None = None  # Raised once what was before it is handed out.

    async def read(self) -> bytes:
        """See Bytes.

        Raises:
            SourceError: if the compressed data is damaged, or ends early.
        """
        while not self._error:
            if out := await to_thread.run_sync(self._unpack):
                return out
            if not (more := await self._packed.read()):
                self._error = self._end()
                break
            self._data, self._at = self._data[self._at :] + more, 0
            self.position = self._packed.position
        if self._error:
            raise self._error
        return b""

    async def read_part(self, offset: int, length: int) -> bytes:
        """See Bytes: not from anywhere."""
        raise AssertionError(f"{self._name}: {length} bytes at {offset} of compressed data")

    def read_at(self, offset: int, length: int) -> bytes:
        """See Bytes: not from anywhere."""
        raise AssertionError(f"{self._name}: {length} bytes at {offset} of compressed data")

    async def check_unchanged(self) -> None:
        """See Bytes."""
        await self._packed.check_unchanged()

    def close(self) -> None:
        """See Bytes."""
        self._packed.close()

    def _unpack(self) -> bytes:
        """The next bytes, of what is here; a block or so, and more if little makes much."""
        out: list[bytes] = []
        count = 0
        while count < BLOCK_BYTES and not self._error and self._ready():
            assert self._unpacker
            piece = self._data[self._at : self._at + self._packing.slice_bytes]
            try:
                out.append(self._unpacker.decompress(piece))
            except self._packing.errors as error:
                self._error = self._damaged(str(error))
                break
            count += len(out[-1])
            self._at += len(piece)
            if self._unpacker.eof:
                self._at -= len(self._unpacker.unused_data)
                self._unpacker = None
        return b"".join(out)

    def _ready(self) -> bool:
        """Whether there is something to unpack; begins the next member."""
        if self._unpacker:
            return self._at < len(self._data)
        if self._data[self._at : self._at + 1] == b"\0":  # Padding, as tapes leave it.
            self._data, self._at = self._data[self._at :].lstrip(b"\0"), 0
        if len(self._data) - self._at < _MAGIC_BYTES:
            return False
        if not self._data.startswith(self._packing.magic, self._at):
            self._error = self._damaged("something else follows it")
            return False
        self._unpacker = self._packing.unpacker()
        return True

    def _end(self) -> SourceError | None:
        if self._unpacker or self._packing.magic.startswith(self._data[self._at :][:2] or b"-"):
            return SourceError(self._name, None, "the compressed data ends early")
        if self._at < len(self._data):
            return self._damaged("something else follows it")
        return None

    def _damaged(self, reason: str) -> SourceError:
        return SourceError(self._name, None, f"the compressed data is damaged: {reason}")


async def begin(file: Bytes, name: str) -> tuple[Bytes, bytes]:
    """A file's first bytes, unpacked if it is compressed, and what reads the rest.

    Raises:
        SourceError: if what unpacks it is not installed, or it is damaged.
    """
    head = await file.read()
    while 0 < len(head) < _MAGIC_BYTES and (more := await file.read()):
        head += more
    if packing := _packing_of(head, name):
        unpacked = Unpacked(file, packing, begin=head, name=name)
        return unpacked, await unpacked.read()
    return file, head


def _packing_of(head: bytes, name: str) -> _Packing | None:
    if head.startswith(_GZIP):
        return _gzip(_GZIP)
    if head.startswith(_ZSTD):
        return _zstd(_ZSTD, name)
    return None


def _gzip(magic: bytes) -> _Packing:
    try:
        from isal import isal_zlib  # noqa: PLC0415 - an extra, and quicker
    except ImportError:
        return _Packing(magic, 4096, lambda: zlib.decompressobj(wbits=31), (zlib.error,))
    # isal's stubs call the class of its errors an error.
    errors = zlib.error, cast("type[Exception]", isal_zlib.error)
    return _Packing(magic, 4096, lambda: isal_zlib.decompressobj(wbits=31), errors)


def _zstd(magic: bytes, name: str) -> _Packing:
    try:
        import zstandard  # noqa: PLC0415 - an extra
    except ImportError as error:
        reason = "is compressed with zstd; install bulksubmit[compress], or unpack it"
        raise SourceError(name, None, reason) from error
    unpacker = zstandard.ZstdDecompressor()
    return _Packing(magic, 1024, lambda: unpacker.decompressobj(), (zstandard.ZstdError,))  # noqa: PLW0108 - its own arguments are none of ours
