"""A source read again, beside a run: to show a task of it, or to hand tasks back."""

from collections.abc import Iterator

from bulksubmit.core.model import Task
from bulksubmit.errors import SourceError
from bulksubmit.producer.lines import BLOCK_BYTES, LineParser


def scan(path: str) -> Iterator[Task]:
    """Every task of an NDJSON file, in order.

    Raises:
        SourceError: if the file cannot be read, or at the first line that is not a task.
    """
    parser = LineParser(path)
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as it was opened first
            while data := file.read(BLOCK_BYTES):
                yield from parser.feed(data)
    except OSError as error:
        raise SourceError(path, None, f"cannot be read: {error.strerror}") from error
    yield from parser.finish()
