"""azure-batch 15, ``sync`` or ``aio``: models made of the file's lines, and ``create_tasks``.

Runs in that client's environment, so nothing of ours is imported.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from azure.batch import BatchClient, models
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core.credentials import AzureNamedKeyCredential

_KEY = "YSBrZXkgZm9yIGJlbmNobWFya3M="


def _tasks(path: str) -> list[Any]:
    with Path(path).open() as file:
        return [models.BatchTaskCreateOptions(json.loads(line)) for line in file]


async def _aio(endpoint: str, path: str, in_flight: int) -> Any:
    async with AsyncBatchClient(endpoint, AzureNamedKeyCredential("devaccount", _KEY)) as client:
        return await client.create_tasks("bench", _tasks(path), max_concurrency=in_flight)


def _sync(endpoint: str, path: str, in_flight: int) -> Any:
    with BatchClient(endpoint, AzureNamedKeyCredential("devaccount", _KEY)) as client:
        return client.create_tasks("bench", _tasks(path), max_concurrency=in_flight)


def main(flavour: str, endpoint: str, path: str, in_flight: str) -> None:
    """Flood, and say how many tasks were added."""
    if flavour == "aio":
        added = asyncio.run(_aio(endpoint, path, int(in_flight)))
    else:
        added = _sync(endpoint, path, int(in_flight))
    print(len(added.result_values or ()))


if __name__ == "__main__":
    main(*sys.argv[1:])
