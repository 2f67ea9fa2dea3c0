"""Whether a job holds exactly what a source does: each ID looked at, none counted by the service.

    source ─▶ expected ─┐
                        ├─▶ compared, part by part ─▶ missing, extra, changed
    job's list ─▶ found ┘

Both sides go to disk, sorted into parts by the hash of their IDs, so that memory is bounded
whatever their sizes. A job's list is cut into stretches of IDs that are listed at the same time.
What it does not show is asked for by its ID before it is called missing: lists may lag.
"""

import os
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

import anyio

from bulksubmit.core.bitmap import Bitmap
from bulksubmit.core.events import Event, Observer
from bulksubmit.core.taskcheck import Checker
from bulksubmit.core.taskspec import explain_id
from bulksubmit.errors import SettingsError
from bulksubmit.observe.report import ExitCode
from bulksubmit.producer import open_source
from bulksubmit.producer.source import AnySource
from bulksubmit.producer.spec import SourceSpec
from bulksubmit.producer.spool import spool
from bulksubmit.service.auth import EntraToken, SharedKey, as_credential
from bulksubmit.service.transport import Transport
from bulksubmit.settings import Settings
from bulksubmit.verify.difference import Difference, Kind
from bulksubmit.verify.report import Rows, Verification, Where, counted
from bulksubmit.verify.verifier import Verifier

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncSupportsTokenInfo, AsyncTokenCredential

AnyCredential: TypeAlias = "SharedKey | EntraToken | AsyncTokenCredential | AsyncSupportsTokenInfo"


class Verifying:
    """A verification under way.

    Attributes:
        verifier: Does it.
    """

    def __init__(
        self,
        verifier: Verifier,
        where: Where,
        *,
        name: str,
        job_id: str,
        content: bool,
        allow_extra: bool,
        report: Path | None,
    ) -> None:
        self.verifier, self._where = verifier, where
        self._name, self._job_id = name, job_id
        self._content, self._allow_extra, self._report = content, allow_extra, report
        self._started_s = anyio.current_time()

    @property
    def result(self) -> Verification:
        """What it has come to up to now."""
        verifier, difference = self.verifier, self.verifier.difference
        result = Verification(
            job_id=self._job_id,
            source=self._name,
            invalid=verifier.invalid,
            left_out=verifier.left_out,
            asked=verifier.asked,
            requests=verifier.requests,
            elapsed_s=round(anyio.current_time() - self._started_s, 3),
            report_path=str(self._report) if self._report else None,
        )
        if difference is None:
            return result
        same = self._is_same(difference)
        code = ExitCode.CONVERGED if same else ExitCode.DIFFERENT
        result = counted(result, difference, self._where, content=self._content)
        return replace(result, same=same, exit_code=int(code))

    def _is_same(self, difference: Difference) -> bool:
        counts = difference.counts
        counting = set(Kind) - ({Kind.EXTRA} if self._allow_extra else set())
        return not any(counts[kind] for kind in counting)


