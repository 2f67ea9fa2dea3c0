"""Arguments in, exit code out."""

import errno
import importlib
import os
import re
import signal
import sys
from contextlib import suppress
from io import StringIO, TextIOWrapper
from typing import Any

import click

from bulksubmit.cli.command import Group, Setting, settings_of
from bulksubmit.core.redact import redact
from bulksubmit.loop import run_async as run_async

KEY_VARIABLE = "AZURE_BATCH_ACCESS_KEY"  # As users of az know it; never a flag.

# Each command is imported when it is used: --help would wait for aiohttp otherwise.
_COMMANDS = {
    "demo": "Flood a local emulator with 100,000 tasks, and check the result.",
    "submit": "Submit every task of a file to a job.",
    "validate": "List all errors of a file of tasks, without sending anything.",
    "verify": "Compare what a job holds with what a file does.",
    "runs": "Look at earlier runs, and go on with them.",
    "bench": "Measure how fast an account takes tasks, and what limits that.",
    "emulator": "Play Azure Batch on a loopback port.",
    "completion": "Print what makes bash, zsh or fish complete commands and flags.",
}


class _Commands(Group):
    """The commands, known by name and summary; imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"bulksubmit.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


# As a shell has it of a process that SIGPIPE has ended, whose output nobody read to its end.
_PIPE_BROKEN = 141

_EPILOG = """\b
Examples:
  bulksubmit demo
  bulksubmit validate tasks.jsonl
  bulksubmit submit tasks.jsonl --job-id night-1
  bulksubmit runs resume last
\b
`bulksubmit COMMAND --help` has a command's flags, what sets them, and its exit codes.
"""


@click.group(
    cls=_Commands,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="bulksubmit")
def bulksubmit() -> None:
    """Submit millions of tasks to Azure Batch, and account for every one of them."""


def every_setting() -> list[Setting]:
    """The settings of all commands: what a profile may name."""
    found: list[Setting] = []
    ctx = click.Context(bulksubmit)
    commands = [bulksubmit.get_command(ctx, name) for name in _COMMANDS]
    while commands:
        command = commands.pop()
        if isinstance(command, click.Group):
            commands += command.commands.values()
        elif command is not None:
            found += settings_of(command)
    return found


def main() -> None:
    """Run the command line; exits."""
    _open_standard_streams()
    code: Any = 1
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:  # Whoever read our output has gone: no complaint, and none at exit.
        _silence()
        code = _PIPE_BROKEN
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        _silence()
        click.echo(f"error: standard output cannot be written: {error.strerror}", err=True)
        code = code or 1
    sys.exit(code)


def _run() -> Any:
    """Run the command line; its exit code."""
    stdout = sys.stdout
    try:
        return bulksubmit.main(prog_name="bulksubmit", standalone_mode=False)
    except SystemExit as left:
        # click leaves with 1, which is for errors of ours, and puts another stream in its place.
        return left.code if sys.stdout is stdout else _PIPE_BROKEN
    except click.ClickException as error:
        said = StringIO()
        error.show(said)
        click.echo(redact(said.getvalue()), err=True, nl=False)
        _report_usage(error)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 128 + signal.SIGINT


def _silence() -> None:
    """Let what is left in the buffers go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
            continue
        os.dup2(nowhere, stream.fileno())


def _report_usage(error: click.ClickException) -> None:
    """With ``--output json`` standard output holds an object, also if nothing was begun."""
    words = " ".join(sys.argv[1:])
    # A command line that is none has not said what it sets.
    form = re.search(r"--output[ =](\w+)", words)
    if (form.group(1) if form else os.environ.get("BULKSUBMIT_OUTPUT", "")).lower() != "json":
        return
    if re.match(r"verify\b", words):
        from bulksubmit.cli.verify import not_begun  # noqa: PLC0415 - as the commands themselves

        not_begun(error.format_message())
    elif re.match(r"bench\b", words):
        from bulksubmit.cli.bench import not_begun as no_bench  # noqa: PLC0415 - likewise

        no_bench(error.format_message())
    elif re.match(r"submit\b|runs resume\b", words):
        from bulksubmit.cli.flood import (  # noqa: PLC0415 - as the commands themselves
            Output,
            ended,
            nothing_begun,
            print_report,
        )
        from bulksubmit.errors import SettingsError  # noqa: PLC0415 - likewise

        report = ended(nothing_begun(""), SettingsError(error.format_message()))
        print_report(report, Output(as_json=True))
    else:
        from bulksubmit.cli.said import print_json  # noqa: PLC0415 - likewise

        print_json({"error": redact(error.format_message()), "exit_code": error.exit_code})


def _open_standard_streams() -> None:
    """Put nothing in the place of standard streams that whoever started us has closed.

    Their numbers would go to the next sockets, and libuv aborts when it closes those.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show, and half of a file's name, is spelt out: no reason to fail.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
