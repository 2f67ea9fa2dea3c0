"""``bulksubmit verify``: what a job holds, compared with what a file does."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from bulksubmit.cli import KEY_VARIABLE, run_async
from bulksubmit.cli.command import Command
from bulksubmit.cli.flags import (
    account_flags,
    in_words_of_flags,
    origins_of_settings,
    shown_flags,
    target_of,
)
from bulksubmit.cli.inputs import SOURCE_HELP, source_arguments, source_spec
from bulksubmit.cli.options import (
    FLOW,
    KEPT,
    SENT,
    WRITTEN_FILE,
    action,
    complete_run,
    concurrency,
    option,
    settings_flags,
)
from bulksubmit.cli.said import tell
from bulksubmit.errors import BulkSubmitError, JournalMismatch, SettingsError
from bulksubmit.settings import Settings

if TYPE_CHECKING:
    from bulksubmit.runs import Kept

_DEFAULTS = Settings()

_EPILOG = f"""{SOURCE_HELP}
\b
What counts as a difference:
  missing  an ID of SOURCE that the job does not have; each is asked for, or 1,000 of them
  extra    an ID of the job that SOURCE does not have, unless --allow-extra
  changed  with --content: a task of that ID that has a field otherwise than SOURCE
Case is ignored in IDs. Items that --run rejected may be there or not.
\b
Environment:
  {KEY_VARIABLE}  the account's key, unless --account-key-file is given
  BULKSUBMIT_STATE_DIR    where runs keep their files
  BULKSUBMIT_CONFIG_DIR   where profiles are
  AZURE_CONFIG_DIR        where az has what `az batch account login` says
  TMPDIR                  where temporary files go, of about 60 bytes a task; with --content,
                          of twice the size of all tasks
\b
Exit codes:
  0  no difference                        4  authentication missing or refused
  1  an error in the tool                 5  could not be looked at to the end
  2  usage, or SOURCE cannot be read      8  a difference
  3  account or job not found             130, 143  interrupted
\b
Examples:
  bulksubmit verify tasks.jsonl --job-id night-1
  bulksubmit verify tasks.jsonl --job-id night-1 --content --report differences.ndjson
  bulksubmit verify --run last --fix
