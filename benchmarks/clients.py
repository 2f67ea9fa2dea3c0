"""What each client says when things go wrong, and what the service then holds. See README.md.

Run it from the project's folder: ``python -m benchmarks.clients --help``.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.clients_cases import CASES
from benchmarks.clients_runs import CLIENTS, run
from benchmarks.clients_verdict import Ran
from benchmarks.flood import machine


def run_all(
    clients: Sequence[str], cases: Sequence[str], tasks_max: int | None, folder: Path
) -> Iterator[tuple[str, Ran]]:
    """Run each client in each case, one after the other; each run comes with its case's name."""
    for case in cases:
        for client in clients:
            place = folder / f"{case}-{client}"
            place.mkdir()
            ran = run(client, CASES[case].shrunk(tasks_max), place)
            print(f"{case}: {client}: {ran.verdict}", file=sys.stderr, flush=True)
            yield case, ran


def missing_clients(clients: Sequence[str]) -> Iterator[str]:
    """Make the environments, which takes minutes the first time; a line for each that fails."""
    for client in clients:
        try:
            CLIENTS[client].command()
        except (FileNotFoundError, RuntimeError) as error:
            why = str(error).strip().splitlines()[-1]
            yield f"{client} cannot be had: {why}; name the others with --clients"


# --- Tables ----------------------------------------------------------------------------------


def verdicts(runs: Sequence[tuple[str, Ran]]) -> str:
    """A row a case, a column a client."""
    found = {(case, ran.client): ran.verdict for case, ran in runs}
    cases, clients = _names(runs)
    lines = [f"| case | {' | '.join(clients)} |", "|---" * (len(clients) + 1) + "|"]
    for case in cases:
        cells = (found[case, client] for client in clients)
        lines.append(f"| {CASES[case].what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figures(runs: Sequence[tuple[str, Ran]]) -> str:
    """A row a run."""
    heads = ("case", "client", "ended", "says in", "says left", "held", "requests", "s")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---:|---:|---:|---:|---:|"]
    for case, ran in runs:
        told = ran.told
        others = f" + {ran.others}" if ran.others else ""
        cells = (
            *(case, ran.client, told.ended + (", interrupted" if ran.stopped else "")),
            f"{len(told.in_ids):,}" if told.in_ids else "",
            f"{max(told.left, len(told.left_ids)):,}" if told.left or told.left_ids else "",
            f"{len(ran.held):,} of {ran.case.tasks:,}",
            *(f"{ran.adds:,}{others}", f"{ran.seconds:.1f}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def words(runs: Sequence[tuple[str, Ran]]) -> str:
    """What the clients say in their own words, where not everything is in."""
    told = [(case, ran) for case, ran in runs if ran.told.text and ran.missing]
    return "\n".join(f"- {case}, {ran.client}: {ran.told.text}" for case, ran in told)


def _names(runs: Sequence[tuple[str, Ran]]) -> tuple[list[str], list[str]]:
    """The cases and the clients, each once, in their order."""
    return list(dict.fromkeys(case for case, _ in runs)), list(
        dict.fromkeys(ran.client for _, ran in runs)
    )


# --- The command -----------------------------------------------------------------------------


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    for option, known in (("--clients", CLIENTS), ("--cases", CASES)):
        parser.add_argument(
            option,
            nargs="+",
            choices=known,
            default=list(known),
            metavar="NAME",
            help=f"of {', '.join(known)}; default: all",
        )
    parser.add_argument(
        "--tasks-max",
        type=int,
        help="of each case, for a quick look; some need 500 for anything to go wrong",
    )
    return parser.parse_args()


def main() -> None:
    """Exit code 1 if a client cannot be had, or if ours does not say what is not there."""
    given = _arguments()
    if lines := list(missing_clients(given.clients)):
        sys.exit("\n".join(lines))
    print(f"{datetime.now(UTC):%Y-%m-%d}; {machine()}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = list(run_all(given.clients, given.cases, given.tasks_max, Path(folder)))
    what = "\n".join(f"- {client}: {CLIENTS[client].what}" for client in given.clients)
    for part in (what, verdicts(runs), figures(runs), words(runs)):
        print("", part, sep="\n")
    ours = [(case, ran) for case, ran in runs if CLIENTS[ran.client].ours]
    if failed := [f"{case}: {ran.client}: {ran.verdict}" for case, ran in ours if ran.lost]:
        sys.exit("\n".join(["", *failed]))


if __name__ == "__main__":
    main()
