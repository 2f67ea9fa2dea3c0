"""HTTPS and Entra for ``bulksubmit emulator``: the flags, and what they open."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bulksubmit.emulator.front import Front


def secured_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of HTTPS and Entra; ``secured`` takes their values."""
    options = [
        click.option(
            "--tls",
            is_flag=True,
            help="HTTPS, with a certificate made at start for this machine only.",
        ),
        click.option(
            "--tls-dir",
            type=click.Path(file_okay=False, path_type=Path),
            help="Where to leave ca.pem, which clients are to trust; implies --tls. Without, it "
            "lies in a temporary folder and is removed at exit.",
        ),
        click.option(
            "--entra",
            is_flag=True,
            help="Tokens of Microsoft Entra ID, from an authority at this address; implies --tls. "
            "The account's key opens too, if it is given.",
        ),
        click.option(
            "--token-lifetime-s",
            type=click.IntRange(1),
            default=3600,
            show_default=True,
            help="How long each token is good for, in seconds.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@contextmanager
def secured(
    *, tls: bool, tls_dir: Path | None, entra: bool, token_lifetime_s: int, **_: Any
) -> "Iterator[Front]":
    """Make what the flags ask for, and remove what is temporary at the end.

    Raises:
        click.BadParameter: if the folder cannot be written to.
    """
    from bulksubmit.emulator.front import opened  # noqa: PLC0415  --help costs nothing.

    front = opened(tls=tls, tls_dir=tls_dir, entra=entra, token_lifetime_s=token_lifetime_s)
    with ExitStack() as stack:
        try:
            entered = stack.enter_context(front)
        except OSError as error:
            raise click.BadParameter(str(error), param_hint="--tls-dir") from error
        yield entered
