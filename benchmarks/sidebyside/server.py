"""A lean service: answers collections of tasks as the service does, and keeps nothing of them.

The emulator checks, remembers and lists what it is sent; this server finds the IDs and answers,
so that the client is what limits a run. It speaks just as much HTTP as the clients here do:
bodies with a Content-Length, one request at a time on a connection that is kept open, answers in
chunks as the service sends them.

``python -m benchmarks.sidebyside.server`` writes a line with its endpoint and, of HTTPS, the
certificate that is to be trusted. For each line that it reads it writes a line of JSON: what it
saw since the last one (see ``Seen``). It ends with its input.
"""

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from ssl import SSLContext
from typing import cast

from benchmarks.task_file import ID_DIGITS, ID_START

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_QUOTED_START = f'"{ID_START}'.encode()

# A result is these three, with the task's ID between each two.
_BEFORE = b'{"status":"Success","taskId":"'
_BETWEEN = (
    b'","eTag":"0x8DDC23F7EC4C6E1","lastModified":"2025-07-13T19:00:12.2031841Z",'
    b'"location":"https://bench.westeurope.batch.azure.com/jobs/bench/tasks/'
)
_AFTER = b'"}'
_OPEN = (
    b'{"odata.metadata":"https://bench.westeurope.batch.azure.com/$metadata#taskaddresult",'
    b'"value":['
)
_CLOSE = b"]}"
_FAILED = (
    b'{"status":"ServerError","taskId":"%b","error":{"code":"OperationTimedOut","message":'
    b'{"lang":"en-US","value":"Operation could not be completed within the specified time."}}}'
)
_JOB = (
    b'{"odata.metadata":"https://bench.westeurope.batch.azure.com/$metadata#jobs/@Element",'
    b'"id":"bench","state":"active","usesTaskDependencies":false,"onAllTasksComplete":"noaction",'
    b'"onTaskFailure":"noaction","priority":0,"executionInfo":{"poolId":"pool"}}'
)
_HEAD = (
    b"HTTP/1.1 %b\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json; odata=minimalmetadata\r\nServer: Microsoft-HTTPAPI/2.0\r\n"
    b"DataServiceVersion: 3.0\r\nrequest-id: 1ef17bd0-ceee-435a-afcb-3edd37448ebe\r\n"
    b"Date: Sun, 13 Jul 2025 19:00:12 GMT\r\n\r\n"
)
_OK, _NOT_FOUND = _HEAD % b"200 OK", _HEAD % b"404 Not Found"


@dataclass(slots=True)
class Seen:
    """What the server saw, and what it took.

    Attributes:
        requests: That add tasks.
        tasks: In all of them; one that was sent twice counts twice.
        added: Of these, answered with Success.
        connections: That were opened.
        at_once_max: Requests that add tasks, in the server at one time.
        first_s: When the first of them began to arrive, by the monotonic clock; 0 for never.
        last_s: When the last of their answers was written.
        cpu_s: User and system time of the server in between.
    """

    requests: int = 0
    tasks: int = 0
    added: int = 0
    connections: int = 0
    at_once_max: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    cpu_s: float = 0.0


class Service:
    """What all connections share."""

    def __init__(self, *, latency_s: float, server_error: float) -> None:
        self.latency_s = latency_s
        self.seen = Seen()
        self._at_once = 0
        self._cpu_first_s = 0.0
        self._server_error = server_error
        self._random = Random(1)  # noqa: S311  Not for secrets.
        self._forms: dict[int, list[bytes]] = {}

    def begun(self) -> None:
        """A request that adds tasks begins to arrive."""
        self._at_once += 1
        seen = self.seen
        seen.at_once_max = max(seen.at_once_max, self._at_once)
        if not seen.requests:
            seen.first_s, self._cpu_first_s = time.monotonic(), time.process_time()
        seen.requests += 1

    def ended(self) -> None:
        """Its answer is written."""
        self._at_once -= 1
        self.seen.last_s = time.monotonic()

    def told(self) -> Seen:
        """What was seen since the last time."""
        seen, self.seen = self.seen, Seen()
        if seen.requests:
            seen.cpu_s = time.process_time() - self._cpu_first_s
        return seen

    def answer(self, line: bytes, body: bytes) -> bytes:
        """The whole answer to a request."""
        method, path, _ = line.split(b" ", 2)
        path = path.partition(b"?")[0]
        if method == b"POST" and path.endswith(b"/addtaskcollection"):
            return _chunked(_OK, self._results(body))
        if method == b"GET" and path.endswith(b"/jobs/bench"):
            return _chunked(_OK, _JOB)
        return _chunked(_NOT_FOUND, b'{"code":"JobNotFound"}')

    def _results(self, body: bytes) -> bytes:
        size = ID_DIGITS
        start = ID_START.encode()
        ids = [start + part[:size] for part in body.split(_QUOTED_START)[1:]]
        self.seen.tasks += len(ids)
        if self._server_error:
            entries = [self._entry(each) for each in ids]
            return _OPEN + b",".join(entries) + _CLOSE
        self.seen.added += len(ids)
        # The form is filled in place: a join of ready pieces is all that a usual request takes.
        form = self._forms.get(len(ids)) or self._forms.setdefault(len(ids), _form(len(ids)))
        form[1::4] = ids
        form[3::4] = ids
        return b"".join(form)

    def _entry(self, task_id: bytes) -> bytes:
        if self._random.random() < self._server_error:
            return _FAILED % task_id
        self.seen.added += 1
        return b"".join((_BEFORE, task_id, _BETWEEN, task_id, _AFTER))


