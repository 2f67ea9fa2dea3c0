"""From disk, a pipe or an iterable to tasks: checked once, and then only bytes."""

import io
import os
from typing import IO, cast

from bulksubmit.errors import SourceError
from bulksubmit.producer.items import ItemSource
from bulksubmit.producer.lines import LineSource
from bulksubmit.producer.source import AnySource, Source


def open_source(source: AnySource) -> Source:
    """The source that is meant by a path, a binary stream, an iterable or async iterable.

    Raises:
        SourceError: if a path cannot be opened, or the object is none of these.
    """
    match source:
        case str() | os.PathLike():
            return LineSource.open(os.fspath(source))
        case io.TextIOBase():
            reason = "is open as text; open it as bytes, in mode 'rb'"
            raise SourceError(_name(source), None, reason)
        case _ if hasattr(source, "read"):
            stream = cast("IO[bytes]", source)
            return LineSource(stream, name=_name(stream))
        case _:
            return ItemSource(source)


def _name(stream: object) -> str:
    return str(getattr(stream, "name", "stream"))


__all__ = ["ItemSource", "LineSource", "open_source"]
