"""The line between a coordinator and its workers: TCP, each message with its length before it.

Workers connect to the coordinator. Between machines the line is TLS, with a certificate that the
coordinator makes for the run; a worker knows it by its fingerprint, which was handed to it with the
shard, and no name needs to be right. A ticket, made for the run too, shows that a worker was handed
one. Neither says anything of the account.
"""

import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import msgspec
from anyio.abc import ByteStream
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.tls import TLSAttribute, TLSStream

from bulksubmit.distribute.messages import FromWorker, ToWorker

_LENGTH_BYTES = 4
MESSAGE_BYTES_MAX = 256 * 1024 * 1024  # Of rejected tasks, in half a second.
CONNECT_S = 30.0
# A worker reports twice a second, whatever happens; a machine that is silent for so long is gone.
SILENCE_S = 30.0

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class LinkLost(Exception):
    """The other side is gone."""


@dataclass(frozen=True, slots=True)
class Call:
    """What is handed to an executor: how a worker reaches its coordinator, and for which shard.

    Attributes:
        host: The coordinator's.
        port: Its port.
        ticket: Shows that the worker was handed the shard.
        fingerprint: SHA-256 of the coordinator's certificate, in hex; None for a plain line.
        shard: The shard's number.
    """

    host: str
    port: int
    ticket: str
    fingerprint: str | None
    shard: int

    def __repr__(self) -> str:
        return f"Call({self.host}:{self.port}, shard {self.shard})"


class Line(Generic[_In, _Out]):
    """One end of a connection."""

    def __init__(self, stream: ByteStream, decode: Callable[[bytes], _In]) -> None:
        """Talk over a stream.

        Args:
            stream: Connected.
            decode: Makes a message of bytes.
        """
        self._stream = stream
        self._bytes = BufferedByteReceiveStream(stream)
        self._decode = decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._sending = anyio.Lock()

    async def send(self, message: _Out) -> None:
        """Send a message.

        Raises:
            LinkLost: if the other side is gone.
        """
        data = self._encode(message)
        try:
            async with self._sending:
                await self._stream.send(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            raise LinkLost(str(error) or "the connection is closed") from error

    async def receive(self) -> _In:
        """The next message.

        Raises:
            LinkLost: if there will be none.
        """
        try:
            length = int.from_bytes(await self._bytes.receive_exactly(_LENGTH_BYTES), "big")
            if length > MESSAGE_BYTES_MAX:
                raise LinkLost(f"it sent {length:,} bytes at once; it is none of ours")
            return self._decode(await self._bytes.receive_exactly(length))
        except (anyio.EndOfStream, anyio.IncompleteRead) as error:
            raise LinkLost("it has closed the connection") from error
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError) as error:
            raise LinkLost(str(error) or "the connection is broken") from error
        except msgspec.MsgspecError as error:
            raise LinkLost(f"it does not speak as this version does: {error}") from error

    async def aclose(self) -> None:
        """Close the connection, whatever is under way."""
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(self._stream)


def coordinators_end(stream: ByteStream) -> Line[FromWorker, ToWorker]:
    """The other end of a line that a worker has begun."""
    decoder: msgspec.msgpack.Decoder[FromWorker] = msgspec.msgpack.Decoder(FromWorker)
    return Line(stream, decoder.decode)


@asynccontextmanager
async def connected(call: Call) -> AsyncIterator[Line[ToWorker, FromWorker]]:
    """A worker's end of the line.

    Raises:
        LinkLost: if the coordinator cannot be reached.
    """
    where = f"the coordinator at {call.host}:{call.port}"
    try:
        with anyio.fail_after(CONNECT_S):
            stream: ByteStream = await anyio.connect_tcp(call.host, call.port)
            if call.fingerprint is not None:
                stream = await _known(stream, call.fingerprint)
    except (OSError, TimeoutError, ssl.SSLError) as error:
        raise LinkLost(f"{where} cannot be reached: {error or 'no answer'}") from error
    decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
    line = Line[ToWorker, FromWorker](stream, decoder.decode)
    try:
        yield line
    finally:
        await line.aclose()


async def _known(stream: ByteStream, fingerprint: str) -> TLSStream:
    """Speak TLS with whoever has this very certificate, and nobody else."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # The fingerprint counts.
    secure = await TLSStream.wrap(stream, ssl_context=context, standard_compatible=False)
    certificate = secure.extra(TLSAttribute.peer_certificate_binary)  # noqa: S610 - not Django
    told = hashlib.sha256(certificate or b"").hexdigest()
    if not hmac.compare_digest(told, fingerprint):
        await anyio.aclose_forcefully(secure)
        raise LinkLost("somebody else answers at the coordinator's address")
    return secure
