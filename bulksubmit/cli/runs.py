"""``bulksubmit runs``: what became of earlier runs, and how they go on."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click

from bulksubmit.cli import KEY_VARIABLE, run_async
from bulksubmit.cli.command import Command, Group
from bulksubmit.cli.flags import EXIT_CODES, Flags, run_flags
from bulksubmit.cli.options import FILE, action, complete_run, output_json, settings_flags
from bulksubmit.cli.said import fail, tell
from bulksubmit.cli.scale import Scale, worker_flags
from bulksubmit.errors import BulkSubmitError

_RUN = """\b
RUN is a run's name, the beginning of one, or last: the run last written to.
"""
_ENVIRONMENT = """\b
Environment:
  BULKSUBMIT_STATE_DIR  where runs are kept
"""
_CODES = """\b
Exit codes:
  0  done
  1  an error in the tool
  2  usage; no such run, or what cannot be read or written
"""


def _epilog(*parts: str, examples: Sequence[str]) -> str:
    lines = "".join(f"  bulksubmit runs {each}\n" for each in examples)
    return "\n".join([*parts, f"\b\nExamples:\n{lines}"])


_run = click.argument("run", shell_complete=complete_run)


@click.group(cls=Group, epilog=_epilog(_ENVIRONMENT, examples=["list", "show last", "resume last"]))
def runs() -> None:
    """Look at earlier runs, and go on with them."""


@runs.command(
    "list",
    cls=Command,
    epilog=_epilog(_ENVIRONMENT, _CODES, examples=["list", "list --output json | jq '.[].run_id'"]),
)
@output_json
def list_(*, output: str) -> None:
    """List all runs, the last written to first."""
    from bulksubmit.cli.earlier import list_runs  # noqa: PLC0415 - --help goes without

    list_runs(as_json=output == "json")


@runs.command(
    cls=Command,
    epilog=_epilog(
        _RUN, _ENVIRONMENT, _CODES, examples=["show last", "show 20260131 --task frame-0001"]
    ),
)
@_run
@action("--task", metavar="ID", help="One task: its place, and what became of it.")
@output_json
def show(*, run: str, task: str | None, output: str) -> None:
    """Show what became of a run."""
    from bulksubmit.cli.earlier import show_run  # noqa: PLC0415 - --help goes without

    try:
        show_run(run, task=task, as_json=output == "json")
    except BulkSubmitError as error:
        fail(error, as_json=output == "json")


@runs.command(
    cls=Command,
    epilog=_epilog(
        _RUN,
        f"""\b
Environment:
  {KEY_VARIABLE}  the account's key, unless --account-key-file is given
  BULKSUBMIT_STATE_DIR    where runs are kept
  BULKSUBMIT_CONFIG_DIR   where profiles are
  AZURE_CONFIG_DIR        where az has what `az batch account login` says
""",
        EXIT_CODES,
        examples=["resume last", "resume last --invalid reject", "resume 20260131 --profile slow"],
    ),
)
@_run
@worker_flags
@run_flags
@settings_flags
def resume(*, run: str, **flags: Any) -> None:
    """Go on with a run: send what is not settled. The report covers the whole run."""
    from bulksubmit.cli.flood import (  # noqa: PLC0415 - aiohttp: --help goes without
        ended,
        flood_on,
        nothing_begun,
        print_report,
    )
    from bulksubmit.runs import find  # noqa: PLC0415 - likewise

    scale, given = Scale.of(flags), Flags(**flags)
    job_id = ""
    try:
        scale.check()
        found = find(run)
        job_id, settings = (
            str(found.values["job"]),
            given.settings(sources=found.spec.files),
        )
        target = given.target(job_id, endpoint=str(found.values["endpoint"]))
        crew = scale.crew(target.credential)
    except BulkSubmitError as error:
        tell(error)
        report = ended(nothing_begun(job_id), error)
    else:
        report = run_async(flood_on, found, target, settings, given.shown, crew)
    print_report(report, given.shown)
    sys.exit(report.exit_code)


@runs.command(
    cls=Command,
    short_help="Write tasks of a run as NDJSON, to be mended.",
    epilog=_epilog(
        _RUN,
        _ENVIRONMENT,
        _CODES,
        examples=["export last --what rejected --to mend.ndjson", "export last | wc -l"],
    ),
)
@_run
@action(
    "--what",
    type=click.Choice(["rejected", "unsettled", "in-doubt", "all"]),
    default="all",
    show_default=True,
    help="all: rejected and unsettled; in-doubt: those of the unsettled that may exist.",
)
@action("--to", type=FILE, help="A new file.  [default: standard output]")
def export(
    *, run: str, what: Literal["rejected", "unsettled", "in-doubt", "all"], to: Path | None
) -> None:
    """Write tasks of a run as NDJSON, as they were: to be mended, and submitted."""
    from bulksubmit.cli.earlier import export_tasks  # noqa: PLC0415 - --help goes without

    try:
        export_tasks(run, what, to)
    except BulkSubmitError as error:
        fail(error)


@runs.command(
    cls=Command,
    epilog=_epilog(_RUN, _ENVIRONMENT, _CODES, examples=["rm last", "rm 20260131 --force"]),
)
@click.argument("names", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@action("--force", is_flag=True, help="Also a run that is unfinished or damaged.")
def rm(*, names: Sequence[str], force: bool) -> None:
    """Remove the files of runs. Tasks in the service stay as they are."""
    from bulksubmit.cli.earlier import remove_runs  # noqa: PLC0415 - --help goes without

    try:
        remove_runs(names, force=force)
    except BulkSubmitError as error:
        fail(error)


@runs.command(
    cls=Command,
    short_help="Make a page of how a run went, or goes.",
    epilog=_epilog(
        _RUN,
        _ENVIRONMENT,
        _CODES,
        examples=[
            "report last",
            "report last -o - > report.html",
            "report last --output json | jq .attempts",
        ],
    ),
)
@_run
@action(
    "-o",
    "--to",
    type=FILE,
    help="The file; - is standard output.  [default: RUN.html here; of JSON: standard output]",
)
@action(
    "--output",
    type=click.Choice(["html", "json"]),
    default="html",
    show_default=True,
    help="For a person or a program.",
)
@action("--force", is_flag=True, help="Replace a file that is no earlier report of the run.")
def report(*, run: str, to: Path | None, output: str, force: bool) -> None:
    """Make a page of how a run went, or goes: it opens offline, and can be printed.

    The file's name is printed. An earlier report of the same run is replaced.
    """
    from bulksubmit.cli.story import make_report  # noqa: PLC0415 - --help goes without

    try:
        make_report(run, to=to, as_json=output == "json", force=force)
    except BulkSubmitError as error:
        fail(error, as_json=output == "json")
