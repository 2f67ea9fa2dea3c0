"""Options that several commands share, and what they mean."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from bulksubmit.cli.command import SHOW_SETTINGS, Option, Setting

FILE = click.Path(dir_okay=False, path_type=Path)


class _WrittenFile(click.Path):
    """A file to write to, such as ``/dev/stdout``; ``-`` is taken for standard output by many."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click."""
        if str(value) == "-":
            self.fail("- is no file; name one. /dev/stdout is standard output", param, ctx)
        return super().convert(value, param, ctx)


WRITTEN_FILE = _WrittenFile(dir_okay=False, path_type=Path)

# Titles in the help.
ACCOUNT, SENT, FLOW, KEPT, OUTPUT, SETTINGS = (
    "Account",
    "What to send",
    "Flow",
    "What is kept",
    "Output",
    "Settings",
)


def concurrency(text: str) -> int | Literal["auto"]:
    """``auto``, or a whole number.

    Raises:
        click.BadParameter: if it is neither.
    """
    if text.lower() == "auto":
        return "auto"
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither auto nor a whole number") from None


def option(flag: str, *, azure: str | None = None, **attributes: Any) -> Callable[[Any], Any]:
    """An option whose value may come from the environment, ``BULKSUBMIT_<FLAG>``, or a profile.

    Args:
        flag: Such as ``--job-id``.
        azure: The variable of the same meaning that users of ``az`` know, looked at first.
        attributes: As click takes them; and ``group``, the title in the help.
    """
    own = "BULKSUBMIT_" + flag.removeprefix("--").replace("-", "_").upper()
    attributes.setdefault("show_default", attributes.get("default") is not None)
    return click.option(
        flag, cls=Setting, envvar=[azure, own] if azure else own, show_envvar=True, **attributes
    )


def action(*names: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option that says what is to be done this once: no variable or profile sets it."""
    return click.option(*names, cls=Option, **attributes)


output_json = option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    group=OUTPUT,
    help="For a person or a program.",
)


def settings_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--profile`` and ``--show-settings``; it does not get to see them."""
    show = action(
        "--show-settings",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_show_settings,
        group=SETTINGS,
        help="Print each setting and where it comes from, and do nothing else.",
    )
    profile = click.option(
        "--profile",
        cls=Option,
        metavar="NAME",
        envvar="BULKSUBMIT_PROFILE",
        show_envvar=True,
        is_eager=True,
        expose_value=False,
        callback=_use_profile,
        shell_complete=_complete_profile,
        group=SETTINGS,
        help="Settings from a file: NAME.toml in the folder of profiles, or a path.",
    )
    with_both: Callable[..., Any] = profile(show(command))
    return with_both


def _show_settings(ctx: click.Context, _: click.Parameter, value: object) -> None:
    ctx.meta[SHOW_SETTINGS] = bool(value)


def _use_profile(ctx: click.Context, _: click.Parameter, name: str | None) -> None:
    if not name or ctx.resilient_parsing:
        return
    from bulksubmit.cli import every_setting  # noqa: PLC0415 - for profiles only
    from bulksubmit.cli.origins import PROFILE  # noqa: PLC0415 - likewise
    from bulksubmit.cli.profile import profile_path, read_profile  # noqa: PLC0415 - likewise
    from bulksubmit.errors import SettingsError  # noqa: PLC0415 - likewise

    try:
        path = profile_path(name)
        ctx.default_map = read_profile(path, ctx.command, every_setting())
    except SettingsError as error:
        raise click.UsageError(str(error), ctx) from error
    ctx.meta[PROFILE] = path


def _complete_profile(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[Any]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - in a completion only

    from bulksubmit.cli.profile import profile_names  # noqa: PLC0415 - likewise

    named = [CompletionItem(name) for name in profile_names() if name.startswith(begun)]
    return named or [CompletionItem(begun, type="file")]


def complete_file(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[Any]:
    """What a shell completes where a file may stand."""
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - in a completion only

    return [CompletionItem(begun, type="file")]


def complete_run(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[Any]:
    """What a shell completes where a run's name may stand."""
    from bulksubmit.runs import kept  # noqa: PLC0415 - in a completion only

    return [name for name in ("last", *(run.run_id for run in kept())) if name.startswith(begun)]
