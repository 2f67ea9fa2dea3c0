"""How a command says what is wrong, and what a program is to read."""

import sys
from typing import NoReturn

import click

from bulksubmit.core.redact import redact
from bulksubmit.errors import BulkSubmitError


def tell(error: BulkSubmitError) -> None:
    """Say what is wrong, on standard error and without secrets."""
    click.echo(redact(f"error: {error}"), err=True)


def fail(error: BulkSubmitError, *, as_json: bool = False) -> NoReturn:
    """Say what is wrong, to a program too if it is to be told, and exit with its code."""
    from bulksubmit.observe.report import exit_code  # noqa: PLC0415 - not needed for --help

    tell(error)
    code = exit_code(error, requests=0, rejected=0)
    if as_json:
        print_json({"error": redact(str(error)), "exit_code": int(code)})
    sys.exit(code)


def print_json(value: object) -> None:
    """Print a value of JSON's types on one line, in UTF-8 whatever the terminal's encoding is."""
    import json  # noqa: PLC0415 - not needed for --help

    import orjson  # noqa: PLC0415 - likewise

    try:
        click.echo(orjson.dumps(value))
    except TypeError:  # Half of a character, as in the name of a file that is not UTF-8.
        click.echo(json.dumps(value))
