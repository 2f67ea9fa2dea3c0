"""Many runs, until so many processes were killed: ``python -m tests.kills --help``."""

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import SystemRandom
from statistics import mean

from tests.kills.audit import Figures, audit
from tests.kills.run import Killer, service


def kill_runs(
    *,
    seed: int,
    kills: int,
    tasks: int,
    runs_max: int | None = None,
    interrupts_max: int = 10,
    life_s: float | None = None,
) -> Figures:
    """Run after run, each with a seed one higher.

    Args:
        seed: The first one's.
        kills: How many kills are enough.
        tasks: In each source.
        runs_max: Stop after so many in any case.
        interrupts_max: Of one run.
        life_s: How long a process takes that is not interrupted; None to find it out.

    Returns:
        What was seen.

    Raises:
        AssertionError: if anything was lost, settled twice, or told wrongly; its note is the
            command that repeats it.
    """
    figures = Figures()
    with tempfile.TemporaryDirectory() as name, service(Path(name), seed) as (endpoint, record):
        if life_s is None:  # Nobody interrupts this one.
            _, life_s = _run(endpoint, record, seed=seed + 10**9, tasks=tasks)
            print(f"a run of {tasks:,} tasks takes {life_s:.1f} s", flush=True)  # noqa: T201
        while figures.killed < kills and figures.runs != runs_max:
            try:
                one, _ = _run(
                    endpoint,
                    record,
                    seed=seed + figures.runs,
                    tasks=tasks,
                    life_s=life_s,
                    interrupts_max=interrupts_max,
                )
            except Exception as error:
                command = f"--seed {seed + figures.runs} --runs 1 --tasks {tasks}"
                error.add_note(f"again: python -m tests.kills {command}")
                raise
            figures.add(one)
            print(  # noqa: T201
                f"seed {seed + figures.runs - 1}: {one.killed} killed, {one.stops} stopped; "
                f"resent {one.resent}; {figures.killed} killed in all",
                flush=True,
            )
    return figures


def _run(
    endpoint: str,
    record: Path,
    *,
    seed: int,
    tasks: int,
    life_s: float = 0.0,
    interrupts_max: int = 0,
) -> tuple[Figures, float]:
    """What was seen of a run, and how long its last process took."""
    with tempfile.TemporaryDirectory() as name:
        killer = Killer(endpoint, Path(name), seed=seed, tasks=tasks)
        story = killer.tell(life_s=life_s, interrupts_max=interrupts_max)
        last = story.lives[-1]
        return audit(story, record), last.ended_s - last.begun_s


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--tasks", type=int, default=30_000, help="default: %(default)s")
    parser.add_argument("--runs", type=int, help="stop after so many in any case")
    parser.add_argument("--seed", type=int, help="of the first run; each later one's is 1 more")
    given = parser.parse_args()
    seed = SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)  # noqa: T201
    begun_s = time.monotonic()
    try:
        seen = kill_runs(seed=seed, kills=given.kills, tasks=given.tasks, runs_max=given.runs)
    except Exception:  # noqa: BLE001 - whatever it was, the command is the last line
        traceback.print_exc()
        sys.exit(1)
    phases = ", ".join(f"{kills} {phase}" for phase, kills in sorted(seen.kills.items()))
    resent = seen.resent or [0]
    print(  # noqa: T201
        f"{seen.killed} processes killed ({phases}) and {seen.stops} stopped in {seen.runs} runs "
        f"of {given.tasks:,} tasks, {time.monotonic() - begun_s:.0f} s: 0 lost, 0 settled twice; "
        f"resent a kill: {mean(resent):.0f} on average, {max(resent):,} at most, which is up to "
        f"{seen.resent_max_share:.0%} of what was in flight and a second's work; rows again: "
        f"{seen.rows_again:,}, rows cut: {seen.cut_rows}"
    )


if __name__ == "__main__":
    main()
