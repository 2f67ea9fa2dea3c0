"""Where each setting comes from: a flag, the environment, a profile, the run, az, the default."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import click
from click.core import ParameterSource

from bulksubmit.cli.command import Command, Setting, settings_of
from bulksubmit.core.redact import MASK, redact, redacted

# The profile in use, in a context's meta.
PROFILE = "bulksubmit.profile"

Value: TypeAlias = "str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting, fit to be shown or kept.

    Attributes:
        value: Of JSON's types; a secret is masked.
        origin: ``flag``, ``default``, ``environment: VARIABLE``, ``profile: FILE``, ``az: FILE``,
            ``the run``.
    """

    value: Value
    origin: str


def origin_of(ctx: click.Context, setting: Setting) -> str:
    """Where a setting's value comes from."""
    match ctx.get_parameter_source(str(setting.name)):
        case ParameterSource.COMMANDLINE:
            return "flag"
        case ParameterSource.ENVIRONMENT:
            return f"environment: {_variable(setting)}"
        case ParameterSource.DEFAULT_MAP:
            return f"profile: {ctx.meta[PROFILE]}"
        case _:
            return "default"


def origins() -> dict[str, str]:
    """Where the values of the running command's settings come from, by parameter."""
    ctx = click.get_current_context(silent=True)
    if ctx is None:
        return {}
    return {str(each.name): origin_of(ctx, each) for each in settings_of(ctx.command)}


def named(parameter: str, flag: str) -> str:
    """A setting as the user gave it, for a message: the flag, the variable, the profile's key."""
    origin = origins().get(parameter, "flag")
    kind, _, where = origin.partition(": ")
    match kind:
        case "environment":
            return where
        case "profile":
            return f"{where}: {flag.removeprefix('--')}"
        case _:
            return flag


def effective(ctx: click.Context) -> Mapping[str, Origin]:
    """All settings of a command as they would hold, the account's among them, by key.

    Raises:
        JournalError: if a run is named that there is not.
    """
    found = {
        each.key: Origin(_plain(ctx.params.get(str(each.name))), origin_of(ctx, each))
        for each in settings_of(ctx.command)
        if str(each.name) in ctx.params
    }
    if "account-endpoint" not in found:
        return found
    from bulksubmit.cli.account import account_of  # noqa: PLC0415 - when asked for
    from bulksubmit.errors import SettingsError  # noqa: PLC0415 - likewise

    of_run = _endpoint_of_run(ctx.params.get("run"))
    try:
        account = account_of(
            endpoint=ctx.params["account_endpoint"],
            name=ctx.params["account_name"],
            auth_mode=ctx.params["auth_mode"],
            key_file=ctx.params["account_key_file"],
            of_run=of_run,
            key_file_is_profiles=found["account-key-file"].origin.startswith("profile"),
        )
    except SettingsError as error:  # The key's file cannot be read; the rest can be shown.
        found["access-key"] = Origin(None, redact(str(error)))
        return found
    for key, value in (
        ("account-endpoint", _as_used(account.endpoint)),
        ("account-name", account.name),
        ("auth-mode", account.auth_mode),
    ):
        name = key.replace("-", "_")
        found[key] = Origin(_plain(value), account.origins.get(name, found[key].origin))
    found["access-key"] = Origin(
        MASK if account.key else None, account.key_origin or "nowhere: sign-in by Entra"
    )
    return found


_VALUE_MAX = 48  # Columns.


def print_settings(ctx: click.Context) -> None:
    """Print each setting, its value and its origin; secrets are masked."""
    from bulksubmit.cli.said import fail, print_json  # noqa: PLC0415 - likewise
    from bulksubmit.errors import BulkSubmitError  # noqa: PLC0415 - likewise

    try:
        found = effective(ctx)
    except BulkSubmitError as error:
        fail(error)
    if ctx.params.get("output") == "json":
        values = {key: {"value": each.value, "origin": each.origin} for key, each in found.items()}
        print_json(redacted({"settings": values}))
        return
    width = max(map(len, found))
    shown = {key: _shown(each.value) for key, each in found.items()}
    shown_width = min(max(map(len, shown.values())), _VALUE_MAX)  # A longer one stands out.
    for title, keys in _grouped(ctx.command, found):
        click.echo(f"{title}:")
        for key in keys:
            origin = redact(found[key].origin)
            click.echo(f"  {key:<{width}}  {shown[key]:<{shown_width}}  {origin}")


def _shown(value: Value) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _grouped(command: click.Command, found: Mapping[str, Origin]) -> list[tuple[str, list[str]]]:
    groups: dict[str, list[str]] = {}
    for each in settings_of(command):
        if each.key in found and isinstance(command, Command):
            groups.setdefault(command.group_of(each), []).append(each.key)
            if each.key == "auth-mode" and "access-key" in found:
                groups[command.group_of(each)].append("access-key")
    return list(groups.items())


def _variable(setting: Setting) -> str:
    given = setting.envvar or ()
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if os.environ.get(name):
            return name
    return names[0]


def _plain(value: object) -> Value:
    match value:
        case None | bool() | int() | float():
            return value
        case _:
            return redact(str(value))


def _as_used(endpoint: str | None) -> str | None:
    """An endpoint as it is used: with its scheme, without a slash at its end."""
    from bulksubmit.errors import SettingsError  # noqa: PLC0415 - when asked for
    from bulksubmit.service.endpoint import parse_endpoint  # noqa: PLC0415 - likewise

    try:
        return endpoint and parse_endpoint(endpoint)
    except SettingsError:  # Told when it is used; here it is shown as it is.
        return endpoint


def _endpoint_of_run(run: str | None) -> str | None:
    if not run:
        return None
    from bulksubmit.runs import find  # noqa: PLC0415 - SQLite and more

    return str(find(run).values["endpoint"])
