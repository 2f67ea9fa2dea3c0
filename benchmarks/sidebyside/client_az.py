"""What ``az batch task create --json-file`` does with its SDK, azure-batch 15.0.0b1.

A model is made of each task and made a dict again, and a hundred go into each request, one
request after the other. Runs in that client's environment, so nothing of ours is imported.
"""

import json
import sys
from pathlib import Path
from typing import Any

from azure.batch import BatchClient
from azure.batch.models import BatchTaskCreateContent
from azure.core.credentials import AzureNamedKeyCredential

_KEY = "YSBrZXkgZm9yIGJlbmNobWFya3M="
_TASKS_MAX = 100


def main(endpoint: str, path: str, *_: str) -> None:
    """Flood, and say how many tasks were added; the requests in flight are always one."""
    client: Any = BatchClient(endpoint, AzureNamedKeyCredential("devaccount", _KEY))
    lines = Path(path).read_text().splitlines()  # az wants them as one array.
    given = json.loads(f"[{','.join(lines)}]")
    tasks = [BatchTaskCreateContent(task).as_dict() for task in given]
    results: list[Any] = []
    for start in range(0, len(tasks), _TASKS_MAX):
        part = tasks[start : start + _TASKS_MAX]
        results += client.create_task_collection(job_id="bench", task_collection=part).value
    print(len(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
