"""What callers write, for the type checker: it is never run.

mypy checks it along with everything else, and an ignored error that is none is an error.
"""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import BinaryIO, assert_type

from azure.batch.models import BatchTaskCreateContent
from azure.identity.aio import DefaultAzureCredential

from bulksubmit import (
    EntraToken,
    NotConverged,
    Outcome,
    RejectsBound,
    Report,
    Settings,
    SharedKey,
    Verdict,
    stream,
    submit,
    submit_sync,
)
from bulksubmit.core.events import Event, Progressed

ENDPOINT = "https://myaccount.westeurope.batch.azure.com"
KEY = SharedKey("myaccount", "a2V5")


async def sources(
    *,
    path: Path,
    file: BinaryIO,
    lines: Iterable[bytes],
    texts: list[str],
    dicts: AsyncIterator[dict[str, object]],
    plain_dicts: list[dict[str, str]],
    models: Iterable[BatchTaskCreateContent],
    mixed: list[bytes | str],
) -> None:
    """Everything that can be submitted."""
    await submit("tasks.jsonl", job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(path, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(file, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(lines, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(texts, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(dicts, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(plain_dicts, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(models, job_id="j", endpoint=ENDPOINT, credential=KEY)
    await submit(mixed, job_id="j", endpoint=ENDPOINT, credential=KEY)
    # Numbers are no tasks.
    await submit([1, 2], job_id="j", endpoint=ENDPOINT, credential=KEY)  # type: ignore[list-item]


async def credentials(path: Path) -> None:
    """Who we may be."""
    async with DefaultAzureCredential() as credential:
        await submit(path, job_id="j", endpoint=ENDPOINT, credential=credential)
        await submit(path, job_id="j", endpoint=ENDPOINT, credential=EntraToken(credential))
    # A key alone does not say whose it is.
    await submit(path, job_id="j", endpoint=ENDPOINT, credential="a2V5")  # type: ignore[arg-type]


def observe(event: Event, /) -> None:
    """An observer is a function."""
    match event:
        case Progressed(settled=settled, expected=expected):
            assert_type(settled, int)
            assert_type(expected, int | None)


def from_a_script(path: Path) -> None:
    """Without a loop, the same arguments."""
    report = submit_sync(
        path,
        job_id="j",
        endpoint=ENDPOINT,
        credential=KEY,
        settings=Settings(concurrency=8),
        observer=observe,
    )
    assert_type(report, Report)


async def results(path: Path) -> None:
    """What comes back."""
    settings = Settings(concurrency=8, rejects_bound=RejectsBound(count_max=10))
    try:
        report = await submit(
            path,
            job_id="j",
            endpoint=ENDPOINT,
            credential=KEY,
            settings=settings,
            observer=observe,
        )
    except NotConverged as error:
        assert_type(error.report, Report | None)
    else:
        assert_type(report, Report)
        assert_type(report.as_dict(), dict[str, object])
    async with stream(path, job_id="j", endpoint=ENDPOINT, credential=KEY) as outcomes:
        async for outcome in outcomes:
            assert_type(outcome, Outcome)
            assert_type(outcome.verdict, Verdict)
        outcomes.stop("enough")
        assert_type(outcomes.report, Report)
    settings.concurrency = 9  # type: ignore[misc]  # Settings do not change under a run.
