"""azure-batch 15: the generation that azure-core drives, sync and async."""

import asyncio
import sys
import time
from typing import Any

from azure.batch import BatchClient, models
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core import MatchConditions
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.core.serialization import attribute_list, is_generated_model

from tests.clients.answering import answer_calls, moment, unset_in

JSON = dict[str, Any]


class Token:
    """A credential that has its token already."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        """The token, for whatever it is asked for; good for an hour, as far as the client sees."""
        return AccessToken(self._token, int(time.time()) + 3600)


class AsyncToken(Token):
    """The same, for the async client."""

    async def get_token(self, *_: str, **__: Any) -> AccessToken:  # type: ignore[override]
        """See ``Token``; the two clients ask by the same name."""
        return super().get_token()


class Sync:
    """What the client's methods give is there when they return."""

    client, credential = BatchClient, Token

    def done(self, given: Any) -> Any:
        """What a method gave."""
        return given

    def finish(self, poller: Any) -> None:
        """Wait for the end of a long operation."""
        poller.result()

    def pages(self, paged: Any) -> list[list[JSON]]:
        """All pages of a list."""
        return [[shown(each) for each in page] for page in paged.by_page()]


class Aio:
    """What the client's methods give is to be awaited."""

    client, credential = AsyncBatchClient, AsyncToken

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def done(self, given: Any) -> Any:
        """What a method gave."""

        async def wait() -> Any:
            return await given

        return self._runner.run(wait())

    def finish(self, poller: Any) -> None:
        """Wait for the end of a long operation."""

        async def wait() -> None:
            await (await poller).result()

        self._runner.run(wait())

    def pages(self, paged: Any) -> list[list[JSON]]:
        """All pages of a list."""

        async def collect() -> list[list[JSON]]:
            return [[shown(each) async for each in page] async for page in paged.by_page()]

        return self._runner.run(collect())


class Client:
    """The calls, each by the client's own method and with its own models."""

    def __init__(self, flavour: Sync | Aio) -> None:
        self._flavour = flavour
        self._client: Any = flavour.client
        self._credential = flavour.credential
        self._batch: Any = None
        self._done, self._finish, self._pages = flavour.done, flavour.finish, flavour.pages

    def connect(self, endpoint: str, account_name: str, key: str, token: str | None = None) -> None:
        self.close()
        credential: Any = AzureNamedKeyCredential(account_name, key)
        if token is not None:
            credential = self._credential(token)
        self._batch = self._client(endpoint, credential)

    def close(self) -> None:
        """Close the connections."""
        if self._batch:
            self._done(self._batch.close())

    def create_job(self, job: JSON) -> None:
        self._done(self._batch.create_job(models.BatchJobCreateOptions(job)))

    def get_job(self, job_id: str, **options: Any) -> Any:
        return shown(self._done(self._batch.get_job(job_id, **_options(options))))

    def list_jobs(self, **options: Any) -> list[list[JSON]]:
        return self._pages(self._batch.list_jobs(**_options(options)))

    def patch_job(self, job_id: str, job: JSON, **options: Any) -> None:
        patch = models.BatchJobUpdateOptions(job)
        self._done(self._batch.update_job(job_id, patch, **_options(options)))

    def update_job(self, job_id: str, job: JSON, **options: Any) -> None:
        self._done(self._batch.replace_job(job_id, models.BatchJob(job), **_options(options)))

    def disable_job(self, job_id: str, disable_tasks: str) -> None:
        made = models.BatchJobDisableOptions(disable_tasks=disable_tasks)
        self._finish(self._batch.begin_disable_job(job_id, made, polling_interval=0))

    def enable_job(self, job_id: str) -> None:
        self._finish(self._batch.begin_enable_job(job_id, polling_interval=0))

    def terminate_job(self, job_id: str, reason: str | None = None) -> None:
        # It does not export the model for it. Without any it raises, for want of a content type.
        made = None if reason is None else {"terminateReason": reason}
        self._finish(self._batch.begin_terminate_job(job_id, made, polling_interval=0))

    def delete_job(self, job_id: str, **options: Any) -> None:
        given = _options(options)
        self._finish(self._batch.begin_delete_job(job_id, polling_interval=0, **given))

    def count_tasks(self, job_id: str) -> Any:
        return shown(self._done(self._batch.get_job_task_counts(job_id)))

    def add_tasks(self, job_id: str, tasks: list[JSON], parallel: int = 0) -> list[JSON]:
        made = [models.BatchTaskCreateOptions(task) for task in tasks]
        added = self._done(self._batch.create_tasks(job_id, made, max_concurrency=parallel))
        return [*map(shown, added.result_values)]

    def add_task(self, job_id: str, task: JSON) -> None:
        self._done(self._batch.create_task(job_id, models.BatchTaskCreateOptions(task)))

    def get_task(self, job_id: str, task_id: str, **options: Any) -> Any:
        return shown(self._done(self._batch.get_task(job_id, task_id, **_options(options))))

    def list_tasks(self, job_id: str, **options: Any) -> list[list[JSON]]:
        return self._pages(self._batch.list_tasks(job_id, **_options(options)))

    def update_task(self, job_id: str, task_id: str, constraints: JSON, **options: Any) -> None:
        task = models.BatchTask(constraints=models.BatchTaskConstraints(constraints))
        self._done(self._batch.replace_task(job_id, task_id, task, **_options(options)))

    def terminate_task(self, job_id: str, task_id: str) -> None:
        self._done(self._batch.terminate_task(job_id, task_id))

    def reactivate_task(self, job_id: str, task_id: str) -> None:
        self._done(self._batch.reactivate_task(job_id, task_id))

    def delete_task(self, job_id: str, task_id: str, **options: Any) -> None:
        self._done(self._batch.delete_task(job_id, task_id, **_options(options)))

    def unset_in_tasks(self, tasks: list[JSON]) -> list[str]:
        """Which fields of the client's own models these tasks all leave unset."""
        return sorted(
            unset_in([models.BatchTaskCreateOptions(task) for task in tasks], _attributes)
        )


