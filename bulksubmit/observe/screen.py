"""What a person sees while a run is under way: notes, and how far it is.

On a terminal it is a few lines in place, four times a second; elsewhere (a file, a pipe, a
terminal that cannot move its cursor) a line every ten seconds, with its time.
"""

import os
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

from bulksubmit.core.events import Anomaly, Event, Held, Noted, RequestEnded, Resumed
from bulksubmit.core.redact import redact
from bulksubmit.observe.panel import flowed, panel
from bulksubmit.observe.progress import Progress, in_ascii, progress_line
from bulksubmit.observe.recent import Recent

if TYPE_CHECKING:
    from bulksubmit.observe.live import Live

TERMINAL_PERIOD_S = 0.25  # On a terminal, in place;
PLAIN_PERIOD_S = 10.0  # elsewhere, a line each.

COLUMNS, ROWS = 80, 24  # Of a terminal that does not say, such as one without a window.

# From one hold that is told to the next one for the same reason; progress shows each.
HOLDS_S = 600.0
NOTES_MAX = 5  # Of one kind, about the input.

Show: TypeAlias = Literal["auto", "plain", "none"]


class Screen:
    """Writes to standard error, so that standard output holds results only.

    Secrets are taken out. It is an observer too: what holds the run back is told as it happens.
    """

    def __init__(
        self,
        out: TextIO,
        *,
        quiet: bool,
        show: Show = "auto",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Write to a stream.

        Args:
            out: The stream.
            quiet: Write errors, and what is asked for; neither notes nor progress.
            show: Progress in place if the stream can, or in plain lines, or not at all.
            clock: The time in seconds.
        """
        self._out, self._quiet = out, quiet
        self._shows = show != "none" and not quiet
        self._live = _live(out) if self._shows and show == "auto" and in_place(out) else None
        self._clock, self._recent = clock, Recent(clock)
        self._ascii_only = not _encodes(out, "·≥…━╸─")
        self._anomalies: set[str] = set()
        self._silence = self._hold = ""
        self._hold_told_s, self._telling_hold = 0.0, False
        self._noted: Counter[str] = Counter()
        self.period_s = TERMINAL_PERIOD_S if self._live else PLAIN_PERIOD_S

    def __call__(self, event: Event, /) -> None:
        """See Observer."""
        match event:
            case RequestEnded(attempt=attempt, latency_s=latency_s) if attempt:
                self._recent.ended(latency_s)
            case Held(reason, for_s):
                self._tell_hold(reason, for_s)
            case Resumed() if self._telling_hold:
                self._telling_hold = False
                self.note("going on")
            case Anomaly(what, attempt, task_id) if what not in self._anomalies:
                self._anomalies.add(what)
                words = what.replace("_", " ")
                self.note(f"odd answer to attempt {attempt}: {words} {task_id!r}; dealt with")
            case Noted(what, text):
                self._note_some(what, text)
            case RequestEnded(attempt=0, reply="lost", reason=str(reason)):
                self._note_once(reason)

    def _tell_hold(self, reason: str, for_s: float) -> None:
        """A service that throttles, or is down, may bring one a second, all night."""
        now_s = self._clock()
        if reason != self._hold or now_s >= self._hold_told_s + HOLDS_S:
            self._hold, self._hold_told_s, self._telling_hold = reason, now_s, True
            self.note(f"holding back for {for_s:.1f} s: {reason}")

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
            self.error(text)

    def error(self, text: str) -> None:
        """A line that stays, in any case."""
        self._write(self._live.above(text) if self._live else f"{text}\n")

    def progress(self, state: Progress | str) -> None:
        """How far it is, by now: in the place of what was shown before, or a line.

        Args:
            state: Of a run; or, in the words of whatever else takes its time, a line.
        """
        if not self._shows:
            return
        if not self._live:
            self.tell(state)
        elif self._live.is_in_front:
            columns, rows = self._size
            width = columns - 1  # In the last column, some terminals wrap.
            if isinstance(state, str):
                lines = flowed(state, width, ascii_only=self._ascii_only)
            else:
                pace = self._recent.look(state.settled)
                lines = panel(
                    state, pace, width=width, height=rows - 1, ascii_only=self._ascii_only
                )
            self._write(self._live.draw(lines))

    def tell(self, state: Progress | str) -> None:
        """How far it is, as a line that stays, even if quiet: somebody has asked."""
        line = state
        if not isinstance(line, str):
            line = progress_line(line, self._recent.look(line.settled))
        self.error(f"{time.strftime('%H:%M:%S')} {line}")

    def done(self) -> None:
        """Leave the terminal as it was."""
        for what, count in self._noted.items():
            if count > NOTES_MAX:
                self.note(f"and {count - NOTES_MAX:,} more of: {what}")
        if self._live:
            self._write(self._live.clear())

    @property
    def _size(self) -> tuple[int, int]:
        """Columns and rows of the terminal, at present."""
        try:
            columns, rows = os.get_terminal_size(self._out.fileno())
        except OSError:
            return COLUMNS, ROWS
        return columns or COLUMNS, rows or ROWS

    def _write(self, text: str) -> None:
        if self._ascii_only:
            text = in_ascii(text)
        with suppress(OSError):  # A terminal or pipe that has gone is no reason to stop.
            self._out.write(redact(text))
            self._out.flush()


def in_place(out: TextIO) -> bool:
    """Whether what is written there can be painted, and drawn over."""
    return out.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def _live(out: TextIO) -> "Live":
    from bulksubmit.observe.live import Live  # noqa: PLC0415 - rich: 50 ms

    return Live(out)


def _encodes(out: TextIO, text: str) -> bool:
    try:
        text.encode(out.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
