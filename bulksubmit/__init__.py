"""Floods Azure Batch jobs with millions of tasks and accounts for every one of them."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulksubmit.api import resume, stream, submit, submit_sync
    from bulksubmit.consumer import Outcomes
    from bulksubmit.core.events import Observer
    from bulksubmit.core.model import Outcome, Verdict
    from bulksubmit.errors import (
        BulkSubmitError,
        JournalError,
        JournalMismatch,
        NotConverged,
        OutputError,
        Refusal,
        ServiceRefused,
        ServiceUnreachable,
        SettingsError,
        SourceError,
        UnfinishedRun,
    )
    from bulksubmit.observe.report import Report
    from bulksubmit.producer.spec import SourceSpec
    from bulksubmit.service.auth import EntraToken, SharedKey
    from bulksubmit.settings import RejectsBound, Settings

__all__ = [
    "BulkSubmitError",
    "EntraToken",
    "JournalError",
    "JournalMismatch",
    "NotConverged",
    "Observer",
    "Outcome",
    "Outcomes",
    "OutputError",
    "Refusal",
    "RejectsBound",
    "Report",
    "ServiceRefused",
    "ServiceUnreachable",
    "Settings",
    "SettingsError",
    "SharedKey",
    "SourceError",
    "SourceSpec",
    "UnfinishedRun",
    "Verdict",
    "resume",
    "stream",
    "submit",
    "submit_sync",
]

# Where each is defined. ``bulksubmit --help`` waits for none of them, and who only wants the errors
# does not wait for aiohttp.
_HOMES = {
    "api": ("resume", "stream", "submit", "submit_sync"),
    "consumer": ("Outcomes",),
    "core.events": ("Observer",),
    "core.model": ("Outcome", "Verdict"),
    "errors": (
        "BulkSubmitError",
        "JournalError",
        "JournalMismatch",
        "NotConverged",
        "OutputError",
        "Refusal",
        "ServiceRefused",
        "ServiceUnreachable",
        "SettingsError",
        "SourceError",
        "UnfinishedRun",
    ),
    "observe.report": ("Report",),
    "producer.spec": ("SourceSpec",),
    "service.auth": ("EntraToken", "SharedKey"),
    "settings": ("RejectsBound", "Settings"),
}
_MODULES = {name: f"{__name__}.{home}" for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names that are not imported yet among them."""
    return sorted({*globals(), *__all__})
