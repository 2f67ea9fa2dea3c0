"""The library's calls: stream(), resume(), submit() and submit_sync()."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from anyio import to_thread

from bulksubmit.consumer import Outcomes, Work, running
from bulksubmit.core.events import Event, Noted, Observer
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.taskspec import explain_id
from bulksubmit.errors import JournalMismatch, SettingsError
from bulksubmit.journal import Journal
from bulksubmit.loop import loop_runs, run_async
from bulksubmit.nothing import SPOOL, forget_if_nothing
from bulksubmit.observe.report import Report, Tally
from bulksubmit.producer import open_source
from bulksubmit.producer.source import AnySource, Source
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.spool import spool
from bulksubmit.runs import Run, begin, find, new_run_id, run_folder
from bulksubmit.runs import resume as go_on
from bulksubmit.service.auth import EntraToken, SharedKey, as_credential
from bulksubmit.service.endpoint import parse_endpoint
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings
from bulksubmit.submission import Submission

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential

    from bulksubmit.distribute.crew import AnyExecutor, Crew

AnyCredential: TypeAlias = "SharedKey | EntraToken | AsyncTokenCredential | AsyncSupportsTokenInfo"


@asynccontextmanager
async def stream(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    settings: Settings | None = None,
    observer: Observer | None = None,
    executor: "AnyExecutor | None" = None,
    label: str | None = None,
) -> AsyncIterator[Outcomes]:
    """Submit every task of a source to a job, and hand out each outcome as it settles.

    Leaving the context before the iteration's end, or cancelling it, stops the run in order: the
    answers in flight are taken in, up to the settings' ``drain_s``.

    Args:
        source: A path, a SourceSpec, a binary stream, or an iterable or async iterable of
            tasks, each as bytes, str, dict, or a model of the official SDK.
        job_id: The Batch job; it must exist.
        endpoint: The account's, such as ``https://myaccount.westeurope.batch.azure.com``.
        credential: SharedKey, EntraToken, or an async credential of azure-identity.
        settings: How it should go.
        observer: Told of each request and more, as it happens. What it raises, which it should
            not, ends the run.
        executor: Workers that share the work: a number of processes of this machine, a Dask
            client, an executor shaped like those of ``concurrent.futures``, or a
            ``bulksubmit.distribute.Crew``. None for this process alone. The source must be one
            that they can open too. Then only tasks that were rejected or abandoned are handed
            out; the others are counted.
        label: What a source without a name of its own is called in lists of runs, if a copy of
            it is kept.

    Raises:
        SettingsError: if the settings are out of their bounds.
        SourceError: if the source cannot be opened, or (while iterating) a task is not one.
        OutputError: if a rejects or results file cannot be made or written.
        ServiceRefused: (while iterating) if the service will take no task at all.
        ServiceUnreachable: (while iterating) if nothing answers at the start.
        NotConverged: (while iterating) if it ended with tasks unsettled for any other reason.
    """
    if reason := explain_id(job_id):  # A job's ID has the form of a task's.
        raise SettingsError(f"the job's {reason}")
    settings = settings or Settings()
    prover, crew = as_credential(credential), None
    run_id, origin = new_run_id(), parse_endpoint(endpoint)
    checker = Checker(allow_unknown=settings.allow_unknown)
    with ExitStack() as opened:
        tasks = opened.enter_context(closing(open_source(source, checker)))
        if settings.spool and tasks.spec is None:
            path = run_folder(run_id) / SPOOL
            if observer:
                observer(Noted("spool", f"a copy is made first: {path}"))
            copy = await spool(tasks, path)
            asked = source if isinstance(source, SourceSpec) else SourceSpec(name=label)
            copied = replace(asked, files=(copy,))
            tasks = opened.enter_context(closing(open_source(copied, checker)))
        if executor is not None:
            _check_shareable(tasks)
            crew = await to_thread.run_sync(_crew, executor, prover)
        work = begin(
            tasks,
            run_id=run_id,
            job_id=job_id,
            endpoint=origin,
            on_unfinished=settings.on_unfinished,
            clock=asyncio.get_running_loop().time,
            plan=crew.plan if crew else None,
        )
        opened.callback(forget_if_nothing, work)
        async with _work(
            work,
            tasks,
            origin=origin,
            job_id=job_id,
            credential=prover,
            settings=settings,
            observer=observer,
            crew=crew,
        ) as outcomes:
            yield outcomes


@asynccontextmanager
async def resume(
    run_id: str,
    *,
    credential: AnyCredential,
    endpoint: str | None = None,
    settings: Settings | None = None,
    observer: Observer | None = None,
    executor: "AnyExecutor | None" = None,
) -> AsyncIterator[Outcomes]:
    """Go on with a run of this machine: hands out the outcomes that are still to come.

    The report covers the whole run; of a run that has converged it is all there is.

    Args:
        run_id: Its name, or ``last`` for the run last written to.
        credential: Taken afresh: none is ever kept.
        endpoint: The account's, if it is to be checked; None for the run's own.
        settings: As in stream().
        observer: As in stream().
        executor: As in submit(), of a run that was begun with one; None for as many processes of
            this machine as it has cores.

    Raises:
        JournalMismatch: if the source or the account is not what it was.
        JournalError: if there is no such run, if its journal cannot be trusted, or if another
            process works on it.
        BulkSubmitError: as in stream().
    """
    run = find(run_id)
    found = run.values
    # Of a run that has converged nothing more is read: its file may be gone by now.
    source: AnySource = () if run.state == "converged" else run.spec
    origin = str(found["endpoint"])
    if endpoint is not None and parse_endpoint(endpoint) != origin:
        name, asked = found["run_id"], parse_endpoint(endpoint)
        raise JournalMismatch(f"run {name} cannot go on: it is of {origin}, not of {asked}")
    settings = settings or Settings()
    checker = Checker(allow_unknown=settings.allow_unknown)
    with closing(open_source(source, checker)) as tasks:
        prover = as_credential(credential)
        crew = None
        if executor is not None and run.state != "converged":
            crew = await to_thread.run_sync(_crew, executor, prover)
        work = go_on(str(found["run_id"]), tasks, clock=asyncio.get_running_loop().time)
        async with _work(
            work,
            tasks,
            origin=origin,
            job_id=str(found["job"]),
            credential=prover,
            settings=settings,
            observer=observer,
            crew=crew,
        ) as outcomes:
            yield outcomes


@asynccontextmanager
async def _work(
    work: Run,
    source: Source,
    *,
    origin: str,
    job_id: str,
    credential: SharedKey | EntraToken,
    settings: Settings,
    observer: Observer | None,
    crew: "Crew | None",
) -> AsyncIterator[Outcomes]:
    """Wire a run that has begun to the service, and let it run."""
    with closing(work.journal):
        tally = Tally(asyncio.get_running_loop().time)
        tell = _Telling(tally, observer)
        transport = Transport(
            origin,
            job_id,
            credential,
            server_timeout_s=settings.server_timeout_s,
            observer=tell,
            api_version=settings.api_version,
        )
        random = Random()  # noqa: S311 - jitter, no secrets
        submission: Work
        if sharded := _sharded(work, crew):
            from bulksubmit.distribute.coordinator import (  # noqa: PLC0415 - for few
                Coordinator,
            )
            from bulksubmit.distribute.crew import default_crew  # noqa: PLC0415 - likewise

            submission = Coordinator(
                source,
                transport,
                crew or default_crew(credential),
                work=work,
                journal=sharded,
                account=credential.account_name if isinstance(credential, SharedKey) else None,
                settings=settings,
                observer=tell,
                relay=tell.relay if observer else None,
                tally=tally,
                random=random,
            )
        else:
            submission = Submission(
                source,
                transport,
                work=work,
                job_id=job_id,
                settings=settings,
                observer=tell,
                tally=tally,
                random=random,
            )
        tell.stop = submission.stop
        async with transport, running(submission) as outcomes:
            yield outcomes


def _crew(executor: "AnyExecutor", credential: SharedKey | EntraToken) -> "Crew":
    from bulksubmit.distribute.crew import crew_of  # noqa: PLC0415 - for few

    return crew_of(executor, credential)


def _check_shareable(source: Source) -> None:
    """See whether others can open a source, too.

    Raises:
        SettingsError: if not.
    """
    if source.spec is None:
        reason = "cannot be read by several workers: give a file, or keep a copy by spool (--spool)"
        raise SettingsError(f"{source.name} {reason}")


def _sharded(work: Run, crew: "Crew | None") -> Journal | None:
    """The journal of a run that is done by several workers; None of one that is not.

    Raises:
        SettingsError: if there are workers, and nothing for them.
    """
    if isinstance(work.journal, Journal) and work.journal.ledger:
        return work.journal
    if crew:
        reason = "was begun by one process, and is gone on with by one: leave out the workers"
        raise SettingsError(f"run {work.run_id} {reason}")
    return None


async def submit(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    settings: Settings | None = None,
    observer: Observer | None = None,
    executor: "AnyExecutor | None" = None,
) -> Report:
    """Submit every task of a source to a job.

    Args and errors are those of stream().

    Returns:
        The account of all tasks, once each is settled. Look at ``rejected``: a rejected task is
        settled.

    Raises:
        BulkSubmitError: if the run ends in any other way; its ``report`` is the account.
    """
    async with stream(
        source,
        job_id=job_id,
        endpoint=endpoint,
        credential=credential,
        settings=settings,
        observer=observer,
        executor=executor,
    ) as outcomes:
        await outcomes.drain()
    return outcomes.report


def submit_sync(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    settings: Settings | None = None,
    observer: Observer | None = None,
    executor: "AnyExecutor | None" = None,
) -> Report:
    """Submit every task of a source to a job, from a program that has no event loop.

    Args, result and errors are those of submit(). The first Ctrl-C stops the run in order, as
    leaving stream() does, and is raised as KeyboardInterrupt when all is saved; a second one does
    not wait for the answers in flight. Either way the run of a file can be resumed.

    Raises:
        RuntimeError: if a loop runs in this thread, as in a notebook: there it is
            ``await submit(...)``.
    """
    if loop_runs():
        raise RuntimeError(
            "an event loop runs here already, as it does in a notebook and in async functions: "
            "write await submit(...) instead of submit_sync(...)"
        )
    begun: Run | None = None

    async def flood() -> Report:
        nonlocal begun
        async with stream(
            source,
            job_id=job_id,
            endpoint=endpoint,
            credential=credential,
            settings=settings,
            observer=observer,
            executor=executor,
        ) as outcomes:
            begun = outcomes.run
            await outcomes.drain()
        return outcomes.report

    try:
        return run_async(flood)
    except KeyboardInterrupt as interrupt:
        if begun and begun.journal.path:
            interrupt.add_note(f"to go on: bulksubmit runs resume {begun.run_id}")
        raise


class _Telling:
    """Tells the tally, and then the user's observer.

    Attributes:
        stop: Given what the observer raised, which is told nothing afterwards.
    """

    def __init__(self, tally: Tally, observer: Observer | None) -> None:
        self._tally, self._observer = tally, observer
        self.stop: Callable[[Exception], None]

    def __call__(self, event: Event, /) -> None:
        self._tally(event)
        self.relay(event)

    def relay(self, event: Event, /) -> None:
        """Tell the user's observer alone."""
        if self._observer is None:
            return
        try:
            self._observer(event)
        except Exception as error:  # noqa: BLE001 - in here it would cost an answer
            self._observer = None
            self.stop(error)
