"""Templates: what a placeholder is, what a value becomes, and what is wrong with a template."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.errors import SourceError
from bulksubmit.producer.template import Template


def filled(task: object, **values: str) -> object:
    """What becomes of a task with one row of values."""
    text = task if isinstance(task, str) else json.dumps(task)
    filler = Template(text, name="task.json").on([*values], of="rows.csv")
    (body,) = filler.fill([[values[name]] for name in filler.names], 1)
    assert b"\n" not in body
    return json.loads(body)


def refusal(task: object, *columns: str, allow_unused: bool = False) -> str:
    text = task if isinstance(task, str) else json.dumps(task)
    with pytest.raises(SourceError) as raised:
        Template(text, name="task.json", allow_unused=allow_unused).on(columns, of="rows.csv")
    return str(raised.value)


# --- What is filled ----------------------------------------------------------------------------


def test_placeholders_stand_anywhere_in_strings() -> None:
    """
    A placeholder may be all of a string, or part of it, once or more, in lists and objects.
    """
    task = {
        "id": "{i}",
        "commandLine": "render --seed {seed} {i}",
        "environmentSettings": [{"name": "SEED", "value": "{seed}"}],
    }

    assert filled(task, i="7", seed="17") == {
        "id": "7",
        "commandLine": "render --seed 17 7",
        "environmentSettings": [{"name": "SEED", "value": "17"}],
    }


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("{{x}} {x}", "{x} 1"),
        ("{{{x}}}", "{1}"),
        ('{{"x": {x}}}', '{"x": 1}'),
        ("${HOME}/{x}", "${HOME}/1"),
        ("${HOME:-{x}} {x}", "${HOME:-{x}} 1"),
        ("${A} ${B}{x}", "${A} ${B}1"),
        ("$HOME $(x) {x}", "$HOME $(x) 1"),
        ("100% %s %(x)s {x}", "100% %s %(x)s 1"),
        ('"\\\u00e4\u2028\n\t{x}', '"\\\u00e4\u2028\n\t1'),
    ],
)
def test_braces(text: str, becomes: str) -> None:
    """
    Doubled braces are braces; what the shell has in braces stays as it is; all else is text.
    """
    assert filled({"commandLine": text}, x="1") == {"commandLine": becomes}


def test_what_is_no_string_stays_as_it_is() -> None:
    """
    Numbers keep their digits; booleans, null, empty lists and objects stay.
    """
    text = (
        '{"a": 1.50, "b": 1e3, "c": [true, false, null, [], {}], "d": 9007199254740993, "x": "{x}"}'
    )

    filler = Template(text, name="task.json").on(["x"], of="rows.csv")

    assert filler.fill([["1"]], 1) == [
        b'{"a":1.50,"b":1e3,"c":[true,false,null,[],{}],"d":9007199254740993,"x":"1"}'
    ]


@given(values=st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_strings_hold_exactly_the_text(values: list[tuple[str, str]]) -> None:
    """
    Whatever the values are, a body is JSON whose strings hold exactly them.
    """
    text = '{"id": "a {x} b", "commandLine": "{y}{x}"}'
    filler = Template(text, name="task.json").on(["y", "x"], of="rows.csv")
    assert filler.names == ("x", "y")

    bodies = filler.fill([[x for x, _ in values], [y for _, y in values]], len(values))

    assert [json.loads(body) for body in bodies] == [
        {"id": f"a {x} b", "commandLine": y + x} for x, y in values
    ]


@given(literal=st.text(), value=st.text())
def test_literals_hold_exactly_the_text(literal: str, value: str) -> None:
    """
    Whatever a template's text is, with its braces doubled it is that text, and no more.
    """
    doubled = literal.replace("{", "{{").replace("}", "}}").replace("$", "\u20ac")

    assert filled({"id": doubled + "{x}"}, x=value) == {
        "id": literal.replace("$", "\u20ac") + value
    }


# --- Numbers and booleans ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        ("3", 3),
        ("-1", -1),
        ("0", 0),
        ("-0", 0),
        ("007", 7),
        ("3.0", 3),
        ("3.5", "3.5"),
        ("", ""),
        (" 3", " 3"),
        ("1_000", "1_000"),
        ("\u0663", "\u0663"),
        ("three", "three"),
        ("1}", "1}"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_a_number_stands_without_quotes(value: str, becomes: object) -> None:
    """
    Where the task model takes a number, a whole number is written as one, zeros in front and a
    zero fraction left out; anything else stays a string, which the check then names.
    """
    task = {"constraints": {"maxTaskRetryCount": "{x}"}}

    assert filled(task, x=value) == {"constraints": {"maxTaskRetryCount": becomes}}


@pytest.mark.parametrize(
    ("value", "becomes"),
    [("true", True), ("False", False), ("TRUE", True), ("1", "1"), ("yes", "yes"), ("", "")],
)
def test_a_boolean_stands_without_quotes(value: str, becomes: object) -> None:
    """
    Where the task model takes a boolean, true and false are written as such, in any case.
    """
    mounts = {"containerHostBatchBindMounts": [{"isReadOnly": "{x}"}]}

    assert filled({"containerSettings": mounts}, x=value) == {
        "containerSettings": {"containerHostBatchBindMounts": [{"isReadOnly": becomes}]}
    }


def test_only_a_whole_placeholder_stands_without_quotes() -> None:
    """
    Elsewhere a number is text; and so is a string that is more than the placeholder.
    """
    task = {"id": "{x}", "requiredSlots": "{x}{x}"}

    assert filled(task, x="1") == {"id": "1", "requiredSlots": "11"}


# --- What is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ('{"id": ', "task.json:1: not valid JSON: "),
        ('{\n"id": "a",\n}', "task.json:2: not valid JSON: "),
        ('["a"]', "task.json: is not a JSON object; a template is one task"),
        ('{"id": "a", "id": "b"}', "task.json: the key 'id' is given twice in one object"),
        ('{"a": [{"b": 1, "b": 1}]}', "task.json: the key 'b' is given twice in one object"),
        ('{"a": ' + "[" * 1000 + "]" * 1000 + "}", "task.json: is nested too deeply to be a task"),
        ({"{x}": "a"}, "task.json: the key '{x}' holds a placeholder; they stand in values"),
        ({"a": {"b": "x {"}}, "task.json: a.b: '{' (character 3) is no placeholder's; write {{ "),
        ({"a": "x}"}, "task.json: a: '}' (character 2) is no placeholder's; write {{ and }}"),
        ({"a": "${x"}, "task.json: a: '${' (character 1) is the shell's, and has no '}'"),
    ],
)
def test_what_is_no_template(task: object, reason: str) -> None:
    """
    A template that is no JSON object, or has a brace too many or too few, is refused by name.
    """
    assert refusal(task, "x").startswith(reason)


def test_an_unknown_placeholder_is_named() -> None:
    """
    A placeholder that no column has is named with its field, the nearest column, and all others.
    """
    assert refusal({"commandLine": "a {Seed}"}, "seed", "mode") == (
        "task.json: commandLine: {Seed} is no column of rows.csv; did you mean {seed}? "
        "Its columns: seed, mode; write {{ and }} where braces are meant"
    )
    assert refusal({"commandLine": "awk '{print $1}'"}, "seed").startswith(
        "task.json: commandLine: {print $1} is no column of rows.csv. Its columns: seed; write {{"
    )
    assert "{} is no column" in refusal({"commandLine": "find -exec rm {} +"}, "seed")


def test_many_columns_are_not_all_told() -> None:
    """
    A message names twenty columns at most.
    """
    message = refusal({"id": "{x}"}, *[f"c{number}" for number in range(100)])

    assert "c19, ...; write" in message
    assert "c20" not in message


def test_unused_columns_are_refused_unless_allowed() -> None:
    """
    A column that the template does not use is most likely forgotten; who means it says so.
    """
    task = {"id": "{a}"}

    assert refusal(task, "a", "b") == (
        "task.json: does not use the column 'b' of rows.csv; use it, or pass --allow-unused-columns"
    )
    assert "the columns 'b', 'c' of rows.csv; use them" in refusal(task, "a", "b", "c")

    lenient = Template('{"id": "{a}"}', name="task.json", allow_unused=True)
    assert lenient.on(["b", "a"], of="rows.csv").names == ("a",)


def test_a_template_without_placeholders() -> None:
    """
    If it may leave out all columns, each row makes the same body.
    """
    lenient = Template('{"id": "100%"}', name="task.json", allow_unused=True)

    assert lenient.on(["a"], of="rows.csv").fill([], 3) == [b'{"id":"100%"}'] * 3


def test_long_templates_are_filled_a_few_at_a_time() -> None:
    """
    However long a template is, what is filled at once takes about a block.
    """

    def rows_max(length: int) -> int:
        text = json.dumps({"id": "{i}", "commandLine": "x" * length})
        return Template(text, name="task.json").on(["i"], of="rows.csv").rows_max

    assert rows_max(10) == 1_000
    assert 20 < rows_max(10_000) < 30
    assert rows_max(1_000_000) == 1
