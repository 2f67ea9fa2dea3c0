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
        self._entries = {number: _Entry() for number in numbers}

    # --- Handing out ---------------------------------------------------------------------------

    def hand_out(self, window: int) -> int | None:
        """The next shard for the executor; None if there is none, or it has enough.

        Args:
            window: How many it may have.
        """
        if sum(e.at in {_At.HANDED_OUT, _At.RUNNING} for e in self._entries.values()) >= window:
            return None
        for number, entry in self._entries.items():
            if entry.at is _At.WAITING:
                entry.at, entry.told = _At.HANDED_OUT, False
                return number
        return None

    def begin(self, number: int) -> int | None:
        """A worker asks for its orders.

        Executors start calls again by themselves when a worker dies: then it is a new generation.

        Returns:
            The generation that it works in; None if there is nothing to do.
        """
        entry = self._entries.get(number)
        if entry is None or entry.at in {_At.ENDED, _At.POISONED}:
            return None
        if entry.at is _At.RUNNING and self._lose(entry, "another worker has begun it"):
            return None
        entry.at, entry.told = _At.RUNNING, False
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
        self._entries[number].at = _At.ENDED

    def disconnected(self, number: int, generation: int, why: str) -> None:
        """A worker is not heard any more; its executor may begin the shard again, or fail."""
        if self.is_current(number, generation):
            self._lose(self._entries[number], why)

    def returned(self, number: int, why: str) -> None:
        """The executor has done with a shard; if it has not ended, it is to be handed out again."""
        entry = self._entries[number]
        if entry.at in {_At.HANDED_OUT, _At.RUNNING} and not entry.told:
            self._lose(entry, why)
        entry.why = why  # It knows more than whoever has seen a connection end.
        if entry.at is _At.HANDED_OUT:
            entry.at = _At.WAITING

    def _lose(self, entry: _Entry, why: str) -> bool:
        """A worker is lost; returns whether it was one too many."""
        entry.losses += 1
        entry.told, entry.why = True, why
        poisoned = entry.losses >= LOSSES_MAX
        entry.at = _At.POISONED if poisoned else _At.HANDED_OUT
        return poisoned

    # --- What it comes to ----------------------------------------------------------------------

    @property
    def running(self) -> list[int]:
        """Shards that a worker works on."""
        return [number for number, entry in self._entries.items() if entry.at is _At.RUNNING]

    @property
    def over(self) -> bool:
        """Whether nothing is left to be done or waited for."""
        return all(entry.at in {_At.ENDED, _At.POISONED} for entry in self._entries.values())

    @property
    def poisoned(self) -> dict[int, str]:
        """The shards that are left alone, and what became of the last worker of each."""
        return {n: entry.why for n, entry in self._entries.items() if entry.at is _At.POISONED}
