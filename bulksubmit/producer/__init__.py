"""From disk, a pipe or an iterable to tasks: checked once, and then only bytes."""

import os
from typing import IO, cast

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
        case _ if hasattr(source, "read"):
            stream = cast("IO[bytes]", source)
            return LineSource(stream, name=str(getattr(stream, "name", "stream")))
        case _:
            return ItemSource(source)
