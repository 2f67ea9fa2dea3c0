"""How a command says that something is wrong."""

import sys
from typing import NoReturn

import click

from bulksubmit.core.redact import redact
from bulksubmit.errors import BulkSubmitError


def tell(error: BulkSubmitError) -> None:
    """Say what is wrong, on standard error and without secrets."""
    click.echo(redact(f"error: {error}"), err=True)


def fail(error: BulkSubmitError) -> NoReturn:
    """Say what is wrong, and exit with its code."""
    from bulksubmit.observe.report import exit_code  # noqa: PLC0415 - not needed for --help

    tell(error)
    sys.exit(exit_code(error, requests=0, rejected=0))
