"""Tasks and collections that the service does not take: found, named, put out of the way."""

from pathlib import Path

import orjson
import pytest

from bulksubmit import NotConverged, RejectsBound, Settings, Verdict
from bulksubmit.core.model import ErrorDetail
from bulksubmit.emulator.exchange import Answer, Call, Operation
from bulksubmit.emulator.faults import Faults, TaskFault
from tests.end_to_end.account import (
    converges,
    flood,
    listening,
    make_service,
    make_tasks,
    read_rows,
    refusing,
    write_lines,
)

UNBOUNDED = Settings(request_bytes_max=0)


@pytest.fixture(params=[None, 1_048_576], ids=["json", "html"])
def proxy_bytes_max(request: pytest.FixtureRequest) -> int | None:
    """Who answers 413: the service itself, in JSON, or a proxy before it, by a page of HTML."""
    value: int | None = request.param
    return value


# --- Too large ----------------------------------------------------------------------------------


async def test_413_is_halved(proxy_bytes_max: int | None) -> None:
    """
    Collections of 2 MB, with the local bound off, are refused whole: cut smaller they are
    taken, and the bound that was learned spares the later ones.
    """
    tasks = make_tasks(1000, padding=20_000)
    async with listening(make_service(Faults(proxy_bytes_max=proxy_bytes_max))) as account:
        run = await converges(account, tasks, settings=UNBOUNDED)

    assert account.service.record.by_status[413] > 0
    assert run.report.added == 1000
    assert run.report.existed == 0


async def test_413_of_a_small_proxy() -> None:
    """
    A proxy with a limit far below the service's is found from above, 5 % at a time, by each
    request in flight; then it is kept to, but for a try at a little more now and then.
    """
    tasks = make_tasks(3000, padding=3000)
    async with listening(make_service(Faults(proxy_bytes_max=200_000))) as account:
        run = await converges(account, tasks, settings=Settings(concurrency=4))

    refused = account.service.record.by_status[413]
    assert 1 <= refused <= 4 * 9 + 4  # 0.95^9 of 305 kB is less than 200 kB.
    assert run.report.requests <= 3000 * 3050 / (0.9 * 200_000) + 3 * refused


async def test_one_huge_task_among_twenty_thousand(proxy_bytes_max: int | None) -> None:
    """
    One task of 1.2 MB, with the local bound off, is the only one rejected; to find it takes 15
    requests more at most.
    """
    tasks = make_tasks(20_000)
    huge = make_tasks(1, first=12_345, padding=1_200_000)
    tasks[12_345:12_346] = huge
    async with listening(make_service(Faults(proxy_bytes_max=proxy_bytes_max))) as account:
        run = await flood(account, tasks, settings=UNBOUNDED)

    (rejected,) = run.of(Verdict.REJECTED)
    assert (rejected.task_id, rejected.line) == ("t-12345", 12_346)
    assert rejected.code == "RequestBodyTooLarge"
    assert run.report.added == 19_999
    assert run.report.exit_code == 6
    assert account.adds <= 200 + 15
    account.assert_holds(task for task in tasks if task not in huge)


async def test_task_over_the_bound_is_never_sent(tmp_path: Path) -> None:
    """
    With the local bound on, a task that no request can hold is rejected by ID and line, before
    anything is sent for it; the others go.
    """
    tasks = make_tasks(500)
    tasks[321:322] = huge = make_tasks(1, first=321, padding=1_000_000)
    source = write_lines(tmp_path / "tasks.jsonl", tasks)
    async with listening(make_service()) as account:
        run = await flood(account, str(source))

    (rejected,) = run.of(Verdict.REJECTED)
    assert (rejected.task_id, rejected.line, rejected.attempts) == ("t-00321", 322, 0)
    assert run.report.requests == account.adds == 5
    assert run.report.bytes_sent < 100_000
    account.assert_holds(task for task in tasks if task not in huge)
    assert run.report.rejects_path is not None
    (row,) = read_rows(run.report.rejects_path)
    assert (row["source"], row["line"], row["code"]) == (str(source), 322, "RequestBodyTooLarge")
    assert row["task"] == orjson.loads(huge[0])


async def test_requests_keep_to_the_bounds() -> None:
    """
    Tasks of any size up to 100 kB fill requests of 1,000,000 bytes; none is refused.
    """
    tasks = [make_tasks(1, first=n, padding=(n * 7919) % 100_000)[0] for n in range(600)]
    async with listening(make_service()) as account:
        await converges(account, tasks)

        sizes = [
            seen.body_bytes
            for seen in account.service.record.log
            if seen.operation is Operation.ADD_TASK_COLLECTION
        ]
    assert max(sizes) <= 1_000_000
    assert sum(sizes[:-1]) >= 0.95 * 1_000_000 * (len(sizes) - 1)


# --- Refused for what is in it ------------------------------------------------------------------


async def test_collection_refused_for_one_task() -> None:
    """
    A task that makes the service refuse its whole collection as a bad request (this service
    tells it by its size) is found by halving, and rejected with the service's code; its
    neighbours are added.
    """
    bad = make_tasks(1, first=123, padding=50_000)
    tasks = [*make_tasks(123), *bad, *make_tasks(176, first=124)]

    def refuse(call: Call) -> Answer | None:
        large = int(call.headers.get("content-length", 0)) > 50_000
        return refusing("InvalidRequestBody") if large else None

    async with listening(make_service(script=refuse)) as account:
        run = await flood(account, tasks)

    (rejected,) = run.of(Verdict.REJECTED)
    assert (rejected.task_id, rejected.code) == ("t-00123", "InvalidRequestBody")
    assert rejected.attempts == 8
    assert run.report.requests == 3 + 14
    account.assert_holds(task for task in tasks if task not in bad)


