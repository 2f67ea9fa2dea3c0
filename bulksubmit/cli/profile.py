"""Profiles: settings under a name, as TOML.

A profile has a line a setting, named like the flag: ``max-rate = 500`` or ``max_rate = 500``.
It is a file of its own below ``$BULKSUBMIT_CONFIG_DIR``, else the platform's folder for a user's
configuration, or any file by its path. Paths in it begin at the file's folder, for a profile is
used from wherever one happens to be. It is meant to be shared, so it holds no secret.
"""

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bulksubmit.cli.command import Setting, settings_of, unknown_word
from bulksubmit.core.redact import redact
from bulksubmit.errors import SettingsError

SUFFIX = ".toml"

_SECRET = re.compile(r"(^|_)(key|sas|token|secret|password)$")
_LINE = re.compile(r" ?\(at (?:line (\d+), column \d+|end of document)\)$")


def profiles_folder() -> Path:
    """Where profiles are looked for by their names."""
    if root := os.environ.get("BULKSUBMIT_CONFIG_DIR"):
        return Path(root).absolute()
    import platformdirs  # noqa: PLC0415 - costs --help 10 ms

    return platformdirs.user_config_path("bulksubmit")


def profile_names() -> list[str]:
    """The profiles that can be named, in order."""
    return sorted(path.stem for path in profiles_folder().glob(f"*{SUFFIX}"))


def profile_path(name: str) -> Path:
    """The file of a profile.

    Args:
        name: A profile's, or the path of its file.

    Raises:
        SettingsError: if there is no such profile.
    """
    if name.endswith(SUFFIX) or Path(name).name != name:
        path = Path(os.path.abspath(Path(name).expanduser()))  # noqa: PTH100 - keeps links
        if not path.is_file():
            raise SettingsError(f"there is no profile {name}")
        return path
    path = profiles_folder() / f"{name}{SUFFIX}"
    if path.is_file():
        return path
    names = profile_names()
    if not names:
        raise SettingsError(f"there is no profile {name!r}: it would be {path}")
    raise SettingsError(unknown_word(f"{path.parent} has no profile", name, names))


def read_profile(path: Path, command: click.Command, others: Sequence[Setting]) -> dict[str, Any]:
    """What a profile says of a command's settings, checked.

    Args:
        path: The profile.
        command: Whose settings are wanted.
        others: The settings of other commands, which a profile may have as well.

    Returns:
        The command's parameters, by name; not those that the profile leaves out.

    Raises:
        SettingsError: if the file cannot be read, names what is no setting, or a value cannot
            be right.
    """
    own = {setting.key: setting for setting in settings_of(command)}
    known = {setting.key: setting for setting in others} | own
    text, found = _loaded(path)
    values: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for name, value in found.items():
        where = f"{path}:{_line_of(name, text)}"
        key = name.replace("_", "-")
        if seen.setdefault(key, name) != name:
            raise SettingsError(f"{where}: {name} is {seen[key]}, which is set already")
        setting = known.get(key)
        if setting is None:
            raise SettingsError(f"{where}: {_no_setting(name, value, list(known))}")
        checked = _checked(where, name, value, setting, path.parent)
        if key in own:
            values[str(setting.name)] = checked
    return values


def _loaded(path: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        text = path.read_text("utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"the profile {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"the profile {path} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        said = str(error)
        found = _LINE.search(said)
        # It does not say which line is the last.
        line = found[1] if found and found[1] else max(1, len(text.splitlines()))
        raise SettingsError(f"{path}:{line}: not TOML: {_LINE.sub('', said)}") from None


def _line_of(name: str, text: str) -> int:
    """Where a key of the top level stands: 1-based; of a dotted one or a table, its beginning."""
    spelt = rf"""["']?{re.escape(name)}["']?"""
    found = re.search(
        rf"^[ \t]*(?:{spelt}[ \t]*[=.]|\[+[ \t]*{spelt}[ \t]*[.\]])", text, re.MULTILINE
    )
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _no_setting(name: str, value: object, known: Sequence[str]) -> str:
    if _SECRET.search(name.replace("-", "_").lower()):
        return (
            f"{name} is a secret, and a profile is a file that is shared: put the key into a file "
            "of its own and name that by account-key-file, or set AZURE_BATCH_ACCESS_KEY"
        )
    if isinstance(value, dict):
        return f"[{name}] is a table; a profile has a setting a line, such as concurrency = 32"
    otherwise = "`bulksubmit submit --help` lists them: they are called like the flags"
    return unknown_word("there is no setting", name, known, otherwise)


def _checked(where: str, name: str, value: object, setting: Setting, folder: Path) -> Any:
    """A value as click takes it.

    Raises:
        SettingsError: if it cannot be right.
    """
    kind = setting.type
    wrong = SettingsError(f"{where}: {name} is {_shown(value)}; {_wanted(setting)} is wanted")
    if setting.is_flag:
        if not isinstance(value, bool):
            raise wrong
        return value
    numbers = isinstance(value, int | float) and not isinstance(value, bool)
    textual = kind is click.STRING or isinstance(kind, click.Path | click.Choice)
    if not isinstance(value, str) and not (numbers and (not textual or setting.takes_numbers)):
        raise wrong
    if isinstance(kind, click.Path):
        if redact(str(value)) != value:  # Not shown: it may be the key itself.
            raise SettingsError(f"{where}: {name} names a file; it never is a secret itself")
        return os.path.abspath(folder / Path(str(value)).expanduser())  # noqa: PTH100 - keeps links
    try:
        setting.type_cast_value(click.Context(click.Command("profile")), str(value))
    except click.BadParameter:
        raise wrong from None
    return str(value)


def _shown(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list():
            return "a list"
        case str():
            return f'"{redact(value)}"'
        case _:
            return str(value)


def _wanted(setting: Setting) -> str:
    kind = setting.type
    if setting.is_flag:
        return "true or false"
    if isinstance(kind, click.Choice):
        return " or ".join(f'"{each}"' for each in kind.choices)
    if kind is click.INT:
        return "a whole number"
    if isinstance(kind, click.Path):
        return "a path in quotes"
    if kind is click.STRING:
        return f"{setting.metavar}, in quotes" if setting.takes_numbers else "a text in quotes"
    if setting.metavar and "|" in setting.metavar:
        first, _, second = setting.metavar.partition("|")
        return f'"{first}" or a whole number {second}'
    return "a number above 0" if isinstance(kind, click.FloatRange) else "a number"
