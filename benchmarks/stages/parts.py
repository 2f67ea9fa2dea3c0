"""Each stage by itself, on the production code: what is timed, and what is made ready before."""

from collections.abc import Callable, Coroutine, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeAlias

from bulksubmit.core.account import BEGINNING
from bulksubmit.core.events import RequestEnded
from bulksubmit.core.model import Attempt, Bounds, Outcome, Send, Task
from bulksubmit.core.reconciler import Reconciler
from bulksubmit.core.taskcheck import Checker, Finding
from bulksubmit.core.tasks import Columns
from bulksubmit.core.wire import encode_collection
from bulksubmit.journal import COMMIT_PERIOD_S, Journal
from bulksubmit.observe.causes import Asked
from bulksubmit.observe.report import Tally
from bulksubmit.observe.speed import Speed
from bulksubmit.producer.duplicates import CHUNK_IDS, DuplicateCheck
from bulksubmit.producer.lines import LineParser
from bulksubmit.producer.opening import BLOCK_BYTES, open_file
from bulksubmit.record import Identity
from bulksubmit.service.auth import SharedKey
from bulksubmit.service.replies import Answer, reply_to

REQUEST_TASKS = 100
REQUESTS = 160  # So many as stand for the rest; the tasks of all of them are read and checked.
REQUESTS_PER_S = 1_500.0  # How often the journal sees one, by its own clock.

