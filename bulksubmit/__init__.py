"""Floods Azure Batch jobs with millions of tasks and accounts for every one of them."""

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
from bulksubmit.service.auth import EntraToken, SharedKey
from bulksubmit.settings import RejectsBound, Settings
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
