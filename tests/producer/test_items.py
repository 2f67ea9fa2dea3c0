"""Iterables of tasks, in every form that a caller may have them."""

from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, cast

import anyio
import orjson
import pytest
from azure.batch.models import (
    BatchTaskConstraints,
    BatchTaskCreateContent,
    EnvironmentSetting,
    ResourceFile,
)

from bulksubmit.errors import SourceError
from bulksubmit.producer import open_source
from bulksubmit.producer.items import TASKS_PER_BLOCK
from bulksubmit.producer.source import AnySource, Block, TaskSpec
from tests.producer.reading import line, read

if TYPE_CHECKING:
    from bulksubmit.core.model import Task


async def body_of(item: TaskSpec) -> bytes:
    """The body that an item becomes."""
    (task,) = (await read([item])).tasks
    return task.body


async def refusal(item: object) -> str:
    """What is said of a bad item, behind a good one."""
    source = [line("ok"), cast("TaskSpec", item)]
    try:
        items = await read(source)
    except SourceError as error:  # It is nothing that JSON knows.
        return str(error)
    ((number, text),) = items.problems
    return f"item:{number}: {text}"


# --- What is a task ----------------------------------------------------------------------------


async def test_bytes_stay_as_they_are() -> None:
    """Bytes go on the wire as they came."""
    body = b'{ "id" : "a", "commandLine" : "\\u0061", "x": 1.50 }'

    assert await body_of(body) == body


async def test_text_becomes_utf_8() -> None:
    """Text is encoded, and nothing else."""
    assert await body_of('{"id":"a","commandLine":"\u00e4"}') == (
        '{"id":"a","commandLine":"\u00e4"}'.encode()
    )


@pytest.mark.parametrize("item", [b'{\n "id": "a",\r\n "commandLine": "b  c"}\n', None])
async def test_a_task_is_one_line(item: bytes | None) -> None:
    """A pretty-printed task becomes one line, as it will stand in files; its strings stay."""
    pretty = (
        item
        or orjson.dumps({"id": "a", "commandLine": "b  c"}, option=orjson.OPT_INDENT_2).decode()
    )

    assert await body_of(pretty) == b'{"id":"a","commandLine":"b  c"}'


async def test_a_dict() -> None:
    """A dict is the task's JSON."""
    spec = {"id": "a", "commandLine": "b", "constraints": {"maxTaskRetryCount": -1}}

    assert orjson.loads(await body_of(spec)) == spec


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
async def test_a_number_that_json_cannot_say(number: float) -> None:
    """A NaN must not become null: the task would mean something else."""
    spec = {"id": "a", "commandLine": "b", "requiredSlots": number}

    with pytest.raises(SourceError, match="not JSON compliant"):
        await read([spec])


async def test_null_is_a_value() -> None:
    """An explicit null is passed on."""
    spec = {"id": "a", "commandLine": "b", "displayName": None}

    assert orjson.loads(await body_of(spec)) == spec


async def test_a_model_of_the_sdk() -> None:
    """A task of azure-batch 15 becomes what the REST API takes, with its names and forms."""
    model = BatchTaskCreateContent(
        id="a",
        command_line="b",
        environment_settings=[EnvironmentSetting(name="N", value="V")],
        constraints=BatchTaskConstraints(
            max_wall_clock_time=timedelta(hours=1), max_task_retry_count=3
        ),
        resource_files=[ResourceFile(http_url="https://h/a", file_path="a")],
    )

    body = orjson.loads(await body_of(model))

    assert body["constraints"]["maxTaskRetryCount"] == 3
    assert body["constraints"]["maxWallClockTime"].startswith("PT")
    del body["constraints"]
    assert body == {
        "id": "a",
        "commandLine": "b",
        "environmentSettings": [{"name": "N", "value": "V"}],
        "resourceFiles": [{"httpUrl": "https://h/a", "filePath": "a"}],
    }


