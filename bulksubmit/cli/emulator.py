"""``bulksubmit emulator``: the service on this machine, for trials, tests and benchmarks."""

import base64
import json
import os
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import click

from bulksubmit.cli import KEY_VARIABLE, run_async
from bulksubmit.cli.command import LAST, Command
from bulksubmit.cli.options import OUTPUT, action
from bulksubmit.cli.secured import secured, secured_options
from bulksubmit.emulator.switches import Switches

if TYPE_CHECKING:
    from bulksubmit.emulator import Faults, Phase, Service, State
    from bulksubmit.emulator.front import Front


# Each is a rate of the emulator's Faults, under the same name.
_RATES: dict[str, dict[str, str]] = {
    "Rates of tasks that go wrong, 0 to 1": {
        "server_error": "Answered with ServerError and not added.",
        "server_error_added": "Answered with ServerError, but added.",
    },
    "Rates of requests whose connection is cut, 0 to 1": {
        "drop_before": "Before the body is read.",
        "drop_body": "In the middle of the body.",
        "drop_after": "When all is processed, without an answer.",
        "drop_answer": "In the middle of the answer.",
        "late": "At once, and the request is processed --late-ms afterwards.",
    },
    "Rates of requests that are refused, 0 to 1": {
        "throttled": "429 with Retry-After in seconds.",
        "throttled_date": "429 with Retry-After as a date.",
        "throttled_bare": "429 without Retry-After.",
        "busy": "503 without Retry-After.",
        "busy_retry_after": "503 with Retry-After in seconds.",
        "timed_out": "500 OperationTimedOut, after half of the tasks were added.",
        "bad_gateway": "502 with a page of HTML, after half of the tasks were added.",
    },
    "Rates of answers that are wrong or slow, 0 to 1": {
        "truncated": "The JSON of a 200 is cut off, though the answer ends well as HTTP.",
        "missing": "About a tenth of the results is left out; half of those tasks exist.",
        "extra": "There is a result for a task that was not sent.",
        "repeated": "A task has two results alike.",
        "contradicted": "A task has two results that contradict each other.",
        "slow": "The answer comes --slow-ms after all is processed.",
    },
}


_EPILOG = f"""\b
Environment:
  {KEY_VARIABLE}  the account's key; --account-key-file goes first
\b
Exit codes:
  0  told to stop, by Ctrl-C or SIGTERM
  2  usage; it cannot listen, or what is in a file is wrong
\b
Examples:
  bulksubmit emulator --job night-1
  bulksubmit emulator --job night-1 --server-error 0.01 --drop-after 0.005 --seed 7
  bulksubmit emulator --entra --tls-dir . --job night-1 --output json
"""

# What creating a job answers if it is there, and is to stay.
_KEPT_CODES = {"JobExists", "JobCompleted"}

_JOBS_SHOWN = 10


class _Command(Command):
    """Its rates and switches have groups of their own."""

    def group_of(self, param: click.Option) -> str:
        """See Command."""
        titles = {name: title for title, rates in _RATES.items() for name in rates}
        titles |= dict.fromkeys(Switches.settings(), "What nobody knows of the service")
        title = titles.get(param.name or "") or super().group_of(param)
        return "What is served" if title == LAST and param.name != "help" else title


def _rate_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command one flag a rate."""
    for rates in reversed(_RATES.values()):
        for name, text in reversed(rates.items()):
            flag = f"--{name.replace('_', '-')}"
            option = click.option(flag, name, type=float, metavar="RATE", default=0.0, help=text)
            command = option(command)
    return command


def _switch_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command one flag a switch."""
    for name, settings in reversed(list(Switches.settings().items())):
        kind = _kind(settings)
        is_choice = isinstance(kind, click.Choice)
        option = click.option(
            f"--{name.replace('_', '-')}",
            name,
            type=kind,
            metavar=None if is_choice else "NUMBER",
            default=str(settings[0]) if is_choice else settings[0],
            show_default=settings[0] is not None,
            help=Switches.texts()[name],
        )
        command = option(command)
    return command


def _kind(settings: Sequence[object]) -> "click.ParamType[Any]":
    """What a switch with these settings takes."""
    if isinstance(settings[-1], float):
        return click.FloatRange(0.0)
    if settings[0] is None:
        return click.IntRange(0)
    return click.Choice([str(each) for each in settings])


def _loopback(_: click.Context, __: click.Parameter, host: str) -> str:
    from bulksubmit.service.endpoint import is_loopback  # noqa: PLC0415 - --help goes without

    if not is_loopback(host):
        raise click.BadParameter(f"{host!r} is no loopback address, such as 127.0.0.1")
    return host


