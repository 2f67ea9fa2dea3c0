"""Which shard is where: decides what is handed out next, and what is given up.

    waiting      to be handed out
    handed out   an executor has it; no worker has asked for its orders yet, or that worker is gone
    running      a worker has its orders, under a generation; it alone is heeded
    ended        it has said its last word
    poisoned     so many workers in a row were lost with it, without settling a task, that it is
                 left alone

No clock, no network: whoever holds the connections and the executor's futures tells it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from heapq import heappop, heappush
from operator import attrgetter

# A worker can be lost by bad luck; three in a row, none of which settled anything, are no luck.
LOSSES_MAX = 3


class _At(Enum):
    WAITING = auto()
    HANDED_OUT = auto()
    RUNNING = auto()
    ENDED = auto()
    POISONED = auto()


@dataclass(slots=True)
class _Entry:
    number: int
    place: int  # In the order in which they are handed out.
    at: _At = _At.WAITING
    generation: int = 0
    losses: int = 0  # In a row, without a task settled in between.
    told: bool = False  # That the worker of the present hand-out is lost.
    why: str = ""


class Roster:
    """All shards of a run that are not done yet."""

    def __init__(self, numbers: Iterable[int]) -> None:
        """Begin with all waiting.

        Args:
            numbers: Of the shards, in the order in which they are to be handed out.
        """
        self._entries = {number: _Entry(number, at) for at, number in enumerate(numbers)}
        # Of thousands of shards few are under way: what is asked at each report looks at those
        # alone. A heap, since one that comes back goes before those that follow it in order.
        self._waiting = [(entry.place, number) for number, entry in self._entries.items()]
        self._under_way: dict[int, _Entry] = {}  # Handed out or running.
        self._left = set(self._entries)  # Neither ended nor poisoned.

    # --- Handing out ---------------------------------------------------------------------------

    def hand_out(self, window: int) -> int | None:
        """The next shard for the executor; None if there is none, or it has enough.

        Args:
            window: How many it may have.
        """
        while self._waiting and len(self._under_way) < window:
            _, number = heappop(self._waiting)
            entry = self._entries[number]
            if entry.at is _At.WAITING:  # Not begun since, by a worker that was thought lost.
                self._move(entry, _At.HANDED_OUT)
                entry.told = False
                return number
        return None

    def begin(self, number: int) -> int | None:
        """A worker asks for its orders.

        Executors start calls again by themselves when a worker dies: then it is a new generation.

        Returns:
            The generation that it works in; None if there is nothing to do.
        """
        entry = self._entries.get(number)
        if entry is None or entry.at in (_At.ENDED, _At.POISONED):
            return None
        if entry.at is _At.RUNNING and self._lose(entry, "another worker has begun it"):
            return None
        self._move(entry, _At.RUNNING)
        entry.told = False
        entry.generation += 1
        return entry.generation

    # --- What is heard of it -------------------------------------------------------------------

    def is_current(self, number: int, generation: int) -> bool:
        """Whether a worker is to be heeded."""
        entry = self._entries[number]
        return entry.at is _At.RUNNING and entry.generation == generation

    def settled(self, number: int) -> None:
        """Its worker has settled a task."""
        self._entries[number].losses = 0

    def end(self, number: int) -> None:
        """Its worker has said its last word."""
        self._move(self._entries[number], _At.ENDED)

    def disconnected(self, number: int, generation: int, why: str) -> None:
        """A worker is not heard any more; its executor may begin the shard again, or fail."""
        if self.is_current(number, generation):
            self._lose(self._entries[number], why)

    def returned(self, number: int, why: str) -> None:
        """The executor has done with a shard; if it has not ended, it is to be handed out again."""
        entry = self._entries[number]
        if entry.at in (_At.HANDED_OUT, _At.RUNNING) and not entry.told:
            self._lose(entry, why)
        entry.why = why  # It knows more than whoever has seen a connection end.
        if entry.at is _At.HANDED_OUT:
            self._move(entry, _At.WAITING)

    def _lose(self, entry: _Entry, why: str) -> bool:
        """A worker is lost; returns whether it was one too many."""
        entry.losses += 1
        entry.told, entry.why = True, why
        poisoned = entry.losses >= LOSSES_MAX
        self._move(entry, _At.POISONED if poisoned else _At.HANDED_OUT)
        return poisoned

    def _move(self, entry: _Entry, at: _At) -> None:
        entry.at = at
        if at in (_At.HANDED_OUT, _At.RUNNING):
            self._under_way[entry.number] = entry
        else:
            self._under_way.pop(entry.number, None)
        if at is _At.WAITING:
            heappush(self._waiting, (entry.place, entry.number))
        elif at in (_At.ENDED, _At.POISONED):
            self._left.discard(entry.number)

    # --- What it comes to ----------------------------------------------------------------------

    @property
    def running(self) -> list[int]:
        """Shards that a worker works on, in the order in which they were handed out first."""
        running = [entry for entry in self._under_way.values() if entry.at is _At.RUNNING]
        return [entry.number for entry in sorted(running, key=attrgetter("place"))]

    @property
    def over(self) -> bool:
        """Whether nothing is left to be done or waited for."""
        return not self._left

    @property
    def poisoned(self) -> dict[int, str]:
        """The shards that are left alone, and what became of the last worker of each."""
        return {n: entry.why for n, entry in self._entries.items() if entry.at is _At.POISONED}
