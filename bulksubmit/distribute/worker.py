"""A worker: submits one shard as an ordinary submission, and tells its coordinator about it.

It is a plain function, run by whatever executor, in whatever thread of whatever process: it has an
event loop of its own. It outlives its coordinator by no more than the answers in flight.
"""

import os
import time
from contextlib import aclosing, closing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from bulksubmit.consumer import Outcomes, running
from bulksubmit.core.events import Event
from bulksubmit.core.pacing import AdaptiveLimit
from bulksubmit.core.shard import Unit
from bulksubmit.core.taskcheck import Checker
from bulksubmit.distribute.failures import failure_of
from bulksubmit.distribute.link import Call, Line, LinkLost, connected
from bulksubmit.distribute.messages import (
    Budget,
    Ended,
    FromWorker,
    Gauges,
    Heard,
    Hello,
    Nothing,
    Orders,
    Settled,
    Stop,
    ToWorker,
)
from bulksubmit.distribute.shardjournal import ShardJournal
from bulksubmit.errors import NotConverged, Refusal, ServiceRefused
from bulksubmit.loop import run_async
from bulksubmit.observe.report import Tally
from bulksubmit.pool import Signal
from bulksubmit.producer.shards import count_lines, open_shard
from bulksubmit.producer.source import Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.runs import Run
from bulksubmit.service.auth import EntraToken, SharedKey, as_credential, default_credential
from bulksubmit.service.transport import Transport
from bulksubmit.settings import RejectsBound, Settings
from bulksubmit.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulksubmit.api import AnyCredential

KEY_VARIABLE = "AZURE_BATCH_ACCESS_KEY"

_IDLE_S = 5.0  # A sign of life, while the job or a token is waited for.
_ORDERS_S = 60.0  # From an answering machine: all places of a shard are looked up for them.
_HEARD_S = 10.0  # For the word that the last report has come.
_STOPPED = "its coordinator has stopped it"


def run_shard(call: Call, make_credential: "Callable[[], AnyCredential] | None" = None) -> None:
    """Submit a shard, and report to the coordinator.

    Args:
        call: What the coordinator has handed out.
        make_credential: Makes a credential; None for what the environment has: the key in
            ``AZURE_BATCH_ACCESS_KEY``, or whatever azure-identity finds.

    Raises:
        LinkLost: if the coordinator cannot be reached, or is gone.
    """
    run_async(_run, call, make_credential)


async def _run(call: Call, make_credential: "Callable[[], AnyCredential] | None") -> None:
    async with connected(call) as line:
        await line.send(Hello(call.ticket, call.shard, version("bulksubmit")))
        try:
            with anyio.fail_after(_ORDERS_S):
                answer = await line.receive()
        except TimeoutError as error:
            raise LinkLost(f"the coordinator gave no orders for {_ORDERS_S:g} s") from error
        match answer:
            case Orders() as orders:
                await _Worker(line, orders, make_credential).run()
            case Nothing(why) if why:
                raise LinkLost(why)
            case _:
                pass


class _NoRows:
    """Rejected tasks are the coordinator's to write."""

    rejects_path: str | None = None
    wrote_s = 0.0

    def record(self, outcomes: object, others: object) -> None:
        """See Rows."""

    def close(self) -> None:
        """See Rows."""