async def test_client_errors_go_to_the_rejects(tmp_path: Path) -> None:
    """
    A task that the service refuses for good is not sent again; it goes to the rejects file with
    its original line and all that was said of it, and the rest go on.
    """
    bad = {"t-00007", "t-00250", "t-00999"}
    values = (ErrorDetail("PropertyName", "constraints"), ErrorDetail("Reason", "too long"))

    def refuse(task_id: str) -> TaskFault | None:
        fault = TaskFault("ClientError", "InvalidPropertyValue", values=values)
        return fault if task_id in bad else None

    tasks = make_tasks(1000)
    source = write_lines(tmp_path / "tasks.jsonl", [b"", *tasks])  # Line 1 is blank.
    settings = Settings(
        rejects_path=tmp_path / "rejects.ndjson", results_path=tmp_path / "results.ndjson"
    )
    async with listening(make_service(task_script=refuse)) as account:
        run = await flood(account, source, settings=settings)

        assert account.adds == 10
        account.assert_holds(t for t in tasks if not any(i.encode() in t for i in bad))
    report = run.report
    assert (report.rejected, report.added, report.converged) == (3, 997, True)
    assert (report.exit_code, report.rejects_path) == (6, str(settings.rejects_path))

    rows = {row["task_id"]: row for row in read_rows(tmp_path / "rejects.ndjson")}
    assert set(rows) == bad
    row = rows["t-00250"]
    assert list(row) == [
        *("source", "line", "where", "task_id", "code", "message", "values", "request_id"),
        *("client_request_id", "attempts", "in_doubt", "task"),
    ]
    assert (row["source"], row["line"], row["code"]) == (str(source), 252, "InvalidPropertyValue")
    assert row["values"] == [{"key": v.key, "value": v.value} for v in values]
    assert (row["attempts"], row["in_doubt"]) == (1, False)
    assert row["task"] == orjson.loads(tasks[250])
    (request,) = [e for e in run.requests if e.client_request_id == row["client_request_id"]]
    assert row["request_id"] == request.request_id

    results = read_rows(tmp_path / "results.ndjson")
    assert sorted(row["line"] for row in results) == list(range(2, 1002))
    assert {row["id"] for row in results if row["verdict"] == "rejected"} == bad


async def test_rejects_can_be_fed_back(tmp_path: Path) -> None:
    """
    The tasks of the rejects file are a source again, once the reason is gone.
    """
    faulty = True

    def refuse(task_id: str) -> TaskFault | None:
        bad = faulty and task_id.endswith("3")
        return TaskFault("ClientError", "InvalidPropertyValue") if bad else None

    tasks = make_tasks(200)
    rejects = tmp_path / "rejects.ndjson"
    async with listening(make_service(task_script=refuse)) as account:
        first = await flood(account, tasks, settings=Settings(rejects_path=rejects))
        faulty = False
        second = await flood(account, [row["task"] for row in read_rows(rejects)])

    assert (first.report.rejected, second.report.added) == (20, 20)
    assert len(account.job) == 200


async def test_task_that_exists_from_elsewhere_is_rejected() -> None:
    """
    An ID that is taken before we ever sent it is not ours, if told so.
    """
    async with listening(make_service()) as account:
        await converges(account, make_tasks(10))
        run = await flood(account, make_tasks(30), settings=Settings(on_exists="reject"))

    assert (run.report.added, run.report.rejected, run.report.existed) == (20, 10, 0)
    assert {outcome.code for outcome in run.of(Verdict.REJECTED)} == {"TaskExists"}
    assert run.report.exit_code == 6


def all_refused(_: str) -> TaskFault:
    return TaskFault("ClientError", "InvalidPropertyValue")


async def test_wrong_from_the_start() -> None:
    """
    A run whose every task is rejected stops after 1,000 of them, with what is in flight.
    """
    async with listening(make_service(task_script=all_refused)) as account:
        run = await flood(account, make_tasks(20_000), settings=Settings(concurrency=2))

    assert isinstance(run.error, NotConverged)
    assert 1000 <= run.report.rejected <= 1200
    assert run.report.exit_code == 5
    assert "InvalidPropertyValue" in str(run.error)


@pytest.mark.parametrize(
    ("bound", "rejected"), [("5", 6), ("0", 1), ("300", 300), ("10%", 300), ("9%", 301)]
)
async def test_bound_on_rejects(bound: str, rejected: int) -> None:
    """
    As many as ``--max-rejects`` says are put up with; one more ends the run.
    """

    def refuse(task_id: str) -> TaskFault | None:
        return all_refused(task_id) if task_id.endswith("0") else None

    settings = Settings(rejects_bound=RejectsBound.parse(bound), concurrency=1)
    async with listening(make_service(task_script=refuse)) as account:
        run = await flood(account, make_tasks(3000), settings=settings)

    if rejected == 300:
        assert (run.report.rejected, run.report.exit_code) == (300, 6)
    else:
        assert run.report.exit_code == 5
        assert run.report.unsettled > 0
