"""A copy of a source that cannot be opened twice, so that its run can be resumed."""

import os
from contextlib import suppress
from pathlib import Path

from bulksubmit.errors import OutputError
from bulksubmit.producer.source import Source


async def spool(source: Source, path: Path) -> str:
    """Copy a source, whole, into a new file on the disk.

    Nothing is sent before the copy is complete: what has been sent can then always be told
    from what has not, whatever happens to the pipe.

    Returns:
        The file's path.

    Raises:
        SourceError: if the source cannot be read.
        OutputError: if the file cannot be written.
    """
    try:
        return await _spool(source, path)
    except BaseException:
        _forget(path)
        raise


def _forget(path: Path) -> None:
    """Half a copy is of no use to anybody."""
    path.unlink(missing_ok=True)
    with suppress(OSError):
        path.parent.rmdir()


async def _spool(source: Source, path: Path) -> str:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            await source.copy(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    return str(path)
