"""Workers that only say that they have submitted their shards: see ``shards_coordinator``.

A process of its own. It is told on standard input which calls to run, a line of JSON each, and
writes a line when a worker has its orders (``begun``, and the time) and when it has ended
(``ended``, and its shard). They speak to the coordinator as real ones do, in the same reports as
often; only that they send nothing to a service.
"""

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from importlib.metadata import version

import anyio

from benchmarks.shards_files import LINE_BYTES
from bulksubmit.core.account import Place
from bulksubmit.core.events import RequestEnded
from bulksubmit.core.history import SAMPLE_S, Life, Sample
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.distribute.link import Call, Line, LinkLost, connected
from bulksubmit.distribute.messages import (
    Ended,
    FromWorker,
    Gauges,
    Heard,
    Hello,
    Orders,
    ToWorker,
)
from bulksubmit.distribute.shardjournal import REPORT_S, ShardJournal
from bulksubmit.loop import run_async
from bulksubmit.producer.opening import BLOCK_BYTES

REJECTED_EVERY = 100_000  # Of so many tasks one is refused for good.
_COLLECTION = 100
_BLOCK_TASKS = BLOCK_BYTES // LINE_BYTES


class _Worker:
    """Does a shard at a steady rate."""

    def __init__(self, line: Line[ToWorker, FromWorker], orders: Orders, rate: float) -> None:
        self._line, self._rate = line, rate
        self._events = orders.events
        self._first_line = orders.shard.line or 1
        self._file, self._begin = orders.shard.file, orders.shard.begin
        self._tasks = orders.shard.bytes // LINE_BYTES
        self._journal = ShardJournal(
            orders, time.monotonic, gauges=self._gauges, ready=lambda: None
        )
        self._journal.history.begin(Life(""))
        if orders.count_lines:
            self._journal.lines = self._tasks
        self._counts = self._journal.counts
        self._at = len(self._journal.settled)  # All before are settled, and none from there on.
        self._span = 0

    async def run(self) -> None:
        """To its last word."""
        last_s = time.monotonic()
        while self._at < self._tasks:
            await anyio.sleep(REPORT_S)
            now_s = time.monotonic()
            self._settle(min(self._tasks, self._at + max(1, int(self._rate * (now_s - last_s)))))
            last_s = now_s
            if self._at < self._tasks:
                await self._line.send(self._journal.take(self._counts))
        self._counts.source_complete = True
        ended = Ended(sent_below=self._tasks, failure=None)
        await self._line.send(self._journal.last(self._counts, ended))
        while not isinstance(await self._line.receive(), Heard):
            pass

    def _settle(self, end: int) -> None:
        """All tasks up to there are settled."""
        journal, counts, first = self._journal, self._counts, self._at
        journal.settled.add_range(first, end)
        rejected = range(-(-first // REJECTED_EVERY) * REJECTED_EVERY, end, REJECTED_EVERY)
        for ordinal in rejected:
            outcome = self._rejected(ordinal)
            journal.record([outcome], [outcome], in_order=False)
        for block in range(-(-first // _BLOCK_TASKS), -(-end // _BLOCK_TASKS)):
            ordinal = block * _BLOCK_TASKS
            offset = self._begin + ordinal * LINE_BYTES
            journal.place(Place(ordinal, offset, self._first_line + ordinal, self._file))
        requests = -(-(end - first) // _COLLECTION)
        for number in range(requests if self._events else 0):
            journal.observe(_request(number))
        counts.total = end
        counts.rejected += len(rejected)
        counts.added += end - first - len(rejected)
        counts.requests += requests
        counts.bytes_sent += (end - first) * LINE_BYTES
        counts.attempts[1] = counts.attempts.get(1, 0) + end - first
        for _ in range(int(REPORT_S / SAMPLE_S)):
            journal.history.add(_sample(self._span * SAMPLE_S, end - first, requests))
            self._span += 1
        self._at = end

    def _rejected(self, ordinal: int) -> Outcome:
        return Outcome(
            ordinal=ordinal,
            line=self._first_line + ordinal,
            task_id=f"t-{ordinal:09}",
            verdict=Verdict.REJECTED,
            attempts=1,
            code="InvalidPropertyValue",
            message="The value provided for one of the properties in the request body is invalid.",
            request_id="7c5e3d0a-2f1b-4f0e-9c86-3a5d0b9e1f27",
            client_request_id="0d9e8f7a-6b5c-4d3e-8f2a-1b0c9d8e7f6a",
            body=b'{"id":"t-%09d","commandLine":"/bin/sh run.sh"}' % ordinal,
        )

    def _gauges(self) -> Gauges:
        return Gauges(
            in_flight=6,
            limit=6.25,
            limit_reason="headroom",
            limit_raised=3,
            limit_cut={"replies slowed": 2},
            retrying=12,
            in_doubt=100,
            bytes_read=self._at * LINE_BYTES,
            bytes_settled=self._at * LINE_BYTES,
            causes={"finding": self._span * SAMPLE_S, "slow": 0.5},
            recently="finding",
            troubles={"throttled (TooManyRequests)": 2},
        )


def _sample(begun_s: float, tasks: int, requests: int) -> Sample:
    figures = (6.25, 6.0, 0.0483, 0.0612, "finding")
    return Sample(begun_s, SAMPLE_S, tasks // 2, requests // 2, 0, 0, *figures)


def _request(number: int) -> RequestEnded:
    return RequestEnded(
        operation="add_task_collection",
        method="POST",
        url="http://127.0.0.1:8080/jobs/bench/addtaskcollection",
        attempt=number + 1,
        client_request_id="0d9e8f7a-6b5c-4d3e-8f2a-1b0c9d8e7f6a",
        request_id="7c5e3d0a-2f1b-4f0e-9c86-3a5d0b9e1f27",
        status=200,
        reply="answered",
        reason=None,
        tasks=_COLLECTION,
        resent=0,
        bytes_sent=_COLLECTION * LINE_BYTES,
        latency_s=0.0483,
    )


async def _run(call: Call, rate: float, room: anyio.Semaphore) -> None:
    async with room:
        with suppress(LinkLost):  # The coordinator was killed: that is measured, too.
            async with connected(call) as line:
                await line.send(Hello(call.ticket, call.shard, version("bulksubmit")))
                orders = await line.receive()
                print("begun", time.perf_counter(), flush=True)
                if isinstance(orders, Orders):
                    await _Worker(line, orders, rate).run()
    with suppress(BrokenPipeError):
        print("ended", call.shard, flush=True)


async def _serve(workers: int, rate: float) -> None:
    """Run the calls of standard input, so many at a time, until it ends."""
    lines = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    room = anyio.Semaphore(workers)
    async with anyio.create_task_group() as tasks:
        while text := await lines.readline():
            tasks.start_soon(_run, Call(**json.loads(text)), rate, room)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True, help="of each, tasks a second")
    given = parser.parse_args()
    run_async(_serve, given.workers, given.rate)
