"""``create_tasks`` of azure-batch 15, done by bulksubmit: for programs that have its clients.

    from bulksubmit.compat import create_tasks

    create_tasks(client, "night-1", tasks)  # was: client.create_tasks("night-1", tasks)

Arguments, result and exception are those of azure-batch 15.1; ``create_tasks_async`` is for the
clients of ``azure.batch.aio``. What differs is what comes of it:

- The results are in the order of the tasks, one each; a status is spelled as the SDK's
  ``BatchTaskAddStatus``, whatever the wire's spelling. ``etag`` and ``last_modified`` are None.
- A task that the service has failed with ``ServerError``, left out of an answer, or whose answer
  was lost is sent again, and whoever has added it in the end, it is a success.
- A task whose ID was taken before is no failure, as in the SDK: its result is a ``clienterror``
  with ``TaskExists``. It is looked up, though: if it is not what was sent, the error's values name
  the fields that differ.
- A task that no service would take is not sent, but a failure like those that the service refuses,
  and so is one that no request can hold; the others go on.

Endpoint, credential and api-version are taken from the client. What else it was told of proxies,
transport, policies and retries is not: bulksubmit has a transport of its own, which heeds
``HTTPS_PROXY``, ``NO_PROXY`` and ``SSL_CERT_FILE``.
"""

import inspect
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from anyio import to_thread
from anyio.from_thread import start_blocking_portal

from bulksubmit.api import AnyCredential, stream
from bulksubmit.core.events import Event, RequestEnded
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.errors import BulkSubmitError, Refusal, ServiceRefused, ServiceUnreachable
from bulksubmit.loop import loop_runs, run_async
from bulksubmit.producer.source import TaskSpec
from bulksubmit.service.auth import EntraToken, SharedKey
from bulksubmit.service.endpoint import parse_endpoint
from bulksubmit.settings import CONCURRENCY_MAX, SERVER_TIMEOUT_S_MAX, RejectsBound, Settings

if TYPE_CHECKING:
    from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
    from azure.core.exceptions import AzureError

_TASK_EXISTS = "TaskExists"
_EXISTS_TEXT = "The task exists already, and is what was sent."

_STATUSES = {Refusal.NOT_FOUND: 404, Refusal.AUTHENTICATION: 401, Refusal.JOB_CLOSED: 409}


def create_tasks(
    client: Any,
    job_id: str,
    task_collection: Iterable[TaskSpec],
    *,
    max_concurrency: int | None = None,
    service_timeout: int | None = None,
    ocp_date: datetime | None = None,
) -> Any:
    """Add tasks to a job; see the module for what differs from the client's own method.

    Where an event loop runs already, as in a notebook, it works in a thread of its own, and the
    loop waits: a method of a client that blocks is not awaited.

    Args:
        client: A ``BatchClient`` of ``azure.batch``.
        job_id: The job; it must exist.
        task_collection: Any number of tasks: ``BatchTaskCreateOptions``, dicts, or JSON.
        max_concurrency: The most requests in flight. None lets bulksubmit find out how many the
            service answers best; 0 is one after the other.
        service_timeout: How long the service may work on one request, in seconds; None for 30.
        ocp_date: Has no effect: each request is dated when it is sent.

    Returns:
        A ``BatchCreateTaskCollectionResult`` of the installed azure-batch; its ``result_values``
        are in the order of the tasks.

    Raises:
        CreateTasksError: of ``azure.batch.models``, if a task failed or the call was cut off:
            ``failure_tasks`` are the results of those that failed, ``pending_tasks`` those without
            a result, ``errors`` has what cut it off, as azure-core's exception where there is one.
        TypeError: if it is not such a client, or has a credential of another kind.
        ValueError: if max_concurrency is negative, or service_timeout is not positive.
    """
    if inspect.iscoroutinefunction(getattr(client, "close", None)):
        raise TypeError(
            f"{_named(client)} is an asynchronous client: await create_tasks_async(...) instead"
        )
    create = partial(
        create_tasks_async,
        client,
        job_id,
        task_collection,
        max_concurrency=max_concurrency,
        service_timeout=service_timeout,
        ocp_date=ocp_date,
    )
    if not loop_runs():
        return run_async(create)
    with start_blocking_portal(name="create_tasks") as portal:
        return portal.call(create)


