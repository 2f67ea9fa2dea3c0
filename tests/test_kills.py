"""Real processes are killed, and go on: a few of them, every time. See ``tests.kills``."""

import pytest

from tests.kills.__main__ import kill_runs, kill_sharded_runs

THOROUGH = pytest.mark.thorough


@THOROUGH
def test_killed_again_and_again() -> None:
    """
    Whenever the command line is killed, and however often, the runs converge at last: every task
    exists once, as its line says, and every line is settled once.
    """
    seen = kill_runs(seed=1, kills=6, tasks=3_000, interrupts_max=6, life_s=1.0)

    assert seen.killed >= 6


@pytest.mark.thorough
def test_workers_and_their_coordinator_are_killed() -> None:
    """
    A worker dies, and another goes on with its shard; the coordinator dies, its workers with it,
    and the resumed run goes on: nothing is lost, nothing is settled twice.
    """
    seen = kill_sharded_runs(
        seed=1,
        kills=2,
        tasks=6_000,
        dask=False,
        victims=("worker", "coordinator"),
        pause_s=0.3,
    )

    assert seen.kills == {"worker": 1, "coordinator": 1}
    assert len(seen.orphans_s) == 1


@THOROUGH
@pytest.mark.timeout(300)  # A cluster takes its time to start, and again after each kill.
@pytest.mark.parametrize("dask", [False, True])
def test_all_parts_of_a_sharded_run_are_killed_again_and_again(*, dask: bool) -> None:
    """
    The same, whenever and however often, also of a Dask cluster with its nannies and scheduler.
    """
    seen = kill_sharded_runs(seed=1, kills=4, tasks=6_000, dask=dask, pause_s=0.8)

    assert seen.killed >= 4
