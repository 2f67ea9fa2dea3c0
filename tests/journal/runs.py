"""Runs of a file, begun and gone on with, on a virtual clock."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import anyio

from bulksubmit import runs
from bulksubmit.consumer import running
from bulksubmit.producer import open_source
from bulksubmit.producer.source import Source
from bulksubmit.settings import Settings
from tests.shell.doubles import (
    Beside,
    Ended,
    FakeService,
    assert_adds_up,
    make_submission,
    take_all,
)
from tests.virtual import run_virtual

ENDPOINT = "https://myaccount.westeurope.batch.azure.com"
JOB_ID = "job-1"


def begin(
    source: Source,
    *,
    job_id: str = JOB_ID,
    endpoint: str = ENDPOINT,
    on_unfinished: Literal["stop", "resume", "new"] = "stop",
    clock: Callable[[], float] = lambda: 0.0,
) -> runs.Run:
    """Begin a run, as stream() does."""
    return runs.begin(
        source,
        run_id=runs.new_run_id(),
        job_id=job_id,
        endpoint=endpoint,
        on_unfinished=on_unfinished,
        clock=clock,
    )


def run_of(
    path: Path,
    service: FakeService,
    settings: Settings | None = None,
    *,
    resume: str | None = None,
    beside: Beside | None = None,
    opened: Callable[[Source], Source] = lambda source: source,
) -> Ended:
    """One process's part of a run of a file, to its end.

    Args:
        path: The file.
        service: Where to.
        settings: How.
        resume: The run to go on with; None to begin one.
        beside: Runs along with it.
        opened: What to make of the source, once it is open.
    """

    async def flood() -> Ended:
        with closing(open_source(path)) as found:
            source = opened(found)
            work = (
                runs.resume(resume, source, clock=anyio.current_time)
                if resume
                else begin(source, on_unfinished="new", clock=anyio.current_time)
            )
            submission = make_submission(source, service, settings, work=work)
            async with running(submission) as outcomes:
                taken, error = await take_all(outcomes, beside)
        assert_adds_up(outcomes.report)
        return Ended(outcomes.report, taken, error)

    ended, _ = run_virtual(flood)
    return ended


def change_file(path: Path, how: str) -> None:
    """Change a file as people do; "edited" keeps its size, "touched" its bytes, too."""
    data = path.read_bytes()
    match how:
        case "cut":
            path.write_bytes(data[: len(data) * 3 // 4])
        case "grown":
            path.write_bytes(data + b'{"id":"new","commandLine":"x"}\n')
        case "replaced":
            other = path.with_name("other")
            other.write_bytes(data.replace(b'"t49', b'"u49'))
            other.replace(path)
        case "gone":
            path.unlink()
        case "touched":
            os.utime(path, ns=(1, 1))
        case _:
            path.write_bytes(data.replace(b'"t49', b'"u49'))