# Runs once over all tasks of the bench: what is timed. It may be made anew each time.
Once: TypeAlias = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the way.

    Attributes:
        name: For the table.
        begin: Makes ready what it needs, untimed; what that returns is timed.
    """

    name: str
    begin: Callable[[], Once]


class _TrustsAll(Checker):
    """Finds nothing, and takes no time for it."""

    def __init__(self, ids: list[str]) -> None:
        super().__init__()
        self._given, self._at = ids, 0

    def check(self, bodies: Sequence[bytes]) -> tuple[list[str], dict[int, Finding]]:
        """The next IDs."""
        begin, self._at = self._at, self._at + len(bodies)
        return self._given[begin : self._at], {}


class Parts:
    """The tasks of a file, and what becomes of them at each stage.

    Attributes:
        tasks: How many there are.
    """

    def __init__(self, path: Path, folder: Path) -> None:
        """Read a file of REQUESTS full collections.

        Args:
            path: The file.
            folder: For journals.
        """
        self._path, self._folder = path, folder
        self._bodies = path.read_bytes().splitlines()
        self.tasks = len(self._bodies)
        self._ids, _ = Checker().check(self._bodies)
        self._tasks = self._columns()
        self._attempts = [self._attempt(number) for number in range(REQUESTS)]
        self._requests = [encode_collection(attempt.tasks) for attempt in self._attempts]
        self._answers = [Answer(200, _HEADERS, _answer(a.tasks), 0.0) for a in self._attempts]
        self._outcomes = [self._settled(attempt) for attempt in self._attempts]

    def stages(self) -> list[Stage]:
        """All stages, in the order in which a task comes to them."""
        return [
            Stage("read, split", self._read),
            Stage("validate", self._validate),
            Stage("dedupe", self._dedupe),
            Stage("partition", self._partition),
            Stage("encode", self._encode),
            Stage("sign", self._sign),
            Stage("decode", self._decode),
            Stage("settle", self._settle),
            Stage("journal", self._journal),
            Stage("observe", self._observe),
        ]

    # --- The stages ------------------------------------------------------------------------

    def _read(self) -> Once:
        checker = _TrustsAll(self._ids)

        def read() -> None:
            parser = LineParser("bench", at=BEGINNING, checker=checker)
            with closing(open_file(str(self._path))) as opened:
                offset = 0
                while data := opened.read_at(offset, BLOCK_BYTES):
                    parser.feed(data)
                    offset += len(data)
            parser.finish()

        return read

    def _validate(self) -> Once:
        return lambda: Checker().check(self._bodies)

    def _dedupe(self) -> Once:
        with closing(DuplicateCheck(self._folder)):
            pass  # So that what it imports late is there.

        def dedupe() -> None:
            with closing(DuplicateCheck(self._folder, chunk_ids=min(CHUNK_IDS, self.tasks))) as ids:
                ids.add(self._columns(), self.tasks)
                ids.find()

        return dedupe

    def _partition(self) -> Once:
        reconciler, tasks = _reconciler(), self._columns()
        _ = tasks.folded  # The look for duplicates has made it by then.

        def partition() -> None:
            reconciler.admit(tasks)
            for _ in range(REQUESTS):
                reconciler.next_step(now_s=0.0, in_flight_max=REQUESTS)

        return partition

    def _encode(self) -> Once:
        return lambda: [encode_collection(attempt.tasks) for attempt in self._attempts]

    def _sign(self) -> Once:
        key = SharedKey("devaccount", "YSBrZXkgZm9yIGJlbmNobWFya3M=")
        query = (("api-version", "2024-07-01.20.0"), ("timeout", "30"))

        async def sign() -> None:
            for body in self._requests:
                headers = _SENT_HEADERS | {"content-length": str(len(body))}
                await key.authorization("POST", "/jobs/bench/addtaskcollection", query, headers)

        return lambda: _run(sign())

    def _decode(self) -> Once:
        return lambda: [reply_to(answer) for answer in self._answers]

    def _settle(self) -> Once:
        reconciler = _reconciler()
        reconciler.admit(self._tasks)
        attempts = [_sent(reconciler) for _ in range(REQUESTS)]
        replies = [reply_to(answer) for answer in self._answers]

        def settle() -> None:
            for attempt, reply in zip(attempts, replies, strict=True):
                reconciler.settle(attempt, reply, now_s=1.0)

        return settle

    def _journal(self) -> Once:
        folder, times = TemporaryDirectory(dir=self._folder), _Times()
        journal = Journal.begin(Path(folder.name, "run"), _IDENTITY, times.now)
        counts = journal.counts

        def record() -> None:
            for attempt, outcomes in zip(self._attempts, self._outcomes, strict=True):
                times.now_s += 1.0 / REQUESTS_PER_S
                journal.will_send(attempt)
                journal.record(outcomes, (), in_order=True)
                counts.added += len(outcomes)
                journal.commit_if_due(counts)
            # The share of a commit that is due by now.
            if times.now_s > COMMIT_PERIOD_S / 2:
                journal.commit(counts)
            journal.close()
            folder.cleanup()

        return record

    def _observe(self) -> Once:
        times = _Times()
        tally = Tally(times.now)
        asked = Asked(concurrency=16, auto=False, max_rate=None, buffer_bytes_max=2**25)
        tally.speed = Speed(asked, times.now)

        def observe() -> None:
            for attempt, outcomes, body in zip(
                self._attempts, self._outcomes, self._requests, strict=True
            ):
                tally(_ended(attempt, len(body)))
                tally.record(outcomes, (), first=True)

        return observe

    # --- What they need --------------------------------------------------------------------

    def _columns(self) -> Columns:
        """All tasks, nothing of which is known beyond them."""
        return Columns(range(self.tasks), range(1, self.tasks + 1), self._ids, self._bodies)

    def _attempt(self, number: int) -> Attempt:
        tasks = self._tasks[number * REQUEST_TASKS : (number + 1) * REQUEST_TASKS]
        return Attempt(number + 1, f"{number:036}", tasks, 0)

    def _settled(self, attempt: Attempt) -> Sequence[Outcome]:
        reconciler = _reconciler()
        reconciler.admit(attempt.tasks)
        reply = reply_to(self._answers[attempt.number - 1])
        return reconciler.settle(_sent(reconciler), reply, now_s=1.0)


class _Times:
    """A clock that is set by hand."""

    now_s = 0.0

    def now(self) -> float:
        """What it shows."""
        return self.now_s


def _reconciler() -> Reconciler:
    bounds = Bounds(REQUEST_TASKS, 1_000_000, retry_timeout_s=1800.0, server_timeout_s=30.0)
    guid = "12345678-1234-4321-8888-123456789abc"
    return Reconciler(bounds, guid=guid, random=Random(1))  # noqa: S311 - jitter, no secrets


def _sent(reconciler: Reconciler) -> Attempt:
    match reconciler.next_step(now_s=0.0, in_flight_max=REQUESTS):
        case Send(attempt):
            return attempt
        case step:
            raise RuntimeError(step)


def _run(coroutine: Coroutine[object, None, None]) -> None:
    """Run one that waits for nothing: a loop would take longer than it."""
    with suppress(StopIteration):
        coroutine.send(None)


def _answer(tasks: Sequence[Task]) -> bytes:
    place = "https://bench.westeurope.batch.azure.com"
    mark = (
        '","eTag":"0x8DDC23F7EC4C6E1","lastModified":"2025-07-13T19:00:12.2031841Z",'
        f'"location":"{place}/jobs/bench/tasks/'
    )
    results = ",".join(
        f'{{\r\n      "status":"Success","taskId":"{task.id}{mark}{task.id}"\r\n    }}'
        for task in tasks
    )
    head = f'"odata.metadata":"{place}/$metadata#taskaddresult"'
    return f'{{\r\n  {head},"value":[\r\n    {results}\r\n  ]\r\n}}'.encode()


def _ended(attempt: Attempt, body_bytes: int) -> RequestEnded:
    return RequestEnded(
        operation="add_task_collection",
        method="POST",
        url="https://bench.westeurope.batch.azure.com/jobs/bench/addtaskcollection",
        attempt=attempt.number,
        client_request_id=attempt.client_request_id,
        request_id="1ef17bd0-ceee-435a-afcb-3edd37448ebe",
        status=200,
        reply="answered",
        reason=None,
        tasks=len(attempt.tasks),
        resent=0,
        bytes_sent=body_bytes,
        latency_s=0.1,
    )


_HEADERS = {"request-id": "1ef17bd0-ceee-435a-afcb-3edd37448ebe"}
_SENT_HEADERS = {
    "accept": "application/json",
    "accept-encoding": "gzip, deflate",
    "return-client-request-id": "true",
    "user-agent": "bulksubmit/0.1.0",
    "content-type": "application/json; odata=minimalmetadata",
    "client-request-id": "12345678-1234-4321-8888-000000000001",
    "ocp-date": "Sun, 13 Jul 2025 19:00:12 GMT",
}
_IDENTITY = Identity(
    run_id="bench",
    job_id="bench",
    endpoint="https://bench.westeurope.batch.azure.com",
    source="bench",
    source_spec="{}",
    source_files="[]",
    begun_at="2025-07-13T19:00:12Z",
    version="0",
)
