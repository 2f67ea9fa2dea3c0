"""$filter of tasks and jobs: each property, each operator, and any combination of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from random import Random
from typing import Any
from unittest import mock
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.wire import TICKS_PER_S, to_ticks
from bulksubmit.emulator import JobState, Service, Switches, listing
from bulksubmit.emulator.store import Change, TaskEnd
from tests.emulator.calls import NOW_S, VERSION, answer_of, error_of, make_service

NOW = to_ticks(NOW_S)  # 2025-06-27T04:53:20.5Z
BODY = b'{"id":"%s","commandLine":"x"}'
OPERATORS = ("eq", "ne", "ge", "gt", "le", "lt")


def pages_of(service: Service, target: str) -> list[list[dict[str, Any]]]:
    """What is listed, page by page, following each nextLink as it is given."""
    pages = []
    while target:
        answer = answer_of(service, "GET", target)
        assert answer.status == 200, answer
        page = orjson.loads(answer.body)
        pages.append(page["value"])
        assert len(pages) < 100, "the pages come to no end"
        target = page.get("odata.nextLink", "").removeprefix("http://batch.test")
    return pages


def ids_of(service: Service, text: str, *, what: str = "jobs/j1/tasks") -> str:
    """The IDs that a filter lets through, with a space between them."""
    pages = pages_of(service, f"/{what}?{VERSION}&$filter={quote(text)}")
    return " ".join(each["id"] for page in pages for each in page)


@pytest.fixture(scope="module")
def tasks() -> Service:
    """Tasks added in one second after the other; b has failed, c was done at once, d is active
    again, and e has other constraints."""
    service = make_service()
    job = service.job("j1")
    for place, task_id in enumerate("abcde"):
        ticks = NOW + place * TICKS_PER_S
        job.add(task_id, BODY % task_id.encode(), ticks=ticks, completed=task_id == "c")
    late = NOW + 9 * TICKS_PER_S + 1
    job.change_task("b", Change(late, TaskEnd.TERMINATED, late, "active", NOW))
    job.change_task("d", Change(late + 1, None, late + 1, "completed", NOW))
    job.change_task("e", Change(late + 2, None, NOW + 4 * TICKS_PER_S, constraints=b"{}"))
    return service


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id eq 'B'", "b"),
        ("state eq 'active'", "a d e"),
        ("state eq 'Completed'", "b c"),
        ("state ne 'active'", "b c"),
        ("state eq 'running'", ""),
        ("creationTime eq DateTime'2025-06-27T04:53:22.5Z'", "c"),
        ("creationTime ne DateTime'2025-06-27T04:53:22.5Z'", "a b d e"),
        ("creationTime gt DateTime'2025-06-27T04:53:22.5Z'", "d e"),
        ("creationTime ge DateTime'2025-06-27T04:53:22.5Z'", "c d e"),
        ("creationTime lt DateTime'2025-06-27T04:53:22.5Z'", "a b"),
        ("creationTime le DateTime'2025-06-27T04:53:22.5Z'", "a b c"),
        # As the reference page has it: no fraction; and a fraction of all seven digits.
        ("creationTime gt DateTime'2025-06-27T04:53:22Z'", "c d e"),
        ("creationTime ge DateTime'2025-06-27T04:53:22.5000001Z'", "d e"),
        ("creationTime ge datetime'2025-06-27T04:53:22.4999999'", "c d e"),
        ("creationTime gt DateTime'0001-01-01T00:00:00Z'", "a b c d e"),
        ("creationTime lt DateTime'9999-12-31T23:59:59.9999999Z'", "a b c d e"),
        ("stateTransitionTime ge DateTime'2025-06-27T04:53:29.5000001Z'", "b d"),
        ("stateTransitionTime ge DateTime'2025-06-27T04:53:29.5000002Z'", "d"),
        ("lastModified ge DateTime'2025-06-27T04:53:29.5000001Z'", "b d e"),
        ("lastModifiedTime gt DateTime'2025-06-27T04:53:29.5000002Z'", "e"),
        ("executionInfo/result eq 'success'", "c"),
        ("executionInfo/result eq 'FAILURE'", "b"),
        ("executionInfo/result ne 'success'", "a b d e"),
        ("executionInfo/exitCode eq 0", "c"),
        ("executionInfo/exitCode ne 0", "a b d e"),
        ("executionInfo/exitCode gt -1", "c"),
        ("executionInfo/exitCode lt -1", ""),
        ("executionInfo/exitCode le 2147483647", "c"),
        ("executionInfo/startTime ge DateTime'2025-06-27T00:00:00Z'", "c"),
        ("executionInfo/startTime ne DateTime'2025-06-27T00:00:00Z'", "a b c d e"),
        ("executionInfo/endTime ge DateTime'2025-06-27T00:00:00Z'", "b c"),
        ("executionInfo/endTime lt DateTime'2025-06-27T04:53:29Z'", "c"),
        # and before or, unless parentheses say otherwise, as many as one likes; spaces or not.
        ("id eq 'a' or id eq 'b' and state eq 'active'", "a"),
        ("(id eq 'a' or id eq 'b') and state eq 'active'", "a"),
        ("(id eq 'a' or id eq 'b') and state eq 'completed'", "b"),
        ("id eq 'a' and state eq 'active' or id eq 'b'", "a b"),
        ("id eq 'a' and (state eq 'completed' or id ge 'a')", "a"),
        ("  ( ( id   eq 'a')or(id eq 'b' )and( state ne 'running' ) )  ", "a b"),
        ("startswith(id,'b') or state eq 'completed' and id gt 'b'", "b c"),
        ("startswith( id , 'A' )", "a"),
        ("id GE 'd' and ID_IS_NO_PROPERTY eq 'x' or id eq 'a'", None),
    ],
)
def test_tasks(tasks: Service, text: str, expected: str | None) -> None:
    """
    Each property by each operator that the reference page gives it; what a task does not have is
    not equal to anything, and nothing else.
    """
    if expected is None:
        answer = answer_of(tasks, "GET", f"/jobs/j1/tasks?{VERSION}&$filter={quote(text)}")
        assert error_of(answer)[:2] == (400, "InvalidQueryParameterValue")
    else:
        assert ids_of(tasks, text) == expected


@pytest.fixture(scope="module")
def jobs() -> Service:
    """Jobs a to d, created in one second after the other, in different states."""
    service = Service(switches=Switches(job_change_s=0.0), random=Random(1))
    pools: dict[str, object] = {"c": {"autoPoolSpecification": {"poolLifetimeOption": "job"}}}
    for place, job_id in enumerate(("a", "B", "c", "d")):
        properties = {"poolInfo": pools.get(job_id, {"poolId": f"Pool-{job_id}"})}
        service.create_job(job_id, now_s=NOW_S + place, properties=properties)
    for method, path in (("POST", "/jobs/B/terminate"), ("GET", "/jobs/B")):
        answer_of(service, method, f"{path}?{VERSION}", now_s=NOW_S + 9)
    service.job("c").state = JobState.DISABLED
    service.job("d").add("t", BODY % b"t", ticks=NOW)
    return service


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id ge 'b' and id lt 'D'", "B c"),
        ("startswith(id, 'b')", "B"),
        ("state eq 'active'", "a d"),
        ("state ne 'Active'", "B c"),
        ("creationTime gt DateTime'2025-06-27T04:53:21.5Z'", "c d"),
        ("lastModified ge DateTime'2025-06-27T04:53:29Z'", "B"),
        ("stateTransitionTime ge DateTime'2025-06-27T04:53:29.5Z'", "B"),
        ("executionInfo/startTime le DateTime'2025-06-27T04:53:20.5Z'", "a"),
        ("executionInfo/endTime gt DateTime'2025-06-27T00:00:00Z'", "B"),
        ("executionInfo/endTime ne DateTime'2025-06-27T00:00:00Z'", "a B c d"),
        ("executionInfo/poolId eq 'pool-B'", "B"),
        ("executionInfo/poolId ge 'pool-b'", "B d"),
        ("executionInfo/poolId ne 'pool-a'", "B c d"),
        ("startswith(executionInfo/poolId, 'POOL')", "a B d"),
        ("startswith(executionInfo/poolId, '')", "a B d"),
        ("state eq 'active' and (id eq 'b' or id eq 'd')", "d"),
    ],
)
def test_jobs(jobs: Service, text: str, expected: str) -> None:
    """
    The same for jobs, with tasks and without; one on an automatic pool has no poolId.
    """
    assert ids_of(jobs, text, what="jobs") == expected


@pytest.mark.parametrize(
    ("text", "at", "reason"),
    [
        ("", 0, "a condition on id, state,"),
        ("state eq 'active' and", 21, "a condition on id, state,"),
        ("state eq 'active' xor id eq 'b'", 18, "'and' or 'or' is expected"),
        ("state eq 'active' and(id eq 'b'", 31, "')' is expected"),
        ("(state eq 'active'))", 19, "'and' or 'or' is expected"),
        ("id eq 'it's'", 10, "'and' or 'or' is expected"),
        ("id eq b", 0, "a condition on id, state,"),
        ("id like 'b'", 0, "a condition on id, state,"),
        ("Id eq 'b'", 0, "a condition on id, state,"),
        ("id eq 'b' and displayName eq 'x'", 13, "a condition on id, state,"),
        ("startswith(state,'act')", 0, "state is a word; startswith takes text"),
        ("startswith(exitCode,'1')", 0, "a condition on id, state,"),
        ("state gt 'active'", 0, "state is a word, which is eq or ne another"),
        ("executionInfo/result ge 'success'", 0, "executionInfo/result is a word, which is eq"),
        ("executionInfo/exitCode eq '0'", 0, "a number, to be compared with such as 1,"),
        ("executionInfo/exitCode eq 1.5", 27, "'and' or 'or' is expected"),
        (f"executionInfo/exitCode eq {'9' * 5000}", 0, "a number, to be compared with such as 1,"),
        ("id eq 5", 0, "id is an ID, to be compared with such as 'text',"),
        ("id eq DateTime'2025-06-27T04:53:22Z'", 0, "id is an ID, to be compared with such as"),
        ("creationTime gt '2025-06-27T04:53:22Z'", 0, "such as DateTime'2024-01-31T08:49:37Z',"),
        ("creationTime gt 5", 0, "such as DateTime'2024-01-31T08:49:37Z',"),
        ("creationTime gt DateTime'2025-06-27'", 0, "'2025-06-27' is no time, such as"),
        ("id eq 'b' or creationTime gt DateTime'2025-02-29T00:00:00Z'", 12, "is no time, such as"),
        ("creationTime gt DateTime'2025-06-27T04:53:22.12345678Z'", 0, "is no time, such as"),
        ("creationTime gt DateTime'2025-06-27T04:53:22+01:00'", 0, "is no time, such as"),
        ("(" * 21 + "id eq 'a'" + ")" * 21, 21, "more than 20 parentheses"),
    ],
)
def test_what_is_no_filter(text: str, at: int, reason: str) -> None:
    """
    A 400 names the filter, what is expected or wrong, and the place, in characters from 0.
    """
    target = f"/jobs/j1/tasks?{VERSION}&$filter={quote(text)}"
    status, code, values = error_of(answer_of(make_service(), "GET", target))

    assert (status, code) == (400, "InvalidQueryParameterValue")
    assert (values["QueryParameterName"], values["QueryParameterValue"]) == ("$filter", text)
    assert reason in values["Reason"]
    assert values["Reason"].endswith(f" at position {at}")


def test_twenty_parentheses_and_hundreds_of_conditions(tasks: Service) -> None:
    """
    What fits into a request line can be asked.
    """
    deep = "(" * 20 + "id eq 'a'" + ")" * 20
    wide = " or ".join([*[f"id eq 'x{number}'" for number in range(400)], "state eq 'completed'"])

    assert ids_of(tasks, deep) == "a"
    assert ids_of(tasks, wide) == "b c"


# --- Any filter at all -----------------------------------------------------------------------

# The same question asked of a task as it is shown, by other means: each condition says what to
# look up, and how to compare.
Shown = dict[str, Any]
Condition = tuple[str, Callable[[Shown], bool]]
Tree = Condition | tuple[str, "Tree", "Tree"]

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
}
_IDS = st.text("aAb-", min_size=1, max_size=2)
_OFFSETS = st.integers(0, 3)
_TIMES = (
    "creationTime",
    "lastModified",
    "stateTransitionTime",
    "executionInfo/startTime",
    "executionInfo/endTime",
)


def value_at(task: Shown, path: str) -> Any:
    found: Any = task
    for name in path.split("/"):
        found = found.get(name) if found is not None else None
    return found


def moment(offset: int) -> str:
    """A few ticks after NOW, as the wire has it."""
    seconds = datetime.fromtimestamp(int(NOW_S), UTC).replace(tzinfo=None).isoformat()
    return f"{seconds}.500000{offset}Z"


def comparison(path: str, word: str, literal: str, value: Any, fold: Callable[[Any], Any]) -> Tree:
    def passes(task: Shown) -> bool:
        actual = value_at(task, path)
        return word == "ne" if actual is None else _COMPARE[word](fold(actual), fold(value))

    return f"{path} {word} {literal}", passes


def padded(time: str) -> str:
    """A time whose fraction has all digits, to be compared as text."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<7}"


