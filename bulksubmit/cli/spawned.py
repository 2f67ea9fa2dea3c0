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


@contextmanager
def emulator(account: str, key: str, *arguments: str) -> Iterator[str]:
    """An emulator for as long as the context lasts, and its endpoint.

    Args:
        account: The account's name.
        key: The account's key, in Base64.
        arguments: As ``bulksubmit emulator`` takes them.

    Raises:
        click.ClickException: if it does not start; it has said why.
    """
    command: Sequence[str] = [sys.executable, "-m", "bulksubmit", "emulator", "--port", "0"]
    process = subprocess.Popen(  # noqa: S603 - our own command
        [*command, "--account-name", account, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {KEY_VARIABLE: key},
        # Ctrl-C goes to the whole foreground group; the flood still needs its answers then.
        process_group=0,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        endpoint = re.search(r"http://[\d.:]+\d", line)
        if endpoint is None:
            raise click.ClickException("the emulator did not start; see above")
        yield endpoint.group()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
