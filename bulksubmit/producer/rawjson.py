"""JSON whose values stay bytes: looked through, never made into anything else."""

import re

import msgspec

from bulksubmit.producer.lines import ITEM_BYTES_MAX

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_BYTE = re.compile(r" \(byte (\d+)\)")
_CUT_SHORT_BYTES = 64  # At the end of a text that was cut: what is wrong there is the cut.

_elements = msgspec.json.Decoder(list[msgspec.Raw])


def decoded(text: bytes) -> list[bytes] | None:
    """The elements of an array's inside; None if it is none."""
    try:
        return [*map(bytes, _elements.decode(b"[%b]" % text))]
    except (msgspec.MsgspecError, RecursionError):
        return None


def one_line(body: bytes) -> bytes:
    """A task is one line wherever we write one; the tokens stay as they are."""
    try:
        return msgspec.json.format(body, indent=-1)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # No task, only to be shown: and it stays none, as strings hold neither of the two.
        return body.replace(b"\n", b"\r")


def explain(text: bytes, line: int) -> str | None:
    """Why this is no JSON value, if it is none.

    Args:
        text: All of it.
        line: In which it begins.
    """
    if not (fault := _fault(text)):
        return None
    reason, at = fault
    if at is None:
        return reason[:1].lower() + reason[1:]
    line += text.count(b"\n", 0, at)
    return f"{reason} at byte {at + 1} of the item, in line {line}"


def is_json(text: bytes) -> bool:
    """Whether this is a JSON value, and not nested too deep to tell."""
    return bool(decoded(_without_surrogates(text)))


def goes_wrong(text: bytes) -> bool:
    """Whether a text is longer than an item may be, and so much of it begins no JSON value."""
    if len(text) <= ITEM_BYTES_MAX:
        return False
    fault = _fault(text[:ITEM_BYTES_MAX])
    return (
        fault is not None and fault[1] is not None and fault[1] < ITEM_BYTES_MAX - _CUT_SHORT_BYTES
    )


def _without_surrogates(text: bytes) -> bytes:
    """As many bytes. Half a pair is JSON, if no text: that is for the checker to say."""
    if b"\\ud" in text or b"\\uD" in text:
        return _SURROGATE.sub(rb"\\u0020", text)
    return text


def _fault(text: bytes) -> tuple[str, int | None] | None:
    """What is wrong with JSON, and at which byte; None where more is to come."""
    try:
        _elements.decode(b"[%b]" % _without_surrogates(text))
    except RecursionError:
        return None  # Brackets balance, as far as anybody looks.
    except msgspec.MsgspecError as error:
        reason = str(error).removeprefix("JSON is malformed: ")
        if found := _BYTE.search(reason):
            return reason[: found.start()], int(found[1]) - 1  # Without the bracket.
        return reason, None
    return None


def ends_early(text: bytes) -> bool:
    """Whether what is wrong with this JSON is that something is missing at its end."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.MsgspecError as error:
        return "truncated" in str(error)  # msgspec's word for it.
    return False
