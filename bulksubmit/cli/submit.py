"""``bulksubmit submit``: every task of a file, to a job."""

import sys
from pathlib import Path

import click

from bulksubmit.cli import run_async
from bulksubmit.cli.flood import Output, Target, ended, flood, nothing_begun, print_report
from bulksubmit.cli.options import KEY_VARIABLE, credential, option
from bulksubmit.core.wire import API_VERSION
from bulksubmit.errors import BulkSubmitError, SettingsError
from bulksubmit.settings import RejectsBound, Settings

_DEFAULTS = Settings()

_FILE = click.Path(dir_okay=False, path_type=Path)

_EPILOG = f"""\b
Environment:
  {KEY_VARIABLE}  the account's key, unless --account-key-file is given
  BULKSUBMIT_STATE_DIR    where runs keep their files
\b
Exit codes:
  0  every task exists                    5  stopped with tasks unsettled
  1  an error in the tool                 6  every task settled, some rejected
  2  usage or validation; nothing sent    7  the job takes no tasks
  3  account or job not found             130, 143  interrupted
  4  authentication missing or refused
\b
Examples:
  bulksubmit submit tasks.jsonl --job-id night-1
  generate-tasks | bulksubmit submit - --job-id night-1 --output json
"""


@click.command(epilog=_EPILOG)
@click.argument("source")
@option("--job-id", required=True, help="The Batch job; it must exist.")
@option(
    "--account-endpoint", azure="AZURE_BATCH_ENDPOINT", help="https://NAME.REGION.batch.azure.com"
)
@option(
    "--account-name",
    azure="AZURE_BATCH_ACCOUNT",
    help="The account's name.  [default: the endpoint's first part]",
)
@option("--account-key-file", type=_FILE, help="A file that holds the account's key.")
@option(
    "--auth-mode",
    azure="AZURE_BATCH_AUTH_MODE",
    type=click.Choice(["shared_key", "aad"], case_sensitive=False),
    help="By key or by Microsoft Entra ID.  [default: by key if there is one]",
)
@option("--api-version", default=API_VERSION, help="Of the service.")
@option(
    "--server-timeout",
    type=int,
    default=_DEFAULTS.server_timeout_s,
    metavar="SECONDS",
    help="How long the service may work on one request.",
)
@option("--concurrency", type=int, default=_DEFAULTS.concurrency, help="Requests in flight.")
@option(
    "--max-tasks-per-request",
    type=int,
    default=_DEFAULTS.tasks_per_request_max,
    help="The service takes at most 100.",
)
@option(
    "--max-request-bytes",
    type=int,
    default=_DEFAULTS.request_bytes_max,
    help="A larger task is rejected unsent; 0 for no bound. The service's is 1,048,576.",
)
@option(
    "--max-buffer",
    type=int,
    default=_DEFAULTS.buffer_bytes_max,
    metavar="BYTES",
    help="Of unsettled tasks in memory; the reader waits.",
)
@option(
    "--retry-timeout",
    type=float,
    default=_DEFAULTS.retry_timeout_s,
    metavar="SECONDS",
    help="Give up after so long without a single task settled.",
)
@option(
    "--max-rejects",
    metavar="N|P%",
    help="Stop when more tasks are rejected.  [default: if the first 1,000 all are]",
)
@option(
    "--rejects", type=_FILE, help="Rejected tasks and why, as NDJSON.  [default: the run's folder]"
)
@option("--results", type=_FILE, help="One JSON line a task as it settles.")
@option("--output", type=click.Choice(["table", "json"]), default="table", help="Of the report.")
@option("--quiet", is_flag=True, help="No progress; errors only.")
@option("--log-file", type=_FILE, help="One line a request, and more.")
@option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Of the log.")
def submit(
    *,
    source: str,
    job_id: str,
    account_endpoint: str | None,
    account_name: str | None,
    account_key_file: Path | None,
    auth_mode: str | None,
    api_version: str,
    server_timeout: int,
    concurrency: int,
    max_tasks_per_request: int,
    max_request_bytes: int,
    max_buffer: int,
    retry_timeout: float,
    max_rejects: str | None,
    rejects: Path | None,
    results: Path | None,
    output: str,
    quiet: bool,
    log_file: Path | None,
    log_format: str,
) -> None:
    """Submit every task of SOURCE to a job, and account for each.

    SOURCE is a file with one JSON object a line, each a task as the REST API spells it, or -
    for standard input.
    """
    shown = Output(
        as_json=output == "json",
        quiet=quiet,
        log_file=log_file,
        log_as_json=log_format == "json",
    )
    try:
        settings = Settings(
            api_version=api_version,
            server_timeout_s=server_timeout,
            concurrency=concurrency,
            tasks_per_request_max=max_tasks_per_request,
            request_bytes_max=max_request_bytes,
            buffer_bytes_max=max_buffer,
            retry_timeout_s=retry_timeout,
            rejects_bound=RejectsBound.parse(max_rejects) if max_rejects else RejectsBound(),
            rejects_path=rejects,
            results_path=results,
        )
        target = _target(job_id, account_endpoint, account_name, account_key_file, auth_mode)
    except BulkSubmitError as error:
        click.echo(f"error: {error}", err=True)
        report = ended(nothing_begun(job_id), error)
    else:
        opened = sys.stdin.buffer if source == "-" else source
        report = run_async(flood, opened, target, settings, shown)
    print_report(report, shown)
    sys.exit(report.exit_code)


def _target(
    job_id: str,
    endpoint: str | None,
    account_name: str | None,
    key_file: Path | None,
    auth_mode: str | None,
) -> Target:
    if not endpoint:
        raise SettingsError(
            "no endpoint: give --account-endpoint, or set AZURE_BATCH_ENDPOINT, to what the "
            "portal shows, such as https://myaccount.westeurope.batch.azure.com"
        )
    proof = credential(
        auth_mode=auth_mode, endpoint=endpoint, account_name=account_name, key_file=key_file
    )
    return Target(job_id, endpoint, proof)
