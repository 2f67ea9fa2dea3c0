"""azure-batch 15 as before, but for ``create_tasks``, which is that of bulksubmit.compat."""

import sys
from typing import Any

from azure.batch import models

from bulksubmit.compat import create_tasks, create_tasks_async
from tests.clients.answering import answer_calls
from tests.clients.azure_batch_15 import Aio, Client, Sync, shown, tell

JSON = dict[str, Any]


class CompatClient(Client):
    """Adds tasks by other means."""

    def add_tasks(self, job_id: str, tasks: list[JSON], parallel: int | None = 0) -> list[JSON]:
        made = [models.BatchTaskCreateOptions(task) for task in tasks]
        create = create_tasks_async if isinstance(self._flavour, Aio) else create_tasks
        given = create(self._batch, job_id, made, max_concurrency=parallel)
        added = self._done(given)
        assert type(added) is models.BatchCreateTaskCollectionResult
        return [*map(shown, added.result_values)]


if __name__ == "__main__":
    client = CompatClient(Aio() if sys.argv[1] == "aio" else Sync())
    answer_calls(client, tell)
    client.close()
