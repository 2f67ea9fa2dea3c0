"""Conditional headers: an operation is done only if a job or task is as the client knows it."""

from collections.abc import Mapping

from bulksubmit.core.wire import TICKS_PER_S, etag, to_ticks
from bulksubmit.emulator.answers import ServiceError, date_s

_ETAGS, _DATES = ("if-match", "if-none-match"), ("if-modified-since", "if-unmodified-since")


def is_unchanged(headers: Mapping[str, str], modified_ticks: int, *, read: bool) -> bool:
    """Whether to answer that nothing has changed, by a 304.

    Args:
        headers: Of the request, names in lower case.
        modified_ticks: When the job or task was last modified, in .NET ticks.
        read: The operation only looks at it.

    Raises:
        ServiceError: 412 ConditionNotMet, if the operation is not to be done; InvalidHeaderValue
            for a date that is none; MultipleConditionHeadersNotSupported for more than one ETag
            or more than one date. That one of each may stand together is inferred: HTTP has the
            ETag go first.
    """
    given = {name: headers[name] for name in (*_ETAGS, *_DATES) if name in headers}
    if not given:
        return False
    if len(given.keys() & set(_ETAGS)) > 1 or len(given.keys() & set(_DATES)) > 1:
        raise ServiceError("MultipleConditionHeadersNotSupported")
    modified_s = (modified_ticks - to_ticks(0)) // TICKS_PER_S  # HTTP dates are whole seconds.
    unchanged = False
    match given:
        case {"if-match": tag} if not _matches(tag, modified_ticks):
            raise ServiceError("ConditionNotMet")
        case {"if-none-match": tag}:
            unchanged = _matches(tag, modified_ticks)
        case {"if-modified-since": date}:
            unchanged = modified_s <= _date_s("If-Modified-Since", date)
    latest = given.get("if-unmodified-since") if "if-match" not in given else None
    if latest is not None and modified_s > _date_s("If-Unmodified-Since", latest):
        raise ServiceError("ConditionNotMet")
    if unchanged and not read:
        raise ServiceError("ConditionNotMet")
    return unchanged


def _matches(header: str, modified_ticks: int) -> bool:
    """Whether one of the ETags is this one; the service's own have no quotes, a client's may."""
    tags = {tag.strip().removeprefix("W/").strip('"') for tag in header.split(",")}
    return "*" in tags or etag(modified_ticks) in tags


def _date_s(name: str, text: str) -> float:
    try:
        return date_s(text)
    except ValueError:
        values = {"HeaderName": name, "HeaderValue": text}
        raise ServiceError("InvalidHeaderValue", values) from None
