"""The flags of a run: those that ``submit`` and ``runs resume`` share, and what they mean."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bulksubmit.cli.account import account_of
from bulksubmit.cli.options import (
    ACCOUNT,
    FILE,
    FLOW,
    KEPT,
    OUTPUT,
    SENT,
    WRITTEN_FILE,
    concurrency,
    option,
)
from bulksubmit.cli.origins import named, origins
from bulksubmit.core.limits import API_VERSION
from bulksubmit.errors import SettingsError
from bulksubmit.settings import RejectsBound, Settings

if TYPE_CHECKING:
    from bulksubmit.cli.flood import Output, Target
    from bulksubmit.core.model import OnExists
    from bulksubmit.observe.screen import Show

# Of a run, for the help of commands that have one.
EXIT_CODES = """\b
Exit codes:
  0  every task exists                    5  stopped with tasks unsettled
  1  an error in the tool                 6  every task settled, some rejected
  2  usage or validation; nothing sent    7  the job takes no tasks
  3  account or job not found             130, 143  interrupted
  4  authentication missing or refused
"""

_DEFAULTS = Settings()

_ACCOUNT = (
    option(
        "--account-endpoint",
        group=ACCOUNT,
        azure="AZURE_BATCH_ENDPOINT",
        help="https://NAME.REGION.batch.azure.com",
    ),
    option(
        "--account-name",
        group=ACCOUNT,
        azure="AZURE_BATCH_ACCOUNT",
        help="The account's name.  [default: the endpoint's first part]",
    ),
    option(
        "--account-key-file", group=ACCOUNT, type=FILE, help="A file that holds the account's key."
    ),
    option(
        "--auth-mode",
        group=ACCOUNT,
        azure="AZURE_BATCH_AUTH_MODE",
        type=click.Choice(["shared_key", "aad"], case_sensitive=False),
        help="By key or by Microsoft Entra ID.  [default: by key if there is one]",
    ),
    option("--api-version", group=ACCOUNT, default=API_VERSION, help="Of the service."),
)

_SHOWN = (
    option(
        "--output",
        group=OUTPUT,
        type=click.Choice(["table", "json"]),
        default="table",
        help="Of the report.",
    ),
    option("--quiet", group=OUTPUT, is_flag=True, help="No progress; errors only."),
    option(
        "--progress",
        group=OUTPUT,
        type=click.Choice(["auto", "plain", "none"]),
        default="auto",
        help="In place on a terminal; plain: a line every 10 s. SIGUSR1 asks for one.",
    ),
    option("--log-file", group=OUTPUT, type=WRITTEN_FILE, help="One line a request, and more."),
    option(
        "--log-format",
        group=OUTPUT,
        type=click.Choice(["text", "json"]),
        default="text",
        help="Of the log.",
    ),
)

_OPTIONS = (
    *_ACCOUNT,
    option(
        "--on-exists",
        group=SENT,
        type=click.Choice(["verify", "accept", "reject"]),
        default=_DEFAULTS.on_exists,
        help="At an ID that is taken: compare the task there, take it for ours, or reject ours.",
    ),
    option(
        "--invalid",
        group=SENT,
        type=click.Choice(["stop", "reject"]),
        default=_DEFAULTS.invalid,
        help="At what is no task: stop before its neighbours are sent, or reject it and go on.",
    ),
    option(
        "--allow-unknown",
        group=SENT,
        is_flag=True,
        help="Pass on fields that the model does not know.",
    ),
    option(
        "--no-dedupe", group=SENT, is_flag=True, help="Do not look for IDs that are there twice."
    ),
    option(
        "--hold-auto-terminate",
        group=SENT,
        is_flag=True,
        help="Keep the job from completing by itself while the run lasts.",
    ),
    option(
        "--then-terminate",
        group=SENT,
        is_flag=True,
        help="Let the job complete by itself once every task exists.",
    ),
    option(
        "--concurrency",
        group=FLOW,
        type=concurrency,
        metavar="auto|N",
        default=_DEFAULTS.concurrency,
        help="Requests in flight, 1 to 1,000; auto finds what the service answers best.",
    ),
    option(
        "--concurrency-max",
        group=FLOW,
        type=int,
        default=_DEFAULTS.concurrency_max,
        help="The most that auto goes up to; the service advises fewer than 100.",
    ),
    option(
        "--max-rate",
        group=FLOW,
        type=float,
        metavar="TASKS",
        help="Send at most so many tasks a second.  [default: no bound]",
    ),
    option(
        "--max-tasks-per-request",
        group=FLOW,
        type=int,
        default=_DEFAULTS.tasks_per_request_max,
        help="The service takes at most 100.",
    ),
    option(
        "--max-request-bytes",
        group=FLOW,
        type=int,
        default=_DEFAULTS.request_bytes_max,
        help="A larger task is rejected unsent; 0 for no bound. The service's is 1,048,576.",
    ),
    option(
        "--server-timeout",
        group=FLOW,
        type=int,
        default=_DEFAULTS.server_timeout_s,
        metavar="SECONDS",
        help="How long the service may work on one request.",
    ),
    option(
        "--max-buffer",
        group=FLOW,
        type=int,
        default=_DEFAULTS.buffer_bytes_max,
        metavar="BYTES",
        help="Of unsettled tasks in memory; the reader waits.",
    ),
    option(
        "--retry-timeout",
        group=FLOW,
        type=float,
        default=_DEFAULTS.retry_timeout_s,
        metavar="SECONDS",
        help="Give up after so long without a single task settled.",
    ),
    option(
        "--max-duration",
        group=FLOW,
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Stop in order after so long, to be resumed.",
    ),
    option(
        "--max-rejects",
        group=FLOW,
        metavar="N|P%",
        takes_numbers=True,
        help="Stop when more tasks are rejected.  [default: if the first 1,000 to settle all are; "
        "taken IDs do not count]",
    ),
    option(
        "--rejects",
        group=KEPT,
        type=WRITTEN_FILE,
        help="Rejected tasks and why, as NDJSON.  [default: the run's folder]",
    ),
    option(
        "--results",
        group=KEPT,
        type=WRITTEN_FILE,
        help="One JSON line a task as it settles.",
    ),
    *_SHOWN,
)


# What the settings are called on the command line, where that is not their own name.
SETTINGS_FLAGS = {
    "server_timeout_s": "--server-timeout",
    "tasks_per_request_max": "--max-tasks-per-request",
    "request_bytes_max": "--max-request-bytes",
    "buffer_bytes_max": "--max-buffer",
    "retry_timeout_s": "--retry-timeout",
    "max_duration_s": "--max-duration",
    "rejects_bound": "--max-rejects",
    "rejects_path": "--rejects",
    "results_path": "--results",
    "dedupe": "--no-dedupe",
}


@dataclass(frozen=True, slots=True)
class Flags:
    """What the flags of a run were set to, by name."""

    account_endpoint: str | None
    account_name: str | None
    account_key_file: Path | None
    auth_mode: str | None
    api_version: str
    server_timeout: int
    on_exists: "OnExists"
    invalid: Literal["stop", "reject"]
    allow_unknown: bool
    no_dedupe: bool
    hold_auto_terminate: bool
    then_terminate: bool
    concurrency: int | Literal["auto"]
    concurrency_max: int
    max_rate: float | None
    max_tasks_per_request: int
    max_request_bytes: int
    max_buffer: int
    retry_timeout: float
    max_duration: float | None
    max_rejects: str | None
    rejects: Path | None
    results: Path | None
    output: str
    quiet: bool
    progress: "Show"
    log_file: Path | None
    log_format: str

    @property
    def shown(self) -> "Output":
        """How the run is to be shown."""
        from bulksubmit.cli.flood import Output  # noqa: PLC0415 - aiohttp: --help goes without

        return Output(
            as_json=self.output == "json",
            quiet=self.quiet,
            progress=self.progress,
            log_file=self.log_file,
            log_as_json=self.log_format == "json",
        )

    def settings(
        self,
        *,
        sources: Sequence[str],
        on_unfinished: Literal["stop", "resume", "new"] = "stop",
        spool: bool = False,
        check_first: bool = False,
    ) -> Settings:
        """How the run should go.

        Args:
            sources: The files that are read, which no output may be written to.
            on_unfinished: As in Settings.
            spool: As in Settings.
            check_first: As in Settings.

        Raises:
            SettingsError: if a value is out of its bounds.
        """
        bound = RejectsBound.parse(self.max_rejects) if self.max_rejects else RejectsBound()
        self._check_files(sources)
        try:
            settings = self._settings(bound)
        except SettingsError as error:
            raise in_words_of_flags(error) from error
        return replace(settings, on_unfinished=on_unfinished, spool=spool, check_first=check_first)

    def _settings(self, bound: RejectsBound) -> Settings:
        return Settings(
            api_version=self.api_version,
            server_timeout_s=self.server_timeout,
            concurrency=self.concurrency,
            concurrency_max=self.concurrency_max,
            max_rate=self.max_rate,
            tasks_per_request_max=self.max_tasks_per_request,
            request_bytes_max=self.max_request_bytes,
            buffer_bytes_max=self.max_buffer,
            retry_timeout_s=self.retry_timeout,
            max_duration_s=self.max_duration,
            rejects_bound=bound,
            rejects_path=self.rejects,
            results_path=self.results,
            on_exists=self.on_exists,
            invalid=self.invalid,
            allow_unknown=self.allow_unknown,
            dedupe=not self.no_dedupe,
            hold_auto_terminate=self.hold_auto_terminate,
            then_terminate=self.then_terminate,
            origins=origins_of_settings(),
        )

    def _check_files(self, sources: Sequence[str]) -> None:
        named: list[tuple[str, str | Path | None]] = [("the source", path) for path in sources]
        named += [("--rejects", self.rejects), ("--results", self.results)]
        named += [("--log-file", self.log_file)]
        files: dict[str, str] = {}
        for name, path in named:
            if path is not None and os.path.realpath(path) != os.devnull:
                other = files.setdefault(os.path.realpath(path), name)
                if other != name:
                    raise SettingsError(f"{other} and {name} are one file; name another")

    def target(self, job_id: str, *, endpoint: str | None = None) -> "Target":
        """Where tasks go.

        Args:
            job_id: The Batch job.
            endpoint: The account's, if no flag or the like says otherwise.

        Raises:
            SettingsError: if the endpoint is missing.
            BulkSubmitError: if there is no credential.
        """
        return target_of(
            job_id,
            endpoint=self.account_endpoint,
            of_run=endpoint,
            auth_mode=self.auth_mode,
            account_name=self.account_name,
            key_file=self.account_key_file,
            quiet=self.quiet,
        )


def target_of(
    job_id: str,
    *,
    endpoint: str | None,
    of_run: str | None = None,
    auth_mode: str | None,
    account_name: str | None,
    key_file: Path | None,
    quiet: bool = False,
) -> "Target":
    """A job, where it is, and who we are; what is set and not read is told.

    Args:
        job_id: The Batch job.
        endpoint: The account's, by flag and the like.
        of_run: The account's, if a run is gone on with.
        auth_mode: As the flag has it.
        account_name: As the flag has it.
        key_file: As the flag has it.
        quiet: Errors only.

    Raises:
        SettingsError: if the endpoint is missing.
        BulkSubmitError: if there is no credential.
    """
    from bulksubmit.cli.flood import Target  # noqa: PLC0415 - aiohttp: --help goes without

    account = account_of(
        endpoint=endpoint,
        name=account_name,
        auth_mode=auth_mode,
        key_file=key_file,
        of_run=of_run,
        key_file_is_profiles=origins().get("account_key_file", "").startswith("profile"),
    )
    if account.hint and not (quiet and account.endpoint):
        click.echo(f"hint: {account.hint}", err=True)
    if not account.endpoint:
        raise SettingsError(
            "no endpoint: give --account-endpoint, or set AZURE_BATCH_ENDPOINT, to what the "
            "portal shows, such as https://myaccount.westeurope.batch.azure.com"
        )
    return Target(job_id, account.endpoint, account.credential())


def in_words_of_flags(error: SettingsError) -> SettingsError:
    """An error of Settings, with the setting named as the user gave it."""
    name, _, rest = str(error).partition(" ")
    flag = flag_of(name)
    return SettingsError(f"{named(_parameter(flag), flag)} {rest}")


def origins_of_settings() -> dict[str, str]:
    """Where the values of Settings come from, by their names in Settings."""
    found = origins()
    names = [each.name for each in fields(Settings)]
    return {
        name: found[_parameter(flag_of(name))]
        for name in names
        if _parameter(flag_of(name)) in found
    }


def flag_of(name: str) -> str:
    """What a setting of this name in Settings is called on the command line."""
    return SETTINGS_FLAGS.get(name) or f"--{name.replace('_', '-')}"


def _parameter(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def run_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of a run; it is called with one argument each."""
    return _with(_OPTIONS, command)


def account_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that say which account; it is called with one argument each."""
    return _with(_ACCOUNT, command)


def shown_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags that say what is shown; it is called with one argument each."""
    return _with(_SHOWN, command)


def _with(flags: Sequence[Callable[[Any], Any]], command: Callable[..., Any]) -> Callable[..., Any]:
    for flag in reversed(flags):
        command = flag(command)
    return command
