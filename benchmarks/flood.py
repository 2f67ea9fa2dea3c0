"""What the benchmarks that flood the emulator over HTTP have in common."""

import base64
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, cast

MB = 1_000_000
KEY = base64.b64encode(b"a key for benchmarks").decode()

_LIBRARIES = ("bulksubmit", "aiohttp", "anyio", "msgspec", "orjson", "uvloop")


@dataclass(frozen=True, slots=True)
class Case:
    """One flood.

    Attributes:
        tasks: In the file.
        task_bytes: Of each.
        latency_ms: How long each request waits at the emulator before it is processed.
    """

    tasks: int
    task_bytes: int = 300
    latency_ms: int = 0


def emulator(case: Case, environment: Mapping[str, str]) -> AbstractContextManager[str]:
    """An emulator that behaves as the case says; see ``emulator_with``."""
    return emulator_with(["--latency-ms", str(case.latency_ms)], environment)


@contextmanager
def emulator_with(options: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """An emulator of its own process with one job, ``bench``; gives its endpoint."""
    command = [sys.executable, "-m", "bulksubmit", "emulator", "--job", "bench", *options]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        try:
            line = cast("IO[bytes]", process.stdout).readline().decode()
            found = re.search(r"http://[^\s,]+", line)
            if not found:
                raise RuntimeError(f"the emulator names no endpoint: {line!r}")
            yield found[0]
        finally:
            process.terminate()


def child_environment(folder: Path) -> dict[str, str]:
    """Ours, without what would change how the client behaves.

    Byte code is cached, as it is wherever nothing forbids it: compiling the sources at each start
    would count as the client's CPU and memory.
    """
    prefixes = ("AZURE_", "BULKSUBMIT_", "PYTHONDONTWRITEBYTECODE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(prefixes)}
    return environment | {
        "AZURE_BATCH_ACCESS_KEY": KEY,
        "BULKSUBMIT_STATE_DIR": str(folder / "state"),
    }


def machine() -> str:
    """What the figures were measured on."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), {pages * page_bytes / 1e9:.0f} GB; "
        f"{platform.system()} {platform.release()}; load before: {load}\n"
        f"{platform.python_implementation()} {platform.python_version()}; {libraries}"
    )


def bar(what: str, value: float, most: float) -> str:
    """What is wanted, and whether it is so."""
    return f"{what}: {value:.1f}, at most {most:g}: {'met' if value <= most else 'NOT MET'}"
