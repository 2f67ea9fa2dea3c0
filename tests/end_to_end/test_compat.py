"""bulksubmit.compat in this process, with the azure-batch of this environment, a beta of 15."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from azure.batch import BatchClient, models
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core.credentials import (
    AccessToken,
    AccessTokenInfo,
    AzureKeyCredential,
    AzureNamedKeyCredential,
)
from azure.core.pipeline.policies import AzureKeyCredentialPolicy

from bulksubmit.compat import create_tasks, create_tasks_async
from bulksubmit.emulator import Emulator
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.entra import Authority
from bulksubmit.emulator.faults import TaskFault
from bulksubmit.runs import runs_folder
from tests.end_to_end.account import listening, make_service

TASKS = [models.BatchTaskCreateContent(id=f"t{n}", command_line="true") for n in range(250)]


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(jobs=["night-1"]) as emulator:
        yield emulator


@pytest.fixture
def client(emulator: Emulator) -> Iterator[BatchClient]:
    key = AzureNamedKeyCredential(emulator.account_name, emulator.account_key)
    with BatchClient(emulator.endpoint, key) as client:
        yield client


def test_a_script(emulator: Emulator, client: BatchClient) -> None:
    """
    The result is of the installed azure-batch, and its statuses are those of its enumeration.
    """
    given = create_tasks(client, "night-1", TASKS, max_concurrency=2)

    assert given.value
    assert type(given) is models.BatchTaskAddCollectionResult
    assert [result.task_id for result in given.value] == [task.id for task in TASKS]
    assert {type(result) for result in given.value} == {models.BatchTaskAddResult}
    assert {result.status for result in given.value} == {models.BatchTaskAddStatus.SUCCESS}
    assert len(emulator.job("night-1")) == 250


def test_no_tasks(client: BatchClient) -> None:
    """
    None in, none out.
    """
    assert create_tasks(client, "night-1", []).value == []


async def test_a_notebook(emulator: Emulator, client: BatchClient) -> None:
    """
    Where a loop runs already it works as well, cell after cell.
    """
    for _ in range(2):
        given = create_tasks(client, "night-1", iter(TASKS))

    assert [result.error.code for result in given.value] == ["TaskExists"] * 250
    assert len(emulator.job("night-1")) == 250


async def test_several_at_once(emulator: Emulator) -> None:
    """
    An async client, for several calls side by side.
    """
    key = AzureNamedKeyCredential(emulator.account_name, emulator.account_key)
    async with AsyncBatchClient(emulator.endpoint, key) as client, asyncio.TaskGroup() as beside:
        parts = [TASKS[:100], TASKS[100:120], TASKS[120:]]
        calls = [beside.create_task(create_tasks_async(client, "night-1", part)) for part in parts]

    assert [len(call.result().value) for call in calls] == [100, 20, 130]
    assert len(emulator.job("night-1")) == 250


def test_what_was_pending_is_given_back(client: BatchClient) -> None:
    """
    Tasks without a result are those that were given, ready for another try.
    """
    with pytest.raises(models.CreateTasksError, match="JobNotFound") as raised:
        create_tasks(client, "night-0", TASKS)

    assert all(
        pending is task for pending, task in zip(raised.value.pending_tasks, TASKS, strict=True)
    )


def refuse(_task_id: str) -> TaskFault:
    return TaskFault("ClientError", "InvalidPropertyValue")


def test_thousands_that_are_refused() -> None:
    """
    However many fail, each is told: there is no bound as that of submit(). No file is made.
    """
    tasks = [{"id": f"t{n}", "commandLine": "true"} for n in range(1500)]

    with Emulator(jobs=["night-1"], task_script=refuse) as emulator:
        key = AzureNamedKeyCredential(emulator.account_name, emulator.account_key)
        client = BatchClient(emulator.endpoint, key)
        with pytest.raises(models.CreateTasksError) as raised:
            create_tasks(client, "night-1", tasks)

    assert not runs_folder().exists()
    assert len(raised.value.failure_tasks) == 1500
    assert raised.value.pending_tasks == raised.value.errors == []


def test_an_async_client_is_awaited(emulator: Emulator) -> None:
    """
    It says which function is meant for it.
    """
    key = AzureNamedKeyCredential(emulator.account_name, emulator.account_key)

    with pytest.raises(TypeError, match=r"await create_tasks_async\(\.\.\.\) instead"):
        create_tasks(AsyncBatchClient(emulator.endpoint, key), "night-1", TASKS)


class Token:
    """A credential that blocks, of the older form."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken(token, int(time.time()) + 3600)

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://batch.core.windows.net//.default",)
        return self._token


class TokenInfo:
    """One of the newer form alone."""

    def __init__(self, token: str) -> None:
        self._token = AccessTokenInfo(token, int(time.time()) + 3600)

    def get_token_info(self, *_: str, options: Any = None) -> AccessTokenInfo:
        assert options == {}
        return self._token


class AsyncToken(Token):
    """One that does not block."""

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:  # type: ignore[override]
        return super().get_token(*scopes)


@pytest.mark.parametrize("kind", [Token, TokenInfo, AsyncToken])
async def test_tokens(kind: type[Token]) -> None:
    """
    Credentials of each form, of clients of either kind.
    """
    authority, service = Authority(), make_service()
    service.access = Access("dev", b"key", authority.refuse)
    credential: Any = kind(authority.token(now_s=time.time()))
    async with listening(service) as account:
        if kind is AsyncToken:
            client: Any = AsyncBatchClient(account.endpoint, credential)
        else:
            client = BatchClient(account.endpoint, credential)
        given = await create_tasks_async(client, "night-1", TASKS)

    assert len(given.value) == len(service.job("night-1")) == 250


def unlike(endpoint: str) -> list[tuple[Any, str]]:
    """What is no client that we can stand in for, and what is said of it."""
    key: Any = AzureKeyCredential("k")
    own: dict[str, Any] = {"authentication_policy": AzureKeyCredentialPolicy(key, "api-key")}
    named = AzureNamedKeyCredential("devaccount", "a2V5")
    return [
        (object(), r"builtins\.object is no BatchClient"),
        (BatchClient(endpoint, key, **own), "AzureKeyCredentialPolicy; create_tasks knows only"),
        (BatchClient(endpoint, named, **own), "AzureKeyCredentialPolicy; create_tasks knows only"),
    ]


def test_other_clients(emulator: Emulator) -> None:
    """
    A client that is none, or that signs in a way of its own, is told before anything is sent.
    """
    for client, said in unlike(emulator.endpoint):
        with pytest.raises(TypeError, match=said):
            create_tasks(client, "night-1", TASKS)

    assert len(emulator.service.record.log) == 0


def test_arguments(emulator: Emulator, client: BatchClient) -> None:
    """
    Those out of their bounds are refused as in the SDK; those that would have no effect too,
    rather than being passed over.
    """
    with pytest.raises(ValueError, match="max_concurrency is -1; it must be positive or 0"):
        create_tasks(client, "night-1", TASKS, max_concurrency=-1)
    with pytest.raises(ValueError, match="service_timeout is 0; it must be at least 1"):
        create_tasks(client, "night-1", TASKS, service_timeout=0)
    with pytest.raises(TypeError, match="headers"):
        create_tasks(client, "night-1", TASKS, headers={})  # type: ignore[call-arg]  # As in the SDK.
    create_tasks(client, "night-1", TASKS, max_concurrency=5000, service_timeout=3600)

    assert len(emulator.job("night-1")) == 250
