"""The same scenario over real HTTP and on virtual time, for ``benchmarks/pace.py``."""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from datetime import datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.flood import child_environment, emulator_with
from benchmarks.measure import run_measured
from benchmarks.pace_runs import OURS, Case, run_case
from bulksubmit.core.pacing import WINDOW_START
from bulksubmit.emulator.scenario import Load, Scenario
from tests.scenarios.run import FOLDER
from tests.shell.doubles import spec

SCENARIOS = ("limit-16", "latency-knee", "tiny")
APART_MAX = 0.15  # Of the figure on virtual time.
_THROTTLED_APART_MAX = 2.0  # Of a share in %: fifteen in a hundred of next to nothing is chance.
_SEEDS = 5


@dataclass(frozen=True, slots=True)
class Ran:
    """What a run came to.

    Attributes:
        seconds: How long it took.
        requests: How many it sent.
        throttled: Of these, in %.
        limit: On requests in flight, the mean over the time.
    """

    seconds: float
    requests: float
    throttled: float
    limit: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A figure over HTTP and on virtual time.

    Attributes:
        scenario: Of which scenario.
        name: Of which figure.
        http: The one.
        seeds: The other, with each seed.
    """

    scenario: str
    name: str
    http: float
    seeds: Sequence[float]

    @property
    def virtual(self) -> float:
        """The mean over the seeds."""
        return fmean(self.seeds)

    @property
    def agrees(self) -> bool:
        """Whether the two are as near to each other as is wanted."""
        near, least, most = self.virtual * APART_MAX, self.virtual, self.virtual
        if self.name == "throttled":
            near = max(near, _THROTTLED_APART_MAX)
        elif self.name == "limit":  # Where a line is no harm, it is what chance makes it.
            least, most = min(self.seeds), max(self.seeds)
        return least - near <= self.http <= most + near

    def __str__(self) -> str:
        """A row of a table."""
        name = "throttled, %" if self.name == "throttled" else self.name
        apart = self.http / self.virtual - 1 if self.virtual else math.nan
        shown = "" if math.isnan(apart) else f"{100 * apart:+.0f} %"
        verdict = "met" if self.agrees else "NOT MET"
        return (
            f"| {self.scenario} | {name} | {self.http:,.1f} | {self.virtual:,.1f} "
            f"({min(self.seeds):,.1f} to {max(self.seeds):,.1f}) | {shown} | {verdict} |"
        )


def compare(chosen: Sequence[Scenario], folder: Path) -> list[Pair]:
    """Run each scenario over HTTP, all at the same time, and then on virtual time."""
    with ThreadPoolExecutor(len(chosen)) as pool:
        over_http = list(pool.map(partial(run_over_http, folder=folder), chosen))
    pairs = []
    for scenario, http in zip(chosen, over_http, strict=True):
        seeds = [run_on_virtual_time(scenario, seed) for seed in range(1, _SEEDS + 1)]
        pairs += [
            Pair(scenario.name, name, getattr(http, name), [getattr(each, name) for each in seeds])
            for name in (field.name for field in fields(Ran))
        ]
    return pairs


def table(pairs: Sequence[Pair]) -> str:
    """In Markdown."""
    heads = ("scenario", "figure", "over HTTP", "virtual time", "apart", "")
    lines = [f"| {' | '.join(heads)} |", "|---|---|---:|---:|---:|---|"]
    return "\n".join([*lines, *map(str, pairs)])


def run_on_virtual_time(scenario: Scenario, seed: int) -> Ran:
    """As the tests do."""
    run = run_case(Case(scenario, OURS, seed), scenario)
    throttled = 100 * run.figure("throttled_share")
    return Ran(run.seconds, len(run.sent), throttled, run.figure("limit"))


def run_over_http(scenario: Scenario, folder: Path) -> Ran:
    """An emulator and a client, each a process of its own.

    Raises:
        RuntimeError: if not every task was added.
    """
    load = scenario.load
    tasks, log = (folder / f"{scenario.name}{end}" for end in (".jsonl", ".log"))
    with tasks.open("wb") as file:
        file.writelines(
            spec(number, body_bytes=load.task_bytes) + b"\n" for number in range(load.tasks)
        )
    environment = child_environment(folder)
    served = FOLDER / f"{scenario.name}.toml"
    with emulator_with(["--scenario", str(served), "--seed", "1"], environment) as endpoint:
        command = [sys.executable, "-m", "bulksubmit", "submit", str(tasks), "--job-id", "bench"]
        command += ["--account-endpoint", endpoint, "--account-name", "devaccount", "--quiet"]
        command += ["--output", "json", "--log-file", str(log), "--log-format", "json"]
        usage = run_measured([*command, *_settings(load)], environment)
    report = json.loads(usage.output or b"{}")
    if usage.exit_code or report["added"] != load.tasks:
        raise RuntimeError(f"{scenario.name}: exit code {usage.exit_code}, report {report}")
    requests, throttled = report["requests"], report["throttled_requests"]
    return Ran(report["elapsed_s"], requests, 100 * throttled / requests, _mean_limit(log))


def _settings(load: Load) -> list[str]:
    settings = {
        "--max-tasks-per-request": load.tasks_per_request,
        "--concurrency-max": load.concurrency_max,
        "--server-timeout": load.server_timeout_s,
    }
    return [each for name, value in settings.items() for each in (name, str(value))]


def _mean_limit(log: Path) -> float:
    """By what the log says of its changes, from the first request to the last."""
    events = list(_events(log))
    ended = [event for event in events if event["event"] == "request_ended" and event["attempt"]]
    limits = [(_at_s(ended[0]) - ended[0]["latency_s"], WINDOW_START)]
    limits += [
        (_at_s(event), event["new"]) for event in events if event["event"] == "limit_changed"
    ]
    ends = (_at_s(ended[-1]), 0.0)
    total = sum(
        limit * (later_s - at_s) for (at_s, limit), (later_s, _) in pairwise([*limits, ends])
    )
    return float(total / (ends[0] - limits[0][0]))


def _events(log: Path) -> Iterator[dict[str, Any]]:
    with log.open("rb") as file:
        yield from map(json.loads, file)


def _at_s(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
