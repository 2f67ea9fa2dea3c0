"""HTML as text, in which whatever is not markup is escaped; and figures for a person."""

from collections.abc import Iterable
from html import escape

_TENTHS_BELOW = 10
_TENTHS_MIN_S = 0.05
_EMPTY = {"line", "link", "meta", "path", "rect"}  # Those without content; <i/> would not end.


class Html(str):
    """Text that is HTML already; any other is escaped when it is put into it."""

    __slots__ = ()


def el(name: str, /, *content: str, **attributes: str | float | None) -> Html:
    """An element.

    Args:
        name: Such as ``td``.
        content: Text, which is escaped, and Html.
        attributes: By name, one underscore at the end left out; those that are None are left out.
    """
    shown = "".join(
        f' {key.removesuffix("_").replace("_", "-")}="{escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _EMPTY and not content:
        return Html(f"<{name}{shown}/>")
    return Html(f"<{name}{shown}>{joined(content)}</{name}>")


def joined(content: Iterable[str]) -> Html:
    """Pieces one after the other."""
    return Html("".join([str(c) if isinstance(c, Html) else escape(c) for c in content]))


def _plain(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def number(value: float) -> str:
    """``12,345``, ``9.8``, ``0.25``."""
    if value == round(value) or value >= _TENTHS_BELOW:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if value >= 1 else f"{value:.2g}"


def share(part: float, whole: float) -> str:
    """``12.3 %``; never 100 or 0 % of what is not all or nothing."""
    if not whole or part in {0, whole}:
        return "100 %" if whole and part else "0 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


def duration(seconds: float) -> str:
    """``under 0.1 s``, ``0.4 s``, ``42 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 days 4 h``."""
    if 0 < seconds < _TENTHS_MIN_S:
        return "under 0.1 s"
    if seconds < _TENTHS_BELOW:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} {'day' if days == 1 else 'days'} {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def latency(seconds: float) -> str:
    """``48 ms``, ``1.2 s``."""
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.2g} s"


def size(size_bytes: int) -> str:
    """``812 B``, ``1.2 MB``."""
    for unit, most in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= most:
            return f"{size_bytes / most:,.1f} {unit}"
    return f"{size_bytes} B"


def moment(time: str) -> str:
    """``2026-01-31 23:59:59 UTC`` out of ISO 8601 in UTC."""
    return f"{time[:10]} {time[11:19]} UTC"


def times(count: int, one: str, many: str | None = None) -> str:
    """``1 task``, ``1,000 tasks``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