def starts(path: str, value: str) -> Tree:
    return (
        f"startswith({path},'{value}')",
        lambda task: task[path].lower().startswith(value.lower()),
    )


_WORDS = st.sampled_from(OPERATORS)
_EQ_NE = st.sampled_from(OPERATORS[:2])
CONDITIONS: st.SearchStrategy[Tree] = st.one_of(
    st.builds(lambda word, of: comparison("id", word, f"'{of}'", of, str.lower), _WORDS, _IDS),
    st.builds(lambda of: starts("id", of), st.text("aAb-", max_size=2)),
    st.builds(
        lambda path, word, offset: comparison(
            path, word, f"DateTime'{moment(offset)}'", moment(offset), padded
        ),
        st.sampled_from(_TIMES),
        _WORDS,
        _OFFSETS,
    ),
    st.builds(
        lambda word, of: comparison("state", word, f"'{of}'", of, str.lower),
        _EQ_NE,
        st.sampled_from(["active", "Completed", "running"]),
    ),
    st.builds(
        lambda word, of: comparison("executionInfo/result", word, f"'{of}'", of, str.lower),
        _EQ_NE,
        st.sampled_from(["success", "FAILURE"]),
    ),
    st.builds(
        lambda word, of: comparison("executionInfo/exitCode", word, str(of), of, int),
        _WORDS,
        st.integers(-1, 1),
    ),
)
TREES: st.SearchStrategy[Tree] = st.recursive(
    CONDITIONS, lambda inner: st.tuples(st.sampled_from(["and", "or"]), inner, inner), max_leaves=6
)


