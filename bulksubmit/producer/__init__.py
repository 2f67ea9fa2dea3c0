"""From disk, a pipe or an iterable to tasks: checked once, and then only bytes."""

import io
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import IO, cast

from bulksubmit.core.taskcheck import Checker
from bulksubmit.errors import SourceError
from bulksubmit.producer.files import FileSource, NamedFile
from bulksubmit.producer.items import ItemSource
from bulksubmit.producer.opening import Bytes, OpenFile, open_file
from bulksubmit.producer.remote import RemoteFile, size_of
from bulksubmit.producer.source import AnySource, Source
from bulksubmit.producer.spec import STDIN, SourceSpec, is_url
from bulksubmit.producer.sweeps import SweepSource
from bulksubmit.producer.template import Template, template_of


def open_source(source: AnySource, checker: Checker | None = None) -> Source:
    """The source that is meant by a path, a spec, a stream, an iterable or async iterable.

    Args:
        source: Any of these.
        checker: Says what is a task; None for the usual one.

    Raises:
        SourceError: if a file cannot be opened, or the object is none of these.
    """
    checker = checker or Checker()
    match source:
        case str() | os.PathLike():
            return _open_spec(SourceSpec(files=(os.fspath(source),)), checker)
        case SourceSpec():
            return _open_spec(source, checker)
        case io.TextIOBase():
            reason = "is open as text; open it as bytes, in mode 'rb'"
            raise SourceError(_name(source), None, reason)
        case _ if hasattr(source, "read"):
            stream = cast("IO[bytes]", source)
            return _open_stream(OpenFile(stream, name=_name(stream)), _name(stream), checker)
        case _:
            return ItemSource(source, checker)


def _open_spec(given: SourceSpec, checker: Checker) -> Source:
    if given.files == (STDIN,):
        stdin = OpenFile(sys.stdin.buffer, name="<stdin>")
        return _open_stream(stdin, "<stdin>", checker, template_of(given))
    spec = given.expanded()
    if spec.sweeps:
        name = given.files[0] if given.files else spec.name or "sweep"
        return SweepSource(spec, name=name, checker=checker)
    template = template_of(spec)
    # As the user named them, for messages.
    names = {os.path.realpath(name): name for name in given.files}
    files = []
    for path in spec.files:  # Each is looked at now: a missing one is not to be found at night.
        if is_url(path):
            size = size_of(path)
            files.append(NamedFile(path, partial(RemoteFile, path, size), size))
            continue
        name = names.get(path, path)
        opened = open_file(name)
        if not opened.on_disk:
            if len(spec.files) == 1:  # A named pipe, or such.
                return _open_stream(opened, name, checker, template)
            opened.close()
            raise SourceError(name, None, "is no file; a pipe stands alone")
        opened.close()
        files.append(NamedFile(name, partial(_reopened, path, name), opened.size))
    return FileSource(files, checker=checker, spec=spec, template=template)


def _reopened(path: str, name: str) -> Bytes:
    file = open_file(path)
    file.name = name
    return file


def _open_stream(
    opened: OpenFile, name: str, checker: Checker, template: Template | None = None
) -> Source:
    files = [NamedFile(name, _once(opened), opened.size)]
    return FileSource(files, checker=checker, spec=None, template=template)


def _once(opened: Bytes) -> Callable[[], Bytes]:
    return lambda: opened


def _name(stream: object) -> str:
    return str(getattr(stream, "name", "stream"))


__all__ = ["FileSource", "ItemSource", "SourceSpec", "open_source"]
