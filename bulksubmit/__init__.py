"""Floods Azure Batch jobs with millions of tasks and accounts for every one of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from bulksubmit.core.events import Event, Observer
from bulksubmit.core.model import Outcome, Verdict
from bulksubmit.errors import (
    BulkSubmitError,
    NotConverged,
    OutputError,
    Refusal,
    ServiceRefused,
    ServiceUnreachable,
    SettingsError,
    SourceError,
)
from bulksubmit.observe.report import Report
from bulksubmit.settings import RejectsBound, Settings

if TYPE_CHECKING:
    from bulksubmit.service.auth import EntraToken, SharedKey
    from bulksubmit.submission import Outcomes, stream, submit

__all__ = [
    "BulkSubmitError",
    "EntraToken",
    "Event",
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
    "Verdict",
    "stream",
    "submit",
]

# These bring aiohttp along, 130 ms of it, which ``bulksubmit --help`` need not wait for.
_IMPORTED_WHEN_USED = {
    "EntraToken": "bulksubmit.service.auth",
    "Outcomes": "bulksubmit.submission",
    "SharedKey": "bulksubmit.service.auth",
    "stream": "bulksubmit.submission",
    "submit": "bulksubmit.submission",
}


def __getattr__(name: str) -> object:
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
