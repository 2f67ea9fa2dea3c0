"""Where the tasks of a source end in its bytes."""

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import Place
from bulksubmit.observe.milestones import Milestones


def place(ordinal: int) -> Place:
    return Place(ordinal, 0, 1)


def test_evenly_between_two_blocks() -> None:
    """Ten tasks of 100 bytes, then ten of 10 bytes."""
    read = Milestones()
    read.add(place(10), 1000)
    read.add(place(20), 1100)

    assert [read.bytes_at(n) for n in (0, 5, 10, 11, 20)] == [0, 500, 1000, 1010, 1100]
    assert (read.place.ordinal, read.bytes_read) == (20, 1100)


def test_a_run_that_is_resumed() -> None:
    """Until the source is read again up to what is settled, it is estimated by what was read."""
    read = Milestones()
    assert read.bytes_at(15) is None
    read.add(place(10), 1000)
    assert read.bytes_at(15) == 1500
    read.add(place(20), 1800)

    assert read.bytes_at(15) == 1400


@given(
    steps=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10**6)), max_size=30),
    asked=st.lists(st.integers(0, 30_000), max_size=30),
)
def test_never_back_and_never_beyond(steps: list[tuple[int, int]], asked: list[int]) -> None:
    """Whatever the blocks: more tasks end no earlier, and none beyond what was read."""
    read, tasks, size, before = Milestones(), 0, 0, 0
    questions = iter(sorted(asked))
    for more, more_bytes in steps:
        tasks, size = tasks + more, size + more_bytes
        read.add(place(tasks), size)
        at = read.bytes_at(min(next(questions, tasks), tasks))
        assert at is not None
        assert before <= at <= size
        before = at
