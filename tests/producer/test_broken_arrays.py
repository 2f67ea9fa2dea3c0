"""JSON arrays in which items are no JSON, or too long: the others are none the worse."""

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.account import BEGINNING
from bulksubmit.core.model import Invalid, Kind, Task
from bulksubmit.producer import arrays, brackets, rawjson
from bulksubmit.producer.lines import ITEM_BYTES_MAX, SHOWN_BYTES
from bulksubmit.producer.opening import BLOCK_BYTES
from tests.producer.reading import Items, array_parser, in_pieces, line, parse

A, B = line("a"), line("b")


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (b'{"id":"b","commandLine":}', "not valid JSON: invalid character (byte 24)"),
        (b'{"id":"b","commandLine":"x","n":NaN}', "not valid JSON: NaN is no JSON number"),
        (b"-Infinity", "not valid JSON: -Infinity is no JSON number"),
        (b"{'id':'b'}", "not valid JSON: object keys must be strings (byte 1)"),
        (
            b'{"id":"b","commandLine":"echo "x, y""}',
            "not valid JSON: expected ',' or '}' (byte 31)",
        ),
        (b'{"id":"b",\n"commandLine":"x\ny"}', "not valid JSON: invalid character (byte 27)"),
    ],
)
def test_an_item_that_is_no_json(item: bytes, said: str) -> None:
    """
    Its end is certain all the same: it is told like a bad line, and the others are none the worse.
    It stays no JSON when it is made one line.
    """
    data = b"[" + A + b",\n" + item + b",\n" + B + b"]"

    for size in (1, 9, len(data)):
        items = parse(array_parser(), *in_pieces(data, size))

        assert items.error is None
        assert items.ids == ["a", "b"]
        (invalid,) = items.invalid
        assert (invalid.ordinal, invalid.line) == (1, 2)
        assert invalid.body == item.replace(b"\n", b"\r")
        assert invalid.problems[0].kind is Kind.NOT_JSON
        assert invalid.problems[0].text.startswith(said)


_LONG = b'{"id":"b","commandLine":"' + b'\\"]},{' * (ITEM_BYTES_MAX // 6) + b'"\n,"x":[1]}'


def test_what_is_broken_is_told_in_order() -> None:
    """A run that stops at the first item that is no task names that one."""
    items = parse(array_parser(), b"[NaN,\n" + _LONG + b",\n{nonsense}," + A + b",{}]")

    assert [item.ordinal for item in items.invalid] == [0, 1, 2, 4]
    assert items.ids == ["a"]


@pytest.mark.parametrize("between", [b",", b" ,\r\n  "])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b'{"id":"b","commandLine":"x}', b'{"id":"c","commandLine":y"}'),
        (b'{"id":"b","commandLine":x"}', b'{"id":"c","commandLine":"y}'),
        (b'{"id":"b","e":[],"x":[["}]', b'{"id":"c","e":["]"]}'),
        (b'{"id":"b","e":{"x":1}', b'{"id":"c","e":{"y":1}}}'),
        (b'{"id":"b","e":[{"x":1}', b'{"id":"c","e":1}}'),
        (b'"id":"b","e":1}', b'{"id":"c"}'),
        (b'id":"b","commandLine":"x, y"}', b'{"id":"c"}'),
        (b'{"id":"b","e":[{"x":NaN}', b'{"id":"c","e":1}]}'),
        (b'{"id":"b","e":[NaN', b'"c"],"x":[{"y":1}'),
    ],
)
def test_what_is_missing_twice_swallows_no_task(between: bytes, one: bytes, other: bytes) -> None:
    """
    Where two items miss a quote or a bracket, those between can look like a part of one whose
    brackets are in pairs; but nobody knows how many items that are, so the reading ends.
    """
    data = b"[" + between.join([A, one, B, other, B]) + b"]"

    for size in (1, len(data)):
        items = parse(array_parser(), *in_pieces(data, size))

        assert items.ids == ["a"]
        assert items.error
        assert items.error.startswith("a.json: item 2 (line ")


def test_two_broken_items_are_not_counted_as_one() -> None:
    """One misses a quote, and the next the quote that would begin it: together they have all."""
    one, other = b'{"id":"b","commandLine":NaN,"n:1}', b'{id":"c","commandLine":"y"}'

    items = parse(array_parser(), b"[" + b",".join([A, one, other, B]) + b"]")

    assert items.ids == ["a"]
    assert items.error
    assert items.error.startswith("a.json: item 2 (line 1): ")


