"""``bulksubmit.submit()`` in a process of its own, told what to do like the published clients."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import orjson

from bulksubmit import BulkSubmitError, Settings, SharedKey, submit
from tests.clients.answering import answer_calls


class Client:
    """The two calls that a benchmark needs."""

    def __init__(self, results: Path, rejects: Path) -> None:
        self._settings = Settings(results_path=results, rejects_path=rejects)
        self._account: dict[str, Any] = {}

    def connect(self, endpoint: str, account_name: str, key: str) -> None:
        """Remember the account."""
        self._account = {"endpoint": endpoint, "credential": SharedKey(account_name, key)}

    def add_tasks(self, job_id: str, tasks: list[dict[str, Any]], parallel: int) -> Any:
        """Submit them; how many requests are in flight the library decides."""
        del parallel
        run = submit(tasks, job_id=job_id, settings=self._settings, **self._account)
        return orjson.loads(orjson.dumps(asyncio.run(run)))


def _tell(error: Exception) -> dict[str, Any]:
    report = error.report if isinstance(error, BulkSubmitError) else None
    return {} if report is None else {"report": orjson.loads(orjson.dumps(report))}


if __name__ == "__main__":
    answer_calls(Client(Path(sys.argv[1]), Path(sys.argv[2])), _tell)