async def create_tasks_async(
    client: Any,
    job_id: str,
    task_collection: Iterable[TaskSpec],
    *,
    max_concurrency: int | None = None,
    service_timeout: int | None = None,
    ocp_date: datetime | None = None,  # noqa: ARG001 - as the SDK has it
) -> Any:
    """The same for a ``BatchClient`` of ``azure.batch.aio``; takes one that blocks, too.

    Raises:
        CreateTasksError: See create_tasks(), also for the others.
        TypeError: See there.
        ValueError: See there.
    """
    endpoint, credential, api_version = _reached_by(client)
    settings = _settings(max_concurrency, service_timeout, api_version)
    tasks = list(task_collection)
    outcomes: dict[int, Outcome] = {}
    status: int | None = None

    def observe(event: Event, /) -> None:
        nonlocal status
        if isinstance(event, RequestEnded) and event.reply == "ended":
            status = event.status

    ended_by: BulkSubmitError | None = None
    try:
        async with stream(
            tasks,
            job_id=job_id,
            endpoint=endpoint,
            credential=credential,
            settings=settings,
            observer=observe,
        ) as settled:
            async for outcome in settled:
                outcomes[outcome.ordinal] = outcome
    except BulkSubmitError as error:
        ended_by = error
    return _given(tasks, outcomes, ended_by, status, f"{endpoint}/jobs/{quote(job_id, safe='')}")


def _settings(
    max_concurrency: int | None, service_timeout: int | None, api_version: str
) -> Settings:
    if max_concurrency is not None and max_concurrency < 0:
        raise ValueError(f"max_concurrency is {max_concurrency}; it must be positive or 0")
    if service_timeout is not None and service_timeout < 1:
        raise ValueError(f"service_timeout is {service_timeout}; it must be at least 1, in seconds")
    usual = Settings()
    server_timeout_s = usual.server_timeout_s if service_timeout is None else service_timeout
    at_most = usual.concurrency_max if max_concurrency is None else max_concurrency
    return replace(
        usual,
        api_version=api_version,
        server_timeout_s=min(server_timeout_s, SERVER_TIMEOUT_S_MAX),
        concurrency=1 if max_concurrency == 0 else "auto",
        concurrency_max=min(max(at_most, 1), CONCURRENCY_MAX),
        # The SDK has no such bound, and the failures are told by its exception, in no file.
        rejects_bound=RejectsBound(share_max=1.0),
        rejects_path=Path(os.devnull),
        invalid="reject",
        allow_unknown=True,  # Its models may be newer than ours.
    )


# --- The client ------------------------------------------------------------------------------


def _reached_by(client: Any) -> tuple[str, AnyCredential, str]:
    """The endpoint that a client talks to, its credential, and its api-version.

    A client has no public way to tell them. Its ``_config`` is private, but that of every client
    which the Azure SDK generates; tests hold it against azure-batch 15.0 and 15.1.
    """
    config = getattr(client, "_config", None)
    found = [getattr(config, name, None) for name in ("endpoint", "credential", "api_version")]
    endpoint, credential, api_version = found
    if not (isinstance(endpoint, str) and credential and isinstance(api_version, str)):
        raise TypeError(f"{_named(client)} is no BatchClient of azure-batch 15")
    return parse_endpoint(endpoint), _as_ours(client, config, credential), api_version


def _as_ours(client: Any, config: Any, credential: Any) -> AnyCredential:
    from azure.core.credentials import AzureNamedKeyCredential  # noqa: PLC0415 - the client's
    from azure.core.pipeline.policies import (  # noqa: PLC0415 - likewise
        AsyncBearerTokenCredentialPolicy,
        BearerTokenCredentialPolicy,
    )

    policy = getattr(config, "authentication_policy", None)
    if isinstance(credential, AzureNamedKeyCredential):
        if type(policy).__module__.startswith("azure.batch."):
            return SharedKey(credential.named_key.name, credential.named_key.key)
    elif isinstance(policy, BearerTokenCredentialPolicy | AsyncBearerTokenCredentialPolicy):
        asks = getattr(credential, "get_token_info", None) or credential.get_token
        scope = next(iter(config.credential_scopes))
        if inspect.iscoroutinefunction(asks):
            return EntraToken(credential, scope)
        return EntraToken(_InThread(credential), scope)
    raise TypeError(
        f"{_named(client)} signs its requests by {_named(policy)}; create_tasks knows only "
        "AzureNamedKeyCredential and the credentials of azure-identity"
    )


