"""A few hundred seeds of the simulation; ``python -m tests.simulation`` runs thousands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.seeds import again, run_seed

ROOT = Path(__file__).parent.parent
CHUNK = 20
SEEDS, MORE_SEEDS = range(0, CHUNK, CHUNK), range(CHUNK, 400, CHUNK)


@pytest.mark.parametrize(
    "first", [*SEEDS, *(pytest.param(each, marks=pytest.mark.thorough) for each in MORE_SEEDS)]
)
def test_no_task_is_lost_or_settled_twice(first: int) -> None:
    """
    However the service, the network and the disk behave, and however often the process dies:
    once it is well, the run converges, and every promise was kept on the way.
    """
    seeds = range(first, first + CHUNK)

    failures = [result.failure for result in map(run_seed, seeds) if result.failure]

    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("name", MUTANTS)
def test_planted_bugs_are_found(name: str) -> None:
    """
    The simulation is not blind: it finds each of these bugs, and says how to see it again.
    """
    results = (run_seed(seed, name) for seed in MUTANTS[name].seeds)
    found = next((result for result in results if result.failure), None)

    assert found is not None
    assert found.failure is not None
    assert found.failure.endswith(again(found.seed, name))


def test_a_seed_runs_the_same_way_everywhere() -> None:
    """
    The sequence of requests, replies and outcomes, with their times, is a seed's own: the hash
    of strings, which Python draws anew for each process, does not matter.
    """
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "0:5", "--jobs", "1"]
    runs = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]

    first, second = (run.communicate()[0].splitlines() for run in runs)

    assert [run.returncode for run in runs] == [0, 0]
    assert first[0] == "seeds 0 to 4"
    assert first[-1].startswith("trace ")
    assert first[-1] == second[-1]