class _Worker:
    def __init__(
        self,
        line: Line[ToWorker, FromWorker],
        orders: Orders,
        make_credential: "Callable[[], AnyCredential] | None",
    ) -> None:
        self._line, self._orders, self._make_credential = line, orders, make_credential
        self._ready = Signal()
        self._journal = ShardJournal(
            orders, anyio.current_time, gauges=self._gauges, ready=self._ready.set
        )
        self._tally = Tally(anyio.current_time)
        self._tally.go_on(self._journal.counts)
        self._outcomes: Outcomes | None = None
        self._submission: Submission | None = None
        self._stopped = False  # By the coordinator: what is unsettled is nobody's failure.
        self._lost: LinkLost | None = None
        self._heard = anyio.Event()  # The last report; or nothing will be, any more.

    async def run(self) -> None:
        """Submit the shard, report, and wait for the last report to be confirmed.

        Raises:
            LinkLost: if the coordinator is gone.
        """
        failure: Exception | None = None
        async with anyio.create_task_group() as listening:
            # To the very end: a message that is read by half cannot be read by another.
            listening.start_soon(self._listen)
            async with anyio.create_task_group() as reporting:
                reporting.start_soon(self._send)
                try:
                    await self._submit()
                except Exception as error:  # noqa: BLE001 - the coordinator raises it
                    failure = error
                reporting.cancel_scope.cancel()
            if isinstance(failure, NotConverged) and self._stopped:
                failure = None
            with suppress(LinkLost):  # Whoever listens is told.
                await self._say_last(failure)
            listening.cancel_scope.cancel()
        if self._lost:
            raise self._lost

    async def _say_last(self, failure: Exception | None) -> None:
        if report := self._journal.report:  # That nobody has sent any more.
            await self._line.send(report)
        ended = Ended(self._journal.sent_below, failure_of(failure) if failure else None)
        await self._line.send(self._journal.last(self._tally.counts, ended))
        with anyio.move_on_after(_HEARD_S):
            await self._heard.wait()

    async def _submit(self) -> None:
        orders = self._orders
        settings = _settings(orders)
        checker = Checker(allow_unknown=settings.allow_unknown)
        spec = SourceSpec.from_json(orders.spec)
        if orders.count_lines and orders.shard.unit is Unit.BYTES:
            self._journal.lines = await to_thread.run_sync(count_lines, spec, orders.shard)
        source = await to_thread.run_sync(
            partial(open_shard, spec, orders.shard, checker, expected=orders.expected)
        )
        self._journal.where = source.where
        async with aclosing(self._credential()) as credential:
            with closing(source):
                await self._flood(source, settings, credential)

    async def _flood(
        self, source: Source, settings: Settings, credential: SharedKey | EntraToken
    ) -> None:
        orders = self._orders
        transport = Transport(
            orders.endpoint,
            orders.job_id,
            credential,
            server_timeout_s=settings.server_timeout_s,
            observer=self._observe,
            api_version=settings.api_version,
        )
        nowhere = Path(os.devnull)  # A worker keeps no file.
        submission = self._submission = Submission(
            source,
            transport,
            work=Run(orders.run_id, nowhere, self._journal, resumed=orders.resumed),
            job_id=orders.job_id,
            settings=settings,
            observer=self._observe,
            tally=self._tally,
            random=Random(),  # noqa: S311 - jitter, no secrets
            rows=_NoRows(),
            cpu_s=time.thread_time,  # Others may run in this process.
        )
        share = orders.share
        submission.bound(concurrency=share.concurrency, max_rate=share.max_rate)
        if orders.learnt and isinstance(submission.limit, AdaptiveLimit):
            submission.limit.go_on(orders.learnt)
        async with transport, running(submission) as outcomes:
            self._outcomes = outcomes
            if self._stopped or self._lost:  # In the meantime.
                outcomes.stop(_STOPPED)
            await outcomes.drain()

    def _credential(self) -> SharedKey | EntraToken:
        if self._make_credential is not None:
            return as_credential(self._make_credential())
        if self._orders.account is None:
            return EntraToken(default_credential())
        key = os.environ.get(KEY_VARIABLE)
        if not key:
            reason = f"set {KEY_VARIABLE} in the environment of the workers, or give them a factory"
            raise ServiceRefused(Refusal.AUTHENTICATION, "no key in a worker", reason)
        return SharedKey(self._orders.account, key)

    def _observe(self, event: Event, /) -> None:
        self._tally(event)
        self._journal.observe(event)

    async def _listen(self) -> None:
        """Do what the coordinator says; without it, stop."""
        try:
            while True:
                match await self._line.receive():
                    case Budget(share) if self._submission:
                        self._submission.bound(
                            concurrency=share.concurrency, max_rate=share.max_rate
                        )
                    case Budget(share):
                        self._orders.share = share
                    case Settled() if self._submission:
                        self._submission.others_settled()
                    case Stop(at_once):
                        self._stop(at_once=at_once)
                    case Heard():
                        self._heard.set()
                    case _:
                        pass
        except LinkLost as lost:
            self._lost = None if self._heard.is_set() else lost
            self._stop(at_once=False)
            self._heard.set()

    def _stop(self, *, at_once: bool) -> None:
        self._stopped = True
        if self._outcomes:
            self._outcomes.stop(_STOPPED)
            if at_once:
                self._outcomes.cut()

    async def _send(self) -> None:
        """Send each report when it is due, and one now and then while nothing happens."""
        while True:
            await self._ready.wait(anyio.current_time() + _IDLE_S)
            report = self._journal.report or self._journal.take(self._tally.counts)
            # Whole, or what it says would be lost. Whoever listens is told of a lost line.
            with anyio.CancelScope(shield=True), suppress(LinkLost):
                await self._line.send(report)
            self._journal.report = None

    def _gauges(self) -> Gauges:
        submission, tally = self._submission, self._tally
        if submission is None:
            return Gauges()
        progress, life = submission.progress, self._journal.history.life
        report, limited, limit = progress.report, progress.limited_by, submission.limit
        return Gauges(
            in_flight=progress.in_flight,
            limit=tally.limit,
            limit_reason=tally.limit_reason,
            limit_raised=tally.limit_raised,
            limit_cut=dict(tally.limit_cut),
            retrying=progress.retrying,
            in_doubt=report.in_doubt,
            holding_s=progress.holding_s,
            bytes_read=progress.bytes_read,
            bytes_settled=progress.bytes_settled,
            causes=dict(life.causes) if life else {},
            recently=limited.cause.value if limited else None,
            troubles=dict(life.troubles) if life else {},
            learnt=limit.learnt if isinstance(limit, AdaptiveLimit) else None,
        )


def _settings(orders: Orders) -> Settings:
    """As the coordinator was told, but for what is its own business."""
    return Settings(**orders.settings, rejects_bound=RejectsBound(count_max=2**62), dedupe=False)
