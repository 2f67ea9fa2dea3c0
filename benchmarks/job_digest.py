"""Lists a job's tasks with all that they are, and prints their number and a digest.

A process of its own: see ``forms``. It shares no code with the client but the signature.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from email.utils import formatdate
from http import HTTPStatus
from http.client import HTTPConnection
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import xxhash

from benchmarks.flood import KEY
from benchmarks.task_forms import bodies
from bulksubmit.core.limits import API_VERSION
from bulksubmit.core.sharedkey import decode_key, signature, string_to_sign

# What the service says of a task besides what was sent: none of it depends on the form.
_ITS_OWN = frozenset(
    [
        *("url", "eTag", "creationTime", "lastModified", "state", "stateTransitionTime"),
        *("userIdentity", "requiredSlots", "executionInfo"),
    ]
)
# The constraints that it fills in.
_CONSTRAINTS = {
    "maxWallClockTime": "P10675199DT2H48M5.4775807S",
    "retentionTime": "P7D",
    "maxTaskRetryCount": 0,
}


def digest(tasks: Iterable[dict[str, Any]]) -> str:
    """The number of tasks, and a digest of all their members: the same in any order."""
    count = total = 0
    for task in tasks:
        count += 1
        total += xxhash.xxh3_128_intdigest(orjson.dumps(task, option=orjson.OPT_SORT_KEYS))
    return f"{count} {total % 2**128:032x}"


def wanted(texts: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Tasks as the job is to have them."""
    for text in texts:
        task = orjson.loads(text)
        task["constraints"] = _CONSTRAINTS | task.get("constraints", {})
        yield task


def swept(path: Path) -> Iterator[bytes]:
    """The tasks of a sweep's file, told as plainly as can be."""
    found = tomllib.loads(path.read_text())
    text = orjson.dumps(found["task"]).decode()
    for values in product(*map(_values, found["sweep"].values())):
        filled = text
        for name, value in zip(found["sweep"], values, strict=True):
            filled = filled.replace(f"{{{name}}}", value)
        yield filled.encode()


def _values(given: str | list[object]) -> list[str]:
    if isinstance(given, list):
        return [str(value) for value in given]
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", given)
    if not ends:
        raise ValueError(f"{given!r} is neither a list nor a plain range")
    return [f"{n:0{len(ends[1])}}" for n in range(int(ends[1]), int(ends[2]) + 1)]


def listed(endpoint: str) -> Iterator[dict[str, Any]]:
    """Tasks of the job ``bench`` as they are listed."""
    parts = urlsplit(endpoint)
    connection = HTTPConnection(parts.hostname or "", parts.port)
    target = f"/jobs/bench/tasks?api-version={API_VERSION}"
    while target:
        page = orjson.loads(_get(connection, target))
        for task in page["value"]:
            yield {name: value for name, value in task.items() if name not in _ITS_OWN}
        after = urlsplit(page.get("odata.nextLink", ""))
        target = f"{after.path}?{after.query}" if after.query else ""
    connection.close()


def _get(connection: HTTPConnection, target: str) -> bytes:
    parts = urlsplit(target)
    date = formatdate(usegmt=True)
    query = parse_qsl(parts.query)
    text = string_to_sign("GET", "devaccount", parts.path, query, {"date": date})
    authorization = f"SharedKey devaccount:{signature(decode_key(KEY), text)}"
    connection.request("GET", target, headers={"Date": date, "Authorization": authorization})
    response = connection.getresponse()
    answer = response.read()
    if response.status != HTTPStatus.OK:
        raise RuntimeError(f"list tasks: {response.status}: {answer[:300]!r}")
    return answer


def main() -> None:
    """Of the emulator's job at an endpoint; or of so many tasks, or a sweep's, in such a job."""
    match sys.argv[1]:
        case url if "://" in url:
            print(digest(listed(url)))
        case count if count.isdecimal():
            print(digest(wanted(bodies(int(count)))))
        case path:
            print(digest(wanted(swept(Path(path)))))


if __name__ == "__main__":
    main()
