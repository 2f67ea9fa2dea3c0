"""The model itself: the published examples, IDs, durations, and what the quick check rests on."""

import json
from pathlib import Path

import msgspec
import pytest

from bulksubmit.core.model import Kind
from bulksubmit.core.taskspec import (
    TaskAddCollectionParameter,
    TaskAddParameter,
    explain_id,
    ids_are_valid,
)
from bulksubmit.core.taskterms import duration_ticks
from tests.core.whole_task import WHOLE, encode, problems_of

# The example requests of Azure/azure-rest-api-specs for 2024-07-01.20.0, by their names.
PUBLISHED = json.loads((Path(__file__).parent / "published_tasks.json").read_bytes())
REFUSED = "TaskAdd_ContainerSettingsWithDataIsolation_DuplicateSources"

TICKS_A_DAY = 24 * 3600 * 10**7


@pytest.mark.parametrize("name", sorted(PUBLISHED.keys() - {REFUSED}))
def test_published_example(name: str) -> None:
    """
    Each of the operation's published example requests passes.
    """
    for task in PUBLISHED[name]["value"]:
        assert all(problem.warning for problem in problems_of(task))


def test_published_example_of_a_refusal() -> None:
    """
    The one that is published with a 400 fails, at the field that it is about.
    """
    (task,) = PUBLISHED[REFUSED]["value"]
    (problem,) = problems_of(task)

    assert problem.path == "containerSettings.containerHostBatchBindMounts[1].source"
    assert problem.kind is Kind.COMBINATION


def test_published_example_of_a_warning() -> None:
    """
    One breaks what the reference says in words, and so that is no more than a warning.
    """
    complex_one, simple_one = PUBLISHED["TaskAddCollection_Complex"]["value"]
    (problem,) = problems_of(complex_one)

    assert (problem.path, problem.warning) == ("requiredSlots", True)
    assert problems_of(simple_one) == ()


def test_collection() -> None:
    """
    A request's body holds at most 100 tasks.
    """
    decoder = msgspec.json.Decoder(TaskAddCollectionParameter)

    assert len(decoder.decode(encode({"value": [WHOLE] * 100})).value) == 100
    with pytest.raises(msgspec.ValidationError, match="length <= 100"):
        decoder.decode(encode({"value": [WHOLE] * 101}))


def test_nothing_is_lost() -> None:
    """
    A task that is decoded and encoded again has all its fields.
    """
    body = encode(WHOLE)
    again = msgspec.json.encode(msgspec.json.decode(body, type=TaskAddParameter))

    assert len(again) == len(body)
    assert json.loads(again) == WHOLE


def test_encoding_never_makes_longer() -> None:
    """
    The quick check compares lengths: whatever is lost cannot be made up for by a character that
    comes out longer than it may have come in.
    """
    for code in [*range(0xD800), *range(0xE000, 0x11000), 0x1F600, 0x10FFFF]:
        char = chr(code)
        shortest = min(len(json.dumps(char)), len(json.dumps(char, ensure_ascii=False).encode()))
        assert len(msgspec.json.encode(char)) <= shortest


@pytest.mark.parametrize(
    ("text", "ticks"),
    [
        ("PT0S", 0),
        ("PT0.0000001S", 1),
        ("PT1.5S", 15_000_000),
        ("PT1M", 600_000_000),
        ("PT25H", 25 * 3600 * 10**7),
        ("PT01H30M00S", 5400 * 10**7),
        ("P1D", TICKS_A_DAY),
        ("P1DT1S", TICKS_A_DAY + 10**7),
        ("P1M", 30 * TICKS_A_DAY),
        ("P14M", (365 + 60) * TICKS_A_DAY),
        ("P1Y", 365 * TICKS_A_DAY),
        ("P10675199DT2H48M5.4775807S", 2**63 - 1),
    ],
)
def test_duration(text: str, ticks: int) -> None:
    """
    A duration is worth what .NET takes it for.
    """
    assert duration_ticks(text) == ticks


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "PT", "P1", "1D", "P1DT", "PT1", "P1S", "PT1D", "P1W", "-P1D", "P-1D", "+P1D"),
        *("p1d", "PT1.5H", "PT1.S", "PT.5S", "PT1.12345678S", "P1D ", "P1D\n", "P1H", "PT1S1M"),
        *("P10675200D", "P10675199DT2H48M5.4775808S", "P\u0661D", "P1,5D", "1.00:00:00"),
        f"P{'9' * 5000}D",
    ],
)
def test_no_duration(text: str) -> None:
    """
    What .NET does not take for a duration is none, and neither is one below zero.
    """
    assert duration_ticks(text) is None


@pytest.mark.parametrize(
    ("task_id", "reason"),
    [
        ("aZ09_-", None),
        ("x" * 64, None),
        ("", "id is empty; the service takes 1 to 64 characters"),
        ("x" * 65, "id has 65 characters; the service takes at most 64"),
        ("a.b", "id 'a.b' holds '.'; the service takes letters, digits, - and _"),
        ("a\n", "id 'a\\n' holds '\\n'; the service takes letters, digits, - and _"),
        ("\u00e9", "id 'é' holds 'é'; the service takes letters, digits, - and _"),
    ],
)
def test_id(task_id: str, reason: str | None) -> None:
    """
    An ID's form is said to be wrong by one exactly if the other finds it so, also among others.
    """
    assert explain_id(task_id) == reason
    assert ids_are_valid([task_id]) is (reason is None)
    assert ids_are_valid(["a", task_id, "b"]) is (reason is None)
