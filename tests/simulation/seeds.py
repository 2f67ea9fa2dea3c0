"""One seed, with a planted bug or without, and what is said of it."""

import traceback
from contextlib import nullcontext
from dataclasses import dataclass

from tests.simulation.auditor import Figures
from tests.simulation.mutants import MUTANTS
from tests.simulation.world import simulate


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a seed: ``failure`` is None if all was well."""

    seed: int
    figures: Figures
    trace: str
    failure: str | None


def run_seed(seed: int, mutant: str | None = None) -> Result:
    """Run a seed, with a planted bug or without."""
    try:
        with MUTANTS[mutant].plant() if mutant else nullcontext():
            figures, trace = simulate(seed)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the seed found
        return Result(seed, Figures(), "", _told(error) + again(seed, mutant))
    return Result(seed, figures, trace, None)


def again(seed: int, mutant: str | None = None) -> str:
    """The command that repeats a seed."""
    more = f" --mutant {mutant}" if mutant else ""
    return f"\nto repeat it: python -m tests.simulation --seeds {seed}{more}"


def _told(error: BaseException) -> str:
    """The error itself, out of the task groups that it came through."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
