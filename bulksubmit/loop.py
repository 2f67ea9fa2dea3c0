"""An event loop for whoever has none."""

from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


def run_async(function: Callable[[*_Args], Awaitable[_T]], *args: *_Args) -> _T:
    """Run an async function on the quickest event loop there is.

    In the main thread the first Ctrl-C cancels it, and is raised when it has ended; a second one
    does not wait for that.

    Raises:
        RuntimeError: if a loop runs in this thread already.
    """
    import anyio  # noqa: PLC0415 - 60 ms, which those who only ask for help need not wait for

    try:
        import uvloop  # noqa: F401, PLC0415 - only to see whether it is there
    except ImportError:
        options = {}
    else:
        options = {"use_uvloop": True}
    return anyio.run(function, *args, backend_options=options)


def loop_runs() -> bool:
    """Whether an event loop runs in this thread."""
    import asyncio  # noqa: PLC0415 - as anyio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
