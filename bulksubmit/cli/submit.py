"""``bulksubmit submit``: every task of a file, to a job."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from bulksubmit.cli import KEY_VARIABLE, run_async
from bulksubmit.cli.command import Command
from bulksubmit.cli.flags import EXIT_CODES, Flags, run_flags
from bulksubmit.cli.inputs import SOURCE_HELP, source_arguments, source_spec
from bulksubmit.cli.options import SENT, action, option, settings_flags
from bulksubmit.cli.said import tell
from bulksubmit.cli.scale import Scale, worker_flags
from bulksubmit.errors import BulkSubmitError

_EPILOG = f"""{SOURCE_HELP}
\b
Environment:
  {KEY_VARIABLE}  the account's key, unless --account-key-file is given
  BULKSUBMIT_STATE_DIR    where runs keep their files
  BULKSUBMIT_CONFIG_DIR   where profiles are
  AZURE_CONFIG_DIR        where az has what `az batch account login` says
{EXIT_CODES}\b
Examples:
  bulksubmit submit tasks.jsonl --job-id night-1
  bulksubmit submit 'shards/*.json.gz' --job-id night-1 --invalid reject
  bulksubmit submit frames.csv --template task.json --job-id night-1
  generate-tasks | bulksubmit submit - --job-id night-1 --output json
"""


@click.command(cls=Command, epilog=_EPILOG)
@source_arguments
@option("--job-id", required=True, group=SENT, help="The Batch job; it must exist.")
@action(
    "--resume",
    "on_unfinished",
    group=SENT,
    flag_value="resume",
    help="Go on with the unfinished run of this source and job, if there is one.",
)
@action(
    "--new-run",
    "on_unfinished",
    group=SENT,
    flag_value="new",
    help="Begin anew, though there is an unfinished run.",
)
@option(
    "--spool",
    group=SENT,
    is_flag=True,
    help="Copy a pipe to the run's folder first, so that it can be resumed.",
)
@option(
    "--check-first",
    group=SENT,
    is_flag=True,
    help="Check all of SOURCE, duplicates too, before sending.",
)
@action(
    "--dry-run",
    group=SENT,
    is_flag=True,
    help="Do all but send: read, check, sign in, look at the job.",
)
@worker_flags
@run_flags
@settings_flags
def submit(
    *,
    sources: Sequence[str],
    template: Path | None,
    sweeps: Sequence[str],
    allow_unused_columns: bool,
    job_id: str,
    on_unfinished: Literal["resume", "new"] | None,
    spool: bool,
    check_first: bool,
    dry_run: bool,
    **flags: Any,
) -> None:
    """Submit every task of SOURCE to a job, and account for each.

    SOURCE is a file with one JSON object a line, each a task as the REST API spells it, or one
    of many other forms; see below.
    """
    from bulksubmit.cli.flood import (  # noqa: PLC0415 - aiohttp: --help goes without
        ended,
        flood,
        nothing_begun,
        print_report,
    )
    from bulksubmit.cli.rehearsal import rehearse  # noqa: PLC0415 - likewise

    scale, given = Scale.of(flags), Flags(**flags)
    try:
        scale.check()
        spec = source_spec(
            sources,
            template=template,
            sweeps=sweeps,
            allow_unused_columns=allow_unused_columns,
        )
        settings = given.settings(
            sources=sources,
            on_unfinished=on_unfinished or "stop",
            spool=spool,
            check_first=check_first,
        )
        target = given.target(job_id)
        crew = None if dry_run else scale.crew(target.credential)
    except BulkSubmitError as error:
        tell(error)
        report = ended(nothing_begun(job_id), error)
    else:
        if dry_run:
            sys.exit(run_async(rehearse, spec, target, settings, given.shown))
        report = run_async(flood, spec, target, settings, given.shown, crew)
    print_report(report, given.shown)
    sys.exit(report.exit_code)
