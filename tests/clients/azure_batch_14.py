"""azure-batch 14: the generation of azure-batch that most programs still use."""

from typing import Any

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials
from msrest.exceptions import HttpOperationError
from msrest.serialization import full_restapi_key_transformer

from tests.clients.calling import account, answer_calls, moment, unset_in


class Client:
    """The calls, each by the client's own method and with its own models."""

    def __init__(self) -> None:
        endpoint, name, key = account()
        self._batch = BatchServiceClient(SharedKeyCredentials(name, key), batch_url=endpoint)

    def add_tasks(
        self, job_id: str, tasks: list[dict[str, Any]], threads: int = 0
    ) -> list[dict[str, Any]]:
        made = [models.TaskAddParameter.deserialize(task) for task in tasks]
        added = self._batch.task.add_collection(job_id, made, threads=threads)
        return [_shown(each) for each in added.value]


def _shown(model: Any) -> Any:
    return None if model is None else model.as_dict(key_transformer=full_restapi_key_transformer)


def _tell(error: Exception) -> dict[str, Any]:
    if isinstance(error, models.CreateTasksErrorException):
        return {
            "failed": [_shown(each) for each in error.failure_tasks],
            "pending": [each.id for each in error.pending_tasks],
            "errors": [_tell(each) for each in error.errors],
        }
    if isinstance(error, models.BatchErrorException):
        status = error.response.status_code
        values = {each.key: each.value for each in error.error.values or ()}
        return {"status": status, "code": error.error.code, "values": values}
    if isinstance(error, HttpOperationError):
        return {"status": error.response.status_code}
    return {}


if __name__ == "__main__":
    answer_calls(Client(), _tell)
