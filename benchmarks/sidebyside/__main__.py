"""Clients side by side, in interleaved rounds, against a server that is not the limit.

Run it from the project's folder; README.md says what is measured, and how.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.flood import machine
from benchmarks.sidebyside import bars, plots, tables
from benchmarks.sidebyside.clients import CLIENTS
from benchmarks.sidebyside.results import Results, from_json
from benchmarks.sidebyside.resumed import run_resumed
from benchmarks.sidebyside.runs import Bench, Run
from benchmarks.sidebyside.sections import QUICK, RESUMED, SECTIONS, SMALL, START, Section

_ROUNDS, _ROUNDS_QUICK = 3, 5
_RESULTS = Path(__file__).parent.parent / "results"
_NAME = "sidebyside"


def available(sections: Mapping[str, Section], asked: Sequence[str]) -> list[str]:
    """The clients that can be had; their environments are made, which may take minutes."""
    wanted = dict.fromkeys(client for section in sections.values() for client, _ in section.runs)
    found = []
    for client in wanted:
        if client not in asked:
            continue
        try:
            CLIENTS[client].command(SMALL, "", Path())
        except (FileNotFoundError, RuntimeError) as error:
            why = str(error).strip().splitlines()[-1]
            print(f"{client} is left out: {why}", file=sys.stderr, flush=True)
        else:
            found.append(client)
    return found


def run_section(
    bench: Bench, name: str, section: Section, clients: Sequence[str], rounds: int
) -> list[Run]:
    """All rounds of a section."""
    runs: list[Run] = []
    for number in range(rounds):
        began_s = time.monotonic()
        for client, case, start_up in section.round(clients):
            if name != RESUMED:
                runs.append(bench.run(client, case, section=name, number=number, start_up=start_up))
            elif run := run_resumed(bench, case, section=name, number=number):
                runs.append(run)
            else:
                print(f"{name} is left out: too few tasks", file=sys.stderr, flush=True)
        took_s = time.monotonic() - began_s
        told = f"{name}: round {number + 1} of {rounds}, {took_s:.0f} s"
        print(told, file=sys.stderr, flush=True)
    return runs


def page(results: Results) -> str:
    """All tables; the bars only of a whole run, since of a few tasks they say nothing."""
    clients = dict.fromkeys(run.client for run in results.runs)
    parts = [
        results.machine,
        "\n".join(f"- **{client}**: {CLIENTS[client].what}" for client in clients),
        *([] if results.tasks_max else [bars.table(bars.bars_of(results))]),
    ]
    for name in [name for name in SECTIONS if name in results.sat]:
        table = tables.starts if name in {START, RESUMED} else tables.section
        parts += [f"### {SECTIONS[name].what}", results.sat[name], table(results, name)]
    return "\n\n".join(parts) + "\n"


def write(results: Results, folder: Path) -> None:
    """All tables and pictures, and the figures that they were made of."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{_NAME}.json").write_bytes(results.to_json())
    (folder / f"{_NAME}.md").write_text(f"# Side by side\n\n{page(results)}")
    for name, picture in plots.pictures(results).items():
        (folder / f"{_NAME}-{name}.svg").write_text(picture)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidebyside", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="ours, the ideal loop and azure-batch, with small and rich tasks: three minutes",
    )
    for option, known in (("--only", SECTIONS), ("--clients", CLIENTS)):
        parser.add_argument(
            option,
            nargs="+",
            choices=known,
            metavar="NAME",
            help=f"of {', '.join(known)}; default: all",
        )
    rounds = f"default: {_ROUNDS}, or {_ROUNDS_QUICK} if quick; some sections have more or fewer"
    parser.add_argument("--rounds", type=_positive, help=rounds)
    parser.add_argument("--tasks-max", type=_positive, help="of each case, for a quick look")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for tables and pictures; what it has of sections that are not run now, it keeps; "
        "default: benchmarks/results, or none for a quick look",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(tempfile.gettempdir(), "bulksubmit-benchmarks"),
        help="for the task files (2 GB), which are kept; default: %(default)s",
    )
    given = parser.parse_args()
    if given.quick and given.only:
        parser.error("--quick has its own sections: leave out --only")
    given.only, given.clients = given.only or list(SECTIONS), given.clients or list(CLIENTS)
    given.output = given.output or (None if given.quick or given.tasks_max else _RESULTS)
    given.rounds = given.rounds or (_ROUNDS_QUICK if given.quick else _ROUNDS)
    return given


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> None:
    """Run what was asked for, print the tables and write the files."""
    given = _arguments()
    asked = dict(QUICK) if given.quick else {name: SECTIONS[name] for name in given.only}
    sections = {name: each for name, each in asked.items() if any(each.round(given.clients))}
    if not sections:
        sys.exit(f"none of these clients is in any of these sections: {', '.join(asked)}")
    for folder in filter(None, (given.output, given.folder)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sys.exit(f"{folder} cannot be made: {error.strerror}")
    if given.tasks_max:
        sections = {name: each.shrunk(given.tasks_max) for name, each in sections.items()}
    clients = available(sections, given.clients)
    results = Results(machine(), tasks_max=given.tasks_max)
    earlier = given.output and given.output / f"{_NAME}.json"
    if earlier and earlier.exists():
        found = from_json(earlier.read_bytes())
        results = replace(results, runs=found.runs, sat=found.sat)
    with tempfile.TemporaryDirectory() as state, Bench(given.folder, Path(state)) as bench:
        for client in clients:
            bench.run(client, SMALL.start_up)  # Not counted: byte code is compiled.
        for name, section in sections.items():
            sat = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load before {os.getloadavg()[0]:.1f}"
            runs = run_section(bench, name, section, clients, section.rounds_of(given.rounds))
            if runs:
                results = results.plus(name, runs, sat)
            if runs and given.output:
                write(results, given.output)
    print(page(results))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
