"""The flags of a run: those that ``submit`` and ``runs resume`` share, and what they mean."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import click

from bulksubmit.cli.flood import Output, Target
from bulksubmit.cli.options import concurrency, credential, option
from bulksubmit.core.model import OnExists
from bulksubmit.core.wire import API_VERSION
from bulksubmit.errors import SettingsError
from bulksubmit.observe.screen import Show
from bulksubmit.settings import RejectsBound, Settings

_DEFAULTS = Settings()

FILE = click.Path(dir_okay=False, path_type=Path)

_ACCOUNT = (
    option(
        "--account-endpoint",
        azure="AZURE_BATCH_ENDPOINT",
        help="https://NAME.REGION.batch.azure.com",
    ),
    option(
        "--account-name",
        azure="AZURE_BATCH_ACCOUNT",
        help="The account's name.  [default: the endpoint's first part]",
    ),
    option("--account-key-file", type=FILE, help="A file that holds the account's key."),
    option(
        "--auth-mode",
        azure="AZURE_BATCH_AUTH_MODE",
        type=click.Choice(["shared_key", "aad"], case_sensitive=False),
        help="By key or by Microsoft Entra ID.  [default: by key if there is one]",
    ),
    option("--api-version", default=API_VERSION, help="Of the service."),
)

_SHOWN = (
    option(
        "--output", type=click.Choice(["table", "json"]), default="table", help="Of the report."
    ),
    option("--quiet", is_flag=True, help="No progress; errors only."),
    option(
        "--progress",
        type=click.Choice(["auto", "plain", "none"]),
        default="auto",
        help="In place on a terminal; plain: a line every 10 s. SIGUSR1 asks for one.",
    ),
    option("--log-file", type=FILE, help="One line a request, and more."),
    option("--log-format", type=click.Choice(["text", "json"]), default="text", help="Of the log."),
)

_OPTIONS = (
    *_ACCOUNT,
    option(
        "--server-timeout",
        type=int,
        default=_DEFAULTS.server_timeout_s,
        metavar="SECONDS",
        help="How long the service may work on one request.",
    ),
    option(
        "--on-exists",
        type=click.Choice(["verify", "accept", "reject"]),
        default=_DEFAULTS.on_exists,
        help="At an ID that is taken: compare the task there, take it for ours, or reject ours.",
    ),
    option(
        "--invalid",
        type=click.Choice(["stop", "reject"]),
        default=_DEFAULTS.invalid,
        help="At what is no task: stop before its neighbours are sent, or reject it and go on.",
    ),
    option("--allow-unknown", is_flag=True, help="Pass on fields that the model does not know."),
    option("--no-dedupe", is_flag=True, help="Do not look for IDs that are there twice."),
    option(
        "--hold-auto-terminate",
        is_flag=True,
        help="Keep the job from completing by itself while the run lasts.",
    ),
    option(
        "--then-terminate",
        is_flag=True,
        help="Let the job complete by itself once every task exists.",
    ),
    option(
        "--concurrency",
        type=concurrency,
        metavar="auto|N",
        default=_DEFAULTS.concurrency,
        help="Requests in flight, 1 to 1,000; auto finds what the service answers best.",
    ),
    option(
        "--concurrency-max",
        type=int,
        default=_DEFAULTS.concurrency_max,
        help="The most that auto goes up to; the service advises fewer than 100.",
    ),
    option(
        "--max-rate",
        type=float,
        metavar="TASKS",
        help="Send at most so many tasks a second.  [default: no bound]",
    ),
    option(
        "--max-tasks-per-request",
        type=int,
        default=_DEFAULTS.tasks_per_request_max,
        help="The service takes at most 100.",
    ),
    option(
        "--max-request-bytes",
        type=int,
        default=_DEFAULTS.request_bytes_max,
        help="A larger task is rejected unsent; 0 for no bound. The service's is 1,048,576.",
    ),
    option(
        "--max-buffer",
        type=int,
        default=_DEFAULTS.buffer_bytes_max,
        metavar="BYTES",
        help="Of unsettled tasks in memory; the reader waits.",
    ),
    option(
        "--retry-timeout",
        type=float,
        default=_DEFAULTS.retry_timeout_s,
        metavar="SECONDS",
        help="Give up after so long without a single task settled.",
    ),
    option(
        "--max-duration",
        type=click.FloatRange(0, min_open=True),
        metavar="SECONDS",
        help="Stop in order after so long, to be resumed.",
    ),
    option(
        "--max-rejects",
        metavar="N|P%",
        help="Stop when more tasks are rejected.  [default: if the first 1,000 all are]",
    ),
    option(
        "--rejects",
        type=FILE,
        help="Rejected tasks and why, as NDJSON.  [default: the run's folder]",
    ),
    option("--results", type=FILE, help="One JSON line a task as it settles."),
    *_SHOWN,
)


# What the settings are called on the command line, for messages about them.
SETTINGS_FLAGS = {
    "server_timeout_s": "--server-timeout",
    "tasks_per_request_max": "--max-tasks-per-request",
    "request_bytes_max": "--max-request-bytes",
    "buffer_bytes_max": "--max-buffer",
    "retry_timeout_s": "--retry-timeout",
    "max_duration_s": "--max-duration",
    "concurrency": "--concurrency",
    "concurrency_max": "--concurrency-max",
    "max_rate": "--max-rate",
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
    on_exists: OnExists
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
    progress: Show
    log_file: Path | None
    log_format: str

    @property
    def shown(self) -> Output:
        """How the run is to be shown."""
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
            name, _, rest = str(error).partition(" ")
            raise SettingsError(f"{SETTINGS_FLAGS.get(name, name)} {rest}") from error
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
        )

    def _check_files(self, sources: Sequence[str]) -> None:
        named: list[tuple[str, str | Path | None]] = [("the source", path) for path in sources]
        named += [("--rejects", self.rejects), ("--results", self.results)]
        named += [("--log-file", self.log_file)]
        files: dict[str, str] = {}
        for name, path in named:
            if path is not None:
                other = files.setdefault(os.path.realpath(path), name)
                if other != name:
                    raise SettingsError(f"{other} and {name} are one file; name another")

    def target(self, job_id: str, *, endpoint: str | None = None) -> Target:
        """Where tasks go.

        Args:
            job_id: The Batch job.
            endpoint: The account's, if no flag says otherwise.

        Raises:
            SettingsError: if the endpoint is missing.
            BulkSubmitError: if there is no credential.
        """
        return target_of(
            job_id,
            endpoint=self.account_endpoint or endpoint,
            auth_mode=self.auth_mode,
            account_name=self.account_name,
            key_file=self.account_key_file,
        )


def target_of(
    job_id: str,
    *,
    endpoint: str | None,
    auth_mode: str | None,
    account_name: str | None,
    key_file: Path | None,
) -> Target:
    """A job, where it is, and who we are.

    Raises:
        SettingsError: if the endpoint is missing.
        BulkSubmitError: if there is no credential.
    """
    if not endpoint:
        raise SettingsError(
            "no endpoint: give --account-endpoint, or set AZURE_BATCH_ENDPOINT, to what the "
            "portal shows, such as https://myaccount.westeurope.batch.azure.com"
        )
    proof = credential(
        auth_mode=auth_mode, endpoint=endpoint, account_name=account_name, key_file=key_file
    )
    return Target(job_id, endpoint, proof)


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
