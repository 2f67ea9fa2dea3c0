"""List tasks: filters, pages, selections."""

from random import Random
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from bulksubmit.emulator import Service
from bulksubmit.emulator.store import SortedIds
from tests.emulator.calls import VERSION, add, answer_of, error_of, make_body, make_service

IDS = ["A-1", "a-2", "b", "b-1", "C"]


def list_ids(service: Service, query: str) -> tuple[list[str], list[int], int]:
    """All IDs, the sizes of the pages, following each nextLink as it is given."""
    ids, sizes = [], []
    target = f"/jobs/j1/tasks?{VERSION}&{query}"
    while target:
        page = page_at(service, target)
        ids += [each["id"] for each in page["value"]]
        sizes.append(len(page["value"]))
        target = page.get("odata.nextLink", "").removeprefix("http://batch.test")
    return ids, sizes, len(sizes)


def page_at(service: Service, target: str) -> dict[str, Any]:
    answer = answer_of(service, "GET", target)
    assert answer.status == 200, answer
    page: dict[str, Any] = orjson.loads(answer.body)
    return page


def matches(task_filter: str) -> list[str]:
    service = make_service()
    add(service, make_body(*reversed(IDS)))
    return list_ids(service, f"$filter={quote(task_filter)}")[0]


@pytest.mark.parametrize(
    ("task_filter", "expected"),
    [
        ("startswith(id,'a-')", ["A-1", "a-2"]),
        ("startswith(id, 'B')", ["b", "b-1"]),
        ("startswith(id,'')", IDS),
        ("id eq 'c'", ["C"]),
        ("id eq 'nobody'", []),
        ("id ne 'b'", ["A-1", "a-2", "b-1", "C"]),
        ("id ge 'b'", ["b", "b-1", "C"]),
        ("id gt 'b'", ["b-1", "C"]),
        ("id le 'b'", ["A-1", "a-2", "b"]),
        ("id lt 'b'", ["A-1", "a-2"]),
        ("id ge 'a-2' and id le 'b'", ["a-2", "b"]),
        ("id eq 'C' or id eq 'a-1'", ["A-1", "C"]),
        ("id eq 'c' or id ge 'a' and id lt 'b'", ["A-1", "a-2", "C"]),
        ("id gt 'b' or id lt 'b-1'", IDS),
        ("id ne 'b' and id ne 'c'", ["A-1", "a-2", "b-1"]),
        ("id gt 'b' and id lt 'b'", []),
        ("id eq 'it''s'", []),
    ],
)
def test_filters(task_filter: str, expected: list[str]) -> None:
    """
    Conditions on the ID, joined by and and or, of which and binds closer; values are compared
    ignoring case, and the list ascends.
    """
    assert matches(task_filter) == expected


@pytest.mark.parametrize(
    "query",
    [
        "$filter=",
        "$filter=id%20eq%20b",
        "$filter=ID%20eq%20'b'",
        "$filter=id%20eq%20'b'%20and",
        "$filter=id%20eq%20'b'%20xor%20id%20eq%20'c'",
        "$filter=state%20gt%20'active'",
        "maxresults=0",
        "maxresults=1001",
        "maxresults=ten",
        "$skiptoken=made-up",
    ],
)
def test_bad_parameters(query: str) -> None:
    """What cannot be understood is a 400 that names the parameter and its value."""
    answer = answer_of(make_service(), "GET", f"/jobs/j1/tasks?{VERSION}&{query}")

    status, code, values = error_of(answer)
    assert (status, code) == (400, "InvalidQueryParameterValue")
    assert values["QueryParameterName"] == query.partition("=")[0]


def test_pages_follow_their_links() -> None:
    """
    Pages hold maxresults tasks, the links keep the query, and the last page has none: also if it
    is full.
    """
    service = make_service()
    ids = [f"t{place:02}" for place in range(40)]
    add(service, make_body(*ids))

    listed, sizes, _ = list_ids(service, "maxresults=10&$select=id&$filter=id%20ge%20't10'")

    assert listed == ids[10:]
    assert sizes == [10, 10, 10]


def test_a_page_holds_a_thousand() -> None:
    """Without maxresults a page has 1,000 tasks."""
    service = make_service()
    for block in range(11):
        add(service, make_body(*[f"t{block:02}{place:02}" for place in range(100)]))

    assert list_ids(service, "$select=id")[1] == [1000, 100]


def test_an_empty_list_is_a_page() -> None:
    """A job without tasks has one empty page, laid out as recorded."""
    answer = answer_of(make_service(), "GET", f"/jobs/j1/tasks?{VERSION}")

    assert answer.body.endswith(b'"value":[\r\n    \r\n  ]\r\n}')


def test_select_takes_members_away() -> None:
    """$select leaves just what it names, in the entity's order; without it all is there."""
    service = make_service()
    add(service, make_body("a"))

    (some,) = page_at(service, f"/jobs/j1/tasks?{VERSION}&$select=state,id")["value"]
    (whole,) = page_at(service, f"/jobs/j1/tasks?{VERSION}")["value"]

    assert list(some) == ["id", "state"]
    assert whole["commandLine"] == "echo a"


def test_a_list_read_while_tasks_are_added() -> None:
    """What was there at the start is listed once, however much is added between two pages."""
    service = make_service()
    ids = [f"t{place:02}" for place in range(0, 40, 2)]
    add(service, make_body(*ids))
    target = f"/jobs/j1/tasks?{VERSION}&maxresults=7"

    listed = []
    for block in range(3):
        page = page_at(service, target)
        listed += [each["id"] for each in page["value"]]
        add(service, make_body(*[f"t{place:02}" for place in range(1 + 14 * block, 40, 14)]))
        target = page.get("odata.nextLink", "").removeprefix("http://batch.test")
    listed += list_ids(service, target.partition("&")[2])[0]

    assert set(ids) <= set(listed)
    assert listed == sorted(set(listed))


def test_sorted_ids_stay_sorted_in_few_runs() -> None:
    """Appending and reading in any mixture keeps the order, in about log2(n) runs at most."""
    random = Random(3)
    ids = [f"{number:05}" for number in range(20_000)]
    random.shuffle(ids)
    index = SortedIds()
    for place, task_id in enumerate(ids):
        index.append(task_id)
        if random.random() < 0.01:
            low = ids[random.randrange(place + 1)]
            expected = sorted(each for each in ids[: place + 1] if low <= each < low + "9")
            assert list(index.between(low, low + "9")) == expected

    assert list(index.between("", None)) == sorted(ids)
    assert index.runs <= 16


@pytest.mark.parametrize("value", [b"1e999", b"[" * 900 + b"]" * 900])
def test_what_cannot_be_shown_is_an_internal_error(value: bytes) -> None:
    """A body is kept unparsed: one that cannot be read back is found out when someone asks."""
    service = make_service()
    body = b'{"id":"a","commandLine":"x","newProperty":%s}' % value
    service.job("j1").add("a", body, ticks=0)

    answer = answer_of(service, "GET", f"/jobs/j1/tasks/a?{VERSION}")

    assert error_of(answer)[:2] == (500, "InternalError")
