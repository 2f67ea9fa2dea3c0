"""Real processes are killed, and go on: a few of them, every time. See ``tests.kills``."""

from tests.kills.__main__ import kill_runs


def test_killed_again_and_again() -> None:
    """
    Whenever the command line is killed, and however often, the runs converge at last: every task
    exists once, as its line says, and every line is settled once.
    """
    seen = kill_runs(seed=1, kills=4, tasks=2_000, interrupts_max=6, life_s=1.0)

    assert seen.killed >= 4
