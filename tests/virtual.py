"""An event loop on which waiting takes no time, and the numbers are exact.

Where a loop would sleep until its next timer, the clock jumps there. What the clock cannot
hurry is treated for what it is: a thread at work is waited for, really, and the clock stands
still meanwhile; a socket or pipe is refused; and if nothing is ready and no timer is set, that
is a deadlock, and said so.
"""

import asyncio
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

_T = TypeVar("_T")

START_S = 1000.0  # Not 0: zero is a special number, to ``or`` among others.
THREAD_S_MAX = 20.0  # How long, really, a thread may work.


class Deadlock(AssertionError):
    """Nothing is ready, nothing will be."""


class _Jumping(selectors.BaseSelector):
    """Jumps the clock where a real selector would wait."""

    def __init__(self) -> None:
        self.now_s = START_S
        self.threads: CapacityLimiter | None = None
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.threads is not None and self.threads.borrowed_tokens:
            ready = self._real.select(THREAD_S_MAX)
            if not ready:
                raise Deadlock(f"a thread has not come back for {THREAD_S_MAX:g} s")
            return ready
        if len(self._real.get_map()) > 1:  # One is the loop's own, for threads to wake it.
            raise Deadlock("a socket or a pipe is waited for: that takes the real clock")
        if timeout is None:
            raise Deadlock(f"at {self.now_s - START_S:g} s nothing is ready, and no timer is set")
        self.now_s += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its clock starts at START_S."""

    _ready: deque[asyncio.Handle]  # The base class's: what runs in its next round.

    def __init__(self, random: Random | None = None) -> None:
        """Make a loop.

        Args:
            random: What is ready at one moment runs in an order drawn from it; None for the
                order in which it became ready.
        """
        self._jumping = _Jumping()
        self._random = random
        super().__init__(self._jumping)

    def _run_once(self) -> None:
        if self._random is not None and len(self._ready) > 1:
            ready = list(self._ready)
            self._random.shuffle(ready)
            self._ready.clear()
            self._ready.extend(ready)
        super()._run_once()  # type: ignore[misc]  # Not in the stubs, being private.

    def time(self) -> float:
        return self._jumping.now_s

    def watch(self, threads: CapacityLimiter) -> None:
        """Let the clock stand still while one of these is at work."""
        self._jumping.threads = threads


def run_virtual(
    function: Callable[[], Awaitable[_T]], *, shuffled_by: Random | None = None
) -> tuple[_T, float]:
    """Run an async function on a virtual clock.

    Args:
        function: What to run.
        shuffled_by: Draws the order of what is ready at one moment; None for none.

    Returns:
        What it returned, and how long it took by that clock.

    Raises:
        Deadlock: if it waits for what will never come.
    """

    async def timed() -> tuple[_T, float]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.watch(to_thread.current_default_thread_limiter())
        result = await function()
        return result, loop.time() - START_S

    return anyio.run(timed, backend_options={"loop_factory": partial(VirtualLoop, shuffled_by)})