def _options(given: JSON) -> JSON:
    """Conditions and the like, as this client wants them told."""
    options = dict(given)
    for name, value in given.items():
        match name, value:
            case "if_match", "*":
                options["match_condition"] = MatchConditions.IfPresent
            case "if_match", _:
                options |= {"etag": value, "match_condition": MatchConditions.IfNotModified}
            case "if_none_match", "*":
                options["match_condition"] = MatchConditions.IfMissing
            case "if_none_match", _:
                options |= {"etag": value, "match_condition": MatchConditions.IfModified}
            case "timeout", _:
                options["service_timeout"] = value
            case "select", _:
                options["select"] = value.split(",")
            case _ if name.endswith("_since"):
                options[name] = moment(value)
    return {name: value for name, value in options.items() if name not in _RENAMED}


_RENAMED = {"if_match", "if_none_match", "timeout"}


def _attributes(value: Any) -> JSON:
    if not is_generated_model(value):
        return {}
    return {name: getattr(value, name) for name in attribute_list(value)}


def shown(model: Any) -> Any:
    """A model as the wire has it."""
    unset_in(model, _attributes)  # It reads an answer's values when they are asked for.
    return {name: value for name, value in model.as_dict().items() if name != "odata.metadata"}


def tell(error: Exception) -> JSON:
    """See ``answer_calls``."""
    if isinstance(error, models.CreateTasksError):
        return {
            "failed": [shown(each) for each in error.failure_tasks],
            "pending": [each.id for each in error.pending_tasks],
            "errors": [tell(each) for each in error.errors],
        }
    if isinstance(error, HttpResponseError):
        told: JSON = {"status": error.status_code}
        if error.error:
            values = {each.code: each.message for each in error.error.details}
            told |= {"code": error.error.code, "values": values}
        return told
    return {}


if __name__ == "__main__":
    client = Client(Aio() if sys.argv[1] == "aio" else Sync())
    answer_calls(client, tell)
    client.close()
