"""The emulator for tests: in process, at a free port of this machine."""

import base64
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from anyio.from_thread import start_blocking_portal

from bulksubmit.core.sharedkey import decode_key
from bulksubmit.emulator.access import Access
from bulksubmit.emulator.capacity import Phase
from bulksubmit.emulator.exchange import Answer
from bulksubmit.emulator.faults import Fault, Faults, TaskScript
from bulksubmit.emulator.front import KEY_VARIABLE, Front, is_loopback, opened
from bulksubmit.emulator.server import serve
from bulksubmit.emulator.service import Script, Service
from bulksubmit.emulator.state import State
from bulksubmit.emulator.store import Job
from bulksubmit.emulator.switches import Switches

ACCOUNT_NAME = "devaccount"
# No secret: whoever can reach the emulator may know it.
ACCOUNT_KEY = base64.b64encode(b"the key of an emulator opens nothing else").decode()


class Emulator:
    """The Azure Batch service on this machine, for as long as a context is open.

    ``async with Emulator() as emulator`` serves in the loop that runs; ``with Emulator() as
    emulator`` in a thread of its own, for clients that block.

    Attributes:
        endpoint: Its URL, without a slash at its end; empty while it is not open.
        account_name: The account's name.
        account_key: The account's key, in Base64.
        service: The service itself: what it holds, what it saw, and what goes wrong from now on.
        ca_path: With ``tls``, the certificate that clients are to trust; None otherwise.
    """

    def __init__(
        self,
        *,
        jobs: str | Iterable[str] = ("job-1",),
        account_name: str = ACCOUNT_NAME,
        account_key: str = ACCOUNT_KEY,
        tls: bool = False,
        entra: bool = False,
        token_lifetime_s: int = 3600,
        faults: Faults | None = None,
        switches: Switches | None = None,
        script: Script | Iterable[Fault | Answer | None] | None = None,
        task_script: TaskScript | None = None,
        phases: Sequence[Phase] = (),
        state: Path | None = None,
        seed: int = 0,
        host: str = "127.0.0.1",
        port: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Prepare an account.

        Args:
            jobs: The ID of a job to begin with, or of several; ``service.create_job`` makes more,
                with properties.
            account_name: The account's name.
            account_key: The account's key, in Base64.
            tls: HTTPS, with a certificate made for this machine.
            entra: Tokens as well, from an authority at the same address; implies ``tls``.
            token_lifetime_s: How long each token is good for.
            faults: How often things go wrong.
            switches: How it behaves where nobody knows how the service does.
            script: What goes wrong with which request: see ``Service``.
            task_script: What goes wrong with which task.
            phases: How much it can do, and when.
            state: A file to keep the account in, opened at once and closed with the context:
                whatever a client was told is there for the next emulator of that file. Jobs that
                are in it stay as they are.
            seed: Decides all chance.
            host: The address to listen at.
            port: 0 for any free one.
            clock: POSIX time.

        Raises:
            ValueError: the key is not Base64; the host is no loopback address, and so open to
                others; a token would live for no time.
            StateError: the file cannot be used.
        """
        if not is_loopback(host):
            raise ValueError(f"the host {host!r} is no loopback address, such as 127.0.0.1")
        if token_lifetime_s < 1:
            raise ValueError(f"token_lifetime_s is {token_lifetime_s}; a token lives for 1 or more")
        self._key = decode_key(account_key)
        Access(account_name)  # Is the name one?
        self.endpoint = ""
        self.account_name = account_name
        self.account_key = account_key
        self.ca_path: Path | None = None
        self._state = State(state, account_name=account_name) if state is not None else None
        self.service = Service(
            random=Random(seed),  # noqa: S311  Repeatable on purpose.
            faults=faults,
            script=script,
            task_script=task_script,
            phases=phases,
            switches=switches,
            scheme="https" if tls or entra else "http",
            state=self._state,
        )
        kept = {job.id.lower() for job in self.service.jobs()}
        for job_id in [jobs] if isinstance(jobs, str) else jobs:
            if job_id.lower() not in kept:
                self.service.create_job(job_id, now_s=clock())
        self._tls, self._entra, self._token_lifetime_s = tls, entra, token_lifetime_s
        self._front = Front()
        self._host, self._port, self._clock = host, port, clock
        self._serving: AbstractAsyncContextManager[None] | None = None
        self._thread = ExitStack()

    def job(self, job_id: str = "job-1") -> Job:
        """The job of that ID: its tasks, its state.

        Raises:
            ServiceError: JobNotFound.
        """
        return self.service.job(job_id)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead ``bulksubmit``, ``az batch`` and azure-identity here."""
        found = {
            "AZURE_BATCH_ACCOUNT": self.account_name,
            "AZURE_BATCH_ENDPOINT": self.endpoint,
            KEY_VARIABLE: self.account_key,
        }
        return found | self._front.variables(self.endpoint)

    async def __aenter__(self) -> Self:
        self._serving = self._serve()
        await self._serving.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._serving is not None, "it is left after it was entered"
        await self._serving.__aexit__(kind, error, traceback)

    def __enter__(self) -> Self:
        with ExitStack() as thread:
            portal = thread.enter_context(start_blocking_portal(name="emulator"))
            thread.enter_context(portal.wrap_async_context_manager(self))
            self._thread = thread.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.__exit__(kind, error, traceback)

    @asynccontextmanager
    async def _serve(self) -> AsyncIterator[None]:
        with (
            self._state or nullcontext(),
            opened(
                tls=self._tls, entra=self._entra, token_lifetime_s=self._token_lifetime_s
            ) as front,
        ):
            self._front, self.ca_path = front, front.ca_path
            self.service.access = Access(self.account_name, self._key, front.bearer)
            async with serve(
                self.service,
                host=self._host,
                port=self._port,
                clock=self._clock,
                doors=front.doors,
                ssl_context=front.ssl_context,
            ) as server:
                self.endpoint = server.endpoint
                yield