"""


@click.command(cls=Command, epilog=_EPILOG)
@source_arguments
@option("--job-id", group=SENT, help="The Batch job.")
@action(
    "--run",
    group=SENT,
    shell_complete=complete_run,
    metavar="RUN",
    help="Source, job and account of an earlier run, or last.",
)
@action("--content", group=SENT, is_flag=True, help="Compare what the tasks say, too.")
@action("--fix", group=SENT, is_flag=True, help="Submit what is missing, and look again.")
@action("--allow-extra", group=SENT, is_flag=True, help="Tasks that SOURCE does not have are fine.")
@action(
    "--report",
    group=KEPT,
    type=WRITTEN_FILE,
    help="A row for each difference, as NDJSON, in no order.",
)
@account_flags
@option(
    "--invalid",
    group=SENT,
    type=click.Choice(["stop", "reject"]),
    default=_DEFAULTS.invalid,
    help="At what is no task: stop, or leave it out.",
)
@option(
    "--allow-unknown",
    group=SENT,
    is_flag=True,
    help="Fields that the model does not know are fine.",
)
@option(
    "--concurrency",
    group=FLOW,
    type=concurrency,
    metavar="auto|N",
    default=_DEFAULTS.concurrency,
    help="Lists at the same time; auto is 16.",
)
@option(
    "--retry-timeout",
    group=FLOW,
    type=float,
    default=_DEFAULTS.retry_timeout_s,
    metavar="SECONDS",
    help="Give up after so long without a good answer.",
)
@shown_flags
@settings_flags
def verify(
    *,
    sources: Sequence[str],
    template: Path | None,
    sweeps: Sequence[str],
    allow_unused_columns: bool,
    job_id: str | None,
    run: str | None,
    content: bool,
    fix: bool,
    allow_extra: bool,
    report: Path | None,
    **flags: Any,
) -> None:
    """Compare what a job holds with what SOURCE does: every ID, by lists of the job.

    Nothing is changed, unless --fix submits what is missing; nothing is ever deleted. An
    interrupted look leaves nothing behind.
    """
    from bulksubmit.cli.flood import Output  # noqa: PLC0415 - aiohttp: --help goes without
    from bulksubmit.cli.verification import (  # noqa: PLC0415 - likewise
        LookedFor,
        ended,
        look,
        print_result,
    )
    from bulksubmit.runs import rejected_by  # noqa: PLC0415 - likewise
    from bulksubmit.verify import Verification  # noqa: PLC0415 - likewise

    if run is not None and (sources or sweeps or template):
        raise click.UsageError("--run brings its source: give either a SOURCE or --run")
    given = click.get_current_context().get_parameter_source("job_id")
    if run is not None and given is ParameterSource.COMMANDLINE:
        raise click.UsageError("--run brings its job: give either --job-id or --run")
    if run is None and job_id is None:
        raise click.UsageError("which job? give --job-id, or --run")
    shown = Output(
        as_json=flags["output"] == "json",
        quiet=flags["quiet"],
        progress=flags["progress"],
        log_file=flags["log_file"],
        log_as_json=flags["log_format"] == "json",
    )
    begun = Verification(job_id or "", " ".join(sources))
    try:
        if run is None:
            of_run, left_out = None, None
            spec = source_spec(
                sources,
                template=template,
                sweeps=sweeps,
                allow_unused_columns=allow_unused_columns,
            )
        else:
            kept = _find(run, flags["account_endpoint"])
            spec, of_run, left_out = kept.spec, str(kept.values["endpoint"]), rejected_by(kept)
            begun = replace(begun, job_id=str(kept.values["job"]), source=spec.label)
        looked_for = LookedFor(
            source=spec,
            content=content,
            allow_extra=allow_extra,
            fix=fix,
            report=report,
            left_out=left_out,
            settings=_settings(flags, spool=fix),
        )
        target = partial(
            target_of,
            begun.job_id,
            endpoint=flags["account_endpoint"],
            of_run=of_run,
            auth_mode=flags["auth_mode"],
            account_name=flags["account_name"],
            key_file=flags["account_key_file"],
            quiet=True,
        )
        target(quiet=flags["quiet"])  # What is missing is told before anything is read.
    except BulkSubmitError as error:
        tell(error)
        result = ended(begun, error)
    else:
        result = run_async(look, begun, looked_for, target, shown)
    print_result(result, shown)
    sys.exit(result.exit_code)


def _find(name: str, endpoint: str | None) -> "Kept":
    """A run, of that account if one is named.

    Raises:
        JournalMismatch: if it is of another.
        JournalError: if there is no such run.
    """
    from bulksubmit.runs import find  # noqa: PLC0415 - --help goes without
    from bulksubmit.service.endpoint import parse_endpoint  # noqa: PLC0415 - likewise

    kept = find(name, fixes=False)
    asked = parse_endpoint(endpoint or str(kept.values["endpoint"]))
    if asked != kept.values["endpoint"]:
        raise JournalMismatch(f"run {kept.run_id} is of {kept.values['endpoint']}, not of {asked}")
    return kept


def _settings(flags: Mapping[str, Any], *, spool: bool) -> Settings:
    try:
        return Settings(
            api_version=flags["api_version"],
            concurrency=flags["concurrency"],
            retry_timeout_s=flags["retry_timeout"],
            invalid=flags["invalid"],
            allow_unknown=flags["allow_unknown"],
            spool=spool,
            origins=origins_of_settings(),
        )
    except SettingsError as error:
        raise in_words_of_flags(error) from error


def not_begun(reason: str) -> None:
    """Print the JSON object of a command line that is none."""
    from bulksubmit.cli.flood import Output  # noqa: PLC0415 - for mistakes only
    from bulksubmit.cli.verification import ended, print_result  # noqa: PLC0415 - likewise
    from bulksubmit.verify import Verification  # noqa: PLC0415 - likewise

    print_result(
        ended(Verification("", ""), SettingsError(reason)),
        Output(as_json=True),
    )
