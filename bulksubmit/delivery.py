"""Outcomes on their way to the consumer: a list for each reply."""

import math
from collections.abc import Sequence
from contextlib import suppress

import anyio

from bulksubmit.core.matching import AllAdded
from bulksubmit.core.model import Outcome


class Delivery:
    """Lists of outcomes in line, for the one who takes them in.

    Attributes:
        late: How many lists have no place in the line yet.
    """

    def __init__(self, ahead: float = math.inf) -> None:
        """Begin with none.

        Args:
            ahead: How many lists may be in line; infinite for any number.
        """
        self._in, self._out = anyio.create_memory_object_stream[Sequence[Outcome]](ahead)
        self._dropping = False
        self.late = 0

    def put(self, outcomes: Sequence[Outcome]) -> bool:
        """Put a list in line, unless it is full; returns whether that is done."""
        if not outcomes or self._dropping:  # An empty list would say that it was the last.
            return True
        try:
            self._in.send_nowait(_to_keep(outcomes))
        except anyio.WouldBlock:
            return False
        except anyio.BrokenResourceError:  # The consumer has left.
            pass
        return True

    async def wait(self, outcomes: Sequence[Outcome]) -> None:
        """Put a list in line, once there is a place."""
        if not self.put(outcomes):
            self.late += 1
            with suppress(anyio.BrokenResourceError):
                await self._in.send(_to_keep(outcomes))
            self.late -= 1

    def end(self) -> None:
        """There are no more."""
        self._in.close()

    async def take(self) -> list[Sequence[Outcome]]:
        """All lists in line, one at least; none at the end."""
        lists: list[Sequence[Outcome]] = []
        with suppress(anyio.EndOfStream, anyio.WouldBlock):
            lists.append(await self._out.receive())
            # All that there are: receiving takes a round of the event loop, in which several
            # replies come on a busy one.
            while True:
                lists.append(self._out.receive_nowait())
        return lists

    def drop(self) -> None:
        """From now on nobody looks at them: none need stand in line."""
        self._dropping = True

    def leave(self) -> None:
        """Nobody takes them in any more."""
        self._out.close()

    def close(self) -> None:
        """Nobody puts or takes any more."""
        self._in.close()
        self._out.close()


def _to_keep(outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
    return outcomes.to_keep() if isinstance(outcomes, AllAdded) else outcomes
