"""``bulksubmit bench``: how fast an account takes tasks, and what limits that."""

import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bulksubmit.cli import KEY_VARIABLE
from bulksubmit.cli.command import Command
from bulksubmit.cli.flags import (
    account_flags,
    in_words_of_flags,
    origins_of_settings,
    shown_flags,
    target_of,
)
from bulksubmit.cli.options import FLOW, KEPT, SENT, action, option, settings_flags
from bulksubmit.cli.said import tell
from bulksubmit.errors import BulkSubmitError, SettingsError
from bulksubmit.settings import Settings

_DEFAULTS = Settings()
PLAYED = "Emulator"
LATENCY_MS, PARALLEL = 100.0, 16

_EPILOG = f"""\b
What it does to the account:
  It creates a job of its own, bulksubmit-bench-..., on a pool that does not exist. Tasks of such a
  job never run, so they need no nodes and cost nothing. No other job is touched, but other work on
  the account may be throttled meanwhile. The job counts among the account's active jobs until it
  is deleted, or ends by itself after a day.
\b
Environment:
  {KEY_VARIABLE}  the account's key, unless --account-key-file is given
  BULKSUBMIT_CONFIG_DIR   where profiles are
  AZURE_CONFIG_DIR        where az has what `az batch account login` says
\b
Exit codes:
  0  measured                             5  nothing got through, or its job is not deleted
  1  an error in the tool                 7  its job was ended by somebody
  2  usage; no job could be made          130, 143  interrupted; what was seen is printed
  3  account not found
  4  authentication missing or refused
\b
Examples:
  bulksubmit bench --emulator
  bulksubmit bench --emulator --latency-ms 30 --parallel 40
  bulksubmit bench --delete-job
  bulksubmit bench --duration 30 --tasks 20000 --task-bytes 1200 --output json
"""


@click.command(cls=Command, epilog=_EPILOG)
@account_flags
@action(
    "--emulator",
    is_flag=True,
    group=PLAYED,
    help="Flood one that is started for this, and not an account.",
)
@action(
    "--latency-ms",
    type=click.FloatRange(0.0, 60_000.0),
    group=PLAYED,
    help=f"How long it takes for a request.  [default: {LATENCY_MS:g}]",
)
@action(
    "--parallel",
    type=click.IntRange(1, 10_000),
    group=PLAYED,
    help=f"Requests that it takes at once; it throttles what is more.  [default: {PARALLEL}]",
)
@action(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    group=PLAYED,
    help="A scenario file that says what it can do instead; see configs/README.md.",
)
@action(
    "--tasks",
    type=click.IntRange(1000, 10_000_000),
    default=200_000,
    show_default=True,
    group=SENT,
    help="So many at most, in all.",
)
@action(
    "--task-bytes",
    type=click.IntRange(100, 100_000),
    default=300,
    show_default=True,
    group=SENT,
    help="The size of each.",
)
@action(
    "--duration",
    type=click.FloatRange(1.0, 3600.0),
    default=90.0,
    show_default=True,
    metavar="SECONDS",
    group=FLOW,
    help="So long at most, but for the last replies.",
)
@option(
    "--concurrency-max",
    group=FLOW,
    type=int,
    default=_DEFAULTS.concurrency_max,
    help="The most requests in flight that are tried; the service advises fewer than 100.",
)
@option(
    "--max-tasks-per-request",
    group=FLOW,
    type=int,
    default=_DEFAULTS.tasks_per_request_max,
    help="The service takes at most 100.",
)
@option(
    "--server-timeout",
    group=FLOW,
    type=int,
    default=_DEFAULTS.server_timeout_s,
    metavar="SECONDS",
    help="How long the service may work on one request.",
)
@action(
    "--delete-job",
    is_flag=True,
    group=KEPT,
    help="Delete the job that was created for this, at the end, however it ends.",
)
@shown_flags
@settings_flags
def bench(*, emulator: bool, **flags: Any) -> None:
    """Measure how fast an account takes tasks, what limits that, and what to set.

    Floods a job of its own with throw-away tasks that never run: 1, 2, 4, ... requests in flight
    for a few seconds each, as long as more bring more; then numbers near the knee, then what
    --concurrency auto makes of it. Prints the curve, the knee, and what limits the speed.
    """
    from bulksubmit.bench.flood import Plan  # noqa: PLC0415 - aiohttp: --help goes without
    from bulksubmit.cli.flood import Output  # noqa: PLC0415 - likewise
    from bulksubmit.cli.measuring import (  # noqa: PLC0415 - likewise
        Asked,
        measure_account,
        measure_emulator,
        nothing_measured,
        print_result,
    )

    output = Output(
        as_json=flags["output"] == "json",
        quiet=flags["quiet"],
        progress=flags["progress"],
        log_file=flags["log_file"],
        log_as_json=flags["log_format"] == "json",
    )
    try:
        asked = Asked(
            plan=Plan(flags["tasks"], flags["duration"], flags["task_bytes"]),
            settings=_settings(flags),
            delete_job=flags["delete_job"],
        )
        if emulator:
            _check_no_account()
            result = measure_emulator(_capacity(flags), asked, output)
        else:
            _check_played(flags)
            target = target_of(
                "",
                endpoint=flags["account_endpoint"],
                auth_mode=flags["auth_mode"],
                account_name=flags["account_name"],
                key_file=flags["account_key_file"],
                quiet=flags["quiet"],
            )
            result = measure_account(target, asked, output)
    except BulkSubmitError as error:
        tell(error)
        result = nothing_measured(error)
    print_result(result, output)
    sys.exit(result.exit_code)


def _settings(flags: dict[str, Any]) -> Settings:
    try:
        return Settings(
            api_version=flags["api_version"],
            concurrency_max=flags["concurrency_max"],
            tasks_per_request_max=flags["max_tasks_per_request"],
            server_timeout_s=flags["server_timeout"],
            origins=origins_of_settings(),
        )
    except SettingsError as error:
        raise in_words_of_flags(error) from error


def _capacity(flags: dict[str, Any]) -> Path | str:
    """What the emulator can do: a scenario file, or the text of one."""
    scenario: Path | None = flags["scenario"]
    latency_ms, parallel = flags["latency_ms"], flags["parallel"]
    if scenario is None:
        latency_ms = LATENCY_MS if latency_ms is None else latency_ms
        return f"[service]\nlatency_ms = {latency_ms}\nparallel = {parallel or PARALLEL}\n"
    if latency_ms is not None or parallel is not None:
        raise SettingsError("--scenario says it all: leave out --latency-ms and --parallel")
    return scenario


def _check_no_account() -> None:
    """Whether no account is named where none is asked."""
    for name in ("account_endpoint", "account_name", "account_key_file"):
        given = click.get_current_context().get_parameter_source(name)
        if given is ParameterSource.COMMANDLINE:  # The environment may well name an account.
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{flag} is about an account: leave it out, or --emulator")


def _check_played(flags: dict[str, Any]) -> None:
    """Whether what is said of the emulator is said of one."""
    for name in ("latency_ms", "parallel", "scenario"):
        if flags[name] is not None:
            flag = f"--{name.replace('_', '-')}"
            raise SettingsError(f"{flag} is about the emulator: give --emulator as well")


def not_begun(reason: str) -> None:
    """Print the JSON object of a command line that is none."""
    from bulksubmit.cli.flood import Output  # noqa: PLC0415 - for mistakes only
    from bulksubmit.cli.measuring import nothing_measured, print_result  # noqa: PLC0415 - likewise

    print_result(nothing_measured(SettingsError(reason)), Output(as_json=True))
