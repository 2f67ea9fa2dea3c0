"""The ideal loop: the least that a client on aiohttp can do and still keep the contract.

Every task is checked in full, by the same definitions as bulksubmit's; every request has an ID
and a signature of its own; the results are matched with the tasks; and a journal gets a row a
request. There is nothing else: no retries, no time-outs, no limits, no report.
"""

import asyncio
import sqlite3
import sys
import tempfile
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import aiohttp
import msgspec
import uvloop
from yarl import URL

from bulksubmit.core.sharedkey import decode_key, signature, string_to_sign
from bulksubmit.core.taskcheck import Checker

_BLOCK_BYTES = 1 << 20
_TASKS_MAX = 100
_ROWS_A_COMMIT = 50
_CONTENT_TYPE = "application/json; odata=minimalmetadata"
_PATH = "/jobs/bench/addtaskcollection"
_QUERY = (("api-version", "2024-07-01.20.0"), ("timeout", "30"))
_TABLE = "CREATE TABLE settled (first TEXT, tasks INTEGER, request_id TEXT)"


class _Error(msgspec.Struct, gc=False):
    code: str = ""


class _Result(msgspec.Struct, gc=False, rename="camel"):
    status: str
    task_id: str
    error: _Error | None = None


class _Results(msgspec.Struct, gc=False):
    value: list[_Result]


def _collections(path: Path) -> Iterator[list[bytes]]:
    """The file's lines, a hundred at a time."""
    lines: list[bytes] = []
    rest = b""
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK_BYTES):
            *more, rest = (rest + block).split(b"\n")
            lines += more
            whole = len(lines) - len(lines) % _TASKS_MAX
            for start in range(0, whole, _TASKS_MAX):
                yield lines[start : start + _TASKS_MAX]
            del lines[:whole]
    if lines:
        yield lines


class Loop:
    """The flood; ``added`` is how many tasks the service confirmed."""

    def __init__(self, endpoint: str, path: Path, journal: Path) -> None:
        self.added = 0
        query = "&".join(f"{name}={value}" for name, value in _QUERY)
        self._url = URL(f"{endpoint}{_PATH}?{query}", encoded=True)
        self._key = decode_key("YSBrZXkgZm9yIGJlbmNobWFya3M=")
        self._check = Checker().check
        self._decode = msgspec.json.Decoder(_Results).decode
        self._collections = _collections(path)
        self._journal = sqlite3.connect(journal, isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", _TABLE, "BEGIN"):
            self._journal.execute(statement)
        self._rows = 0

    async def run(self, in_flight: int) -> None:
        """Flood, with so many requests at a time."""
        connector = aiohttp.TCPConnector(limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=None)
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
            asyncio.TaskGroup() as posts,
        ):
            for _ in range(in_flight):
                posts.create_task(self._post_all(session))
        self._journal.execute("COMMIT")
        self._journal.close()

    async def _post_all(self, session: aiohttp.ClientSession) -> None:
        for bodies in self._collections:
            ids, findings = self._check(bodies)
            if findings:
                raise ValueError(findings)
            body = b'{"value":[' + b",".join(bodies) + b"]}"
            async with session.post(self._url, data=body, headers=self._headers(body)) as response:
                answer = await response.read()
                if response.status != 200:  # noqa: PLR2004  OK.
                    raise ValueError(response.status, answer)
                self._settle(ids, answer, response.headers["request-id"])

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {
            "accept": "application/json",
            "client-request-id": str(uuid.uuid4()),
            "content-length": str(len(body)),
            "content-type": _CONTENT_TYPE,
            "ocp-date": formatdate(usegmt=True),
        }
        text = string_to_sign("POST", "devaccount", _PATH, _QUERY, headers)
        headers["authorization"] = f"SharedKey devaccount:{signature(self._key, text)}"
        return headers

    def _settle(self, ids: list[str], answer: bytes, request_id: str) -> None:
        unsettled = set(ids)
        for result in self._decode(answer).value:
            if result.status.lower() == "success":
                unsettled.remove(result.task_id)
        if unsettled:
            raise ValueError(unsettled)
        self.added += len(ids)
        row = (ids[0], len(ids), request_id)
        self._journal.execute("INSERT INTO settled VALUES (?, ?, ?)", row)
        self._rows += 1
        if self._rows % _ROWS_A_COMMIT == 0:
            self._journal.execute("COMMIT")
            self._journal.execute("BEGIN")


def main(endpoint: str, path: str, in_flight: str) -> None:
    """Flood, and say how many tasks were added."""
    with tempfile.TemporaryDirectory() as folder:
        loop = Loop(endpoint, Path(path), Path(folder, "journal.db"))
        uvloop.run(loop.run(int(in_flight)))
    print(loop.added)


if __name__ == "__main__":
    main(*sys.argv[1:])
