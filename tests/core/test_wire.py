"""The client's direction of the wire: requests out, results and errors in."""

import json

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksubmit.core.limits import FRAME_BYTES
from bulksubmit.core.model import (
    BatchError,
    ErrorDetail,
    ErrorMessage,
    Task,
    TaskResult,
)
from bulksubmit.core.wire import (
    WireError,
    decode_error,
    decode_job,
    decode_results,
    encode_collection,
)
from tests.core.helpers import make_tasks

# As recorded: PascalCase statuses, and more fields than we use.
ANSWER = b"""{
  "odata.metadata":"https://account.region.batch.azure.com/$metadata#taskaddresult","value":[
    {
      "status":"Success","taskId":"t0","eTag":"0x8D6C5B1E1F1A2B3",
      "lastModified":"2019-04-19T23:35:11.1234567Z",
      "location":"https://account.region.batch.azure.com/jobs/j/tasks/t0"
    },{
      "status":"ClientError","taskId":"t1","error":{
        "code":"InvalidPropertyValue","message":{
          "lang":"en-US","value":"The value is not valid.\\nRequestId:1\\nTime:2019"
        },"values":[{"key":"PropertyName","value":"commandLine"}]
      }
    }
  ]
}"""


def test_a_request_is_its_tasks_bytes_joined() -> None:
    """
    A collection is the tasks' own bytes in a frame, and JSON; FRAME_BYTES is the frame's size.
    """
    tasks = [*make_tasks(2), Task(2, 3, "x", b'{ "id" : "x", "commandLine":"\xc3\xa9" }')]

    body = encode_collection(tasks)

    assert orjson.loads(body) == {"value": [orjson.loads(task.body) for task in tasks]}
    assert all(task.body in body for task in tasks)
    assert len(body) == FRAME_BYTES + sum(len(task.body) for task in tasks) + 2


def test_a_recorded_answer() -> None:
    """
    Results come as they stand, in their order, with what we use of them.
    """
    success, error = decode_results(ANSWER)

    assert success == TaskResult("t0", "Success")
    assert error == TaskResult(
        "t1",
        "ClientError",
        BatchError(
            "InvalidPropertyValue",
            ErrorMessage("en-US", "The value is not valid.\nRequestId:1\nTime:2019"),
            (ErrorDetail("PropertyName", "commandLine"),),
        ),
    )


@pytest.mark.parametrize(
    ("body", "results"),
    [
        (b'{"value":[]}', []),
        (b"{}", []),
        (b'{"value":[{}]}', [TaskResult()]),
        (b'{"value":[{"taskId":"a"}]}', [TaskResult("a")]),
        (b'{"value":[{"status":"Success"}]}', [TaskResult("", "Success")]),
        (b'{"value":[{"taskId":"a","status":"x","error":null}]}', [TaskResult("a", "x")]),
        (
            b'{"value":[{"taskId":"a","error":{"code":null,"message":null,"values":null}}]}',
            [TaskResult("a", "", BatchError())],
        ),
        (b'{"new":[1],"value":[{"taskId":"a","new":{"b":[null]}}]}', [TaskResult("a")]),
    ],
    ids=[
        "no result",
        "no value",
        "empty result",
        "no status",
        "no ID",
        "null error",
        "null in error",
        "unknown fields",
    ],
)
def test_results_are_read_leniently(body: bytes, results: list[TaskResult]) -> None:
    """
    What is missing or null reads as nothing, what is unknown is skipped: the reconciler deals
    with the rest.
    """
    assert decode_results(body) == results


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"value"',
        b"<html><body>502 Bad Gateway</body></html>",
        b'{"value":{}}',
        b'{"value":[1]}',
        b'{"value":[{"taskId":7}]}',
        b'{"value":[{"taskId":"\xff"}]}',
        b'{"value":[]} {"value":[]}',
        b"\xef\xbb\xbf",
        b'{"value":' + b"[" * 100_000,
        b'{"value":[{"new":' + b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_answer_is_a_wire_error(body: bytes) -> None:
    """
    Anything but a whole TaskAddCollectionResult is a WireError, however odd.
    """
    with pytest.raises(WireError):
        decode_results(body)


def test_an_answer_cut_anywhere_is_a_wire_error() -> None:
    """
    An answer that stops half-way is never taken for a shorter one.
    """
    for length in range(len(ANSWER)):
        with pytest.raises(WireError):
            decode_results(ANSWER[:length])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: (
        st.lists(values)
        | st.dictionaries(
            st.sampled_from(["value", "taskId", "status", "error", "code", "message", "values"]),
            values,
        )
    ),
)
DAMAGED = st.builds(
    lambda start, end, between: ANSWER[:start] + between + ANSWER[end:],
    st.integers(0, len(ANSWER)),
    st.integers(0, len(ANSWER)),
    st.binary(max_size=4),
)


@settings(deadline=None)
@given(body=st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | DAMAGED)
def test_any_bytes_give_results_or_a_wire_error(body: bytes) -> None:
    """
    Whatever a gateway answers, decoding ends in results of the right types or in WireError;
    an error is read or is None.
    """
    try:
        results = decode_results(body)
    except WireError:
        results = []
    for result in results:
        assert isinstance(result.task_id, str)
        assert isinstance(result.status, str)
        assert isinstance(result.error, BatchError | None)

    error = decode_error(body)
    assert error is None or error.code


def test_a_request_error() -> None:
    """
    The error of a whole request is the same BatchError.
    """
    error = decode_error(
        b'{"odata.metadata":"x","code":"RequestBodyTooLarge","message":{"lang":"en-US",'
        b'"value":"Too large."},"values":[{"key":"MaxLimit","value":"1048576"}]}'
    )

    assert error is not None
    assert (error.code, error.text) == ("RequestBodyTooLarge", "Too large.")
    assert error.values == (ErrorDetail("MaxLimit", "1048576"),)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>413</html>", b"null", b"{}", b'{"code":null}', b'{"code":""}', b'{"error":{}}'],
)
def test_a_page_without_a_batch_error_has_none(body: bytes) -> None:
    """
    A proxy's page, or JSON without a code, is no Batch error.
    """
    assert decode_error(body) is None


def test_an_error_without_a_message_has_no_text() -> None:
    """
    The reference requires no field of an error.
    """
    assert BatchError("Odd").text == ""
    assert BatchError("Odd", ErrorMessage("en-US", None)).text == ""


def test_a_job() -> None:
    """
    Of a job we read its ID and state; a page that is no job is a WireError.
    """
    job = decode_job(b'{"id":"J","state":"active","poolInfo":{"poolId":"p"}}')
    assert (job.id, job.state) == ("J", "active")

    with pytest.raises(WireError):
        decode_job(b"<html></html>")
