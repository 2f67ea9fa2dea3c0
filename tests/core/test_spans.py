"""Parts of a list hold, together, all that it holds: in whatever order the service compares."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.spans import Span, cut, split

IDS = st.text("-019_abz", min_size=1, max_size=5)
Order = Callable[[str], Any]


def an_order(seed: int) -> Order:
    """Any order of texts, the same each time."""
    ranks: dict[str, float] = {}
    random = Random(seed)
    return lambda text: ranks.setdefault(text, random.random())


ORDERS: st.SearchStrategy[Order] = st.one_of(
    st.sampled_from([str, str.upper, lambda text: text.replace("-", ""), lambda text: text[::-1]]),
    st.integers(0, 1000).map(an_order),
)


def holds(span: Span, task_id: str, order: Order) -> bool:
    """As the service tells by its filter."""
    rank = order(task_id)
    return (span.low is None or rank >= order(span.low)) and (
        span.high is None or not rank >= order(span.high)
    )


@given(st.lists(IDS), st.lists(IDS), st.integers(1, 9), ORDERS)
def test_cut_loses_no_id(
    ids: Sequence[str], sample: Sequence[str], parts: int, order: Order
) -> None:
    """
    Each ID is in a part, whatever the sample and whatever the order.
    """
    spans = cut(sample, parts)

    assert all(any(holds(span, task_id, order) for span in spans) for task_id in ids)


@given(st.lists(IDS, min_size=1), st.lists(IDS, min_size=1), IDS, IDS, ORDERS)
def test_split_loses_no_id(
    ids: Sequence[str], page: Sequence[str], low: str, high: str, order: Order
) -> None:
    """
    Each ID of a part is in a part of it, whatever was seen of it and whatever the order.
    """
    span = Span(low, high)
    parts = split(span, page) or [span]

    within = [task_id for task_id in ids if holds(span, task_id, order)]
    assert all(any(holds(part, task_id, order) for part in parts) for task_id in within)


@given(st.lists(IDS, min_size=1), IDS, IDS)
def test_parts_are_narrower(page: Sequence[str], low: str, high: str) -> None:
    """
    No part is as wide as the whole, so that splitting comes to an end; and they are in order.
    """
    span = Span(low, high)
    parts = split(span, page)

    assert span not in parts
    bounds = [part.high for part in parts[:-1] if part.high is not None]
    assert len(parts) != 1
    assert bounds == sorted(set(bounds))
    assert all(low < bound < high for bound in bounds)


def test_cut_is_even() -> None:
    """
    By a sample of the IDs, parts have about as many each.
    """
    ids = [f"frame-{n:05}" for n in range(10_000)]
    spans = cut(Random(1).sample(ids, 1000), 10)

    counts = [sum(holds(span, task_id, str) for task_id in ids) for span in spans]
    assert len(counts) == 10
    assert sum(counts) == 10_000
    assert max(counts) < 1500


def test_split_follows_the_digits() -> None:
    """
    Behind what was seen come the next hundred, thousand, ten thousand and so on, within the bounds.
    """
    page = [f"frame-{n:06}" for n in range(41_003, 41_897)]

    parts = split(Span("frame-03", "frame-2"), page)

    assert [part.high for part in parts] == [
        *("frame-0419", "frame-042", "frame-05", "frame-1"),
        "frame-2",
    ]
    assert parts[0].low == "frame-03"


def test_what_cannot_be_split_is_not() -> None:
    """
    A part whose bounds leave no room behind what was seen stays as it is.
    """
    assert split(Span("a-1", "a-2"), ["a-1z"]) == []
    assert split(Span(None, None), ["zzz"]) == []
