"""Clients side by side, in interleaved rounds, against a server that is not the limit."""

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.sidebyside.clients import AZURE_AIO, BULKSUBMIT, CLIENTS, IDEAL
from benchmarks.sidebyside.runs import Bench, Case, Run, cpu_per_task_us

CASES = {"small": Case(76, 200_000), "rich": Case(1200, 50_000)}
NAMES = (BULKSUBMIT, IDEAL, AZURE_AIO)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidebyside", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    runs: dict[tuple[str, str], list[Run]] = defaultdict(list)
    with Bench(Path(tempfile.gettempdir(), "bulksubmit-benchmarks")) as bench:
        for name in NAMES:
            bench.run(name, CLIENTS[name], CASES["small"].start_up)
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}", file=sys.stderr, flush=True)
            for name in NAMES:
                client = CLIENTS[name]
                runs["start-up", name].append(bench.run(name, client, CASES["small"].start_up))
                for kind, case in CASES.items():
                    runs[kind, name].append(bench.run(name, client, case))
    print("| tasks | client | CPU a task, µs | ÷ azure-batch 15.1 aio | ÷ ideal | tasks/s "
          "| ÷ ideal | server idle | RSS, MB | start-up CPU, s |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for kind in CASES:
        cpu = {n: cpu_per_task_us(runs[kind, n], runs["start-up", n]) for n in NAMES}
        pace = {n: [run.tasks_per_s for run in runs[kind, n]] for n in NAMES}
        for name in NAMES:
            both = [
                median(a / b for a, b in zip(cpu[name], cpu[other], strict=True))
                for other in (AZURE_AIO, IDEAL)
            ]
            quick = median(a / b for a, b in zip(pace[name], pace[IDEAL], strict=True))
            idle = 1 - median(run.seen.busy for run in runs[kind, name])
            rss = median(run.usage.rss_bytes for run in runs[kind, name]) / 1e6
            start = median(run.usage.cpu_s for run in runs["start-up", name])
            print(
                f"| {kind} | {name} "
                f"| {median(cpu[name]):.2f} ({min(cpu[name]):.2f} to {max(cpu[name]):.2f}) "
                f"| {both[0]:.4f} | {both[1]:.2f} | {median(pace[name]):,.0f} | {quick:.2f} "
                f"| {idle:.0%} | {rss:.0f} | {start:.2f} |"
            )


if __name__ == "__main__":
    main()
