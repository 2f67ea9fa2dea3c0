"""Sets of ordinals, against a plain set."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.bitmap import BLOCK, Bitmap

# Around the borders of bytes and of blocks, where mistakes live.
ORDINALS = st.one_of(
    st.integers(0, 40), st.integers(BLOCK - 40, BLOCK + 40), st.integers(0, 3 * BLOCK)
)
RANGES = st.tuples(ORDINALS, ORDINALS).map(sorted)


@given(ranges=st.lists(RANGES, max_size=5), ones=st.lists(ORDINALS, max_size=10), asked=RANGES)
def test_it_is_a_set(ranges: list[list[int]], ones: list[int], asked: list[int]) -> None:
    """Whatever is added, alone or as a range: it holds that, and nothing else."""
    bitmap, plain = Bitmap(), set(ones)
    for first, end in ranges:
        bitmap.add_range(first, end)
        plain.update(range(first, end))
    for ordinal in ones:
        bitmap.add(ordinal)

    assert len(bitmap) == len(plain)
    first, end = asked
    assert bitmap.missing(first, end) == len(set(range(first, end)) - plain)
    edges = [*asked, *ones, *chain.from_iterable(ranges)]
    near = {n for edge in edges for n in (edge - 1, edge, edge + 1)}
    assert {n for n in near if n >= 0 and n in bitmap} == near & plain
    assert bitmap.changed == {ordinal // BLOCK for ordinal in plain}


@given(ranges=st.lists(RANGES, max_size=5))
def test_blocks_come_back(ranges: list[list[int]]) -> None:
    """A bitmap that is loaded from the blocks of another one is the same set."""
    bitmap, loaded = Bitmap(), Bitmap()
    for first, end in ranges:
        bitmap.add_range(first, end)

    for number in bitmap.changed:
        bits = bitmap.block(number)
        assert bits is not None
        assert len(bits) == 8192
        loaded.load(number, bits)

    assert loaded.changed == set()
    assert len(loaded) == len(bitmap)
    assert loaded.missing(0, 4 * BLOCK) == bitmap.missing(0, 4 * BLOCK)
    assert all(loaded.block(number) == bitmap.block(number) for number in range(4))


@given(ranges=st.lists(RANGES, max_size=5), ones=st.lists(ORDINALS), bounds=RANGES)
def test_a_part_counts_from_its_beginning(
    ranges: list[list[int]], ones: list[int], bounds: list[int]
) -> None:
    """It holds what lies between two blocks' beginnings, and is a set of its own."""
    bitmap = Bitmap()
    for first, end in ranges:
        bitmap.add_range(first, end)
    first, end = (BLOCK * (each // BLOCK) for each in bounds)

    part = bitmap.part(first, end)

    assert len(part) == end - first - bitmap.missing(first, end)
    for one in ones:
        assert (one in part) == (one + first in bitmap and one + first < end)
    count = len(bitmap)
    part.add_range(0, BLOCK)
    assert len(bitmap) == count


def test_an_empty_one() -> None:
    """It holds nothing, and all is missing."""
    bitmap = Bitmap()

    assert (len(bitmap), 0 in bitmap, 10**9 in bitmap) == (0, False, False)
    assert bitmap.missing(0, 1_000_000) == 1_000_000
    assert bitmap.missing(5, 5) == 0
    assert bitmap.block(0) is None


def test_changes_are_told_anew() -> None:
    """Which blocks were changed is told since the caller has cleared it."""
    bitmap = Bitmap()
    bitmap.add(1)
    bitmap.add(BLOCK)
    bitmap.changed.clear()

    bitmap.add(2 * BLOCK + 1)
    bitmap.add_range(7, 7)

    assert bitmap.changed == {2}


def test_only_numbers_are_ordinals() -> None:
    """Asking for anything else is a programmer's error."""
    with pytest.raises(AssertionError):
        assert "t1" not in Bitmap()


@given(st.sets(st.integers(0, 3 * BLOCK)), st.sets(st.integers(0, 3 * BLOCK)))
def test_what_is_removed_is_out(ones: set[int], others: set[int]) -> None:
    """
    Without another set, it holds what that does not.
    """
    bitmap, without = Bitmap(), Bitmap()
    for ordinal in ones:
        bitmap.add(ordinal)
    for ordinal in others:
        without.add(ordinal)

    bitmap.remove(without)

    assert len(bitmap) == len(ones - others)
    assert all(ordinal in bitmap for ordinal in ones - others)
    assert not any(ordinal in bitmap for ordinal in others)
