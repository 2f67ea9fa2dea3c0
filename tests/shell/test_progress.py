"""What is said of a run while it lasts is true at each moment, whatever happens."""

from dataclasses import dataclass
from pathlib import Path
from random import Random

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksubmit.consumer import Outcomes
from bulksubmit.core.model import Attempt, Lost, Reply, Throttled
from bulksubmit.observe.progress import Progress, progress_line
from bulksubmit.settings import Settings
from tests.core.helpers import answered
from tests.shell.doubles import FakeService, adds, flood, slowly, spec
from tests.virtual import run_virtual

LOOK_S = 0.25


@dataclass
class Moody:
    """Answers in any way, for a while; then well."""

    random: Random
    bad_s: float

    def __call__(self, attempt: Attempt, now_s: float) -> Reply:
        if now_s > self.bad_s:
            return answered(attempt.tasks)
        match self.random.randrange(8):
            case 0:
                return Lost("502", sent=True)
            case 1:
                return Throttled(1.0, "429")
            case 2:
                return answered(attempt.tasks, "ServerError", "InternalError")
            case 3:
                return answered(attempt.tasks, "ClientError", "InvalidPropertyValue")
            case _:
                return answered(attempt.tasks)


def watch(
    path: Path, service: FakeService, given: Settings | None = None
) -> tuple[list[Progress], Progress]:
    """What was seen four times a second, and at the end."""
    seen: list[Progress] = []

    async def run() -> Progress:
        runs: list[Outcomes] = []

        async def look(outcomes: Outcomes) -> None:
            runs.append(outcomes)
            while True:
                seen.append(outcomes.progress)
                await anyio.sleep(LOOK_S)

        await flood(path, service, given, beside=look)
        return runs[0].progress

    ended, _ = run_virtual(run)
    return seen, ended


def assert_true(progress: Progress) -> None:
    """The parts add up, and all is done only if it is."""
    report = progress.report
    parts = report.added + report.existed + report.rejected
    assert progress.settled == parts
    assert parts + report.abandoned + report.unsettled == report.total
    assert report.in_doubt <= report.unsettled
    assert progress.retrying <= report.unsettled
    assert (progress.percent == 100) == report.converged
    assert ("100%" in progress_line(progress)) == report.converged
    assert progress.share is None or 0 <= progress.share <= 1
    if report.source_complete:
        assert progress.share is not None


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(40, 4000), min_size=1, max_size=8))
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_true_at_each_moment(seed: int, sizes: list[int], tmp_path: Path) -> None:
    """
    Tasks of any size, and a service of many moods: at no moment is there a hundred percent
    before all is settled, or a sum that is not one. Until the source's end is known the share
    never falls, nor does it from then on.
    """
    path = tmp_path / "tasks.jsonl"
    with path.open("wb") as file:
        for at, size in enumerate(sizes):
            file.writelines(spec(n, body_bytes=size) + b"\n" for n in _hundred(at))
    service = FakeService(Moody(Random(seed), bad_s=1020.0), reply_s=0.5)

    seen, ended = watch(path, service, Settings(concurrency=4, tasks_per_request_max=10))

    for each in [*seen, ended]:
        assert_true(each)
    for reading in (True, False):
        shares = [
            each.share
            for each in seen
            if each.report.source_complete is not reading and each.share is not None
        ]
        assert shares == sorted(shares)
    assert ended.percent == 100
    assert ended.settled == 100 * len(sizes)


def _hundred(number: int) -> range:
    return range(100 * number, 100 * (number + 1))


def test_large_tasks_first(tmp_path: Path) -> None:
    """
    Half of the bytes are 100 tasks, the other half 10,000: once the first are settled, half is
    done, however many of the others are in hand.
    """
    path = tmp_path / "tasks.jsonl"
    large = [spec(n, body_bytes=100_000) for n in range(100)]
    small = [spec(n, body_bytes=1000) for n in range(100, 10_100)]
    path.write_bytes(b"\n".join([*large, *small]))

    seen, _ = watch(path, FakeService(reply_s=1.0), Settings(concurrency=1))

    first = next(each for each in seen if each.settled >= 100)
    assert first.percent == pytest.approx(50, abs=2)


def test_a_file_that_is_read_at_once(tmp_path: Path) -> None:
    """
    Smaller than a block, it is read before anything is sent; what is not taken in yet is not
    taken for done.
    """
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(b"\n".join(spec(n) for n in range(1000)))

    # Not quite a second, or a reply and a look would come at one moment, in any order.
    seen, ended = watch(path, FakeService(reply_s=0.99), Settings(concurrency=1))

    assert [each.percent for each in seen[4:40:4]] == list(range(10, 100, 10))
    assert ended.percent == 100


def test_a_pipe_has_no_percentage() -> None:
    """Until its end is known; then it has."""
    seen: list[tuple[bool, int | None]] = []

    async def look(outcomes: Outcomes) -> None:
        while True:
            progress = outcomes.progress
            assert_true(progress)
            seen.append((progress.report.source_complete, progress.percent))
            await anyio.sleep(LOOK_S)

    source = slowly([spec(n) for n in range(250)], pause_s=0.01)
    run_virtual(lambda: flood(source, FakeService(adds), Settings(concurrency=1), beside=look))

    assert seen[0] == (False, None)
    assert all((percent is None) is not complete for complete, percent in seen)
    assert seen[-1][0]
