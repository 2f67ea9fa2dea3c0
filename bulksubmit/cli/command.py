"""Commands whose help has its options in groups, and options that can be set in many places."""

from collections.abc import Sequence
from typing import Any

import click

# What asks for the settings to be shown, in a context's meta. Nothing is required then.
SHOW_SETTINGS = "bulksubmit.show_settings"

_LAST = "Options"  # Those that have no other group, --help among them.


class Option(click.Option):
    """An option that has its place in the help.

    Attributes:
        group: The title that it is listed under.
    """

    def __init__(self, *args: Any, group: str = _LAST, **attributes: Any) -> None:
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
        last = groups.pop(_LAST, None)
        for title, rows in [*groups.items(), *([(_LAST, last)] if last else [])]:
            with formatter.section(title):
                formatter.write_dl(rows)

    def group_of(self, param: click.Option) -> str:
        """The title that an option is listed under."""
        return param.group if isinstance(param, Option) else _LAST

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, or show what its settings are."""
        if ctx.meta.get(SHOW_SETTINGS):
            from bulksubmit.cli.origins import print_settings  # noqa: PLC0415 - when asked for

            return print_settings(ctx)
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


def settings_of(command: click.Command) -> list[Setting]:
    """The options of a command that a profile can set."""
    return [param for param in command.params if isinstance(param, Setting)]


def unknown_word(what: str, word: str, known: Sequence[str]) -> str:
    """Says that a word is none of the known ones, and which one may be meant."""
    from difflib import get_close_matches  # noqa: PLC0415 - for mistakes only

    near = get_close_matches(word, known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
    return f"{what} {word!r}; {meant}"
