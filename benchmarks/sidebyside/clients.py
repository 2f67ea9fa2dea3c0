"""The clients: how each is started. Whoever has another one adds a line to CLIENTS."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.sidebyside.runs import Case

_HERE = "benchmarks.sidebyside"
_WRK_S = 1

Command = Callable[["Case", str, Path], Sequence[str]]


def _last_word(output: bytes) -> int:
    return int(output.split()[-1])


def _report(output: bytes) -> int:
    return int(json.loads(output)["added"])


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        what: For a reader.
        command: Given a case, the service's endpoint and the file of the tasks: the arguments of
            the process. Raises FileNotFoundError or RuntimeError if it cannot be had.
        share: Of a case's tasks: the slow ones get fewer.
        added: Finds in its output how many tasks it says were added; None for one that says
            nothing, and is not held to a number of tasks.
    """

    what: str
    command: Command
    share: float = 1.0
    added: Callable[[bytes], int] | None = _last_word


def _ours(module: str, *options: str) -> Command:
    def command(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
        script = (sys.executable, "-m", f"{_HERE}.{module}")
        return [*script, endpoint, str(path), str(case.in_flight), *options, *case.options]

    return command


def _foreign(module: str, environment: str, *requirements: str, flavour: str = "") -> Command:
    """A script that runs in an environment of its own, which is made if it is not there."""

    def command(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
        # It imports filelock, which only those who have such a client need.
        from tests.clients.environments import python_with  # noqa: PLC0415

        script = (str(python_with(environment, *requirements)), "-m", f"{_HERE}.{module}")
        return [*script, *filter(None, [flavour]), endpoint, str(path), str(case.in_flight)]

    return command


def _azure_batch_15(flavour: str) -> Command:
    requirements = ("azure-batch==15.1.0", "aiohttp>=3.14")
    return _foreign("client_azure_batch_15", "azure-batch-15", *requirements, flavour=flavour)


def _script(flavour: str) -> Command:
    requirements = ("aiohttp>=3.14", "httpx==0.28.1", "orjson>=3.10", "requests==2.34.2", "uvloop")
    return _foreign("client_script", "scripts", *requirements, flavour=flavour)


def _command_line(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
    command = (sys.executable, "-m", "bulksubmit", "submit", str(path), "--job-id", "bench")
    account = ("--account-endpoint", endpoint, "--account-name", "devaccount")
    shown = ("--quiet", "--output", "json")
    return [*command, *account, "--concurrency", str(case.in_flight), *shown]


def _wrk(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise FileNotFoundError("wrk is not installed")
    script = str(Path(__file__).with_name("client_wrk.lua"))
    options = ("-t1", f"-c{case.in_flight}", f"-d{_WRK_S}s", "-s", script)
    return [wrk, *options, endpoint, "--", str(path)]


def _imports(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
    del case, endpoint, path
    return [sys.executable, "-c", "import aiohttp, structlog"]


BULKSUBMIT, COMMAND_LINE, SHOWN = "bulksubmit", "bulksubmit-cli", "bulksubmit-shown"
IDEAL, WRK, IMPORTS = "ideal", "wrk", "imports"
AZURE_AIO, AZURE_SYNC, AZURE_14 = "azure-batch-15-aio", "azure-batch-15", "azure-batch-14"
AZ, AIOHTTP, AIOHTTP_QUICK = "az", "aiohttp", "aiohttp-quick"
HTTPX, REQUESTS = "httpx", "requests"

CLIENTS: Mapping[str, Client] = {
    BULKSUBMIT: Client("`bulksubmit.submit_sync()`", _ours("client_bulksubmit")),
    COMMAND_LINE: Client("`bulksubmit submit`", _command_line, added=_report),
    SHOWN: Client(
        "`bulksubmit.stream()`, with progress on a terminal and metrics counted by OpenTelemetry",
        _ours("client_shown"),
    ),
    IDEAL: Client(
        "an ideal loop on aiohttp and uvloop: every task checked in full, requests signed, "
        "results matched, a journal row a request",
        _ours("client_ideal"),
    ),
    AZURE_AIO: Client(
        "azure-batch 15.1.0, `create_tasks` of `azure.batch.aio`", _azure_batch_15("aio"), 0.05
    ),
    AZURE_SYNC: Client("the same, sync: threads", _azure_batch_15("sync"), 0.05),
    AZURE_14: Client(
        "azure-batch 14.2.0, `task.add_collection` with threads",
        _foreign("client_azure_batch_14", "azure-batch-14", "azure-batch==14.2.0"),
        0.025,
    ),
    AZ: Client(
        "what `az batch task create --json-file` does with its SDK; one request at a time",
        _foreign("client_az", "azure-batch-15.0", "azure-batch==15.0.0b1"),
        0.025,
    ),
    AIOHTTP: Client("a script on aiohttp and json", _script("aiohttp"), 0.25),
    AIOHTTP_QUICK: Client("a script on aiohttp, orjson and uvloop", _script("aiohttp-quick"), 0.5),
    HTTPX: Client("a script on httpx and json", _script("httpx"), 0.25),
    REQUESTS: Client("a script on requests, json and threads", _script("requests"), 0.25),
    WRK: Client("wrk, the same 100 tasks for a second", _wrk, added=None),
    IMPORTS: Client("`import aiohttp, structlog`", _imports, added=None),
}
