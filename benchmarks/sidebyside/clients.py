"""The clients: how each is started. Whoever has another one adds a line to CLIENTS."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.sidebyside.runs import Case

_HERE = "benchmarks.sidebyside"

Command = Callable[["Case", str, Path], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Client:
    """A client.

    Attributes:
        what: For a reader.
        command: Given a case, the service's endpoint and the file of the tasks: the arguments of
            the process. Raises FileNotFoundError or RuntimeError if it cannot be had.
        share: Of a case's tasks: the slow ones get fewer.
    """

    what: str
    command: Command
    share: float = 1.0


def _ours(module: str, *options: str) -> Command:
    def command(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
        script = (sys.executable, "-m", f"{_HERE}.{module}")
        return [*script, endpoint, str(path), str(case.in_flight), *options, *case.options]

    return command


def _azure_batch_15(flavour: str) -> Command:
    def command(case: "Case", endpoint: str, path: Path) -> Sequence[str]:
        # It imports filelock, which only those who have such a client need.
        from tests.clients.environments import python_with  # noqa: PLC0415

        python = python_with("azure-batch-15", "azure-batch==15.1.0", "aiohttp>=3.14")
        script = (str(python), "-m", f"{_HERE}.client_azure_batch_15", flavour)
        return [*script, endpoint, str(path), str(case.in_flight)]

    return command


BULKSUBMIT, IDEAL, AZURE_AIO = "bulksubmit", "ideal", "azure-batch-15-aio"

CLIENTS: Mapping[str, Client] = {
    BULKSUBMIT: Client("`bulksubmit.submit_sync()`", _ours("client_bulksubmit")),
    IDEAL: Client("an ideal loop on aiohttp and uvloop", _ours("client_ideal")),
    AZURE_AIO: Client(
        "azure-batch 15.1.0, `create_tasks` of `azure.batch.aio`", _azure_batch_15("aio"), 0.05
    ),
}
