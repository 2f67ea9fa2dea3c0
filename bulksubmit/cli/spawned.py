"""The emulator as a process of its own, for commands that need something to flood."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from bulksubmit.cli import KEY_VARIABLE

_ENDS = (signal.SIGINT, signal.SIGTERM)


def leave_on_signals() -> None:
    """Until something heeds Ctrl-C and SIGTERM itself, they end us in order: contexts are left."""
    for number in _ENDS:
        signal.signal(number, _leave)


def _leave(number: int, _frame: object) -> None:
    sys.exit(128 + number)


@contextmanager
def emulator(account: str, key: str, *arguments: str) -> Iterator[str]:
    """An emulator for as long as the context lasts, and its endpoint; see leave_on_signals().

    Args:
        account: The account's name.
        key: The account's key, in Base64.
        arguments: As ``bulksubmit emulator`` takes them.

    Raises:
        click.ClickException: if it does not start; it has said why.
    """
    command: Sequence[str] = [sys.executable, "-m", "bulksubmit", "emulator", "--port", "0"]
    # One that comes in the middle of this would leave a process behind that nobody knows.
    came: list[int] = []
    for number in _ENDS:
        signal.signal(number, lambda number, _: came.append(number))
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--account-name", account, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {KEY_VARIABLE: key},
        # Ctrl-C goes to the whole foreground group; the flood still needs its answers then.
        process_group=0,
    )
    try:
        leave_on_signals()
        if came:
            sys.exit(128 + came[0])
        assert process.stdout is not None
        line = process.stdout.readline()
        endpoint = re.search(r"http://[\d.:]+\d", line)
        if endpoint is None:
            raise click.ClickException("the emulator did not start; see above")
        yield endpoint.group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
