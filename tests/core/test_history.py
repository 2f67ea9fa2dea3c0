"""Samples that are joined, and attempts that are counted in ranges."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import Counts
from bulksubmit.core.history import Sample, attempts_from, attempts_to, merged, thinned

NUMBERS = st.integers(0, 10**6)
FIGURES = st.floats(0, 10**6)


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    """A row of them, each beginning where the last one ends."""
    row: list[Sample] = []
    for span_s in draw(st.lists(st.floats(0.001, 100.0), max_size=20)):
        requests = draw(st.integers(0, 1000))
        begun_s = row[-1].end_s if row else 0.0
        row.append(
            Sample(
                begun_s=begun_s,
                span_s=span_s,
                settled=draw(NUMBERS),
                requests=requests,
                throttled=draw(NUMBERS),
                lost=draw(NUMBERS),
                limit=draw(FIGURES),
                in_flight=draw(FIGURES),
                p50_s=draw(FIGURES) if requests else None,
                p95_s=draw(FIGURES) if requests else None,
                cause=draw(st.sampled_from([None, "cpu", "slow"])),
            )
        )
    return row


@given(samples())
def test_nothing_is_lost_by_thinning(row: list[Sample]) -> None:
    """
    Half as many samples cover the same time with the same counts, and no average leaves the range
    of what it is of.
    """
    few = thinned(row)

    assert len(few) == (len(row) + 1) // 2
    for name in ("settled", "requests", "throttled", "lost"):
        assert sum(getattr(s, name) for s in few) == sum(getattr(s, name) for s in row)
    if row:
        assert few[0].begun_s == row[0].begun_s
        assert few[-1].end_s == pytest.approx(row[-1].end_s)
    for name in ("limit", "in_flight", "p50_s", "p95_s"):
        before = [value for s in row if (value := getattr(s, name)) is not None]
        after = [value for s in few if (value := getattr(s, name)) is not None]
        assert bool(before) == bool(after)
        for value in after:
            assert min(before) * 0.999999 <= value <= max(before) * 1.000001


def test_averages_are_weighted() -> None:
    """
    The limit counts by time, the latency by attempts, the cause is that of the longer span.
    """
    first = Sample(0.0, 1.0, 100, 1, 0, 0, 10.0, 4.0, 1.0, 2.0, "slow")
    second = replace(first, begun_s=1.0, span_s=3.0, requests=3, limit=20.0, p50_s=2.0, cause="cpu")

    both = merged(first, second)

    assert (both.begun_s, both.span_s, both.settled, both.requests) == (0.0, 4.0, 200, 4)
    assert (both.limit, both.in_flight, both.p50_s, both.p95_s) == (17.5, 4.0, 1.75, 2.0)
    assert both.cause == "cpu"


@given(st.integers(0, 10**5))
def test_each_number_of_attempts_has_its_range(attempts: int) -> None:
    """
    It lies in the range that it is counted by, which is known by its first number.
    """
    begin = attempts_from(attempts)
    end = attempts_to(begin)

    assert begin <= attempts
    assert end is None or attempts <= end
    assert attempts_from(begin) == begin
    assert begin == attempts or attempts > 10


def test_there_are_few_ranges() -> None:
    """
    However often tasks are sent, a journal has a handful of numbers.
    """
    assert len({attempts_from(attempts) for attempts in range(100_000)}) == 18


def test_all_counts_but_the_attempts_are_numbers() -> None:
    """
    A count that is new has its column.
    """
    assert (*Counts.NUMBERS, "attempts") == tuple(field.name for field in fields(Counts))
