"""azure-batch 14: models made of the file's lines, and ``add_collection`` with threads.

Runs in that client's environment, so nothing of ours is imported.
"""

import json
import sys
from pathlib import Path

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials

_KEY = "YSBrZXkgZm9yIGJlbmNobWFya3M="


def main(endpoint: str, path: str, in_flight: str) -> None:
    """Flood, and say how many tasks were added."""
    client = BatchServiceClient(SharedKeyCredentials("devaccount", _KEY), batch_url=endpoint)
    with Path(path).open() as file:
        tasks = [models.TaskAddParameter.deserialize(json.loads(line)) for line in file]
    added = client.task.add_collection("bench", tasks, threads=int(in_flight))
    print(sum(result.status.value == "success" for result in added.value))


if __name__ == "__main__":
    main(*sys.argv[1:])
