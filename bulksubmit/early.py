"""Signals that come while a command is still being loaded, which takes half a second.

Python would answer Ctrl-C with a traceback, and SIGUSR1, which asks how far a run is, would end the
process. Nothing is imported here that takes time.
"""

import os
import re
import signal
import sys
from types import FrameType

# What asks how far it is; SIGINFO, where there is one, is Ctrl-T.
QUESTIONS = [
    number
    for name in ("SIGUSR1", "SIGINFO")
    if isinstance(number := getattr(signal, name, None), signal.Signals)
]
ENDS = (signal.SIGINT, signal.SIGTERM)

# Commands that heed signals themselves once they are loaded, and have a report at any end.
_HEEDING = re.compile(r"(submit|verify|bench|runs resume)\b")


class Early:
    """What is done at Ctrl-C and SIGTERM until a command heeds them itself: it is noted.

    Attributes:
        first: The first one, if any; whoever begins to heed signals acts on it.
    """

    def __init__(self) -> None:
        self.first: signal.Signals | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Note the first signal; at the second one, leave at once."""
        if self.first is not None:
            os._exit(128 + number)
        self.first = signal.Signals(number)


def noted() -> Early | None:
    """What notes signals at present, if anything does."""
    handler = signal.getsignal(signal.SIGINT)
    return handler if isinstance(handler, Early) else None


def ignore_questions() -> None:
    """Nobody answers yet, or any more."""
    for number in QUESTIONS:
        signal.signal(number, signal.SIG_IGN)


def begin() -> None:
    """Be ready for signals: the first thing that a process does."""
    ignore_questions()
    # A shell has a job in the background ignore Ctrl-C; that stays so.
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    if not _HEEDING.match(" ".join(sys.argv[1:])):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ends the process, quietly: 130 for a shell.
        return
    early = Early()
    for number in ENDS:
        signal.signal(number, early)
