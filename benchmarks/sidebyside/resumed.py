"""A run that is killed in its middle, and goes on: how long until it sends again."""

import subprocess
import time
from dataclasses import replace

from benchmarks.flood import child_environment
from benchmarks.sidebyside.clients import BULKSUBMIT, CLIENTS
from benchmarks.sidebyside.runs import Bench, Case, Run, on_core
from benchmarks.task_file import task_file

_LOOK_S = 0.1


def run_resumed(bench: Bench, case: Case, *, section: str, number: int) -> Run | None:
    """Kill the library when half of the tasks are in, and measure the process that goes on.

    What the first process had in flight is sent again, so that a few tasks are added twice: the
    server forgets what it was sent.

    Args:
        bench: Where it runs.
        case: What is to be done in all.
        section: See Run.
        number: The round's.

    Returns:
        None if it had nothing left to send: there are too few tasks to be killed in their middle.
    """
    server = bench.server(case)
    path = task_file(bench.folder, tasks=case.tasks, task_bytes=case.task_bytes)
    command = CLIENTS[BULKSUBMIT].command(case, server.endpoint, path)
    environment = child_environment(bench.state) | server.variables
    server.seen()
    with on_core(0):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    added = 0
    while process.poll() is None and added < case.tasks / 2:
        time.sleep(_LOOK_S)
        added += server.seen().added
    process.kill()
    process.wait()
    added += server.seen().added
    again = replace(case, options=(*case.options, "on_unfinished=resume"))
    run = bench.run(BULKSUBMIT, again, section=section, number=number, earlier=added)
    return run if run.seen.requests else None