class TaskAddParameter:
    """As in azure-batch 14: as_dict() has Python's names, serialize() has the REST API's."""

    def __init__(self, task_id: str) -> None:
        self.id = task_id

    def as_dict(self) -> dict[str, object]:
        return {"id": self.id, "command_line": "true"}

    def serialize(self) -> dict[str, object]:
        return {"id": self.id, "commandLine": "true"}


async def test_a_model_of_the_older_sdk() -> None:
    """What is sent is what the REST API names, not what Python does."""
    assert orjson.loads(await body_of(TaskAddParameter("a"))) == {
        "id": "a",
        "commandLine": "true",
    }


async def test_items_are_numbered() -> None:
    """Ordinals count from 0, and items, in place of lines, from 1, over all blocks."""
    count = 2 * TASKS_PER_BLOCK + 1

    items = await read(line(f"t{n}") for n in range(count))

    assert [(task.ordinal, task.line) for task in items.tasks] == [(n, n + 1) for n in range(count)]


async def test_each_item_of_an_async_iterable_is_admitted_at_once() -> None:
    """The next item may be long in coming: the present one does not wait for it."""
    admitted: list[Task] = []

    async def admit(block: Block) -> None:
        admitted.extend(block.tasks)

    async def specs() -> AsyncIterator[bytes]:
        for number in range(3):
            assert len(admitted) == number
            yield line(f"t{number}")

    await open_source(specs()).read(admit)

    assert len(admitted) == 3


async def test_a_long_iterable_lets_others_run() -> None:
    """Reading a plain iterable gives way to the event loop between blocks."""
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            await anyio.lowlevel.checkpoint()
            others += 1

    async with anyio.create_task_group() as beside:
        beside.start_soon(count)
        await read(line(f"t{n}") for n in range(4 * TASKS_PER_BLOCK))
        beside.cancel_scope.cancel()

    assert others >= 3


# --- What is none ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (b"nonsense", "not valid JSON"),
        (b"\n", "truncated"),
        (b"", "not valid JSON"),
        (b'{"id":"a",\n"commandLine"}', "not valid JSON: expected ':'"),
        (b"[1]", "an array"),
        (17, "a number"),
        (None, "null"),
        ({"id": "a"}, "commandLine missing"),
        ({"id": 7, "commandLine": "x"}, "id is a number"),
        ({"id": "a b", "commandLine": "x"}, "holds ' '"),
        (line("x" * 65), "id has 65 characters"),
        (line("a\\n"), r"holds '\n'"),
        (b'{"id":"a","commandLine":"x","s":"\xff"}', "not UTF-8: byte 0xff"),
        ('{"id":"a","commandLine":"\ud800"}', "not UTF-8: byte 0xed"),
        ({"id": "a", "commandLine": "\ud800"}, "surrogates"),
        ({"id": "a", "commandLine": "x", "d": Decimal(1)}, "not JSON serializable"),
        ({"id": "a", "commandLine": "x", 1: "x"}, "str"),
        (object(), "not JSON serializable"),
    ],
)
async def test_an_item_that_is_no_task(item: object, reason: str) -> None:
    """The message says which item, what is wrong, and what would be right."""
    said = await refusal(item)

    assert said.startswith("item:2: ")
    assert reason in said


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (7, "a int is neither a path nor an iterable of tasks"),
        (None, "NoneType is neither"),
        (b'{"id":"a","commandLine":"x"}', "put one task in a list"),
        ({"id": "a", "commandLine": "x"}, "put one task in a list"),
        (BatchTaskCreateContent(id="a", command_line="x"), "put one task in a list"),
    ],
)
def test_what_is_no_source(source: object, reason: str) -> None:
    """A single task, or what cannot be iterated, is told before anything begins."""
    with pytest.raises(SourceError, match=reason):
        open_source(cast("AnySource", source))


async def test_what_the_iterable_raises_comes_out() -> None:
    """An exception of the caller's own is no error of ours; what was read before it stands."""

    def specs() -> Iterator[bytes]:
        yield line("a")
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        await read(specs())
