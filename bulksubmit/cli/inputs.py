"""The arguments that say what is to be read: those of ``submit`` and ``validate``."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulksubmit.cli.options import SENT, action, complete_file
from bulksubmit.errors import SourceError

if TYPE_CHECKING:
    from bulksubmit.producer.spec import SourceSpec

SOURCE_HELP = """\b
SOURCE is one or more of:
  tasks.jsonl            one task a line, a JSON object as the REST API spells it
  tasks.json             a JSON array of tasks, or {"value": [...]}
  rejects.ndjson         the rejects file of an earlier run, mended
  rows.csv rows.parquet  rows, with --template
  sweep.toml             a template and the parameters that it runs through
  -                      standard input, in any of these forms but Parquet and sweeps
.gz and .zst of the first forms, patterns in quotes ('shards/*.jsonl'), and URLs that fsspec
knows (abfs://container/tasks.jsonl) are read as well.
"""

_OPTIONS = (
    click.argument("sources", nargs=-1, metavar="SOURCE...", shell_complete=complete_file),
    action(
        "--template",
        group=SENT,
        type=click.Path(dir_okay=False, path_type=Path),
        help="A task as JSON with {column} placeholders; one task a row, or a sweep's.",
    ),
    action(
        "--sweep",
        "sweeps",
        group=SENT,
        multiple=True,
        metavar="NAME=VALUES",
        help="A parameter of the template: i=1..1000, mode=fast,slow. Repeated: the product.",
    ),
    action(
        "--allow-unused-columns",
        group=SENT,
        is_flag=True,
        help="The template need not use every column.",
    ),
)


def source_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the arguments that say what is to be read."""
    for argument in reversed(_OPTIONS):
        command = argument(command)
    return command


def source_spec(
    sources: Sequence[str],
    *,
    template: Path | None,
    sweeps: Sequence[str],
    allow_unused_columns: bool,
) -> "SourceSpec":
    """What is to be read, by its arguments.

    Raises:
        click.UsageError: if nothing is, or the arguments contradict each other.
        SourceError: if the template cannot be read.
    """
    from bulksubmit.producer.spec import SourceSpec  # noqa: PLC0415 - --help goes without

    if not sources and not sweeps:
        raise click.UsageError("nothing to read: name a SOURCE, or give --template and --sweep")
    if sources and sweeps:
        raise click.UsageError("--sweep goes with --template alone, without a SOURCE")
    if sweeps and template is None:
        raise click.UsageError("--sweep needs --template: a task as JSON with {placeholders}")
    spec = SourceSpec(files=tuple(sources), sweeps=tuple(sweeps), allow_unused=allow_unused_columns)
    if template is None:
        return spec
    try:
        text = template.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SourceError(str(template), None, f"cannot be read: {reason}") from error
    return replace(spec, template=text, template_name=str(template))
