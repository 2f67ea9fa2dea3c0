"""Errors that travel: what ended a worker is raised again by its coordinator."""

from bulksubmit.core.redact import redact
from bulksubmit.distribute.messages import Failure
from bulksubmit.errors import (
    BulkSubmitError,
    JournalError,
    NotConverged,
    OutputError,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SettingsError,
    SourceError,
)

_PLAIN = {kind.__name__: kind for kind in (SettingsError, OutputError, JournalError)}


class WorkerFailed(Exception):
    """A worker raised what it should not have; its text has the traceback."""


def failure_of(error: BaseException) -> Failure:
    """An error, as it travels."""
    values: dict[str, object] = {}
    match error:
        case SourceError():
            values = {"path": error.path, "line": error.line, "of_item": error.of_item}
            return Failure("SourceError", error.reason, values | {"text": error.args[0]})
        case ServiceRefused():
            values = {"refusal": error.refusal.name, "code": error.code}
            return Failure("ServiceRefused", error.reason, values)
        case ServiceUnreachable():
            values = {"name_unknown": error.name_unknown}
        case NotConverged():
            values = {"exit_code": error.exit_code}
        case BulkSubmitError():
            pass
        case _:
            # Not of this module's kinds: where it comes from is what one wants to know.
            import traceback  # noqa: PLC0415 - for defects only

            return Failure("", redact("".join(traceback.format_exception(error))), {})
    return Failure(type(error).__name__, str(error), values)


def error_of(failure: Failure) -> Exception:
    """What failure_of() was given, or as near as can be."""
    values = failure.values
    match failure.kind:
        case "SourceError":
            where = str(values["text"]).removesuffix(f": {failure.text}")
            error = SourceError(values["path"], values["line"], failure.text, where=where)
            error.of_item = values["of_item"]
            return error
        case "ServiceRefused":
            return ServiceRefused(Refusal[values["refusal"]], values["code"], failure.text)
        case "ServiceUnreachable":
            return ServiceUnreachable(failure.text, name_unknown=values["name_unknown"])
        case "NotConverged":
            return NotConverged(failure.text, exit_code=values["exit_code"])
        case kind if kind in _PLAIN:
            return _PLAIN[kind](failure.text)
        case kind:
            return WorkerFailed(failure.text) if not kind else BulkSubmitError(failure.text)
