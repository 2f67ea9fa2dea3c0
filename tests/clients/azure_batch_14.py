"""azure-batch 14: the last version of the generation that msrest drives."""

from typing import Any

from azure.batch import BatchServiceClient, models
from azure.batch.batch_auth import SharedKeyCredentials
from msrest.authentication import BasicTokenAuthentication
from msrest.exceptions import HttpOperationError
from msrest.serialization import full_restapi_key_transformer

from tests.clients.answering import answer_calls, moment, unset_in

JSON = dict[str, Any]


class Client:
    """The calls, each by the client's own method and with its own models."""

    def __init__(self) -> None:
        self._job: Any = None
        self._task: Any = None

    def connect(self, endpoint: str, account_name: str, key: str, token: str | None = None) -> None:
        credentials: Any = SharedKeyCredentials(account_name, key)
        if token is not None:
            credentials = BasicTokenAuthentication({"access_token": token})
        batch = BatchServiceClient(credentials, batch_url=endpoint)
        self._job, self._task = batch.job, batch.task

    def create_job(self, job: JSON) -> None:
        self._job.add(models.JobAddParameter.deserialize(job))

    def get_job(self, job_id: str, **options: Any) -> Any:
        return _shown(self._job.get(job_id, _options(models.JobGetOptions, options)))

    def list_jobs(self, **options: Any) -> list[list[JSON]]:
        return _pages(self._job.list(_options(models.JobListOptions, options)))

    def patch_job(self, job_id: str, job: JSON, **options: Any) -> None:
        patch = models.JobPatchParameter.deserialize(job)
        self._job.patch(job_id, patch, _options(models.JobPatchOptions, options))

    def update_job(self, job_id: str, job: JSON, **options: Any) -> None:
        update = models.JobUpdateParameter.deserialize(job)
        self._job.update(job_id, update, _options(models.JobUpdateOptions, options))

    def disable_job(self, job_id: str, disable_tasks: str) -> None:
        self._job.disable(job_id, disable_tasks)

    def enable_job(self, job_id: str) -> None:
        self._job.enable(job_id)

    def terminate_job(self, job_id: str, reason: str | None = None) -> None:
        self._job.terminate(job_id, terminate_reason=reason)

    def delete_job(self, job_id: str, **options: Any) -> None:
        self._job.delete(job_id, _options(models.JobDeleteOptions, options))

    def count_tasks(self, job_id: str) -> Any:
        return _shown(self._job.get_task_counts(job_id))

    def add_tasks(self, job_id: str, tasks: list[JSON], parallel: int = 0) -> list[JSON]:
        made = [models.TaskAddParameter.deserialize(task) for task in tasks]
        return [*map(_shown, self._task.add_collection(job_id, made, threads=parallel).value)]

    def add_task(self, job_id: str, task: JSON) -> None:
        self._task.add(job_id, models.TaskAddParameter.deserialize(task))

    def get_task(self, job_id: str, task_id: str, **options: Any) -> Any:
        return _shown(self._task.get(job_id, task_id, _options(models.TaskGetOptions, options)))

    def list_tasks(self, job_id: str, **options: Any) -> list[list[JSON]]:
        return _pages(self._task.list(job_id, _options(models.TaskListOptions, options)))

    def update_task(self, job_id: str, task_id: str, constraints: JSON, **options: Any) -> None:
        made = models.TaskConstraints.deserialize(constraints)
        self._task.update(job_id, task_id, made, _options(models.TaskUpdateOptions, options))

    def terminate_task(self, job_id: str, task_id: str) -> None:
        self._task.terminate(job_id, task_id)

    def reactivate_task(self, job_id: str, task_id: str) -> None:
        self._task.reactivate(job_id, task_id)

    def delete_task(self, job_id: str, task_id: str, **options: Any) -> None:
        self._task.delete(job_id, task_id, _options(models.TaskDeleteOptions, options))

    def unset_in_tasks(self, tasks: list[JSON]) -> list[str]:
        """Which fields of the client's own models these tasks all leave unset."""

        def attributes(value: Any) -> JSON:
            names = getattr(value, "_attribute_map", ())
            return {name: getattr(value, name) for name in names}

        return sorted(
            unset_in([models.TaskAddParameter.deserialize(task) for task in tasks], attributes)
        )


def _options(model: Any, given: JSON) -> Any:
    dates = {name: moment(text) for name, text in given.items() if name.endswith("_since")}
    return model(**given | dates)


def _pages(paged: Any) -> list[list[JSON]]:
    pages = []
    while True:
        try:
            pages.append([_shown(each) for each in paged.advance_page()])
        except StopIteration:
            return pages


def _shown(model: Any) -> Any:
    return model.as_dict(key_transformer=full_restapi_key_transformer)


def _tell(error: Exception) -> JSON:
    if isinstance(error, models.CreateTasksErrorException):
        return {
            "failed": [_shown(each) for each in error.failure_tasks],
            "pending": [each.id for each in error.pending_tasks],
            "errors": [_tell(each) for each in error.errors],
        }
    if isinstance(error, models.BatchErrorException):
        values = {each.key: each.value for each in error.error.values or ()}
        return {"status": error.response.status_code, "code": error.error.code, "values": values}
    if isinstance(error, HttpOperationError):
        return {"status": error.response.status_code}
    return {}


if __name__ == "__main__":
    answer_calls(Client(), _tell)
