"""How far the run is, in a few lines, for a terminal of any width.

::

     42% ━━━━━━━━━━━━━━━╸──────────────────── 42,000 of ≥ 50,000 settled, reading…
    4,210/s now · 4,200/s mean · 14 s left · limited by: service (throttled)
    41,950 added · 30 existed · 20 rejected · 12 retrying · 100 in doubt
    16 in flight, limit 16.4 (throttled) · 2.1% throttled · p95 84 ms

What does not fit into a line goes on in the next one, never in the middle of a word: a terminal
that wraps would leave lines behind.
"""

import math
from collections.abc import Iterable, Iterator
from enum import Enum

from bulksubmit.observe.causes import SHORT
from bulksubmit.observe.progress import (
    Pace,
    Progress,
    counts,
    halted,
    in_ascii,
    limit,
    p95,
    throttled,
    time_left,
    total,
)


class Tone(Enum):
    """What a piece of text is, for whoever gives it a colour."""

    PLAIN = "plain"
    FAINT = "faint"
    GOOD = "good"
    ODD = "odd"  # To be looked at,
    BAD = "bad"  # or mended.


Piece = tuple[str, Tone]
Line = list[Piece]

_GAP = " · "
_INDENT: Piece = ("  ", Tone.PLAIN)
_BAR_MIN, _BAR_MAX = 10, 40  # Columns.
_TONES = {
    "rejected": Tone.BAD,
    "abandoned": Tone.BAD,
    "retrying": Tone.ODD,
    "in doubt": Tone.ODD,
}


def panel(
    progress: Progress, pace: Pace, *, width: int, height: int, ascii_only: bool
) -> list[Line]:
    """The lines.

    Args:
        progress: How far the run is.
        pace: How fast it goes.
        width: Of a line, at most.
        height: Lines, at most; the first ones matter most.
        ascii_only: Whether the bar has to do without characters beyond ASCII.
    """
    lines = _head(progress, width, ascii_only=ascii_only)
    for pieces in (_speed(progress, pace), _tasks(progress), _requests(progress, pace)):
        lines += _flowed(pieces, width, ascii_only=ascii_only)
    return lines[: max(1, height)]


def flowed(text: str, width: int, *, ascii_only: bool) -> list[Line]:
    """A line of progress, on as many lines as it needs; see panel()."""
    pieces = ((part, Tone.PLAIN) for part in text.split(_GAP))
    return _flowed(pieces, width, ascii_only=ascii_only)


def _head(progress: Progress, width: int, *, ascii_only: bool) -> list[Line]:
    report = progress.report
    words = "starting: nothing was read yet"
    if report.total or report.source_complete:
        reading = "" if report.source_complete else ", reading…"
        words = f"{progress.settled:,} of {total(progress)} settled{reading}"
    told = _flowed([(words, Tone.PLAIN)], width, ascii_only=ascii_only)
    if progress.share is None or not (report.total or report.source_complete):
        return told
    percent = f"{progress.percent:3d}% "
    room = width - len(percent)
    beside = room - sum(len(text) for text, _ in told[0]) - 1
    is_beside = beside >= _BAR_MIN
    bar_width = min(_BAR_MAX, beside if is_beside else room)
    first: Line = [
        (percent, Tone.PLAIN),
        *_bar(progress.share, bar_width, ascii_only=ascii_only),
    ]
    return [[*first, (" ", Tone.PLAIN), *told[0]]] if is_beside else [first, *told]


def _bar(share: float, width: int, *, ascii_only: bool) -> Line:
    """Rounded down, like the percentage: it is full only if all is done."""
    if width < 1:
        return []
    done = math.floor(share * width)
    if ascii_only:
        return [("#" * done, Tone.GOOD), ("-" * (width - done), Tone.FAINT)]
    half = "╸" if share * width - done >= 1 / 2 else ""
    left = width - done - len(half)
    return [("━" * done + half, Tone.GOOD), ("─" * left, Tone.FAINT)]


def _speed(progress: Progress, pace: Pace) -> Iterator[Piece]:
    report = progress.report
    if halt := halted(progress):
        yield halt, Tone.ODD
    elif pace.tasks_per_s is not None:
        yield f"{pace.tasks_per_s:,.0f}/s now", Tone.PLAIN
    if report.tasks_per_s:
        yield f"{report.tasks_per_s:,.0f}/s mean", Tone.PLAIN
    if left := time_left(progress, pace):
        yield left, Tone.PLAIN
    if progress.limited_by:
        yield f"limited by: {SHORT[progress.limited_by.cause]}", Tone.PLAIN


def _tasks(progress: Progress) -> Iterator[Piece]:
    for count, word in counts(progress):
        yield f"{count:,} {word}", _TONES.get(word, Tone.PLAIN)
    if progress.settled_before:
        yield f"{progress.settled_before:,} in earlier processes", Tone.FAINT


def _requests(progress: Progress, pace: Pace) -> Iterator[Piece]:
    report = progress.report
    bound = "" if report.limit is None else f", limit {limit(report)}"
    yield f"{progress.in_flight} in flight{bound}", Tone.PLAIN
    if report.throttled_requests:
        yield throttled(report), Tone.ODD
    if pace.p95_s is not None:
        yield p95(pace.p95_s), Tone.PLAIN


def _flowed(pieces: Iterable[Piece], width: int, *, ascii_only: bool) -> list[Line]:
    """Pieces one after the other, on as many lines as they need."""
    lines: list[Line] = []
    used, gap = 0, in_ascii(_GAP) if ascii_only else _GAP
    for words, tone in pieces:
        text = in_ascii(words) if ascii_only else words
        if lines and used + len(gap) + len(text) <= width:
            lines[-1] += [(gap, Tone.FAINT), (text, tone)]
            used += len(gap) + len(text)
        else:
            line = [_INDENT] if lines else []
            used = sum(len(piece) for piece, _ in line)
            lines.append([*line, (text[: max(0, width - used)], tone)])
            used += len(text)
    return lines
