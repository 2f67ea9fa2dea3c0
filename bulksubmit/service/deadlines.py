"""When exchanges have to be over: one timer for all that are under way."""

import asyncio
import math
from types import TracebackType
from typing import cast


class Deadlines:
    """Cancels what is not over in time; a timer for each would take longer than all the rest.

    Most of them are over long before: so only the earliest one is waited for, and then the
    earliest of those that are left.
    """

    def __init__(self) -> None:
        """Wait for none."""
        self._open: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf

    def within(self, timeout_s: float) -> "Deadline":
        """A context that is to be over in time."""
        return Deadline(self, timeout_s)

    def begin(self, deadline: "Deadline") -> None:
        """One more."""
        self._open.add(deadline)
        if deadline.at_s < self._timer_s:
            self._wait_for(deadline.at_s)

    def end(self, deadline: "Deadline") -> None:
        """It is over."""
        self._open.discard(deadline)

    def close(self) -> None:
        """There will be none any more."""
        if self._timer:
            self._timer.cancel()
        self._timer, self._timer_s = None, math.inf

    def _wait_for(self, at_s: float) -> None:
        self.close()
        self._timer_s = at_s
        self._timer = asyncio.get_running_loop().call_at(at_s, self._look)

    def _look(self) -> None:
        now_s = asyncio.get_running_loop().time()
        # A timer may come a little early, by the resolution of the clock.
        late = [each for each in self._open if each.at_s <= max(now_s, self._timer_s)]
        for each in late:
            self._open.discard(each)
            each.expire()
        self._timer, self._timer_s = None, math.inf
        if self._open:
            self._wait_for(min(each.at_s for each in self._open))


class Deadline:
    """A context of one task; raises TimeoutError if it was not over in time.

    Attributes:
        at_s: When that is, by the event loop's clock.
    """

    __slots__ = ("_all", "_cancelling", "_expired", "_task", "at_s")

    def __init__(self, deadlines: Deadlines, timeout_s: float) -> None:
        """Count from now."""
        self._all, self._expired = deadlines, False
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self.at_s = asyncio.get_running_loop().time() + timeout_s

    def __enter__(self) -> None:
        self._all.begin(self)

    def expire(self) -> None:
        """It is too late."""
        self._expired = True
        self._task.cancel()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._all.end(self)
        if not self._expired:
            return
        # Unless somebody else has cancelled the task, too: as in asyncio.timeout().
        if self._task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc_value
