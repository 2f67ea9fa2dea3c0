"""Stretches of a job's list of tasks, by ID, that can be listed at the same time.

A stretch is all IDs from a bound on (``ge``), up to but without another (``lt``). Cut a stretch at
any points p1, p2, … pn, and the parts [low, p1), [p1, p2), … [pn, high) hold all that it holds,
**in whatever order the service compares IDs**: an ID is at or above the first bound, and not at or
above the last; so somewhere between two neighbours it is at or above the one and below the other.
If the service's order is not ours, an ID may be in two parts, and a part may be empty or large;
none is in no part. So points are chosen by nothing but what is quick:

    cut      by a sample of the IDs that are expected, into parts of about the same size
    split    a part that turns out to be long, by its digits: behind ``frame-0041999`` come
             ``frame-0042``, ``frame-005``, ``frame-01``, ``frame-1``, ``frame.`` and so on

For the same reason a part that is split is listed again from its beginning: what has been seen of
it would be all up to the last ID seen only if lists were sorted, which nobody promises.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise

import msgspec

# REST reference, TaskAddParameter.id; folded, in the order of their codes.
_ALPHABET = "-0123456789_abcdefghijklmnopqrstuvwxyz"


class Span(msgspec.Struct, frozen=True):
    """A stretch of IDs, folded.

    Attributes:
        low: The least ID; None for no bound.
        high: What all IDs are less than; None for no bound.
    """

    low: str | None = None
    high: str | None = None


def cut(sample: Sequence[str], parts: int) -> list[Span]:
    """The whole list, in parts of about the same size.

    Args:
        sample: Some of the IDs, folded, in any order; may be none.
        parts: How many, if the sample is large enough for it.
    """
    ordered = sorted(set(sample))
    parts = min(parts, len(ordered) + 1)
    points = [ordered[part * len(ordered) // parts] for part in range(1, parts)]
    return _between(Span(), points)


def split(span: Span, page: Sequence[str]) -> list[Span]:
    """A part that is longer than was thought, in several.

    Args:
        span: The part.
        page: The last IDs that it was seen to hold, folded, one or more.

    Returns:
        Two or more; the first has what was seen so far, if the service's order is ours. None if
        nothing is known to cut it by.
    """
    first, last = min(page), max(page)
    alike = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    # Behind the place where the page's IDs differ, a part would be less than a page.
    longest = min(len(last) - 1, len(first) if alike is None else alike)
    points = []
    for place in range(longest, -1, -1):
        rank = bisect_right(_ALPHABET, last[place])
        if rank < len(_ALPHABET):
            points.append(last[:place] + _ALPHABET[rank])
    low = span.low or ""
    inside = [p for p in points if p > low and (span.high is None or p < span.high)]
    return _between(span, inside) if inside else []


def _between(span: Span, points: Sequence[str]) -> list[Span]:
    return [Span(low, high) for low, high in pairwise([span.low, *points, span.high])]
