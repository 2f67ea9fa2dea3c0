"""Tasks by columns are as a list of them, whatever is asked of them."""

from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.model import Task
from bulksubmit.core.tasks import (
    Columns,
    bodies_of,
    bytes_of,
    first_ordinal,
    ids_of,
    last_ordinal,
)
from tests.core.helpers import columns, make_task

IDS = st.text("abcXYZ019_-", min_size=1, max_size=8)
SIZES = st.integers(0, 200)


@st.composite
def rows(draw: st.DrawFn, *, min_size: int = 0) -> list[Task]:
    """Tasks with gaps between them."""
    items = draw(st.lists(st.tuples(IDS, SIZES), min_size=min_size, max_size=8))
    return [make_task(2 * n, task_id=i, body_bytes=size) for n, (i, size) in enumerate(items)]


@given(rows(), st.slices(8))
def test_as_a_list(tasks: list[Task], some: slice) -> None:
    """By length, by place, by slice of any step, one after the other, and compared with one."""
    by_columns = columns(tasks)

    assert len(by_columns) == len(tasks)
    assert [*by_columns] == tasks
    assert by_columns == tasks
    assert tasks == by_columns
    assert by_columns == tuple(tasks)
    assert by_columns[some] == tasks[some]
    assert [by_columns[at] for at in range(-len(tasks), len(tasks))] == tasks + tasks
    assert (by_columns == [*tasks, *tasks]) is not bool(tasks)
    assert repr(by_columns) == f"Columns({tasks!r})"


@given(rows(), rows(), st.integers(0, 2**40))
def test_joined_and_moved(tasks: list[Task], others: list[Task], by: int) -> None:
    """Some and then others; and the same with other ordinals. What they are made of stays."""
    first, second = columns(tasks), columns(others)

    joined, moved = first.joined(second), first.moved(by)

    assert joined == tasks + others
    assert joined.folded == first.folded + second.folded
    assert moved == [Task(t.ordinal + by, t.line, t.id, t.body) for t in tasks]
    assert moved.folded == first.folded
    assert first == tasks


@given(rows(min_size=1))
def test_what_is_asked_of_any_tasks(tasks: list[Task]) -> None:
    """A list of tasks and columns of them answer alike."""
    assert (ids_of(tasks), bodies_of(tasks)) == (ids_of(columns(tasks)), bodies_of(columns(tasks)))
    assert bytes_of(tasks) == bytes_of(columns(tasks)) == sum(len(task.body) for task in tasks)
    assert first_ordinal(tasks) == first_ordinal(columns(tasks)) == 0
    assert last_ordinal(tasks) == last_ordinal(columns(tasks)) == 2 * len(tasks) - 2
    assert columns(tasks).folded == [task.id.lower().encode() for task in tasks]


def test_none() -> None:
    """Not even one: of no IDs, none is the empty one."""
    assert Columns([], [], [], []).folded == []
