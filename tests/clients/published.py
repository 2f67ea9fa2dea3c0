"""Which clients there are, and the command that runs each, in the folder that tests/ lies in."""

import shutil
import sys
from collections.abc import Callable

from tests.clients.environments import FOLDER, node_modules_with, python_with

ROOT = FOLDER.parent


def azure_batch_14() -> list[str]:
    """The Python client that most programs still use."""
    python = python_with("azure-batch-14", "azure-batch==14.2.0")
    return [str(python), "-m", "tests.clients.azure_batch_14"]


def azure_batch_15(flavour: str) -> list[str]:
    """The newest Python client, ``sync`` or ``aio``."""
    # Its async half runs on aiohttp, which it leaves to its users to install.
    python = python_with("azure-batch-15", "azure-batch==15.1.0", "aiohttp>=3.14")
    return [str(python), "-m", "tests.clients.azure_batch_15", flavour]


def azure_batch_15_compat(flavour: str) -> tuple[list[str], dict[str, str]]:
    """bulksubmit in the place of the newest Python client's ``create_tasks``.

    Returns:
        The command, and the variables by which our own Python finds that client before its own.
    """
    python = python_with("azure-batch-15", "azure-batch==15.1.0", "aiohttp>=3.14")
    (packages,) = python.parent.parent.glob("lib/python*/site-packages/azure")
    command = [sys.executable, "-m", "tests.clients.azure_batch_15_compat", flavour]
    return command, {"PYTHONPATH": str(packages.parent)}


def azure_batch_10_for_node() -> list[str]:
    """The JavaScript client.

    Raises:
        FileNotFoundError: if there is no node, or no npm.
    """
    node = shutil.which("node")
    if node is None:
        raise FileNotFoundError("node is missing: this client needs node and npm on the PATH")
    modules = node_modules_with("azure-batch-10-for-node", "@azure/batch@10.2.0")
    return [node, "tests/clients/azure_batch_10.cjs", str(modules)]


CLIENTS: dict[str, Callable[[], list[str]]] = {
    "azure-batch-14": azure_batch_14,
    "azure-batch-15": lambda: azure_batch_15("sync"),
    "azure-batch-15-aio": lambda: azure_batch_15("aio"),
    "azure-batch-10-for-node": azure_batch_10_for_node,
}
SLOW = {"azure-batch-10-for-node"}


def az() -> list[str]:
    """The command line of Azure; its arguments are to be added."""
    python = python_with("azure-cli", "azure-cli==2.91.0")
    return [str(python), "-m", "azure.cli"]
