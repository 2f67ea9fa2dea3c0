"""Files at a URL, such as ``abfs://container/tasks.jsonl``, through fsspec.

What signs the requests comes from the environment, as the file system's own package reads it
(adlfs: ``AZURE_STORAGE_ACCOUNT_NAME``, ``AZURE_STORAGE_CONNECTION_STRING``, or the account in
the URL and a credential of azure-identity); nothing of it is kept. fsspec is imported only when
a URL is given.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from anyio import to_thread

from bulksubmit.core.redact import redact
from bulksubmit.errors import SourceError
from bulksubmit.producer.opening import BLOCK_BYTES

_PATTERN = frozenset("*[")  # Not "?", which begins a query.
# What a file system says of a file that is another one when the file was written to; the first
# of these that it knows.
_CHANGES = ("etag", "ETag", "generation", "mtime", "last_modified", "LastModified", "created")
_OUR_EXTRA = frozenset(["fsspec", "adlfs"])  # What bulksubmit[remote] installs.
_WORDS = r"sig|signature|account_?key|key|token|password|secret|sas_token"
# In a path such a word is no secret's: key=3/part-0.parquet.
_HOLDS_SECRET = re.compile(rf"\?.*\b(?:{_WORDS})=|://[^\s/@]+:[^\s/@]+@", re.IGNORECASE)


def refuse_secret(name: str) -> None:
    """Refuse the name of a file, a URL's above all, that holds a secret.

    Raises:
        SourceError: if it does; the secret is not in it.
    """
    if _HOLDS_SECRET.search(name):
        reason = "holds a secret, which the journal would keep; give it in the environment"
        raise SourceError(redact(name), None, reason)


def expanded(url: str) -> list[str]:
    """The URLs that a pattern fits, in order; a URL without one stands for itself.

    Raises:
        SourceError: if it fits none, or fsspec is not installed.
    """
    if not _PATTERN.intersection(url):
        return [url]
    with _told(url):
        system, path = _at(url)
        found = sorted(str(each) for each in system.glob(path))
    if not found:
        raise SourceError(url, None, "no file fits this pattern")
    return [_url_of(system, each, url) for each in found]


def _url_of(system: Any, path: str, pattern: str) -> str:
    scheme, _, rest = pattern.partition("://")
    container, _, _ = rest.partition("/")
    if "@" in container:  # abfs://container@account.dfs.core.windows.net/...: fsspec drops it.
        return f"{scheme}://{container}/{path.partition('/')[2]}"
    return str(system.unstrip_protocol(path))


def size_of(url: str) -> int:
    """A file's size.

    Raises:
        SourceError: if there is no such file, or it cannot be looked at.
    """
    with _told(url):
        system, path = _at(url)
        return _size(system.info(path), url)


def look_at(
    url: str, offsets: Callable[[int], Sequence[int]], length: int
) -> tuple[int, str, list[bytes]]:
    """A file's size, what changes when it is written to, and samples of its bytes.

    Args:
        url: Of the file.
        offsets: Where the samples begin in a file of such a size.
        length: How long each is, unless the file ends.

    Raises:
        SourceError: if it cannot be read.
    """
    with _told(url):
        system, path = _at(url)
        info = system.info(path)
        size = _size(info, url)
        starts = offsets(size)
        ends = [min(size, start + length) for start in starts]
        samples = system.cat_ranges([path] * len(starts), [*starts], ends, on_error="raise")
        return size, _changed(info), [bytes(sample) for sample in samples]


def read_ranges(url: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """Bytes from several places of a file, at once where its server takes it.

    Args:
        url: Of the file.
        ranges: The offset of the first byte of each, and that behind its last one.

    Raises:
        SourceError: if they cannot be read.
    """
    with _told(url):
        system, path = _at(url)
        begins, ends = [begin for begin, _ in ranges], [end for _, end in ranges]
        found = system.cat_ranges([path] * len(ranges), begins, ends, on_error="raise")
        return [bytes(each) for each in found]


class RemoteFile:
    """See Bytes. It is opened when it is first read, on a thread, since that may take a while."""

    seeks = True

    def __init__(self, url: str, size: int) -> None:
        self.size: int | None = size
        self.position = 0
        self._url = url
        self._file: Any = None
        self._changed = ""  # As it was when it was opened.

    async def read(self) -> bytes:
        """See Bytes."""
        data = await to_thread.run_sync(self._read, BLOCK_BYTES)
        self.position += len(data)
        return data

    async def read_part(self, offset: int, length: int) -> bytes:
        """See Bytes."""
        data = await to_thread.run_sync(self.read_at, offset, length)
        self.position = offset + len(data)
        return data

    def read_at(self, offset: int, length: int) -> bytes:
        """See Bytes."""
        with _told(self._url):
            self._opened().seek(offset)
        return self._read(length)

    def _read(self, length: int) -> bytes:
        with _told(self._url):
            return bytes(self._opened().read(length)) if length else b""

    def _opened(self) -> Any:
        if not self._file:
            system, path = _at(self._url)
            self._changed = _changed(system.info(path))
            self._file = system.open(path, "rb")
        return self._file

    async def check_unchanged(self) -> None:
        """See Bytes."""
        now = await to_thread.run_sync(self._look)
        if now != (self.size, self._changed):
            reason = "was changed while it was read; tasks may be missing, so submit it again"
            raise SourceError(self._url, None, reason)

    def _look(self) -> tuple[int, str]:
        with _told(self._url):
            system, path = _at(self._url)
            system.invalidate_cache()
            info = system.info(path)
            return _size(info, self._url), _changed(info)

    def close(self) -> None:
        """See Bytes."""
        if self._file:
            self._file.close()


def _at(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec  # noqa: PLC0415 - an extra

    system, path = fsspec.url_to_fs(url)
    return system, path


def _size(info: Mapping[str, Any], url: str) -> int:
    if info.get("type") == "directory":
        reason = "is a directory; name a file, or files by a pattern such as 'tasks/*.jsonl'"
        raise SourceError(url, None, reason)
    size = info.get("size")
    if not isinstance(size, int):
        raise SourceError(url, None, "has no size that its server tells; download it first")
    return size


def _changed(info: Mapping[str, Any]) -> str:
    return next((str(info[key]) for key in _CHANGES if info.get(key) is not None), "")


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Errors of whatever library reads the URL, as ours."""
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError as error:
        reason = f"cannot be opened: {_why_not_found(error)}"
        raise SourceError(redact(url), None, reason) from None
    except ImportError as error:
        reason = f"is a URL; install bulksubmit[remote] to read it ({error})"
        if getattr(error.__cause__ or error, "name", None) not in _OUR_EXTRA:
            reason = f"cannot be read: {_said(error)}"  # fsspec names the package.
        raise SourceError(redact(url), None, reason) from error
    except Exception as error:  # noqa: BLE001 - each file system has its own
        # Not "from error": a traceback would show what the library said, unmasked.
        raise SourceError(redact(url), None, f"cannot be read: {_said(error)}") from None


def _why_not_found(error: BaseException) -> str:
    """What is behind it: HTTP's file system says so even of a server that does not answer."""
    cause = error.__cause__
    while isinstance(cause, FileNotFoundError):
        cause = cause.__cause__
    if cause is None or isinstance(cause, LookupError):  # The latter is fsspec's own memory's.
        return "no such file"
    return _said(cause)


def _said(error: BaseException) -> str:
    return " ".join(redact(str(error)).split())[:500] or type(error).__name__
