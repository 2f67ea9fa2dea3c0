"""``python -m tests.simulation``: many seeds on all cores, or how often planted bugs are found."""

import argparse
import hashlib
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat

from tests.simulation.mutants import MUTANTS
from tests.simulation.seeds import Result, run_seed

MUTANT_SEEDS = 150
SHOWN_MAX = 10  # Failures: more are only counted.


def _seeds(text: str) -> range:
    first, colon, end = text.partition(":")
    return range(int(first), int(end) if colon else int(first) + 1)


def _run(seeds: Iterable[int], jobs: int, mutant: str | None = None) -> Iterator[Result]:
    if jobs == 1:
        yield from (run_seed(seed, mutant) for seed in seeds)
        return
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh) as pool:
        yield from pool.map(run_seed, seeds, repeat(mutant), chunksize=4)


def _flood(seeds: range, jobs: int, mutant: str | None) -> int:
    print(f"seeds {seeds.start} to {seeds.stop - 1}", flush=True)
    began_s = time.monotonic()
    results = []
    failed = 0
    for result in _run(seeds, jobs, mutant):
        results.append(result)
        if result.failure:
            failed += 1
            if failed <= SHOWN_MAX:
                print(f"seed {result.seed}: {result.failure}", flush=True)
    took_s = time.monotonic() - began_s
    figures = [result.figures for result in results]
    endings = sum((each.endings for each in figures), Counter[str]())
    worst = max(figures, key=lambda each: each.resent_max)
    print(
        f"{len(results)} seeds, {failed} failed, in {took_s:.0f} s "
        f"({len(results) / took_s:.1f} a second)\n"
        f"{sum(f.tasks for f in figures):,} tasks in {sum(f.lives for f in figures):,} lives, "
        f"{sum(f.crashes for f in figures):,} of which crashed; "
        f"{sum(f.requests for f in figures):,} requests and "
        f"{sum(f.lookups for f in figures):,} look-ups in "
        f"{sum(f.virtual_s for f in figures) / 3600:,.1f} h of virtual time\n"
        f"lives ended by {', '.join(f'{name} {n:,}' for name, n in sorted(endings.items()))}\n"
        f"settled again after a crash: {sum(f.settled_again for f in figures):,} tasks\n"
        f"most resent after one kill -9: {worst.resent_max}, and "
        f"{worst.resent_bound} is what was in flight and what the last second settled; "
        f"most forgotten by the journal: {max(f.forgotten_max for f in figures)}"
    )
    traces = "".join(result.trace for result in results)
    print(f"trace {hashlib.sha256(traces.encode()).hexdigest()[:16]}")
    return 1 if failed else 0


def _mutants(jobs: int) -> int:
    print(f"of {MUTANT_SEEDS} seeds, so many find a planted bug (the first few):")
    blind = False
    for name in MUTANTS:
        found = [r.seed for r in _run(range(MUTANT_SEEDS), jobs, name) if r.failure]
        print(f"    {name:30} {len(found):4}   ({', '.join(map(str, found[:6]))})", flush=True)
        blind |= not found
    return 1 if blind else 0


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=_seeds, default=range(300), help="FIRST:END, or one")
    parser.add_argument("--mutant", choices=list(MUTANTS), help="with this planted bug")
    parser.add_argument("--mutants", action="store_true", help="count who finds each planted bug")
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    arguments = parser.parse_args()
    if arguments.mutants:
        return _mutants(arguments.jobs)
    jobs = 1 if len(arguments.seeds) == 1 else arguments.jobs
    return _flood(arguments.seeds, jobs, arguments.mutant)


if __name__ == "__main__":
    sys.exit(main())
