"""JSON arrays, alone and as a list's ``value``, and one task over several lines."""

import json
import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import BEGINNING, Place
from bulksubmit.core.model import Kind, Task
from bulksubmit.core.taskcheck import Checker
from bulksubmit.producer.arrays import ArrayParser, ObjectParser
from bulksubmit.producer.lines import ITEM_BYTES_MAX
from bulksubmit.producer.opening import BLOCK_BYTES
from tests.producer.reading import BOM, Items, array_parser, in_pieces, line, parse


class AllTasks(Checker):
    """Takes whatever it is given for a task."""

    def check(self, bodies: Any) -> tuple[list[str], dict[int, Any]]:
        return [str(number) for number, _ in enumerate(bodies)], {}


def error(data: bytes, **kinds: Any) -> str:
    """What the file's error is, which is the same however the bytes come."""
    errors = {parse(array_parser(**kinds), *in_pieces(data, size)).error for size in (1, 7, 9999)}
    (said,) = errors
    assert said
    assert said.startswith("a.json: ")
    return said.removeprefix("a.json: ")


# --- Elements ------------------------------------------------------------------------------------


def test_elements_are_tasks() -> None:
    """Each element is a task: its bytes stay as they are, without what is around it."""
    body = b'{ "commandLine" : "\\u0061 ]},{" , "id":"A-1_b", "x": [1.50, {"y":1e3}] }'

    items = parse(array_parser(), b"[" + line("a") + b" , " + body + b"]")

    assert items.tasks == [Task(0, 1, "a", line("a")), Task(1, 1, "A-1_b", body)]
    assert items.error is None


def test_an_element_over_several_lines_is_made_one() -> None:
    """Its tokens stay as they are; it is named by the line that it begins in."""
    pretty = b'{\r\n  "id": "b",\n\n  "commandLine": "\\u0061 \\n",\n  "x": [1.50,\n 1e3]\n}'

    items = parse(
        array_parser(), b"[\n" + line("a") + b",\n\n  " + pretty + b",\n" + line("c") + b"\n]\n"
    )

    assert items.tasks == [
        Task(0, 2, "a", line("a")),
        Task(1, 4, "b", b'{"id":"b","commandLine":"\\u0061 \\n","x":[1.50,1e3]}'),
        Task(2, 11, "c", line("c")),
    ]


def test_an_element_that_is_no_task() -> None:
    """It is told like a bad line, whatever it is, and the others are none the worse."""
    bad = [
        b"1",
        b'"],["',
        b"null",
        b"[{},{}]",
        b'{"id":"a b","commandLine":"x"}',
        b'{"id":"a","commandLine":"\xff"}',
        b'{"id":"a","commandLine":"\\ud800 x"}',
        b'{"id":"a","x":' + b"[" * 5000 + b"]" * 5000 + b"}",
    ]
    data = b"[" + b",\n".join([line("ok"), *bad, line("later")]) + b"]"

    for size in (1000, len(data)):
        items = parse(array_parser(), *in_pieces(data, size))

        assert [item.body for item in items.invalid] == bad
        assert [item.line for item in items.invalid] == list(range(2, 2 + len(bad)))
        assert [task.ordinal for task in items.tasks] == [0, 1 + len(bad)]
        assert items.error is None
    assert items.invalid[-2].problems[0].kind is Kind.ENCODING


@pytest.mark.parametrize("inside", [b"", b" ", b"\n\n"])
def test_an_empty_array_has_no_task(inside: bytes) -> None:
    """It is well-formed; whether nothing may be submitted is not its matter."""
    assert parse(array_parser(), b"[" + inside + b"]") == Items(
        places=[Place(0, 1 + len(inside), 1 + inside.count(b"\n"))] * 2
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"value":[', b"]}"),
        (BOM + b'{\n  "odata.metadata": "https://a/$metadata#]",\n  "value": [\n', b"\n  ]\n}\n"),
        (b'{ "value" : [', b'] , "odata.nextLink" : "https://a/?$skip=}]" ,\n"n":1.5 } \r\n'),
    ],
)
def test_a_list_as_the_service_gives_it(before: bytes, after: bytes) -> None:
    """Members before and after ``value`` are passed over."""
    data = before + line("a") + b",\n" + line("b") + after

    for size in (1, 5, len(data)):
        parser = array_parser(len(before), wrapped=True)
        items = parse(parser, *in_pieces(data, size))

        assert items.error is None
        assert items.ids == ["a", "b"]
        assert items.tasks[1].line == before.count(b"\n") + 2


# --- Whatever the bytes --------------------------------------------------------------------------

_TEXTS = st.text(st.sampled_from('{}[],:"\\\n\t \u00e4\u20ac\U0001f600ab'), max_size=6)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=6,
)
_LAYOUTS = st.sampled_from(
    [
        {"separators": (",", ":")},
        {},
        {"indent": 2},
        {"indent": 1, "separators": (" ,", " : ")},
        {"indent": "\t", "ensure_ascii": False},
    ]
)


