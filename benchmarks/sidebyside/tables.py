"""Results as tables in Markdown."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median

from benchmarks.sidebyside.clients import AZURE_AIO, CLIENTS, IDEAL
from benchmarks.sidebyside.results import Results
from benchmarks.sidebyside.runs import Case, Run

MB = 1_000_000
_FLOOD_US_MIN = 100_000
_HEADS = (
    *("case", "tasks", "client", "CPU a task, µs", "÷ azure-batch 15 aio", "÷ ideal", "tasks/s"),
    *("÷ ideal", "requests", "÷ needed", "connections", "peak RSS, MB", "server idle"),
)


def section(results: Results, name: str) -> str:
    """A row for each client in each case."""
    runs = [run for run in results.runs if run.section == name and not run.start_up]
    rows = [_row(results, name, case, client) for case, client in _rows(runs)]
    heads = [f"| {' | '.join(_HEADS)} |", f"|---|---:|---|{'---:|' * (len(_HEADS) - 3)}"]
    return "\n".join([*heads, *rows])


def starts(results: Results, name: str) -> str:
    """How long starting and ending takes: a row a client, of a section."""
    heads = ("client", "CPU, s", "first request after, s", "end after the last answer, s")
    lines = [
        f"| {' | '.join((*heads, 'peak RSS, MB'))} |",
        "|---|---:|---:|---:|---:|",
    ]
    runs = [run for run in results.runs if run.section == name]
    for client in dict.fromkeys(run.client for run in runs):
        own = [run for run in runs if run.client == client]
        asks = CLIENTS[client].added is not None
        cells = [
            _spread([run.cpu_s for run in own], 3),
            # One that sends nothing is taken by the time when it ends.
            _spread([run.first_s if asks else run.wall_s for run in own], 3),
            _spread([run.exit_s for run in own], 3) if asks else "",
            _spread([run.rss_bytes / MB for run in own], 1),
        ]
        lines.append(f"| {client} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rows(runs: Iterable[Run]) -> Iterator[tuple[Case, str]]:
    """The cases in the order in which they were first run, and the clients in each."""
    cases: dict[str, dict[tuple[Case, str], None]] = {}
    for run in runs:
        timed = CLIENTS[run.client].added is None  # It has another number of tasks each time.
        known = cases.setdefault(str(run.case), {})
        if not (timed and any(client == run.client for _, client in known)):
            known[run.case, run.client] = None
    for known in cases.values():
        yield from known


def _row(results: Results, name: str, case: Case, client: str) -> str:
    timed = CLIENTS[client].added is None
    own = [run for run in results.of(name, client, case) if timed or run.case.tasks == case.tasks]
    azure, ideal = (results.of(name, other, case) for other in (AZURE_AIO, IDEAL))
    cpu_us = [results.cpu_us(run) for run in own]
    # Of less than that the start-up may vary from run to run; not so for NaN, too.
    enough = all(
        each * run.case.tasks > _FLOOD_US_MIN for each, run in zip(cpu_us, own, strict=True)
    )
    cells = [
        *(str(case), f"{case.tasks:,}", client),
        _spread(cpu_us, 2) if enough else "",
        _ratio(results, results.cpu_us, own, azure, 4) if enough else "",
        _ratio(results, results.cpu_us, own, ideal, 2) if enough else "",
        _spread([run.tasks_per_s for run in own], 0),
        _ratio(results, lambda run: run.tasks_per_s, own, ideal, 2),
        f"{median(run.seen.requests for run in own):,.0f}",
        f"{median(run.requests_share for run in own):.3f}" if case.fits else "",
        f"{max(run.seen.connections for run in own):,}",
        _spread([run.rss_bytes / MB for run in own], 0),
        f"{median(run.seen.idle for run in own):.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def _ratio(
    results: Results,
    value: Callable[[Run], float],
    runs: Sequence[Run],
    others: Sequence[Run],
    digits: int,
) -> str:
    ratio = results.ratio(value, runs, others)
    return "" if ratio is None else f"{ratio:.{digits}f}"


def _spread(values: Sequence[float], digits: int) -> str:
    """The median, and the least and the most if there are several."""
    if len(values) == 1:
        return f"{values[0]:,.{digits}f}"
    least, most = min(values), max(values)
    return f"{median(values):,.{digits}f} ({least:,.{digits}f} to {most:,.{digits}f})"
