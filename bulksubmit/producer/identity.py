"""Whether a file is still the one that it was."""

import os

import xxhash

from bulksubmit.errors import SourceError

SAMPLE_BYTES = 64 * 1024
SAMPLES = 18  # The two ends and 16 in between: 1 MiB or so, whatever the file's size.


def digest(path: str) -> str:
    """A digest of samples of a file's bytes, its two ends among them.

    Together with the size and the time of the last change it tells a file that was edited or
    made anew; it is not meant to resist someone who wants to deceive.

    Raises:
        SourceError: if the file cannot be read.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - as for the rest of the file's life
            size = os.fstat(file.fileno()).st_size
            hasher = xxhash.xxh3_128(str(size).encode())
            last = max(0, size - SAMPLE_BYTES)
            for offset in sorted({last * step // (SAMPLES - 1) for step in range(SAMPLES)}):
                file.seek(offset)
                hasher.update(file.read(SAMPLE_BYTES))
    except OSError as error:
        raise SourceError(path, None, f"cannot be read: {error.strerror}") from error
    return hasher.hexdigest()
