"""Many runs, until so many processes were killed: ``python -m tests.kills --help``."""

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom
from statistics import mean, median

from tests.kills.audit import Figures, audit
from tests.kills.processes import cluster
from tests.kills.run import Killer, service
from tests.kills.sharded import WORKERS, ShardedKiller, Victim
from tests.kills.sharded_audit import ShardedFigures, audit_sharded


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


def kill_sharded_runs(
    *,
    seed: int,
    kills: int,
    tasks: int,
    runs_max: int | None = None,
    dask: bool | None = None,
    victims: Sequence[Victim] = (),
    pause_s: float = 1.5,
) -> ShardedFigures:
    """Run after run of several workers, each with a seed one higher.

    Args:
        seed: The first one's.
        kills: How many kills are enough.
        tasks: In each source.
        runs_max: Stop after so many in any case.
        dask: Whether the workers are those of a Dask cluster; None to take turns.
        victims: Who is killed in each run; none to draw it.
        pause_s: Between two kills, at most.

    Raises:
        AssertionError: as kill_runs().
    """
    figures = ShardedFigures()
    with ExitStack() as open_until_end:
        folder = Path(open_until_end.enter_context(tempfile.TemporaryDirectory()))
        endpoint, record = open_until_end.enter_context(service(folder, seed))
        of_dask = open_until_end.enter_context(cluster(folder / "dask", WORKERS))
        while figures.killed < kills and figures.runs != runs_max:
            number = seed + figures.runs
            by_dask = dask if dask is not None else number % 2 == 1
            try:
                with tempfile.TemporaryDirectory() as name:
                    killer = ShardedKiller(
                        *(endpoint, record, Path(name)),
                        seed=number,
                        tasks=tasks,
                        cluster=of_dask if by_dask else None,
                        victims=victims,
                    )
                    killer.tell(life_s=pause_s, interrupts_max=8)
                    one = audit_sharded(killer.story, record)
            except Exception as error:
                executor = "dask" if by_dask else "local"
                command = f"--sharded {executor} --seed {number} --runs 1 --tasks {tasks}"
                error.add_note(f"again: python -m tests.kills {command}")
                raise
            figures.add(one)
            print(  # noqa: T201
                f"seed {number}, {'dask' if by_dask else 'local'}: {dict(one.kills)} killed, "
                f"{one.stops} stopped; resent {one.resent}; {figures.killed} killed in all",
                flush=True,
            )
    return figures


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="default: %(default)s")
    parser.add_argument("--tasks", type=int, default=30_000, help="default: %(default)s")
    parser.add_argument("--runs", type=int, help="stop after so many in any case")
    parser.add_argument("--seed", type=int, help="of the first run; each later one's is 1 more")
    parser.add_argument(
        "--sharded",
        nargs="?",
        const="both",
        choices=["local", "dask", "both"],
        help="runs of several workers: processes, or a Dask cluster's; default: in turns",
    )
    given = parser.parse_args()
    seed = SystemRandom().randrange(10**6) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)  # noqa: T201
    begun_s = time.monotonic()
    how = {"seed": seed, "kills": given.kills, "tasks": given.tasks, "runs_max": given.runs}
    try:
        if given.sharded:
            dask = None if given.sharded == "both" else given.sharded == "dask"
            seen: Figures = kill_sharded_runs(**how, dask=dask)
        else:
            seen = kill_runs(**how)
    except Exception:  # noqa: BLE001 - whatever it was, the command is the last line
        traceback.print_exc()
        sys.exit(1)
    kills = ", ".join(f"{kills} {which}" for which, kills in sorted(seen.kills.items()))
    resent = seen.resent or [0]
    share = "" if given.sharded else f" (up to {seen.resent_max_share:.0%} of what was allowed)"
    print(  # noqa: T201
        f"{seen.killed} processes killed ({kills}) and {seen.stops} stopped in {seen.runs} runs "
        f"of {given.tasks:,} tasks, {time.monotonic() - begun_s:.0f} s: 0 lost, 0 settled twice; "
        f"resent a kill: {mean(resent):.0f} on average, {max(resent):,} at most{share}; rows "
        f"again: {seen.rows_again:,}, rows cut: {seen.cut_rows}"
    )
    if isinstance(seen, ShardedFigures):
        _print_times(seen)


def _print_times(seen: ShardedFigures) -> None:
    rows = {
        "a worker is killed: its shard's next request": seen.worker_again_s,
        "the coordinator is killed: the resumed run's first request": seen.coordinator_again_s,
        "the coordinator is killed: its last worker has ended": seen.orphans_s,
        "the scheduler is killed: the run has ended": seen.scheduler_end_s,
    }
    print(f"{'seconds':<60}{'times':>7}{'median':>8}{'most':>8}")  # noqa: T201
    for what, times_s in rows.items():
        if times_s:
            print(  # noqa: T201
                f"{what:<60}{len(times_s):>7}{median(times_s):>8.2f}{max(times_s):>8.2f}"
            )


if __name__ == "__main__":
    main()
