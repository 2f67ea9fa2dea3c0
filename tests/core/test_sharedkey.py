"""Shared Key: the documented rule, and the examples that two official signers agree on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksubmit.core.sharedkey import Signer, decode_key, signature, string_to_sign

KEY = "YW4gZXhhbXBsZSBrZXksIG5vdCBhIHNlY3JldDogMDEyMzQ1Njc4OQ=="
DATE = "Wed, 01 Jan 2025 00:00:00 GMT"
VERSION = ("api-version", "2024-07-01.20.0")


def test_post_is_signed_as_the_official_signers_do() -> None:
    """
    A collection of 105 bytes is signed as azure-batch 14 and 15 sign it.
    """
    text = string_to_sign(
        "POST",
        "myaccount",
        "/jobs/job-1/addtaskcollection",
        [("timeout", "120"), VERSION],
        {
            "content-type": "application/json; odata=minimalmetadata",
            "content-length": "105",
            "ocp-date": DATE,
        },
    )

    assert text == (
        "POST\n\n\n105\n\napplication/json; odata=minimalmetadata\n\n\n\n\n\n\n"
        f"ocp-date:{DATE}\n/myaccount/jobs/job-1/addtaskcollection\n"
        "api-version:2024-07-01.20.0\ntimeout:120"
    )
    assert signature(decode_key(KEY), text) == "U61am2GVGoGLORPuEkPLxHsYGMDYak/2Z6rKhwPUZQM="


def test_get_with_a_filter_is_signed_decoded() -> None:
    """
    A GET has no length, and its query is signed as it reads after decoding.
    """
    text = string_to_sign(
        "get",
        "myaccount",
        "/jobs/job-1/tasks",
        [
            ("$filter", "startswith(id, 'run7-')"),
            ("$select", "id,state"),
            ("maxresults", "1000"),
            VERSION,
        ],
        {"ocp-date": DATE},
    )

    assert text == (
        f"GET\n\n\n\n\n\n\n\n\n\n\n\nocp-date:{DATE}\n/myaccount/jobs/job-1/tasks\n"
        "$filter:startswith(id, 'run7-')\n$select:id,state\n"
        "api-version:2024-07-01.20.0\nmaxresults:1000"
    )
    assert signature(decode_key(KEY), text) == "Y1XYviQTN0OgUhEY5LKyZy3C9GmN/OfC92NcrTM5KJY="


def test_delete_without_a_body_signs_length_zero() -> None:
    """
    A DELETE without a body signs a length of 0, unlike a GET.
    """
    headers = {"content-length": "0", "ocp-date": DATE}
    text = string_to_sign("DELETE", "myaccount", "/jobs/job-1", [VERSION], headers)

    assert text == (
        f"DELETE\n\n\n0\n\n\n\n\n\n\n\n\nocp-date:{DATE}\n/myaccount/jobs/job-1\n"
        "api-version:2024-07-01.20.0"
    )
    assert signature(decode_key(KEY), text) == "n1E6TM07dOAz4/P4Ft70eCyBdc1WOdIfmskCQ2J7XQY="


def test_query_names_are_folded_unless_asked_not_to() -> None:
    """
    The rule signs ``timeOut`` as ``timeout``; azure-batch 15 signs it as sent.
    """
    query = [("timeOut", "30"), VERSION]

    folded = string_to_sign("GET", "a", "/jobs", query, {})
    as_sent = string_to_sign("GET", "a", "/jobs", query, {}, fold_query_names=False)

    assert folded.endswith("/a/jobs\napi-version:2024-07-01.20.0\ntimeout:30")
    assert as_sent.endswith("/a/jobs\napi-version:2024-07-01.20.0\ntimeOut:30")


def test_values_of_one_name_are_sorted_and_joined() -> None:
    """
    A query name that occurs twice is signed once, its values sorted, with a comma between.
    """
    assert string_to_sign("GET", "a", "/", [("x", "2"), ("X", "1")], {}).endswith("/a/\nx:1,2")


def test_date_counts_only_without_ocp_date() -> None:
    """
    Date is signed in its place, unless ocp-date is there, which wins.
    """
    dated = string_to_sign("GET", "a", "/", [], {"date": DATE})
    both = string_to_sign("GET", "a", "/", [], {"date": DATE, "ocp-date": DATE})

    assert dated.split("\n")[6] == DATE
    assert both.split("\n")[6] == ""
    assert f"ocp-date:{DATE}" in both.split("\n")


def test_ocp_headers_are_sorted_on_one_line_each() -> None:
    """
    ocp- headers come sorted by name, trimmed, their line breaks made spaces.
    """
    text = string_to_sign("GET", "a", "/", [], {"ocp-z": " 1 ", "ocp-b": "x\r\ny\nz"})

    assert text.split("\n")[12:] == ["ocp-b:x y z", "ocp-z:1", "/a/"]


@pytest.mark.parametrize("text", ["not base64!", "YWJj=ZGVm", "abc", "schlüssel", "", "  "])
def test_malformed_key_is_an_error_that_does_not_quote_it(text: str) -> None:
    """
    What cannot be a key is refused, and the message does not tell what it was.
    """
    with pytest.raises(ValueError, match=r"access key|ASCII") as raised:
        decode_key(text)

    assert not text.strip() or text not in str(raised.value)


def test_key_may_have_space_around_it() -> None:
    """
    A key read from a file ends in a line break; that is no part of it.
    """
    assert decode_key(f" {KEY}\r\n") == decode_key(KEY)


@given(st.binary(min_size=1, max_size=200), st.text())
def test_a_signer_signs_alike(key: bytes, text: str) -> None:
    """
    What is done once a key changes no signature, also under keys longer than a block.
    """
    signer = Signer(key)

    assert [signer.sign(text), signer.sign(text)] == [signature(key, text)] * 2
