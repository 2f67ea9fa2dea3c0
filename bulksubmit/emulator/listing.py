"""List tasks: ``$filter`` on IDs, ``$select``, and pages.

Every condition on an ID is a range of IDs, or the two beside one; joined by ``and`` and ``or`` they
are again a list of disjoint ranges. So a page seeks where it starts and reads on: it never walks
over tasks that the filter leaves out, and ten million tasks make it no slower.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TypeAlias
from urllib.parse import quote, urlencode

from bulksubmit.emulator.answers import ServiceError
from bulksubmit.emulator.exchange import Target
from bulksubmit.emulator.store import Job, StoredTask

PAGE_MAX = 1000  # REST reference, maxresults: 1 to 1000, and 1000 if not given.

Range: TypeAlias = tuple[str, str | None]  # From an ID on, up to but without another; None: no end.
Ranges: TypeAlias = list[Range]  # Disjoint, ascending.

_EVERYTHING: Ranges = [("", None)]
_TEXT = r"'((?:[^']|'')*)'"
_CONDITION = re.compile(
    rf"\s*(?:startswith\(\s*id\s*,\s*{_TEXT}\s*\)|id\s+(eq|ne|ge|gt|le|lt)\s+{_TEXT})\s*"
)
_JOIN = re.compile(r"(?:and|or)\b")

# The recorded form. Clients are not to look inside; the odd characters, as recorded as well, see
# to it that they hand it back unharmed.
_SKIP_TOKEN_HEAD, _SKIP_TOKEN_TAIL = "WATV2:^/=", ":1$1"


def list_tasks(
    origin: str,
    job: Job,
    target: Target,
    show: Callable[[StoredTask], Mapping[str, object]],
) -> dict[str, object]:
    """One page: ``value`` and, unless it is the last one, ``odata.nextLink``.

    Args:
        origin: The service's own URL, without a slash at its end.
        job: Whose tasks.
        target: The request line.
        show: A task as the page is to have it.

    Raises:
        ServiceError: InvalidQueryParameterValue.
    """
    size = _page_size(target.parameter("maxresults"))
    ranges = parse_filter(target.parameter("$filter"))
    token = target.parameter("$skiptoken")
    if token is not None:
        ranges = _intersection(ranges, [(_after(_last_id(token)), None)])
    ids = list(islice(_ids(job, ranges), size + 1))
    page: dict[str, object] = {"value": [show(_task(job, each)) for each in ids[:size]]}
    if len(ids) > size:
        page["odata.nextLink"] = _next_link(origin, target, ids[size - 1])
    return page


def parse_filter(text: str | None) -> Ranges:
    """The ranges of folded IDs that a ``$filter`` lets through; all of them if it is None.

    ``and`` binds closer than ``or``. Of what the service can filter by there is the ID alone, and
    no parentheses.

    Raises:
        ServiceError: InvalidQueryParameterValue.
    """
    if text is None:
        return _EVERYTHING
    alternatives: list[Range] = []
    current = _EVERYTHING
    at = 0
    while True:
        condition = _CONDITION.match(text, at)
        if condition is None:
            reason = f"a condition on id is expected at position {at}"
            raise bad_parameter("$filter", text, reason)
        current = _intersection(current, _ranges(condition))
        at = condition.end()
        if at == len(text):
            return _union([*alternatives, *current])
        join = _JOIN.match(text, at)
        if join is None:
            raise bad_parameter("$filter", text, f"'and' or 'or' is expected at position {at}")
        if join[0] == "or":
            alternatives += current
            current = _EVERYTHING
        at = join.end()


def bad_parameter(name: str, value: str, reason: str) -> ServiceError:
    """The error for a query parameter's value."""
    values = {"QueryParameterName": name, "QueryParameterValue": value, "Reason": reason}
    return ServiceError("InvalidQueryParameterValue", values)


def _ranges(condition: re.Match[str]) -> Ranges:
    prefix, operator, text = condition.groups()
    value = (prefix if text is None else text).replace("''", "'").lower()
    match operator:
        case None:
            return [(value, value + "\U0010ffff")]
        case "eq":
            return [(value, _after(value))]
        case "ne":
            return [("", value), (_after(value), None)]
        case "ge":
            return [(value, None)]
        case "gt":
            return [(_after(value), None)]
        case "le":
            return [("", _after(value))]
        case _:
            return [("", value)]


def _after(task_id: str) -> str:
    """The least text above an ID."""
    return task_id + "\0"


def _intersection(ours: Ranges, theirs: Ranges) -> Ranges:
    both = []
    for our_low, our_high in ours:
        for their_low, their_high in theirs:
            low = max(our_low, their_low)
            highs = [high for high in (our_high, their_high) if high is not None]
            high = min(highs, default=None)
            if high is None or low < high:
                both.append((low, high))
    return both


def _union(ranges: Iterable[Range]) -> Ranges:
    joined: Ranges = []
    for low, high in sorted(ranges, key=lambda each: each[0]):
        if joined and (joined[-1][1] is None or low <= joined[-1][1]):
            last_low, last_high = joined[-1]
            end = None if last_high is None or high is None else max(last_high, high)
            joined[-1] = (last_low, end)
        else:
            joined.append((low, high))
    return joined


def _ids(job: Job, ranges: Ranges) -> Iterator[str]:
    for low, high in ranges:
        yield from job.task_ids(low, high)


def _task(job: Job, task_id: str) -> StoredTask:
    task = job.task(task_id)
    assert task is not None, "the list and the tasks are one"
    return task


def _page_size(text: str | None) -> int:
    if text is None:
        return PAGE_MAX
    try:
        size = int(text)
    except ValueError:
        raise bad_parameter("maxresults", text, "MaxResults must be a number") from None
    if size < 1:
        raise bad_parameter("maxresults", text, "MaxResults cannot be less than 1")
    if size > PAGE_MAX:
        raise bad_parameter("maxresults", text, f"MaxResults cannot be more than {PAGE_MAX}")
    return size


def _last_id(token: str) -> str:
    if not (token.startswith(_SKIP_TOKEN_HEAD) and token.endswith(_SKIP_TOKEN_TAIL)):
        raise bad_parameter("$skiptoken", token, "the token is not one of ours")
    return token[len(_SKIP_TOKEN_HEAD) : -len(_SKIP_TOKEN_TAIL)]


def _next_link(origin: str, target: Target, last_id: str) -> str:
    kept = [(name, value) for name, value in target.query if name != "$skiptoken"]
    query = urlencode(kept, safe="$,()'", quote_via=quote)
    token = f"{_SKIP_TOKEN_HEAD}{last_id}{_SKIP_TOKEN_TAIL}"
    return f"{origin}{target.path}?{query}&$skiptoken={token}"