@click.command(
    cls=_Command,
    epilog=_EPILOG,
)
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    callback=_loopback,
    help="The loopback address to listen at.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="0 for any free one.",
)
@click.option(
    "--job",
    "jobs",
    multiple=True,
    metavar="ID[,NAME=VALUE]...",
    help="A job to begin with, such as night-1 or night-1,usesTaskDependencies=true; repeatable.",
)
@click.option(
    "--job-json",
    "job_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with such a job, as 'az batch job create --json-file' takes it; repeatable.",
)
@click.option("--account-name", default="devaccount", show_default=True, help="The account's name.")
@click.option(
    "--account-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the account's key. Without any, one is made up and printed.",
)
@click.option(
    "--state",
    "state_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file to keep jobs, tasks and the key in: the same command goes on from it, also after "
    "a kill. A --job that is in it already stays as it is. What --tls and --entra make is new each "
    "time.",
)
@secured_options
@click.option(
    "--scenario",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A scenario file, of which [service] is served: how much the service can do, and when; "
    "see configs/README.md. Rates and --latency-ms come on top.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides all chance.")
@click.option(
    "--latency-ms",
    type=click.FloatRange(0.0),
    default=0.0,
    help="How long each request waits to be processed.",
)
@click.option(
    "--slow-ms", type=click.FloatRange(0.0), default=1000.0, show_default=True, help="See --slow."
)
@click.option(
    "--late-ms", type=click.FloatRange(0.0), default=1000.0, show_default=True, help="See --late."
)
@click.option(
    "--retry-after-s",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="What Retry-After says.",
)
@click.option(
    "--proxy-max-bytes",
    type=click.IntRange(0),
    default=None,
    help="Refuse larger bodies by a 413 with a page of HTML, as a proxy does.",
)
@click.option(
    "--run-tasks",
    is_flag=True,
    help="Tasks are complete at once, and so is a job whose onAllTasksComplete is terminatejob.",
)
@click.option(
    "--faults-everywhere",
    is_flag=True,
    help="The rates of requests strike each operation, not only add collection.",
)
@_rate_options
@_switch_options
@action(
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    group=OUTPUT,
    help="The line that says where it listens, for a person or a program.",
)
def emulator(
    *,
    host: str,
    port: int,
    jobs: tuple[str, ...],
    job_files: tuple[Path, ...],
    account_name: str,
    account_key_file: Path | None,
    state_file: Path | None,
    scenario: Path | None,
    seed: int,
    output: str,
    **options: Any,  # How it is reached, what goes wrong, and how: see secured, _faults, _switches.
) -> None:
    """Play the Azure Batch service on this machine, until interrupted.

    Jobs live in memory, and with --state in a file as well: POST /jobs or --job makes one.
    Signatures and tokens are verified. Prints one line that says where it listens, where to see in
    a browser what it does, and how to point a client at it.
    """
    # Imported here, so that --help costs nothing.
    from bulksubmit.emulator import Access, Service  # noqa: PLC0415
    from bulksubmit.emulator.page import PATH  # noqa: PLC0415

    context = click.get_current_context()
    state = context.with_resource(_opened(state_file, account_name))
    key, key_is_given = _account_key(account_key_file, state)
    front = context.with_resource(secured(**options))
    # With tokens, a key that nobody was told opens nothing.
    key_opens = key_is_given or front.authority is None
    try:
        access = Access(account_name, base64.b64decode(key) if key_opens else None, front.bearer)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--account-name") from error
    service = Service(
        random=Random(seed),  # noqa: S311  Repeatable on purpose.
        access=access,
        faults=_faults(options),
        phases=_phases(scenario),
        switches=_switches(options),
        scheme=front.scheme,
        state=state,
    )
    job_ids = _create_jobs(service, jobs, job_files)

    def announce(endpoint: str) -> None:
        variables = {"AZURE_BATCH_ACCOUNT": account_name, "AZURE_BATCH_ENDPOINT": endpoint}
        if not key_is_given:
            variables[KEY_VARIABLE] = key
        variables |= front.variables(endpoint)
        tell = _tell_a_program if output == "json" else _tell_a_person
        tell(endpoint, f"{endpoint}{PATH}", account_name, job_ids, variables)

    try:
        run_async(_serve, service, host, port, front, announce)
    except BrokenPipeError:
        sys.exit(0)  # Whoever wanted to read where it listens has gone.
    except OSError as error:
        raise click.UsageError(f"cannot listen at {host}, port {port}: {error}") from error


def _tell_a_person(
    endpoint: str, page: str, account: str, job_ids: Sequence[str], variables: Mapping[str, str]
) -> None:
    shown = " ".join(
        f"{name}={shlex.quote(text) if text else ''}" for name, text in variables.items()
    )
    click.echo(
        f"emulator at {endpoint}, page {page}, account {account}, "
        f"jobs {_shown(job_ids)}: "
        f"{shown} bulksubmit submit tasks.jsonl --job-id {job_ids[0] if job_ids else 'JOB'}"
        + (f" ({KEY_VARIABLE} is as given)" if KEY_VARIABLE not in variables else "")
    )


