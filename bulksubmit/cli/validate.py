"""``bulksubmit validate``: every error of a source, before anything is sent."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

import click

from bulksubmit.cli.command import Command
from bulksubmit.cli.inputs import SOURCE_HELP, source_arguments, source_spec
from bulksubmit.cli.options import SENT, option, output_json, settings_flags
from bulksubmit.cli.said import tell
from bulksubmit.errors import BulkSubmitError

_EPILOG = f"""{SOURCE_HELP}
\b
Exit codes:
  0  every item is a task that the service takes, as far as can be told from here
  2  something is not, or the source cannot be read
\b
Examples:
  bulksubmit validate tasks.jsonl
  bulksubmit validate 'shards/*.json.gz' --output json
"""


@click.command(cls=Command, epilog=_EPILOG)
@source_arguments
@option(
    "--allow-unknown",
    group=SENT,
    is_flag=True,
    help="Fields that the model does not know are fine.",
)
@option("--no-dedupe", group=SENT, is_flag=True, help="Do not look for IDs that are there twice.")
@output_json
@settings_flags
def validate(
    *,
    sources: Sequence[str],
    template: Path | None,
    sweeps: Sequence[str],
    allow_unused_columns: bool,
    allow_unknown: bool,
    no_dedupe: bool,
    output: str,
) -> None:
    """List all errors of SOURCE, with their places, and count them by kind."""
    from bulksubmit.cli.listing import (  # noqa: PLC0415 - --help goes without
        JsonListing,
        TextListing,
        look_through,
    )
    from bulksubmit.observe.report import ExitCode  # noqa: PLC0415 - likewise
    from bulksubmit.producer.survey import Survey  # noqa: PLC0415 - likewise

    found, error = Survey(), None
    listing = TextListing(sys.stdout)
    if output == "json":
        if isinstance(sys.stdout, TextIOWrapper):  # JSON is UTF-8, whatever a terminal shows.
            sys.stdout.reconfigure(encoding="utf-8")
        listing = JsonListing(sys.stdout)
    try:
        spec = source_spec(
            sources,
            template=template,
            sweeps=sweeps,
            allow_unused_columns=allow_unused_columns,
        )
        found = look_through(spec, listing, allow_unknown=allow_unknown, dedupe=not no_dedupe)
    except BulkSubmitError as raised:
        error = raised
        tell(error)
    listing.end(found, error)
    sys.exit(ExitCode.USAGE if found.errors or error else ExitCode.CONVERGED)