@pytest.mark.parametrize(
    ("number", "item"),
    [
        (2, b'{"id":"b,"commandLine":"x },{y","n":[1]}'),
        (3, b'{"id":"b","commandLine":x },{\\"y\\": 1","n":NaN}'),
        (3, b'{"id":"b","n":NaN,"commandLine":"[{\\"n\\":\\"1"},{\\"n\\":1}]"}'),
    ],
)
def test_a_text_in_parts_is_not_more_items(number: int, item: bytes) -> None:
    """With a quote missing, or one too many, brackets in texts look like those of items."""
    items = parse(array_parser(), b"[" + A + b",\n" + item + b",\n" + B + b"]")

    assert items.ids == ["a"]
    assert items.error
    assert items.error.startswith(f"a.json: item {number} (line 2): ")


def test_brackets_too_deep_to_look_into() -> None:
    """They are one item all the same, unless a text in it is like what is between items."""
    deep = b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"y":"%b"}'

    fine = parse(array_parser(), b"[" + deep % b"z" + b"," + A + b"]")
    unsure = parse(array_parser(), b"[" + deep % b"z},{" + b"," + A + b"]")

    assert (fine.ids, fine.error, len(fine.invalid)) == (["a"], None, 1)
    assert unsure.error
    assert unsure.error.startswith("a.json: item 1 (line 1): its brackets are nested too deep")


@pytest.mark.parametrize("size", [BLOCK_BYTES, 3 * ITEM_BYTES_MAX])
def test_an_item_too_long_for_a_task(size: int) -> None:
    """Only its beginning is kept; the others are none the worse, and each is in its line."""
    items = parse(array_parser(), *in_pieces(b"[" + A + b",\n" + _LONG + b",\n" + B + b"]", size))

    assert items.error is None
    assert [(task.id, task.ordinal, task.line) for task in items.tasks] == [
        ("a", 0, 1),
        ("b", 2, 4),
    ]
    (invalid,) = items.invalid
    assert (invalid.ordinal, invalid.line, invalid.body) == (1, 2, _LONG[:SHOWN_BYTES])
    (problem,) = invalid.problems
    assert problem.kind is Kind.LENGTH
    assert problem.text.startswith("the item has more than 4,194,304 bytes, of which only the")


def test_an_item_without_end() -> None:
    """Memory is bounded, however long it is."""
    pieces = [b"[" + A + b',\n{"id":"', *[b"x" * BLOCK_BYTES] * 40]
    tracemalloc.start()
    items = parse(array_parser(), *pieces)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 6 * ITEM_BYTES_MAX
    assert items.ids == ["a"]
    assert items.error
    assert items.error.startswith("a.json: item 2 (line 2): has more than 4,194,304 bytes")


def test_an_item_too_long_that_is_settled_is_not_told_again() -> None:
    """On resume it is passed over like any other."""
    items = parse(array_parser(settled=[1]), b"[" + A + b",\n" + _LONG + b",\n" + B + b"]")

    assert (items.ids, items.invalid, items.error) == (["a", "b"], [], None)
    assert items.places[-1].ordinal == 3


