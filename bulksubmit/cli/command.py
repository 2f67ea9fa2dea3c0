"""Commands whose help has its options in groups, and options that can be set in many places."""

import os
from collections.abc import Sequence
from typing import Any

import click

# What asks for the settings to be shown, in a context's meta. Nothing is required then.
SHOW_SETTINGS = "bulksubmit.show_settings"

# Variables of ours that stand for no flag.
_FOLDERS = {"BULKSUBMIT_STATE_DIR", "BULKSUBMIT_CONFIG_DIR", "BULKSUBMIT_PROFILE"}

LAST = "Options"  # Those that have no other group, --help among them.


class Option(click.Option):
    """An option that has its place in the help.

    Attributes:
        group: The title that it is listed under.
    """

    def __init__(self, *args: Any, group: str = LAST, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As click has it, but shorter."""
        record = super().get_help_record(ctx)
        return record and (record[0], record[1].replace("[env var: ", "[env: "))


class Setting(Option):
    """An option that can also be set by the environment, and by a profile.

    Attributes:
        takes_numbers: It is a text, but in a profile a bare number will do.
    """

    def __init__(self, *args: Any, takes_numbers: bool = False, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.takes_numbers = takes_numbers

    @property
    def key(self) -> str:
        """What it is called in a profile: as on the command line."""
        return self.opts[0].removeprefix("--")

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """As click does, but nothing is missing from what is only to be looked at."""
        try:
            return super().process_value(ctx, value)
        except click.MissingParameter:
            if ctx.meta.get(SHOW_SETTINGS):
                return None
            raise


class Command(click.Command):
    """A command whose help has its options in groups, in the order of their first members."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if isinstance(param, click.Option) and (row := param.get_help_record(ctx)):
                groups.setdefault(self.group_of(param), []).append(row)
        last = groups.pop(LAST, None)
        for title, rows in [*groups.items(), *([(LAST, last)] if last else [])]:
            with formatter.section(title):
                formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click; an option that is mistyped is told as everything else is."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            known = [name for param in self.get_params(ctx) for name in param.opts]
            otherwise = f"{ctx.command_path} --help lists them"
            reason = unknown_word("there is no option", error.option_name, known, otherwise)
            raise click.UsageError(reason, ctx) from error

    def group_of(self, param: click.Option) -> str:
        """The title that an option is listed under."""
        return param.group if isinstance(param, Option) else LAST

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or show what its settings are."""
        if ctx.meta.get(SHOW_SETTINGS):
            from bulksubmit.cli.origins import print_settings  # noqa: PLC0415 - when asked for

            return print_settings(ctx)
        if settings_of(self) and not ctx.params.get("quiet"):
            _tell_unread()
        return super().invoke(ctx)


class Group(click.Group):
    """A group of commands; one that is mistyped is told."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click."""
        word = args[0]
        if not (ctx.resilient_parsing or word.startswith("-") or self.get_command(ctx, word)):
            raise click.UsageError(
                unknown_word("there is no command", word, self.list_commands(ctx)), ctx
            )
        return super().resolve_command(ctx, args)


def _tell_unread() -> None:
    """Say which variables look like ours, and are not: a mistyped one would have no effect."""
    names = [name for name in os.environ if name.startswith("BULKSUBMIT_")]
    if not set(names) - _FOLDERS:
        return
    from bulksubmit.cli import every_setting  # noqa: PLC0415 - it imports all commands

    variables = (each.envvar or () for each in every_setting())
    known = _FOLDERS.union(*([each] if isinstance(each, str) else each for each in variables))
    for name in sorted(set(names) - known):
        words = unknown_word("nothing reads the variable", name, sorted(known), "see --help")
        click.echo(f"hint: {words}", err=True)


def settings_of(command: click.Command) -> list[Setting]:
    """The options of a command that a profile can set."""
    return [param for param in command.params if isinstance(param, Setting)]


def unknown_word(what: str, word: str, known: Sequence[str], otherwise: str | None = None) -> str:
    """Says that a word is none of the known ones, and which one may be meant.

    Args:
        what: The sentence that ends with the word.
        word: The word.
        known: Those that there are.
        otherwise: What to say if none is like it; None to list them.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    near = get_close_matches(word, known, n=1)
    if near:
        return f"{what} {word!r}; did you mean {near[0]}?"
    return f"{what} {word!r}; {otherwise or 'known are ' + ', '.join(known)}"
