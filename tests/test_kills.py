"""Real processes are killed, and go on: a few of them, every time. See ``tests.kills``."""

import pytest

from tests.kills.__main__ import kill_runs

THOROUGH = pytest.mark.thorough


@pytest.mark.parametrize(("kills", "tasks"), [(2, 1_000), pytest.param(6, 3_000, marks=THOROUGH)])
def test_killed_again_and_again(kills: int, tasks: int) -> None:
    """
    Whenever the command line is killed, and however often, the runs converge at last: every task
    exists once, as its line says, and every line is settled once.
    """
    seen = kill_runs(seed=1, kills=kills, tasks=tasks, interrupts_max=6, life_s=1.0)

    assert seen.killed >= kills