@asynccontextmanager
async def verifying(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    content: bool = False,
    allow_extra: bool = False,
    left_out: Bitmap | None = None,
    report: Path | None = None,
    settings: Settings | None = None,
    observer: Observer | None = None,
) -> AsyncIterator[Verifying]:
    """Prepare to compare a source with a job; the verifier's look() does it.

    Args:
        source: As in verify(), and so the others that are not named here.
        job_id: The Batch job.
        endpoint: The account's.
        credential: Who we are.
        content: Compare what the tasks say, too.
        allow_extra: Extra tasks are no difference.
        left_out: Ordinals of items of the source that may be in the job or not.
        report: A file for a row for each difference.
        settings: Also ``spool``: copy a source that cannot be read twice, so that what is
            missing can be written.
        observer: Told of each request and more.

    Raises:
        SettingsError: if the settings are out of their bounds.
        SourceError: if the source cannot be opened.
        OutputError: if a file cannot be written.
    """
    if reason := explain_id(job_id):  # A job's ID has the form of a task's.
        raise SettingsError(f"the job's {reason}")
    settings, tell = settings or Settings(), observer or _tell_nobody
    checker = Checker(allow_unknown=settings.allow_unknown)
    with ExitStack() as opened:
        tasks = opened.enter_context(closing(open_source(source, checker)))
        name = tasks.name
        _spare(tasks.spec, report)
        if settings.spool and tasks.spec is None:
            folder = opened.enter_context(TemporaryDirectory(prefix="bulksubmit-"))
            copy = await spool(tasks, Path(folder) / "spool")
            asked = source if isinstance(source, SourceSpec) else SourceSpec()
            copied = replace(asked, files=(copy,))
            tasks = opened.enter_context(closing(open_source(copied, checker)))
        transport = Transport(
            endpoint,
            job_id,
            as_credential(credential),
            server_timeout_s=settings.server_timeout_s,
            observer=tell,
            api_version=settings.api_version,
        )

        def where(ordinal: int, line: int) -> str:
            # Of a copy, by the name of the original.
            return tasks.where(ordinal, line).replace(tasks.name, name, 1)

        rows = opened.enter_context(closing(Rows(report, where))) if report else None
        verifier = Verifier(
            tasks,
            transport,
            settings=settings,
            content=content,
            left_out=left_out,
            rows=rows,
            observer=tell,
            random=Random(),  # noqa: S311 - jitter
        )
        opened.enter_context(closing(verifier))
        async with transport:
            yield Verifying(
                verifier,
                where,
                name=name,
                job_id=job_id,
                content=content,
                allow_extra=allow_extra,
                report=report,
            )


async def verify(
    source: AnySource,
    *,
    job_id: str,
    endpoint: str,
    credential: AnyCredential,
    content: bool = False,
    allow_extra: bool = False,
    report: Path | None = None,
    settings: Settings | None = None,
    observer: Observer | None = None,
) -> Verification:
    """Compare a source with a job, by IDs; nothing is changed.

    Args:
        source: As submit() takes it.
        job_id: The Batch job.
        endpoint: The account's, such as ``https://myaccount.westeurope.batch.azure.com``.
        credential: SharedKey, EntraToken, or an async credential of azure-identity.
        content: Compare what the tasks say, too: every field that the source has.
        allow_extra: Tasks of the job that the source does not have are no difference.
        report: A file for a row for each difference.
        settings: Of these ``invalid``, ``allow_unknown``, ``concurrency`` (lists at the same
            time; auto is 16), ``retry_timeout_s``, ``server_timeout_s`` and ``api_version``.
        observer: Told of each request and more.

    Returns:
        What was found; look at ``same``.

    Raises:
        SettingsError: if the settings are out of their bounds.
        SourceError: if the source cannot be read, or an item of it is no task (unless
            ``invalid`` is ``reject``).
        OutputError: if the report or a temporary file cannot be written.
        ServiceRefused: if the job does not exist, or we may not ask.
        ServiceUnreachable: if nothing answers, patiently asked.
    """
    async with verifying(
        source,
        job_id=job_id,
        endpoint=endpoint,
        credential=credential,
        content=content,
        allow_extra=allow_extra,
        report=report,
        settings=settings,
        observer=observer,
    ) as under_way:
        await under_way.verifier.look()
        return under_way.result


def _spare(spec: SourceSpec | None, report: Path | None) -> None:
    """See to it that the report is not written over the source.

    Raises:
        SettingsError: if it would be.
    """
    if spec is None or report is None:
        return
    read = [*spec.files, spec.template_name, *([spec.name] if spec.name else [])]
    if os.path.realpath(report) in map(os.path.realpath, read):
        raise SettingsError(f"the source and the report are one file, {report}; name another")


def _tell_nobody(_event: Event, /) -> None:
    """The observer of those who have none."""


__all__ = ["Verification", "Verifying", "verify", "verifying"]