def _tell_a_program(
    endpoint: str, page: str, account: str, job_ids: Sequence[str], variables: Mapping[str, str]
) -> None:
    said = {"endpoint": endpoint, "page": page, "account": account, "jobs": list(job_ids)}
    click.echo(json.dumps(said | {"environment": dict(variables)}))


def _create_jobs(
    service: "Service", jobs: Iterable[str], job_files: Iterable[Path]
) -> Sequence[str]:
    """Create the jobs to begin with; their IDs, and after them those of all others there are."""
    from bulksubmit.emulator.answers import ServiceError  # noqa: PLC0415  As above.
    from bulksubmit.emulator.jobs import check_job_id, parse_job, read_object  # noqa: PLC0415

    kept = {job.id.lower(): job for job in service.jobs()}
    job_ids = []
    all_given: list[str | Path] = [*jobs, *job_files]
    for given in all_given:
        try:
            sent = read_object(given.read_bytes()) if isinstance(given, Path) else parse_job(given)
            job_id = check_job_id(sent.pop("id", None))
            service.create_job(job_id, now_s=time.time(), properties=sent)
        except ServiceError as error:
            job = kept.pop(job_id.lower(), None) if error.code in _KEPT_CODES else None
            if job is None:
                hint = "--job-json" if isinstance(given, Path) else "--job"
                raise click.BadParameter(f"{str(given)!r}: {error}", param_hint=hint) from error
            click.echo(f"job {job.id} stays as it is: {job.state}, {len(job):,} tasks", err=True)
        job_ids.append(job_id)
    given_ids = {each.lower() for each in job_ids}
    return [*job_ids, *(job.id for job in service.jobs() if job.id.lower() not in given_ids)]


def _shown(job_ids: Sequence[str]) -> str:
    more = len(job_ids) - _JOBS_SHOWN
    rest = [f"and {more} more"] if more > 0 else []
    return " ".join([*job_ids[:_JOBS_SHOWN], *rest]) or "none"


@contextmanager
def _opened(path: Path | None, account_name: str) -> "Iterator[State | None]":
    """The account on disk, if it is to be there."""
    from bulksubmit.emulator import State, StateError  # noqa: PLC0415  As above.

    try:
        with State(path, account_name=account_name) if path is not None else nullcontext() as state:
            yield state
    except StateError as error:
        raise click.BadParameter(str(error), param_hint="--state") from error


def _account_key(path: Path | None, state: "State | None") -> tuple[str, bool]:
    """The account's key, and whether the user gave it: such a key is never shown."""
    from bulksubmit.core.sharedkey import decode_key  # noqa: PLC0415  As above.

    source = str(path) if path is not None else KEY_VARIABLE
    try:
        text = path.read_text() if path is not None else os.environ.get(KEY_VARIABLE, "")
        if not text and path is None:  # The variable may be there and empty, as --entra wants it.
            made_up = state.key if state is not None else secrets.token_bytes(64)
            return base64.b64encode(made_up).decode(), False
        decode_key(text)
    except ValueError as error:
        raise click.UsageError(f"{source}: {error}") from None
    return text.strip(), True


def _faults(options: Mapping[str, Any]) -> "Faults":
    from bulksubmit.emulator import Faults  # noqa: PLC0415  As above.

    names = (*(name for rates in _RATES.values() for name in rates), "retry_after_s")
    try:
        return Faults(
            **{name: options[name] for name in names},
            run_tasks=options["run_tasks"],
            latency_s=options["latency_ms"] / 1000,
            slow_s=options["slow_ms"] / 1000,
            late_s=options["late_ms"] / 1000,
            proxy_bytes_max=options["proxy_max_bytes"],
            everywhere=options["faults_everywhere"],
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _switches(options: Mapping[str, Any]) -> Switches:
    values = {name: options[name] for name in Switches.settings()}
    try:
        return Switches(**{name: _meant(name, value) for name, value in values.items()})
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _meant(name: str, value: object) -> Any:
    """A switch's setting by the text that was chosen; what is no choice stays as it is."""
    known = {str(each): each for each in Switches.settings()[name]}
    return known.get(value, value) if isinstance(value, str) else value


def _phases(path: Path | None) -> "Sequence[Phase]":
    """How much the service can do by a scenario file."""
    from bulksubmit.emulator.scenario import ScenarioError, read_service  # noqa: PLC0415  As above.

    try:
        return read_service(path) if path is not None else ()
    except ScenarioError as error:
        raise click.BadParameter(str(error), param_hint="--scenario") from error


async def _serve(
    service: "Service", host: str, port: int, front: "Front", announce: Callable[[str], None]
) -> None:
    import asyncio  # noqa: PLC0415  As above.

    from bulksubmit.emulator.server import serve  # noqa: PLC0415  As above.

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    doors, context = front.doors, front.ssl_context
    async with serve(service, host=host, port=port, doors=doors, ssl_context=context) as server:
        announce(server.endpoint)
        await stop.wait()
