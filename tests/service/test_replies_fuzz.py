"""Whatever an answer holds, it becomes a reply or a refusal; half a 200 settles nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from bulksubmit.core.model import Answered, Lost, Refused, Throttled
from bulksubmit.core.wire import Job
from bulksubmit.errors import ServiceRefused
from bulksubmit.service.replies import Answer, Unavailable, job_in, reply_to
from tests.service.helpers import NOW_S, error_body, make_answer, results_body

DATE = "Wed, 01 Jan 2025 00:00:00 GMT"
VALID = [
    results_body("t0", "t1", "t2"),
    error_body("TaskExists", PropertyName="id"),
    error_body("JobCompleted"),
    b'{"value":[{"status":"ClientError","taskId":"t0","error":{"code":"TaskExists"}}]}',
    b'{"code":"' + b"x" * 100 + b'","message":{"value":"\\ud800"}}',
    b"[" * 100_000,
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A valid body with a few bytes changed, cut or put in."""
    body = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 8)))
        body[start:end] = draw(st.binary(max_size=8))
    return bytes(body)


@settings(deadline=None)
@given(
    status=st.one_of(
        st.sampled_from([200, 400, 401, 403, 404, 405, 409, 411, 413, 429, 501, 503, 505]),
        st.integers(100, 999),
    ),
    body=st.one_of(st.binary(max_size=200), mutated()),
    headers=st.dictionaries(
        st.sampled_from(["Retry-After", "Date", "request-id", "Location", "Content-Type"]),
        st.one_of(st.text(max_size=40), st.just(DATE), st.just("5")),
    ),
)
def test_any_answer_is_a_reply_or_a_refusal(
    status: int, body: bytes, headers: dict[str, str]
) -> None:
    """
    Whatever comes back is one of the four replies or a refusal, with a text that can be
    written down; nothing else is raised. Only a 200 is Answered.
    """
    answer = Answer(status, CIMultiDict(headers), body, NOW_S)
    for read in (reply_to, job_in):
        try:
            reply = read(answer)
        except ServiceRefused as refused:
            str(refused).encode()
            assert status != 200
        else:
            assert isinstance(reply, Answered | Throttled | Refused | Lost | Job | Unavailable)
            assert not isinstance(reply, Answered | Job) or status == 200


@settings(deadline=None)
@given(count=st.integers(1, 30), data=st.data())
def test_truncated_200_is_never_answered(count: int, data: st.DataObject) -> None:
    """
    A 200 that stops half-way settles nothing, wherever it stops.
    """
    whole = results_body(*(f"t{i}" for i in range(count)))
    cut = data.draw(st.integers(0, len(whole) - 1))

    assert isinstance(reply_to(make_answer(200, whole[:cut])), Lost)
