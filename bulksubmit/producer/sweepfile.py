"""A sweep as a file: parameters and a task, in TOML.

[sweep]
seed = "1..1000000"
mode = ["fast", "slow"]

[task]
commandLine = "render --seed {seed} --{mode}"
"""

import re
from pathlib import Path
from typing import Any

import orjson

from bulksubmit.errors import SourceError

SWEEP_SUFFIX = ".toml"
_AT_LINE = re.compile(r" ?\(at line (\d+), column (\d+)\)$")


def read_sweep_file(path: str, *, name: str | None = None) -> tuple[str, tuple[str, ...]]:
    """The template and the parameters that a file describes.

    Args:
        path: Of the file.
        name: For messages; None for the path.

    Returns:
        The task as JSON text, and each parameter as ``--sweep`` takes it.

    Raises:
        SourceError: if it cannot be read, or describes no sweep.
    """
    name = name or path
    found = _loaded(path, name)
    for key in found:
        if key not in {"sweep", "task"}:
            reason = f"{key!r} is neither [sweep] nor [task]; a file of a sweep has these two"
            raise SourceError(name, None, reason)
    for key, what in (
        ("sweep", 'its parameters, such as seed = "1..1000"'),
        ("task", "the task, with placeholders such as {seed}"),
    ):
        if not isinstance(found.get(key), dict) or not found[key]:
            raise SourceError(name, None, f"has no table [{key}]; it holds {what}")
    try:
        template = orjson.dumps(found["task"]).decode()
    except TypeError as error:
        raise SourceError(name, None, f"[task]: {error}") from error
    return template, tuple(_parameter(name, *item) for item in found["sweep"].items())


def escape(text: str) -> str:
    """A text as one of the values that commas separate."""
    return re.sub(r"([\\,]|(?<!\.)\.(?=\.))", r"\\\1", text)


def _loaded(path: str, name: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415 - 5 ms, which those without a sweep need not wait for

    try:
        return tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise SourceError(name, None, f"cannot be opened: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(name, None, "is not UTF-8; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        place = _AT_LINE.search(text)
        line = int(place[1]) if place else None
        reason = f"not valid TOML: {_AT_LINE.sub('', text)}"
        reason += f" (column {place[2]})" if place else ""
        raise SourceError(name, line, reason) from error


def _parameter(name: str, parameter: str, values: object) -> str:
    match values:
        case str():
            return f"{parameter}={values}"
        case list():
            return f"{parameter}=" + ",".join(_text(name, parameter, each) for each in values)
        case _:
            return f"{parameter}={_text(name, parameter, values)}"


def _text(name: str, parameter: str, value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return escape(value)
        case _:
            reason = (
                f"[sweep] {parameter}: {value!r} is neither text nor a number; give a range "
                "such as '1..1000', or a list of texts or numbers"
            )
            raise SourceError(name, None, reason)
