"""Submits a file by one process, by several, or by a Dask cluster; prints what each part took.

A process of its own, to be measured: see ``shards``.
"""

import argparse
import json
import resource
import time
from pathlib import Path

from benchmarks.flood import KEY
from bulksubmit import SharedKey, submit
from bulksubmit.distribute.cluster import close as close_cluster
from bulksubmit.distribute.cluster import local_cluster
from bulksubmit.distribute.crew import Crew, dask_crew, local_crew
from bulksubmit.loop import run_async
from bulksubmit.observe.report import Report

WAYS = ("one process", "processes", "Dask")


def crew_for(way: str, workers: int, credential: SharedKey) -> Crew | None:
    """Who does the work; None for this process alone."""
    if way == "processes":
        return local_crew(workers, credential)
    if way == "Dask":
        client = local_cluster(workers)
        return dask_crew(client, close=lambda: close_cluster(client))
    return None


async def flood(given: argparse.Namespace, crew: Crew | None) -> Report:
    """Submit all of the file."""
    return await submit(
        str(given.path),
        job_id="bench",
        endpoint=given.endpoint,
        credential=SharedKey("devaccount", KEY),
        executor=crew,
    )


def _cpu_s(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("path", type=Path)
    parser.add_argument("endpoint")
    parser.add_argument("--workers", type=int, required=True)
    given = parser.parse_args()
    crew = crew_for(given.way, given.workers, SharedKey("devaccount", KEY))
    began_s = time.perf_counter()
    report = run_async(flood, given, crew)  # Its workers have ended when it returns.
    taken = {
        "wall_s": time.perf_counter() - began_s,
        "cpu_s": _cpu_s(resource.RUSAGE_SELF),
        "workers_cpu_s": _cpu_s(resource.RUSAGE_CHILDREN),
        "settled": report.added + report.existed,
        "requests": report.requests,
        "exit_code": report.exit_code,
    }
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