class _InThread:
    """A credential that blocks, as one that does not."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    async def get_token_info(
        self, *scopes: str, options: "TokenRequestOptions | None" = None
    ) -> "AccessTokenInfo":
        """See AsyncSupportsTokenInfo."""
        if hasattr(self._credential, "get_token_info"):
            ask = partial(self._credential.get_token_info, *scopes, options=options)
        else:  # What it gives has the two fields that count.
            ask = partial(self._credential.get_token, *scopes, **(options or {}))
        token: AccessTokenInfo = await to_thread.run_sync(ask, abandon_on_cancel=True)
        return token

    async def close(self) -> None:
        """It is the client's."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _named(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


# --- What it gives ---------------------------------------------------------------------------


def _given(
    tasks: Sequence[TaskSpec],
    outcomes: dict[int, Outcome],
    ended_by: BulkSubmitError | None,
    status: int | None,
    job_url: str,
) -> Any:
    """The SDK's result, or its exception."""
    from azure.batch import models as installed  # noqa: PLC0415 - whoever has a client has it

    models: Any = installed
    if hasattr(models, "BatchTaskCreateResult"):
        made, result = models.BatchCreateTaskCollectionResult, models.BatchTaskCreateResult
    else:  # Of the betas before 15.1.
        made, result = models.BatchTaskAddCollectionResult, models.BatchTaskAddResult
    added: list[Any] = []
    failed: list[Any] = []
    pending: list[TaskSpec] = []
    for ordinal, task in enumerate(tasks):
        outcome = outcomes.get(ordinal)
        if outcome is None or outcome.verdict is Verdict.ABANDONED:
            pending.append(task)
            continue
        is_failure = outcome.verdict is Verdict.REJECTED and not _is_taken(outcome)
        (failed if is_failure else added).append(result(_as_result(outcome, job_url)))
    if failed or ended_by:
        errors = [_as_azure(ended_by, status)] if ended_by else []
        raise models.CreateTasksError(pending, failed, errors) from ended_by
    return made({"value": added})


def _is_taken(outcome: Outcome) -> bool:
    return (outcome.code or "").lower() == _TASK_EXISTS.lower()


def _as_result(outcome: Outcome, job_url: str) -> dict[str, object]:
    """A result, as the wire spells it."""
    result: dict[str, object] = {"taskId": outcome.task_id}
    ours = outcome.verdict is Verdict.EXISTED and outcome.in_doubt
    if outcome.verdict is Verdict.ADDED or ours:
        location = f"{job_url}/tasks/{quote(outcome.task_id, safe='')}"
        return result | {"status": "success", "location": location}
    code, message = outcome.code, outcome.message
    if outcome.verdict is Verdict.EXISTED:
        code, message = _TASK_EXISTS, _EXISTS_TEXT
    error: dict[str, object] = {
        "code": code,
        "message": {"lang": "en-US", "value": message},
        "values": [{"key": each.key, "value": each.value} for each in outcome.values],
    }
    return result | {"status": "clienterror", "error": error}


def _as_azure(error: BulkSubmitError, status: int | None) -> "BulkSubmitError | AzureError":
    """What azure-core raises for the same reason; ours, if it has nothing like it."""
    from azure.core import exceptions  # noqa: PLC0415 - the client's

    if isinstance(error, ServiceUnreachable):
        unreachable = exceptions.ServiceRequestError(str(error))
        unreachable.__cause__ = error
        return unreachable
    if not isinstance(error, ServiceRefused):
        return error
    status = status or _STATUSES.get(error.refusal)
    kinds: dict[int | None, type[exceptions.HttpResponseError]] = {
        401: exceptions.ClientAuthenticationError,
        404: exceptions.ResourceNotFoundError,
        409: exceptions.ResourceExistsError,
    }
    refused = kinds.get(status, exceptions.HttpResponseError)(str(error))
    refused.status_code = status
    refused.error = exceptions.ODataV4Format({"code": error.code, "message": error.reason})
    refused.__cause__ = error
    return refused
