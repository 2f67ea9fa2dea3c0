"""Floods Azure Batch jobs with millions of tasks and accounts for every one of them."""

from importlib import import_module
from typing import TYPE_CHECKING

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
from bulksubmit.settings import RejectsBound, Settings

if TYPE_CHECKING:
    from bulksubmit.api import resume, stream, submit, submit_sync
    from bulksubmit.consumer import Outcomes
    from bulksubmit.producer.spec import SourceSpec
    from bulksubmit.service.auth import EntraToken, SharedKey

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

# These bring aiohttp along, 130 ms of it, which ``bulksubmit --help`` need not wait for.
_IMPORTED_WHEN_USED = {
    "EntraToken": "bulksubmit.service.auth",
    "Outcomes": "bulksubmit.consumer",
    "SharedKey": "bulksubmit.service.auth",
    "SourceSpec": "bulksubmit.producer.spec",
    "resume": "bulksubmit.api",
    "stream": "bulksubmit.api",
    "submit": "bulksubmit.api",
    "submit_sync": "bulksubmit.api",
}


def __getattr__(name: str) -> object:
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_IMPORTED_WHEN_USED[name]), name)
