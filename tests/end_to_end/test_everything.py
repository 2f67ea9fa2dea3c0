"""All of it at once, and the price of it."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bulksubmit import Settings, SharedKey, stream
from bulksubmit.emulator.faults import Fault, Faults
from bulksubmit.emulator.switches import Switches
from tests.end_to_end.account import (
    JOB_ID,
    KEY,
    NAME,
    converges,
    flood,
    listening,
    make_service,
    make_tasks,
    read_rows,
    write_lines,
)


@pytest.mark.thorough
async def test_one_percent_server_error_costs_three_percent() -> None:
    """
    At 1 % servererror, 100,000 tasks take at most 1.03 times the minimum of requests.
    """
    tasks = make_tasks(100_000)
    async with listening(make_service(Faults(server_error=0.01))) as account:
        run = await converges(account, tasks)

    assert run.report.requests == account.adds <= 1030
    assert account.service.record.tasks <= 1.02 * 100_000


def all_faults(random: Random) -> Faults:
    """Every fault at a rate of its own; about a quarter of the requests have one."""
    rates: dict[str, Any] = {fault: random.uniform(0.002, 0.03) for fault in Fault}
    return Faults(
        **rates,
        server_error=random.uniform(0.001, 0.1),
        server_error_added=random.uniform(0.001, 0.05),
        retry_after_s=0,
        slow_s=0.05,
        late_s=random.choice((0.01, 0.1, 0.5)),
    )


@pytest.mark.thorough
@pytest.mark.usefixtures("hurried")
async def test_everything_at_once(tmp_path: Path) -> None:
    """
    Whatever mix of faults a seed brings: every task comes to exist once, byte for byte, is
    settled once, and has one row in the results file.
    """
    tasks = make_tasks(3000)
    source = write_lines(tmp_path / "tasks.jsonl", tasks)

    struck: set[Fault] = set()

    async def run(seed: int) -> None:
        results = tmp_path / f"results-{seed}.ndjson"
        settings = Settings(results_path=results, concurrency=1 + seed, tasks_per_request_max=20)
        random = Random(seed)
        switches = Switches(throttled_adds="some" if random.random() < 0.5 else "none")
        service = make_service(all_faults(random), switches=switches, seed=seed)
        async with listening(service) as account:
            flooded = await flood(account, source, settings=settings)

            assert flooded.error is None, f"seed {seed}"
            report = flooded.report
            assert report.converged, f"seed {seed}"
            assert report.added + report.existed_own == 3000, f"seed {seed}"
            account.assert_holds(tasks)
        rows = read_rows(results)
        assert sorted(row["line"] for row in rows) == list(range(1, 3001)), f"seed {seed}"
        assert {row["verdict"] for row in rows} == {"added", "existed"}
        struck.update(service.record.by_fault)

    # Side by side: most of it is waiting.
    await asyncio.gather(*(run(seed) for seed in range(6)))
    assert struck == set(Fault)


async def test_leaving_early_leaves_nothing_behind() -> None:
    """
    A caller that stops taking outcomes in stops the run; what it was told is true.
    """
    async with listening(make_service()) as account:
        async with stream(
            make_tasks(20_000),
            job_id=JOB_ID,
            endpoint=account.endpoint,
            credential=SharedKey(NAME, KEY),
        ) as outcomes:
            taken = [await anext(outcomes) for _ in range(1000)]
        report = outcomes.report

        assert all(outcome.task_id in account.job for outcome in taken)
        assert 1000 <= report.added <= len(account.job) < 20_000
    assert (report.converged, report.exit_code) == (False, 5)
    assert report.added + report.unsettled == report.total
