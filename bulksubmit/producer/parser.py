"""What turns a file's bytes into blocks: one kind a form of file. No input or output of its own."""

from typing import Protocol

from bulksubmit.core.account import Place
from bulksubmit.producer.source import Block


class Parser(Protocol):
    """Bytes to items, whatever the bytes' cuts.

    It is made at a place: the file's beginning, or any ``place`` that a parser of the same form
    once had (if ``seeks``), and leaves out what is settled.

    Attributes:
        place: Where the next item begins.
        form: How a person finds an item: by ``line``, ``item`` or ``row``.
        seeks: Whether parsing can begin at any place, not only at the file's beginning.
        more: Whether it was fed more than made the last block: ``feed(b"")`` gives the next.
    """

    place: Place
    form: str
    seeks: bool
    more: bool

    def feed(self, data: bytes) -> Block:
        """The items that these bytes complete.

        Raises:
            SourceError: if the file as a whole is not what it should be.
        """

    def part(self, data: bytes) -> Block:
        """The items of all bytes between two places; for a parser made at the first one."""

    def finish(self) -> Block:
        """The items that the file's end completes.

        Raises:
            SourceError: if the file stops before its end.
        """