@given(
    elements=st.lists(st.dictionaries(_TEXTS, _VALUES, max_size=3), max_size=8),
    layout=_LAYOUTS,
    crlf=st.booleans(),
    wrapped=st.booleans(),
    draw=st.data(),
)
def test_whatever_is_in_it_and_wherever_it_is_cut(
    elements: list[dict[str, Any]],
    layout: dict[str, Any],
    crlf: bool,  # noqa: FBT001 - hypothesis's
    wrapped: bool,  # noqa: FBT001
    draw: st.DataObject,
) -> None:
    """
    Any objects in any layout and any pieces are what json.loads() makes of them, each in its
    line; and a parser made at any place gives the rest, or the part up to another one.
    """
    text = json.dumps({"n": 1, "value": elements} if wrapped else elements, **layout)
    data = (text.replace("\n", "\r\n") if crlf else text).encode()
    begin = data.index(b"[") + 1
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=6))

    def parser(at: Place = BEGINNING, settled: Iterable[int] = ()) -> ArrayParser:
        return array_parser(begin, wrapped=wrapped, at=at, checker=AllTasks(), settled=settled)

    pieces = [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]
    items = parse(parser(), *pieces)

    assert items.error is None
    assert [json.loads(task.body) for task in items.tasks] == elements
    assert not any(b"\n" in task.body for task in items.tasks)
    _check_lines(data[begin:], items, 1 + data.count(b"\n", 0, begin))
    for place, end in pairwise([BEGINNING, *items.places]):
        rest = parse(parser(place), data[place.offset :])
        assert _bodies(rest) == _bodies(items)[place.ordinal :]
        part = parser(place).part(data[place.offset : end.offset])
        assert [task.body for task in part.tasks] == _bodies(items)[place.ordinal : end.ordinal]
        assert part.after == end
    left = parse(parser(settled=range(1, len(elements))), *pieces)
    assert _bodies(left) == _bodies(items)[:1]
    assert left.places == items.places


def _bodies(items: Items) -> list[bytes]:
    return [task.body for task in items.tasks]


def _check_lines(inside: bytes, items: Items, number: int) -> None:
    decoder, text, at = json.JSONDecoder(), inside.decode(), 0
    for task in items.tasks:
        start = text.index("{", at)
        assert task.line == number + text.count("\n", 0, start)
        _, at = decoder.raw_decode(text, start)


# --- What is wrong with a file -------------------------------------------------------------------

A, B = line("a"), line("b")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[", "the array is not closed: the file ends before its first item"),
        (b"[ \n", "the array is not closed: the file ends before its first item"),
        (b"[" + A, "the array is not closed: the file ends after item 1"),
        (b"[" + A + b",\n" + B + b" ,\n", "the array is not closed: the file ends after item 2"),
        (
            b"[" + A + b",\n" + B[:12],
            "the array is not closed: the file ends within item 2 (line 2)",
        ),
        (
            b"[" + A + b",\n" + B[:5],
            "the array is not closed: the file ends within item 2 (line 2)",
        ),
        (b"[" + A + b",]", "item 1 (line 1): a comma is behind it, but no other item"),
        (b"[\n," + A + b"]", "item 1 (line 2): expected a task before the comma"),
        (b"[" + A + b",\n,\n" + B + b"]", "item 2 (line 2): expected a task before the comma"),
        (
            b"[" + A + b"\n" + B + b"]",
            "item 1 (line 1): expected a comma behind it",
        ),
        (b"[" + A + b"}]", "item 1 (line 1): expected a comma or ] behind it, not }"),
        (
            b"[" + A + b',\n{"id":\n NaN]},\n' + B + b"]",
            "item 2 (line 2): not valid JSON: invalid character at byte 9 of the item, in line 3",
        ),
        (
            b"[" + A + b",{} 'id'," + B + b"]",
            "item 2 (line 1): not valid JSON: expected ',' or ']' at byte 4 of the item, in line 1",
        ),
        (
            b"[" + A + b',{"id":"b","commandLine":"x},\n' + B + b"]",
            "item 2 (line 1): not valid JSON: invalid character at byte 29 of the item, in line 1",
        ),
        (
            b"[" + A + b",id {}," + B + b"]",
            "item 2 (line 1): not valid JSON: invalid character at byte 1 of the item, in line 1",
        ),
        (
            b"[" + A + b',\n{"":["b"}],' + B + b"]",
            "item 2 (line 2): not valid JSON: expected ',' or ']' at byte 9 of the item, in line 2",
        ),
        (
            b"[" + A + b"]\n\n[" + B + b"]",
            "something follows the array: line 3",
        ),
    ],
)
def test_a_file_that_is_no_array(data: bytes, said: str) -> None:
    """What is wrong is said as a person would, with the item and its line."""
    assert error(data).split(";")[0] == said


