"""Where in the bytes of a source its tasks end, so that what is settled is a share of the bytes."""

from collections import deque

from bulksubmit.core.account import BEGINNING, Place


class Milestones:
    """How many tasks end within how many bytes, in steps of a block, and evenly in between.

    It remembers what lies ahead of the last question only, which is as little as is in hand.

    Attributes:
        place: How far the source was read.
        bytes_read: The same in bytes; of a compressed file, compressed.
    """

    def __init__(self) -> None:
        self.place, self.bytes_read = BEGINNING, 0
        self._behind = (0, 0)  # Tasks, and the bytes that they end at.
        self._ahead: deque[tuple[int, int]] = deque()

    def add(self, place: Place, bytes_read: int) -> None:
        """All items before a place, which only moves on, end within so many bytes."""
        self.place, self.bytes_read = place, max(bytes_read, self.bytes_read)
        last = self._ahead[-1] if self._ahead else self._behind
        if place.ordinal > last[0]:
            self._ahead.append((place.ordinal, self.bytes_read))

    def bytes_at(self, tasks: int) -> int | None:
        """Where so many tasks end; None if nothing was read.

        What a resumed run has settled may reach beyond what it has read again. Then it is
        estimated: by the size of the tasks that were.

        Args:
            tasks: Not fewer than asked for before.
        """
        while self._ahead and self._ahead[0][0] <= tasks:
            self._behind = self._ahead.popleft()
        begin, begin_bytes = self._behind
        if tasks == begin:
            return begin_bytes
        if self._ahead:
            end, end_bytes = self._ahead[0]
            return begin_bytes + (end_bytes - begin_bytes) * (tasks - begin) // (end - begin)
        return self.bytes_read * tasks // self.place.ordinal if self.place.ordinal else None
