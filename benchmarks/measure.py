"""Runs a child process and asks the operating system what it took."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, cast

# ru_maxrss counts kilobytes on Linux, bytes on macOS.
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process took, from its first instruction to its last.

    Attributes:
        cpu_s: User and system CPU time, of all its threads.
        rss_bytes: The peak of its resident memory.
        wall_s: By the clock on the wall.
        exit_code: As the process ended; negative for a signal.
        output: What it wrote to standard output.
        started_s: When it was started, by the monotonic clock, which all processes share.
    """

    cpu_s: float
    rss_bytes: int
    wall_s: float
    exit_code: int
    output: bytes
    started_s: float = 0.0


def run_measured(command: Sequence[str], environment: Mapping[str, str]) -> Usage:
    """Run a command to its end; its standard error is ours.

    Linux lets a child inherit its parent's peak memory as a lower bound of its own (``maxrss``
    outlives exec): the calling process must be smaller than what it measures, so it imports
    nothing but the standard library and holds no task file in memory.
    """
    started_s = time.monotonic()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    with process:
        output = cast("IO[bytes]", process.stdout).read()
        # wait4 and not RUSAGE_CHILDREN: that one would hold the peak of all children.
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - started_s
        process.returncode = os.waitstatus_to_exitcode(status)
    return Usage(
        cpu_s=usage.ru_utime + usage.ru_stime,
        rss_bytes=usage.ru_maxrss * MAXRSS_UNIT,
        wall_s=wall_s,
        exit_code=process.returncode,
        output=output,
        started_s=started_s,
    )