def written(tree: Tree, *, inside: str = "or") -> str:
    """As text, with no more parentheses than are needed."""
    if len(tree) == 2:
        return tree[0]
    word, left, right = tree
    text = f"{written(left, inside=word)} {word} {written(right, inside=word)}"
    return f"({text})" if (word, inside) == ("or", "and") else text


def passes(tree: Tree, task: Shown) -> bool:
    if len(tree) == 2:
        return tree[1](task)
    word, left, right = tree
    both = passes(left, task), passes(right, task)
    return all(both) if word == "and" else any(both)


@given(
    made=st.dictionaries(
        _IDS.map(str.lower),
        st.tuples(_OFFSETS, _OFFSETS, st.sampled_from([None, *TaskEnd]), st.booleans()),
        max_size=12,
    ),
    tree=TREES,
    size=st.integers(1, 5),
    looked_at=st.integers(1, 4),
)
@settings(max_examples=150)
def test_any_filter_of_any_tasks(
    made: dict[str, tuple[int, int, TaskEnd | None, bool]], tree: Tree, size: int, looked_at: int
) -> None:
    """
    All pages together are what one finds who looks at every task, whatever the pages' size, and
    however little one page may look at.
    """
    service = make_service()
    job = service.job("j1")
    for task_id, (added, changed, end, touched) in made.items():
        job.add(task_id, BODY % task_id.encode(), ticks=NOW + added)
        if touched:
            job.change_task(task_id, Change(NOW + 3, end, NOW + changed, "active", NOW))
    (everything,) = pages_of(service, f"/jobs/j1/tasks?{VERSION}")
    assert [each["id"] for each in everything] == sorted(made)

    text = quote(written(tree))
    with mock.patch.object(listing, "_LOOKED_AT_MAX", looked_at):
        pages = pages_of(service, f"/jobs/j1/tasks?{VERSION}&$filter={text}&maxresults={size}")

    listed = [each for page in pages for each in page]
    assert listed == [each for each in everything if passes(tree, each)]
    assert all(len(each) <= min(size, looked_at) for each in pages)
    # Each page but the last has looked at as many as it may, or is full.
    assert len(pages) <= len(made) / min(size, looked_at) + 1


def test_a_page_may_be_short_and_even_empty() -> None:
    """
    A page looks at no more than 20,000 tasks, and says where to go on: what is rare in a large
    job is found on a page of its own after empty ones.
    """
    service = make_service()
    job = service.job("j1")
    for number in range(45_000):
        job.add(f"t{number:05}", BODY % (b"t%05d" % number), ticks=NOW, completed=number == 39_999)
    target = f"/jobs/j1/tasks?{VERSION}&$select=id&$filter="

    pages = pages_of(service, target + quote("state eq 'completed'"))
    seek = pages_of(service, target + quote("state eq 'completed' and id ge 't39999'"))

    assert pages == [[], [{"id": "t39999"}], []]
    assert seek == [[{"id": "t39999"}]]
