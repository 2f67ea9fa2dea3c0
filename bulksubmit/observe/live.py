"""Lines of a terminal that are drawn again and again in place, with what scrolls above them.

The cursor rests on the first of them, not below the last one: when a window is made narrower,
some terminals wrap what is there and some do not, but all keep the cursor on its line, so that
clearing from there to the end leaves nothing behind. And they are drawn without wrapping: a
terminal may have been narrower for a while when it says so.
"""

import os
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.style import Style
from rich.text import Text

from bulksubmit.observe.panel import Line, Tone

_CLEAR_LINE = "\r\x1b[2K"  # And to its beginning.
# To the end of the screen. Never from its very beginning: tmux would take that for a reason to
# put the whole screen into its history.
_CLEAR_REST = "\x1b[J"
_WRAP_OFF, _WRAP_ON = "\x1b[?7l", "\x1b[?7h"

STYLES = {
    Tone.PLAIN: Style(),
    Tone.FAINT: Style(dim=True),
    Tone.GOOD: Style(color="green"),
    Tone.ODD: Style(color="yellow"),
    Tone.BAD: Style(color="red"),
}


class Live:
    """Makes what is to be written; writes nothing itself."""

    def __init__(self, out: TextIO) -> None:
        """Draw for a terminal, in the colours that it has (rich heeds NO_COLOR and the like)."""
        self._out = out
        # Asked once: rich takes ten times as long for a frame as putting these around does.
        console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._around = {tone: _around(console, style) for tone, style in STYLES.items()}
        self._drawn = ""

    def draw(self, lines: Sequence[Line]) -> str:
        """The lines, in the place of those before.

        Args:
            lines: One or more, none of them empty, or wider than the terminal.
        """
        first, *others = [self._painted(line) for line in lines]
        up = f"\x1b[{len(others)}A" if others else ""
        # In one piece, so that nobody sees it half drawn. Cleared before, not behind: lines that
        # the terminal has wrapped would stay wrapped for it.
        rest = "".join(f"\n{each}" for each in others)
        self._drawn = f"{_CLEAR_LINE}{_WRAP_OFF}{first}{_CLEAR_REST}{rest}\r{up}{_WRAP_ON}"
        return self._drawn

    def above(self, text: str) -> str:
        """A line that stays and scrolls, and what was drawn again below it."""
        return f"{_CLEAR_LINE}{text or ' '}{_CLEAR_REST}\n{self._drawn}"

    def clear(self) -> str:
        """Nothing in their place."""
        self._drawn = ""
        return f"{_CLEAR_LINE} {_CLEAR_REST}{_CLEAR_LINE}"

    @property
    def is_in_front(self) -> bool:
        """Whether the terminal is ours, not the shell's that has sent us to the background."""
        try:
            return os.tcgetpgrp(self._out.fileno()) == os.getpgrp()
        except OSError:  # Not the one that we were started from.
            return True

    def _painted(self, line: Line) -> str:
        pieces = ((text, self._around[tone]) for text, tone in line)
        return "".join(f"{before}{text}{after}" for text, (before, after) in pieces)


def _around(console: Console, style: Style) -> tuple[str, str]:
    """What is written before and after a text of this style."""
    with console.capture() as captured:
        console.print(Text("x", style), end="")
    before, _, after = captured.get().partition("x")
    return before, after
