"""What accounting needs of a task."""

import pytest

from bulksubmit.core.taskspec import TaskSpecError, read_id


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"a","commandLine":"x","id":"b"}',
        b'{"id":"a","commandLine":"x","id":"a"}',
        b'{"id" : "a", "commandLine": "x", "\\u0069d": "b"}',
        b'{"\\u0069d":"a","commandLine":"x"}',
        b'{"id":"a","id":"b","commandLine":"\\u00e9"}',
    ],
)
def test_an_id_is_given_once(body: bytes) -> None:
    """
    If a task had two IDs, the service's answer might name the one that we do not wait for.
    """
    with pytest.raises(TaskSpecError, match="given twice"):
        read_id(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id":"a","commandLine":"x"}',
        b'{ "id" : "a", "commandLine" : "\\u00e9", "displayName": "\\u0069d" }',
        b'{"commandLine":"x","id":"a","displayName":"\\"id\\""}',
        b'{"id":"a","commandLine":"x","environmentSettings":[{"id":1,"name":"id"}]}',
        b'{"id":"a","commandLine":"x","affinityInfo":{"id":"b","id":"c"}}',
    ],
)
def test_an_id_elsewhere_is_no_second_one(body: bytes) -> None:
    """
    The letters of an ID inside of a text, or a key of an inner object, do no harm.
    """
    assert read_id(body) == "a"
