"""Where workers come for orders, and report: the coordinator's side of all lines."""

import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Protocol

import anyio
from anyio.abc import ByteStream, Listener, SocketAttribute, TaskGroup
from anyio.streams.tls import TLSStream

from bulksubmit.distribute.budget import Share
from bulksubmit.distribute.link import SILENCE_S, Call, Line, LinkLost, coordinators_end
from bulksubmit.distribute.messages import (
    Budget,
    FromWorker,
    Heard,
    Hello,
    Nothing,
    Orders,
    Report,
    ToWorker,
)
from bulksubmit.errors import SettingsError
from bulksubmit.service.endpoint import is_loopback

_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)

HELLO_S = 30.0  # For a worker that has connected to say what for.


class Desk(Protocol):
    """Who answers workers."""

    def orders_for(self, number: int) -> tuple[int, Orders] | None:
        """A generation and its orders for a worker that asks for a shard's; None: nothing to do."""

    def take_in(self, number: int, generation: int, report: Report) -> bool:
        """Take in a report; returns whether its worker is still to be heeded."""

    def gone(self, number: int, generation: int, why: str, *, silent: bool) -> None:
        """A worker is not heard any more, and has not said its last word.

        Args:
            number: Of its shard.
            generation: That it worked in.
            why: For a person.
            silent: Its connection did not end: it hangs, or its machine is gone.
        """

    def stop(self, error: Exception) -> None:
        """End the run with this error."""


@dataclass(slots=True)
class Seat:
    """A worker at its work.

    Attributes:
        number: Of its shard.
        generation: That it works in.
        line: To it.
        share: What it was told that it may do.
    """

    number: int
    generation: int
    line: Line[FromWorker, ToWorker]
    share: Share | None = None


class Hall:
    """Listens for workers, as long as the context lasts.

    Attributes:
        seats: The workers at work, by their shards.
    """

    def __init__(self, host: str, port: int, desk: Desk) -> None:
        """Prepare to listen.

        Args:
            host: The address that workers reach. On loopback the line is plain, otherwise TLS.
            port: 0 for any.
            desk: Answers them.
        """
        self._host, self._port, self._desk = host, port, desk
        self._ticket = secrets.token_urlsafe(16)
        self._fingerprint: str | None = None
        self.seats: dict[int, Seat] = {}

    async def open(self, tasks: TaskGroup) -> None:
        """Listen, until the task group is cancelled.

        Raises:
            SettingsError: if that address is none of this machine's, or the port is taken.
        """
        if not is_loopback(self._host):
            from bulksubmit.distribute.certificate import (  # noqa: PLC0415 - 30 ms, for few
                secure_line,
            )

            self._context, self._fingerprint = secure_line()
        try:
            listener = await anyio.create_tcp_listener(local_host=self._host, local_port=self._port)
        except OSError as error:
            where = f"{self._host}:{self._port or 'any port'}"
            reason = f"workers cannot be listened for at {where}: {error.strerror or error}"
            raise SettingsError(reason) from error
        self._port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - not Django
        tasks.start_soon(self._serve, listener)

    async def _serve(self, listener: Listener[ByteStream]) -> None:
        async with listener:
            await listener.serve(self._meet)

    @property
    def where(self) -> str:
        """Where workers come."""
        return f"{self._host}:{self._port}"

    def call(self, number: int) -> Call:
        """What the executor is handed for a shard."""
        return Call(self._host, self._port, self._ticket, self._fingerprint, number)

    async def tell(self, message: ToWorker) -> None:
        """Tell all workers."""
        for seat in [*self.seats.values()]:
            await tell(seat, message)

    async def share_out(self, shares: Mapping[int, Share]) -> None:
        """Tell workers what they may do, if it is something else than they were told before.

        With each shard that begins or ends the shares of all change a little, and of most by
        nothing: a hundred workers would be told two hundred times a shard.

        Args:
            shares: By shard.
        """
        for number, share in shares.items():
            seat = self.seats.get(number)
            if seat and seat.share != share:
                seat.share = share
                await tell(seat, Budget(share))

    async def close(self) -> None:
        """Hang up on all workers."""
        for seat in [*self.seats.values()]:
            await seat.line.aclose()

    async def _meet(self, stream: ByteStream) -> None:
        """Talk with whoever has connected; also if this is cancelled, hang up at the end."""
        try:
            with suppress(LinkLost, OSError, TimeoutError, *_BROKEN):
                await self._greet(stream)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.aclose_forcefully(stream)

    async def _greet(self, stream: ByteStream) -> None:
        """Take in what a worker wants; a port scan, or one that dies at once, is nobody's."""
        with anyio.fail_after(HELLO_S):
            if self._fingerprint is not None:
                stream = await TLSStream.wrap(
                    stream,
                    server_side=True,
                    ssl_context=self._context,
                    standard_compatible=False,
                )
            line = coordinators_end(stream)
            hello = await line.receive()
        if not isinstance(hello, Hello) or not hmac.compare_digest(hello.ticket, self._ticket):
            return
        ours = version("bulksubmit")
        if hello.version == ours:
            await self._seat(line, hello.shard)
        else:
            why = f"the worker has {hello.version} of bulksubmit, and its coordinator {ours}"
            await tell(Seat(hello.shard, 0, line), Nothing(why))

    async def _seat(self, line: Line[FromWorker, ToWorker], number: int) -> None:
        found = self._desk.orders_for(number)
        if found is None:
            seat = Seat(number, 0, line)
            await tell(seat, Nothing())
            return
        generation, orders = found
        if former := self.seats.pop(number, None):
            await former.line.aclose()
        seat = self.seats[number] = Seat(number, generation, line, orders.share)
        gone, silent = "", False
        try:
            gone = await self._heed(seat, orders)
        except TimeoutError:
            gone, silent = f"nothing was heard of it for {SILENCE_S:g} s", True
        except LinkLost as lost:
            gone = str(lost)
        except Exception as error:  # noqa: BLE001 - out of the group, which would wrap it
            self._desk.stop(error)
        if self.seats.get(number) is seat:
            del self.seats[number]
        self._desk.gone(number, generation, gone, silent=silent)

    async def _heed(self, seat: Seat, orders: Orders) -> str:
        """Take in its reports, to the last one; returns why, if another is not listened to."""
        await seat.line.send(orders)
        while True:
            with anyio.fail_after(SILENCE_S):
                report = await seat.line.receive()
            if not isinstance(report, Report):
                return "it does not speak as a worker does"
            if not self._desk.take_in(seat.number, seat.generation, report):
                return "another has taken its place"
            if report.ended:
                await tell(seat, Heard())
                return ""


async def tell(seat: Seat, message: ToWorker) -> None:
    """Tell one worker; one that is gone will be noticed by whoever listens to it."""
    with suppress(LinkLost):
        await seat.line.send(message)
