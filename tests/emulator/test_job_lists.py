"""The account's jobs, listed: pages, selections, and jobs that come and go meanwhile."""

from random import Random
from typing import Any

import orjson
import pytest

from bulksubmit.emulator import Service, Switches
from tests.emulator.calls import NOW_S, VERSION, answer_of, error_of


def make_jobs(*job_ids: str) -> Service:
    service = Service(random=Random(1), switches=Switches(job_change_s=1.0))
    for job_id in job_ids:
        service.create_job(job_id, now_s=NOW_S)
    return service


def page_at(service: Service, target: str, *, now_s: float = NOW_S) -> dict[str, Any]:
    answer = answer_of(service, "GET", target, now_s=now_s)
    assert answer.status == 200, answer
    page: dict[str, Any] = orjson.loads(answer.body)
    return page


def ids_in(page: dict[str, Any]) -> list[str]:
    return [each["id"] for each in page["value"]]


def test_each_job_is_listed_as_it_is_shown() -> None:
    """
    In the order of their IDs, ignoring case; each with all members that GET shows, and with tasks
    or without.
    """
    service = make_jobs("b", "A", "c")
    service.job("b").add("t", b'{"id":"t","commandLine":"x"}', ticks=0)

    page = page_at(service, f"/jobs?{VERSION}")

    assert page["odata.metadata"] == "http://batch.test/$metadata#jobs"
    assert ids_in(page) == ["A", "b", "c"]
    for job in page["value"]:
        shown = orjson.loads(answer_of(service, "GET", f"/jobs/{job['id']}?{VERSION}").body)
        del shown["odata.metadata"]
        assert job == shown


def test_pages_of_jobs_follow_their_links() -> None:
    """
    The link keeps the query and names the next page; the last page has none.
    """
    service = make_jobs(*[f"j{number:02}" for number in range(25)])
    target = f"/jobs?{VERSION}&maxresults=10&$select=id&$filter=id%20ne%20'j03'"

    sizes, ids = [], []
    while target:
        page = page_at(service, target)
        assert all(each.keys() == {"id"} for each in page["value"])
        sizes.append(len(page["value"]))
        ids += ids_in(page)
        target = page.get("odata.nextLink", "").removeprefix("http://batch.test")

    assert sizes == [10, 10, 4]
    assert ids == [f"j{number:02}" for number in range(25) if number != 3]


def test_jobs_that_come_and_go() -> None:
    """
    A list has what there is when it is asked for: a job that is deleted until it is gone, and one
    created between two pages if it comes after the first.
    """
    service = make_jobs("a", "b", "c")
    answer_of(service, "DELETE", f"/jobs/b?{VERSION}")

    first = page_at(service, f"/jobs?{VERSION}&maxresults=2")
    service.create_job("a-1", now_s=NOW_S)
    service.create_job("d", now_s=NOW_S)
    link = first["odata.nextLink"].removeprefix("http://batch.test")

    assert ids_in(first) == ["a", "b"]
    assert ids_in(page_at(service, link)) == ["c", "d"]
    later = page_at(service, f"/jobs?{VERSION}", now_s=NOW_S + 1)
    assert ids_in(later) == ["a", "a-1", "c", "d"]


def test_an_account_without_jobs() -> None:
    """
    It has one empty page.
    """
    page = page_at(make_jobs(), f"/jobs?{VERSION}")

    assert page["value"] == []
    assert "odata.nextLink" not in page


@pytest.mark.parametrize("query", ["maxresults=0", "maxresults=1_0", "$filter=priority%20eq%205"])
def test_bad_parameters(query: str) -> None:
    """
    As for tasks; what can be asked of a task cannot be asked of a job, and the other way round.
    """
    answer = answer_of(make_jobs("a"), "GET", f"/jobs?{VERSION}&{query}")

    assert error_of(answer)[:2] == (400, "InvalidQueryParameterValue")