def _form(tasks: int) -> list[bytes]:
    """A body's pieces; the places 1, 3, 5, ... are for IDs, two a task."""
    form = [_OPEN + _BEFORE, b"", _BETWEEN, b""]
    for _ in range(tasks - 1):
        form += [_AFTER + b"," + _BEFORE, b"", _BETWEEN, b""]
    return [*form, _AFTER + _CLOSE]


def _chunked(head: bytes, body: bytes) -> bytes:
    return b"%b%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)


class Connection(asyncio.Protocol):
    """One request at a time: gathers it, answers it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.WriteTransport
        self._parts: list[bytes] = []
        self._missing = 0  # Bytes of the body that are still to come.
        self._line = b""  # Of the request whose body is coming.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.WriteTransport", transport)
        self._service.seen.connections += 1

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._parts.append(data)
        if not self._line:
            data = self._head(data)
        if self._line:
            self._missing -= len(data)
            if self._missing <= 0:
                self._whole()

    def _head(self, data: bytes) -> bytes:
        """Take in the head, if all of it is here; gives what of the body came with it."""
        if len(self._parts) > 1:
            data = b"".join(self._parts)
        head, end, rest = data.partition(_HEAD_END)
        if not end:
            return data
        self._line = head.partition(b"\r\n")[0]
        _, _, length = head.lower().partition(_LENGTH)
        self._missing = int(length.partition(b"\r\n")[0] or 0)
        self._parts = [rest]
        if self._line.startswith(b"POST"):
            self._service.begun()
        return rest

    def _whole(self) -> None:
        parts, line = self._parts, self._line
        answer = self._service.answer(line, parts[0] if len(parts) == 1 else b"".join(parts))
        self._parts, self._line = [], b""
        adds = line.startswith(b"POST")
        if self._service.latency_s and adds:
            self._loop.call_later(self._service.latency_s, self._write, answer, adds)
        else:
            self._write(answer, adds)

    def _write(self, answer: bytes, adds: bool) -> None:  # noqa: FBT001  An argument of a callback.
        self._transport.write(answer)
        if adds:
            self._service.ended()


async def _serve(service: Service, tls: SSLContext | None, shown: str) -> None:
    loop = asyncio.get_running_loop()
    # A flood of 100 connects at once.
    server = await loop.create_server(
        lambda: Connection(service), "127.0.0.1", 0, ssl=tls, backlog=1024
    )
    port = server.sockets[0].getsockname()[1]
    print(f"{'https' if tls else 'http'}://127.0.0.1:{port}{shown}", flush=True)
    ended = asyncio.Event()

    def asked() -> None:
        if sys.stdin.readline():
            print(json.dumps(asdict(service.told())), flush=True)
        else:
            ended.set()

    loop.add_reader(sys.stdin, asked)
    await ended.wait()
    loop.remove_reader(sys.stdin)
    server.close()


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--server-error", type=float, default=0.0, help="share of the tasks")
    parser.add_argument("--tls", type=Path, metavar="FOLDER", help="for the certificate")
    given = parser.parse_args()
    service = Service(latency_s=given.latency_ms / 1000, server_error=given.server_error)
    tls, shown = None, ""
    if given.tls:
        from bulksubmit.emulator.tls import make_tls  # noqa: PLC0415  Only HTTPS needs it.

        made = make_tls(given.tls, now_s=time.time())
        tls, shown = made.context, f" {made.ca_path}"
    try:
        import uvloop  # noqa: PLC0415  A server without is a slower one.
    except ImportError:
        asyncio.run(_serve(service, tls, shown))
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(service, tls, shown))


if __name__ == "__main__":
    main()
