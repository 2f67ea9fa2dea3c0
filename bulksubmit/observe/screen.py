"""What a person at the terminal sees while a run is under way: notes, and one line of progress."""

import os
import time
from collections import Counter
from contextlib import suppress
from typing import TextIO

from bulksubmit.core.events import Anomaly, Event, Held, Noted, RequestEnded, Resumed

TERMINAL_PERIOD_S = 0.25  # On a terminal, in place;
PLAIN_PERIOD_S = 10.0  # elsewhere, a line each.

COLUMNS = 80  # Of a terminal that does not say, such as one without a window.

NOTES_MAX = 5  # Of one kind, about the input.

_CLEAR_LINE = "\r\x1b[2K"


class Screen:
    """Writes to standard error, so that standard output holds results only.

    It is an observer too: what holds the run back is told as it happens.
    """

    def __init__(self, out: TextIO, *, quiet: bool) -> None:
        """Write to a stream; with ``quiet``, errors only."""
        self._out, self._quiet = out, quiet
        self._in_place = out.isatty()
        self._anomalies: set[str] = set()
        self._silence = ""
        self._noted: Counter[str] = Counter()
        self.period_s = TERMINAL_PERIOD_S if self._in_place else PLAIN_PERIOD_S

    def __call__(self, event: Event, /) -> None:
        """See Observer."""
        match event:
            case Held(reason, for_s):
                self.note(f"holding back for {for_s:.1f} s: {reason}")
            case Resumed():
                self.note("going on")
            case Anomaly(what, attempt, task_id) if what not in self._anomalies:
                self._anomalies.add(what)
                words = what.replace("_", " ")
                self.note(f"odd answer to attempt {attempt}: {words} {task_id!r}; dealt with")
            case Noted(what, text):
                self._note_some(what, text)
            case RequestEnded(attempt=0, reply="lost", reason=str(reason)):
                self._note_once(reason)

    def _note_some(self, what: str, text: str) -> None:
        """The first of each kind; how many more there were is told at the end."""
        self._noted[what] += 1
        if self._noted[what] <= NOTES_MAX:
            self.note(f"warning: {text}" if what == "warning" else text)

    def _note_once(self, reason: str) -> None:
        """A try before the first answer; the same reason again is no news, nor is being stopped."""
        if reason not in {self._silence, "cancelled"}:
            self._silence = reason
            self.note(f"the service does not answer yet: {reason}")

    def note(self, text: str) -> None:
        """A line that stays, unless quiet."""
        if not self._quiet:
            self._write(f"{_CLEAR_LINE if self._in_place else ''}{text}\n")

    def error(self, text: str) -> None:
        """A line that stays, in any case."""
        self._write(f"{_CLEAR_LINE if self._in_place else ''}{text}\n")

    def progress(self, line: str) -> None:
        """The line of progress, in the place of the one before."""
        if self._quiet:
            return
        if self._in_place:
            # What does not fit would wrap, and stay.
            self._write(f"{_CLEAR_LINE}{line[: self.width]}")
        else:
            self._write(f"{time.strftime('%H:%M:%S')} {line}\n")

    def done(self) -> None:
        """Leave the terminal as it was."""
        for what, count in self._noted.items():
            if count > NOTES_MAX:
                self.note(f"and {count - NOTES_MAX:,} more of: {what}")
        if self._in_place and not self._quiet:
            self._write(_CLEAR_LINE)

    @property
    def width(self) -> int | None:
        """How many characters a line of progress may have; None for any number."""
        if not self._in_place:
            return None
        try:
            columns = os.get_terminal_size(self._out.fileno()).columns
        except OSError:
            return None
        return (columns or COLUMNS) - 1  # In the last column, some terminals wrap.

    def _write(self, text: str) -> None:
        with suppress(OSError):  # A terminal or pipe that has gone is no reason to stop.
            self._out.write(text)
            self._out.flush()