def test_what_would_be_right_instead() -> None:
    """Tasks one after the other, as jq writes them, are better written as NDJSON."""
    hint = "; or write one JSON object a line (NDJSON), as jq -c does"

    assert error(b"[" + A + b"\n" + B + b"]").endswith(f"expected a comma behind it{hint}")


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (b"]", "the object around the array is not closed"),
        (b'],"n":1', "the object around the array is not closed"),
        (b"]}\n}", "something follows the array: line 1"),
        (b'],\n"n":{}}', "something follows the array: line 1"),
        (b"]\n" + A, "something follows the array: line 2"),
    ],
)
def test_an_object_around_an_array_that_is_none(behind: bytes, said: str) -> None:
    """What is behind the array is looked at too: the file may be two, or cut off."""
    assert error(b'{"value":[' + A + behind, begin=10, wrapped=True).split(";")[0] == said


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_what_is_before_a_broken_item_stands(size: int) -> None:
    """Where nobody knows its end: they come first, the error comes then, and nothing after it."""
    tasks = [line(f"t{number}") for number in range(20)]
    data = b"[" + b",".join([*tasks[:10], b"{nonsense]", *tasks[10:]]) + b"]"

    items = parse(array_parser(), *in_pieces(data, size))

    assert items.ids == [f"t{number}" for number in range(10)]
    assert items.error
    assert items.error.startswith("a.json: item 11 (line 1): not valid JSON")


def test_items_are_counted_from_the_files_first() -> None:
    """In the second file of a source, and when reading goes on in the middle, too."""
    at = Place(107, 500, 12, file=1)

    items = parse(array_parser(at=at, first=100), line("a") + b",\n{nonsense],1]")

    assert items.tasks == [Task(107, 12, "a", line("a"))]
    assert items.places[0] == Place(108, 500 + len(line("a")) + 2, 13, 1)
    assert items.error
    assert items.error.startswith("a.json: item 9 (line 13): not valid JSON")


# --- What takes long -----------------------------------------------------------------------------


def _inner_objects() -> bytes:
    return b'{"id":"a","x":[' + b",".join([b'{"id":"","y":0}'] * 100_000) + b"]}"


@pytest.mark.parametrize(
    "element",
    [
        _inner_objects(),
        b'{"id":"' + b'},{\\"id\\"' * 200_000 + b'"}',
        b'{"id":"' + b"}, {" * 800_000 + b'"}',
        b'{"x":' + b'[{"y":' * 500 + b"0" + b"}]" * 500 + b"}",
        b"0",
    ],
    ids=["inner objects", "strings like borders", "borders in a string", "nested", "numbers"],
)
def test_no_input_is_slow(element: bytes) -> None:
    """
    Whatever looks like a border and is none, a file of megabytes is cut in a second or two at most:
    a way that tries again from the beginning takes minutes.
    """
    count = min(100_000, 1 + 2_000_000 // len(element))
    data = b"[" + b",".join([element] * count) + b"]"
    parser = array_parser(checker=AllTasks())

    began_s = time.process_time()
    items = parse(parser, *in_pieces(data, BLOCK_BYTES))

    assert time.process_time() - began_s < 10
    assert items.error is None
    assert _bodies(items) == [element] * count


# --- One task ------------------------------------------------------------------------------------


def one(*pieces: bytes) -> Items:
    return parse(ObjectParser("a.json", at=BEGINNING, checker=Checker()), *pieces)


def test_one_task_over_several_lines() -> None:
    """A file may be one task, as az takes it: it is made one line, and named by its first."""
    data = BOM + b'\n{\n  "id": "a",\n  "commandLine": "\\u0061"\n}\n'

    items = one(*in_pieces(data, 7))

    assert items.tasks == [Task(0, 2, "a", b'{"id":"a","commandLine":"\\u0061"}')]
    assert items.places[-1] == Place(1, len(data), 6)
    end = ObjectParser("a.json", at=items.places[-1], checker=Checker())
    assert parse(end) == Items(places=items.places[-1:])
    part = ObjectParser("a.json", at=BEGINNING, checker=Checker()).part(data)
    assert part.tasks == items.tasks


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'{\n"id": "a"\n', "the file ends within the task"),
        (
            b'{\n"id": a\n}',
            "not valid JSON: invalid character at byte 9 of the item, in line 2",
        ),
        (
            b'{\n"id": "a"\n}\n{\n"id": "b"\n}\n',
            "something follows the task: line 4; put tasks in an array, or write one JSON object",
        ),
        (
            b'{\n"id": "a"\n},\n{\n"id": "b"\n}\n',
            "something follows the task: line 3; put tasks in an array, or write one JSON object",
        ),
        (b'{\n"id":"' + b"x" * ITEM_BYTES_MAX, "has more than 4,194,304 bytes; the service takes"),
    ],
)
def test_a_file_that_is_not_one_task(data: bytes, said: str) -> None:
    """Many tasks over several lines each, one after the other, are what jq writes."""
    items = one(data)

    assert not items.tasks
    assert items.error
    assert items.error.startswith(f"a.json: {said}")
