"""Whatever bytes come: they are a task, or it is said why not; both ways of checking agree."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.model import Kind
from bulksubmit.core.taskcheck import PROBLEMS_MAX, Checker, Finding, explain
from bulksubmit.core.taskfields import places
from tests.core.whole_task import WHOLE, a_task, encode, look, problems_of

TASK = b'{"id":"a","commandLine":"c"}'
DEEP = 100_000

MEMBER = b'{"id":"a","commandLine":"c",%s}'


def one_problem(body: bytes, **kwargs: Any) -> tuple[str, Kind, str]:
    (problem,) = look(body, **kwargs).problems
    return problem.path, problem.kind, problem.text


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (b"", Kind.NOT_JSON, "not valid JSON: Input data was truncated; one JSON object a line"),
        (b"no json", Kind.NOT_JSON, "not valid JSON: "),
        (TASK[:-1], Kind.NOT_JSON, "not valid JSON: Input data was truncated"),
        (TASK + b"}", Kind.NOT_JSON, "not valid JSON: trailing characters (byte 29)"),
        (MEMBER % b'"x":NaN', Kind.NOT_JSON, "not valid JSON: NaN is no JSON number"),
        (MEMBER % b'"x":-Infinity', Kind.NOT_JSON, "not valid JSON: -Infinity is no JSON number"),
        (MEMBER % b'"x":"\n"', Kind.NOT_JSON, "not valid JSON: invalid character"),
        (MEMBER % b'"x":01', Kind.NOT_JSON, "not valid JSON: "),
        (b"[1]", Kind.NOT_A_TASK, "not a JSON object but an array; one task a line is read"),
        (b'"a"', Kind.NOT_A_TASK, "not a JSON object but a string; one task a line is read"),
        (b"1.5", Kind.NOT_A_TASK, "not a JSON object but a number; one task a line is read"),
        (b"true", Kind.NOT_A_TASK, "not a JSON object but a boolean; one task a line is read"),
        (b"null", Kind.NOT_A_TASK, "not a JSON object but null; one task a line is read"),
        (b"[" * DEEP, Kind.NOT_A_TASK, "nested too deeply to be a task"),
        (MEMBER % (b'"x":' + b"[" * DEEP + b"]" * DEEP), Kind.NOT_A_TASK, "nested too deeply"),
        (MEMBER % (b'"x":' + b'{"x":' * DEEP), Kind.NOT_A_TASK, "nested too deeply"),
        (b"\xef\xbb\xbf" + TASK, Kind.ENCODING, "a byte order mark; it may stand only at the"),
        (b"\xff\xfe{\x00}\x00", Kind.ENCODING, "not UTF-8: byte 0xff at place 1 of the task"),
        (MEMBER % b'"x":"\xe9"', Kind.ENCODING, "not UTF-8: byte 0xe9 at place 34 of the task"),
        (MEMBER % b'"\xff":1', Kind.ENCODING, "not UTF-8: byte 0xff at place 30 of the task"),
        (MEMBER % b'"x":"\xed\xa0\x80"', Kind.ENCODING, "not UTF-8: byte 0xed"),
        (b'{"id":"\xff","commandLine":"c"}', Kind.ENCODING, "not UTF-8: byte 0xff"),
        (b"{}", Kind.MISSING, "id and commandLine missing; every task needs an id and a comm"),
    ],
    ids=lambda value: repr(value[:30]) if isinstance(value, bytes) else "",
)
@pytest.mark.parametrize("allow_unknown", [False, True])
def test_no_task(body: bytes, kind: Kind, text: str, *, allow_unknown: bool) -> None:
    """
    What is no task at all is that, also in a field that nobody would look at.
    """
    finding = look(body, allow_unknown=allow_unknown)

    assert [(each.path, each.kind) for each in finding.problems] == [("", kind)]
    assert finding.problems[0].text.startswith(text)
    assert (finding.id, finding.invalid) == ("", True)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"id":"a","commandLine":"c","id":"b"}', "id"),
        (b'{"id":"a","commandLine":"c","id":"a"}', "id"),
        (b'{ "id" : "a", "commandLine": "c", "\\u0069d": "b"}', "id"),
        (b'{"commandLine":"\\u00e9","id":"a","commandLine":"c"}', "commandLine"),
        (MEMBER % b'"affinityInfo":{"affinityId":"x","affinityId":"y"}', "affinityInfo.affinityId"),
        (
            MEMBER % b'"resourceFiles":[{"autoStorageContainerName":"x","fileMode":"1",'
            b'"fileMode":"1"}]',
            "resourceFiles[0].fileMode",
        ),
        (MEMBER % b'"constraints":{},"constraints":null', "constraints"),
    ],
)
@pytest.mark.parametrize("allow_unknown", [False, True])
def test_a_key_twice(body: bytes, path: str, *, allow_unknown: bool) -> None:
    """
    If a task had two IDs, the service's answer might name the one that we do not wait for; and
    which of two values counts nobody says, at whatever depth.
    """
    where, kind, text = one_problem(body, allow_unknown=allow_unknown)

    assert (where, kind) == (path, Kind.REPEATED_KEY)
    assert text == f"{path} is given twice; which of the two would count is not defined"


@pytest.mark.parametrize(
    "body",
    [
        TASK,
        b' {\t"id" : "a" ,\r\n"commandLine" : "c" } ',
        b'{ "id" : "a", "commandLine" : "\\u00e9", "displayName": "\\u0069d" }',
        b'{"\\u0069d":"a","commandLine":"\\/c"}',
        b'{"commandLine":"c","id":"a","displayName":"\\"id\\""}',
        b'{"id":"a","commandLine":"\\ud83d\\ude00\xf0\x9f\x98\x80"}',
        b'{"id":"a","commandLine":"c","requiredSlots":null,"dependsOn":null}',
        b'{"id":"a","commandLine":"c","constraints":{"maxTaskRetryCount":-0}}',
    ],
)
def test_other_spellings(body: bytes) -> None:
    """
    White space, escapes, the order of fields, and the letters of a key inside a text do no harm.
    """
    assert look(body) == Finding("a", ())


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"id":"a","commandLine":"\\ud83d"}', "commandLine"),
        (b'{"id":"a","commandLine":"\\ude00\\ud83d"}', "commandLine"),
        (MEMBER % b'"x":{"y":["\\udfff"]}', "x.y[0]"),
        (MEMBER % b'"\\ud800":1', "\\ud800"),
    ],
)
def test_half_a_surrogate_pair(body: bytes, path: str) -> None:
    """
    Half a character cannot be sent as UTF-8; also in a field that is passed on unread.
    """
    where, kind, text = one_problem(body, allow_unknown=True)

    assert (where, kind) == (path, Kind.ENCODING)
    assert "half of a surrogate pair" in text


def test_a_half_pair_in_an_id() -> None:
    """
    An ID that cannot be written is still shown, as far as it can be.
    """
    finding = look(b'{"id":"a\\ud83d","commandLine":"c"}')

    assert finding.id == "a?"
    assert {problem.path for problem in finding.problems} == {"id"}


@pytest.mark.parametrize("number", ["1.0", "1e0", "10E-1", "0.5", "1e999"])
def test_no_whole_number(number: str) -> None:
    """
    A number with a point or an exponent is not what the service writes, whatever its value.
    """
    path, kind, text = one_problem(MEMBER % f'"requiredSlots":{number}'.encode())

    assert (path, kind) == ("requiredSlots", Kind.TYPE)
    assert text == f"requiredSlots is {number}; it must be a whole number, written in digits only"


def test_thousands_of_digits() -> None:
    """
    A number longer than Python would convert is out of range like any other.
    """
    path, kind, text = one_problem(MEMBER % b'"requiredSlots":%s' % (b"9" * 100_000))

    assert (path, kind) == ("requiredSlots", Kind.RANGE)
    assert text == "requiredSlots has 100000 digits; it must be at most 2147483647"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("commandline", "did you mean commandLine?"),
        ("command_line", "did you mean commandLine?"),
        ("enviromentSettings", "did you mean environmentSettings?"),
        ("maxTaskRetryCount", "did you mean constraints.maxTaskRetryCount?"),
        ("max_wall_clock_time", "did you mean constraints.maxWallClockTime?"),
        ("taskIds", "did you mean dependsOn.taskIds?"),
        ("zzz", "no field of a task has such a name"),
        ("x" * 100_000, "no field of a task has such a name"),
        ("", "no field of a task has such a name"),
        ("\n", "no field of a task has such a name"),
    ],
    ids=lambda value: value[:25],
)
def test_unknown_field(name: str, hint: str) -> None:
    """
    A field that nobody knows is named, shortly, with the one that was meant.
    """
    path, kind, text = one_problem(encode(a_task(**{name: 1})))

    assert kind is Kind.UNKNOWN
    assert text == f"{path}: unknown field; {hint}"
    assert len(path) <= 60
    assert problems_of(a_task(**{name: 1}), allow_unknown=True) == ()


def test_unknown_field_further_down() -> None:
    """
    Where there are few fields, they are named.
    """
    text = one_problem(encode(a_task(userIdentity={"username": "u", "zzz": 1})))[2]

    assert text == "userIdentity.zzz: unknown field; known here: username and autoUser"


def test_unknown_fields_allowed() -> None:
    """
    What is known is still checked when unknown fields are passed on.
    """
    task = a_task(new={"a": [1.5]}, requiredSlots="1", constraints={"new": 1, "retentionTime": ""})

    assert [problem.path for problem in problems_of(task, allow_unknown=True)] == [
        "constraints.retentionTime",
        "requiredSlots",
    ]


def test_words_are_suggested() -> None:
    """
    A word that is misspelt is shown beside those that are taken.
    """
    task = a_task(
        outputFiles=[
            {
                "filePattern": "*",
                "destination": {"container": {"containerUrl": "https://h/?sig=x"}},
                "uploadOptions": {"uploadCondition": "tasksucces"},
            }
        ]
    )
    (problem,) = problems_of(task)

    assert problem.text == (
        'outputFiles[0].uploadOptions.uploadCondition is "tasksucces"; did you mean '
        '"tasksuccess"? It takes tasksuccess, taskfailure or taskcompletion'
    )
    assert problem.value == '"tasksucces"'


@pytest.mark.parametrize(
    "fields",
    [
        {"containerSettings": {"imageName": "u", "registry": {"password": ["s3cret"]}}},
        {"containerSettings": {"imageName": "u", "registry": {"passwort": "s3cret"}}},
        {"containerSettings": {"imageName": "u", "registry": "user:s3cret"}},
        {"containerSettings": ["s3cret"]},
        {"environmentSettings": [{"name": "KEY", "value": {"s3cret": 1}}]},
        {"environmentSettings": ["KEY=s3cret"]},
        {"environmentSettings": "KEY=s3cret"},
        {"resourceFiles": [{"httpUrl": "h/f?sv=1&sig=s3cret&x=1", "filePath": "f"}]},
        {"resourceFiles": [{"httpUrl": "h/f?SIG%3Ds3cret", "filePath": "f"}]},
        {"resourceFiles": [{"storageContainerUrl": "ftp://me:s3cret@h/f"}]},
    ],
)
def test_secrets_are_not_shown(fields: dict[str, Any]) -> None:
    """
    No password, no signature, and nothing of a value that stands where it does not belong.
    """
    problems = problems_of(a_task(**fields))

    assert problems
    assert "s3cret" not in repr(problems)


def test_values_are_short() -> None:
    """
    What was given is shown, but not megabytes of it.
    """
    (problem,) = problems_of(a_task(displayName="x" * 5_000_000))

    assert problem.text == "displayName has 5000000 characters; the service takes at most 1024"
    assert problem.value == f'"{"x" * 56}...'


def test_problems_are_bounded() -> None:
    """
    However much is wrong with a task, what is said of it fits.
    """
    assert len(problems_of(a_task(resourceFiles=[0] * 5_000))) == PROBLEMS_MAX


def test_many_at_once() -> None:
    """
    Of many bodies, only those are spoken of where there is something to say; each keeps its ID.
    """
    bodies = [TASK, encode(a_task(id="b c")), b"{", encode(a_task(id="\n")), encode(WHOLE)]
    ids, findings = Checker().check(bodies)

    assert ids == ["a", "b c", "", "\n", "task-1"]
    assert findings == {index: explain(bodies[index]) for index in (1, 2, 3)}
    assert Checker().check([]) == ([], {})


def test_warnings_alone() -> None:
    """
    A task that is only odd is not invalid.
    """
    odd = look(encode(a_task(dependsOn={"taskIds": ["a b"]})))
    wrong = look(encode(a_task(dependsOn={"taskIds": ["a b"], "taskIdRanges": 1})))

    assert not odd.invalid
    assert odd.problems[0].warning
    assert wrong.invalid


NAMES = st.sampled_from(
    sorted({path.rpartition(".")[2] for each in places().values() for path in each})
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | NAMES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(body=st.binary(max_size=60), allow_unknown=st.booleans())
def test_any_bytes(body: bytes, *, allow_unknown: bool) -> None:
    """
    Random bytes are never a task, and never an exception.
    """
    assert look(body, allow_unknown=allow_unknown).invalid


@settings(max_examples=200, deadline=None)
@given(fields=st.dictionaries(NAMES, VALUES, max_size=4), ascii_only=..., allow_unknown=...)
def test_any_json(fields: dict[str, Any], *, ascii_only: bool, allow_unknown: bool) -> None:
    """
    Whatever JSON stands in whatever field, both ways agree on it.
    """
    body = json.dumps(a_task(**fields), ensure_ascii=ascii_only).encode()
    finding = look(body, allow_unknown=allow_unknown)

    assert finding.id == (fields.get("id", "a") if isinstance(fields.get("id", "a"), str) else "")


@settings(max_examples=300, deadline=None)
@given(data=st.data(), junk=st.binary(max_size=4), allow_unknown=st.booleans())
def test_any_damage(data: st.DataObject, junk: bytes, *, allow_unknown: bool) -> None:
    """
    A task with some bytes replaced is checked alike both ways, wherever that was.
    """
    body = encode(WHOLE)
    start = data.draw(st.integers(0, len(body)))
    end = data.draw(st.integers(start, min(len(body), start + 20)))
    damaged = body[:start] + junk + body[end:]
    finding = look(damaged, allow_unknown=allow_unknown)

    assert finding.invalid or json.loads(damaged)["id"] == finding.id


def test_a_field_in_the_wrong_place() -> None:
    """The task's own field somewhere below it: its very name is no suggestion."""
    body = b'{"id":"a","commandLine":"c","constraints":{"id":"b"}}'
    (problem,) = explain(body).problems

    assert problem.text == "constraints.id: unknown field; id is a field of the task itself"