@pytest.mark.thorough
def test_where_an_item_does_not_end() -> None:
    """
    A quote or a bracket that is missing makes one item of many. That is told when it is longer
    than any task, not at the end of a file of terabytes.
    """
    parser = array_parser()
    parser.feed(b"[" + A + b',\n{"id":"b","commandLine":"x},\n')
    items = parse(parser, *[(A + b",\n") * 1000] * (1 + ITEM_BYTES_MAX // 1000 // len(A)))

    assert items.error
    assert items.error.startswith("a.json: item 2 (line 2): not valid JSON: invalid character at")


@pytest.mark.parametrize(
    ("behind", "said"),
    [
        (b" ", "has more than 4,194,304 bytes"),
        (b", ", "has more than 4,194,304 bytes"),
        (b" x", "not valid JSON: expected ',' or ']' at byte 33"),
    ],
)
def test_blanks_without_end(behind: bytes, said: str) -> None:
    """Where an item is due, or a comma, there is no room for megabytes of something else."""
    items = parse(array_parser(), b"[" + A, behind, *[b" " * BLOCK_BYTES] * 34)

    assert items.error
    assert items.error.startswith(f"a.json: item 1 (line 1): {said}")


# --- Whatever the bytes --------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [b"1", b"NaN", b"x y", b"'", b":", b'"a"', b'"]}"', b'"{,\\"["', b"\n", b'"\n"']
)
_BALANCED = st.recursive(
    st.lists(_WORDS, max_size=3).map(b" ".join),
    lambda inner: st.lists(
        st.one_of(
            inner,
            st.lists(inner, max_size=3).map(lambda each: b"{" + b",".join(each) + b"}"),
            st.lists(inner, max_size=3).map(lambda each: b"[" + b",".join(each) + b"]"),
        ),
        max_size=3,
    ).map(b":".join),
    max_leaves=8,
)
_BROKEN = st.one_of(
    st.sampled_from([b"NaN", b"-Infinity", b"nonsense", b"'", b"1:2"]),
    _BALANCED.map(lambda inside: b"{" + inside + b"}"),
    _BALANCED.map(lambda inside: b"[" + inside + b"]"),
).filter(lambda text: not is_json(text) and brackets.is_one(text))
_BETWEEN = st.sampled_from([b",", b" ,\r\n  ", b"\n,\n"])


def is_json(text: bytes) -> bool:
    try:
        json.loads(text, parse_constant=int)  # Which takes no NaN.
    except ValueError:
        return False
    return True


def _pieces(data: bytes, draw: st.DataObject) -> list[bytes]:
    cuts = draw.draw(st.lists(st.integers(0, len(data)), max_size=6))
    return [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]


@contextmanager
def _small_bounds() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (arrays, rawjson):
            patch.setattr(module, "ITEM_BYTES_MAX", 200)
        patch.setattr(arrays, "_HELD_BYTES_MAX", 400)
        patch.setattr(arrays, "SHOWN_BYTES", 20)
        yield


@pytest.mark.parametrize(
    "item",
    [
        b'{"x" 1,"y":"' + b"x" * 250 + b'"}',
        b'{"y":"' + b"x" * 250 + b'" 1}',
        b'{"y":"' + b"x" * 450 + b'"}',
        b'{"x" 1}' + b" " * 250,
        b'{"x" 1,"y":"' + b"x" * 450 + b'"} {}',
        b'{"y":"' + b"x" * 250 + b'"} {}',
        A + b" " * 450,
        A + b"," + b" " * 450,
        A + b"," + b" " * 250,
        b"NaN" + b" " * 450,
    ],
)
@pytest.mark.parametrize("behind", [b"," + B + b"]", b",]", b"]"])
def test_long_items_are_the_same_however_they_come(item: bytes, behind: bytes) -> None:
    """What is told as too long, and what as broken, does not depend on the cuts."""
    data = b"[" + A + b",\n" + item + behind
    with _small_bounds():
        whole = parse(array_parser(), data)
        for size in (1, 60, 190, 260, 401):
            items = parse(array_parser(), *in_pieces(data, size))

            assert items.tasks == whole.tasks
            assert items.invalid == whole.invalid
            assert items.error == whole.error


@given(
    elements=st.lists(
        st.one_of(
            st.sampled_from([A, b'{\n"id":"p",\n"commandLine":"x"\n}', b"1", b'"],["', b"{}"]),
            st.text("x]\u00e4", min_size=140, max_size=170).map(
                lambda text: line("l", f',"\\"":["{text}"]')
            ),
            _BROKEN,
        ),
        max_size=8,
    ),
    between=_BETWEEN,
    damage=st.integers(0, 4000) | st.none(),
    draw=st.data(),
)
def test_what_is_broken_stays_by_itself(
    elements: list[bytes], between: bytes, damage: int | None, draw: st.DataObject
) -> None:
    """
    Wherever the bytes are cut, each item that is no JSON, or too long, is told by itself, and
    the others are what they are without it; a parser made at any place goes on alike. With a
    byte left out anywhere, what is read does not depend on the cuts either.
    """
    data = b"[" + between.join(elements) + b"]"
    if damage is not None:
        at = 1 + damage % (len(data) - 1)
        data = data[:at] + data[at + 1 :]
    pieces = _pieces(data, draw)
    with _small_bounds():
        whole = parse(array_parser(), data)
        items = parse(array_parser(), *pieces)
        _check_places(data, items)

    assert (items.tasks, items.invalid, items.error) == (whole.tasks, whole.invalid, whole.error)
    if damage is None:
        assert items.error is None
        _check_items(elements, items)


def _check_places(data: bytes, items: Items) -> None:
    """A parser made at any place gives the rest, or the part up to another one."""
    for place, end in pairwise([BEGINNING, *items.places]):
        rest = parse(array_parser(at=place), data[place.offset :])
        assert rest.tasks == [task for task in items.tasks if task.ordinal >= place.ordinal]
        assert rest.invalid == [item for item in items.invalid if item.ordinal >= place.ordinal]
        assert rest.error == items.error
        part = array_parser(at=place).part(data[place.offset : end.offset])
        assert part.after == end
        assert part.items == [item for item in _in_order(rest) if item.ordinal < end.ordinal]


def _check_items(elements: list[bytes], items: Items) -> None:
    found = _in_order(items)
    assert [item.ordinal for item in found] == [*range(len(elements))]
    for element, item in zip(elements, found, strict=True):
        if len(element) > 200:
            assert isinstance(item, Invalid)
            assert (item.body, item.problems[0].kind) == (element[:20], Kind.LENGTH)
        elif is_json(element):
            assert json.loads(item.body) == json.loads(element)
        else:
            assert isinstance(item, Invalid)
            assert item.body == element.replace(b"\n", b"\r")
            assert item.problems[0].kind is Kind.NOT_JSON


def _in_order(items: Items) -> list[Task | Invalid]:
    found: list[Task | Invalid] = [*items.tasks, *items.invalid]
    return sorted(found, key=lambda item: item.ordinal)


_OTHER = '{"id":"other","commandLine":"y"}'
_COMMANDS = st.lists(
    st.sampled_from(
        [*'{}[],:"\\\n ax', "},{", "}, {", f"[{_OTHER},{_OTHER}]", f"}},{_OTHER},{{", "${x}"]
    ),
    max_size=8,
).map(lambda words: "run " + "".join(words))
_LAYOUTS = st.sampled_from([{"separators": (",", ":")}, {}, {"indent": 2}])
_EDITS = st.tuples(
    st.integers(0, 2**16),
    st.sampled_from(["leave out", "insert", "replace"]),
    st.sampled_from(b'""""{}[],:\\\nx'),
)


@given(
    commands=st.lists(_COMMANDS, min_size=2, max_size=6),
    layout=_LAYOUTS,
    between=_BETWEEN,
    edits=st.lists(_EDITS, min_size=1, max_size=3),
    draw=st.data(),
)
def test_no_task_is_lost_with_what_is_broken(
    commands: list[str],
    layout: dict[str, Any],
    between: bytes,
    edits: list[tuple[int, str, int]],
    draw: st.DataObject,
) -> None:
    """
    Whichever bytes are damaged, each task that is not is read as it is, once, unless the reading
    ends with an error before it; and nothing within a text is ever taken for a task.
    """
    elements = [
        json.dumps({"id": f"t{at}", "commandLine": text, "e": [{"n": 1}]}, **layout).encode()
        for at, text in enumerate(commands)
    ]
    data, touched = b"[" + between.join(elements) + b"]", set[int]()
    # Which elements an edit touches: of what is between them, both.
    owners: list[set[int]] = [{0}]
    for at, element in enumerate(elements):
        owners += [{at}] * len(element) + [{at, at + 1}] * len(between)
    owners[len(data) - 1 :] = [{len(elements) - 1}]
    for where, what, byte in edits:
        at = 1 + where % (len(data) - 1)
        touched |= owners[at] | (owners[at - 1] if what == "insert" else set())
        end = at + (what != "insert")
        put = b"" if what == "leave out" else bytes([byte])
        data = data[:at] + put + data[end:]
        owners[at:end] = [owners[at]] * len(put)

    items = parse(array_parser(), *_pieces(data, draw))

    intact = [f"t{at}" for at in range(len(elements)) if at not in touched]
    found = [task for task in items.tasks if task.id in intact]
    assert [task.id for task in found] == intact[: len(found)]
    assert len(found) == len(intact) or items.error
    assert all(json.loads(task.body)["commandLine"] == commands[int(task.id[1:])] for task in found)
    assert "other" not in items.ids
    everything = _in_order(items)
    assert [item.ordinal for item in everything] == [*range(len(everything))]
    whole = parse(array_parser(), data)
    assert (items.tasks, items.invalid, items.error) == (whole.tasks, whole.invalid, whole.error)
