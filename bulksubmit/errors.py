"""Everything bulksubmit raises.

    BulkSubmitError
    ├── SettingsError      the settings contradict each other, or a required one is missing
    ├── SourceError        the input cannot be read, or a line of it is no task
    ├── OutputError        a rejects or results file cannot be written
    ├── JournalError       the journal cannot be written, or cannot be trusted
    │   ├── JournalMismatch  it belongs to another source, job or account
    │   └── UnfinishedRun    there is one of this source and job: resume it, or begin anew
    ├── ServiceRefused     the service will take no task: credential, job missing, completed
    ├── ServiceUnreachable nothing answers at the endpoint
    └── NotConverged       the run ended with tasks unsettled; carries the report

A service that fails for a while is no exception: see ``core.model.Reply``.
"""

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulksubmit.observe.report import Report


class BulkSubmitError(Exception):
    """The root of all errors that bulksubmit raises on purpose.

    Attributes:
        report: The account of every task read so far, if it ended a run that had begun.
    """

    report: "Report | None" = None


class SettingsError(BulkSubmitError):
    """The settings contradict each other, or a required one is missing."""


class SourceError(BulkSubmitError):
    """The input cannot be read, or an item of it is not a task the service accepts.

    Attributes:
        path: The source, as the user named it.
        line: 1-based, as an editor shows it; the item's number for an iterable; None if the
            source as a whole is meant.
        reason: What is wrong and what would be right, without the location.
        of_item: It is about one item alone, without which the source can be gone on with.
        hint: How to go on, if something can be said of that.
    """

    of_item: bool = False
    hint: str | None = None

    def __init__(
        self, path: str, line: int | None, reason: str, *, where: str | None = None
    ) -> None:
        self.path, self.line, self.reason = path, line, reason
        place = f"{path}:{line}" if line is not None else path
        super().__init__(f"{where or place}: {reason}")

    def __str__(self) -> str:
        return "\n".join(filter(None, [super().__str__(), self.hint]))


class OutputError(BulkSubmitError):
    """A rejects or results file cannot be written."""


class JournalError(BulkSubmitError):
    """The journal cannot be written, or cannot be trusted."""


class JournalMismatch(JournalError):
    """The journal belongs to another source, job or account."""


class UnfinishedRun(JournalError):
    """There is an unfinished run of this source and job: resume it, or begin anew.

    Attributes:
        run_id: Its name.
        what: What there is.
        in_use: A process works on it now.
    """

    def __init__(self, run_id: str, what: str, *, in_use: bool = False) -> None:
        self.run_id, self.what, self.in_use = run_id, what, in_use
        ways = f'go on with it by on_unfinished="resume" in Settings, or by resume("{run_id}", ...)'
        if in_use:
            ways = "wait for it"
        super().__init__(f'{what}: {ways}, or begin another by on_unfinished="new" in Settings')


class Refusal(Enum):
    """Why the service takes no task; each has an exit code of its own (README, exit codes)."""

    NOT_FOUND = "account or job not found"
    AUTHENTICATION = "authentication missing or refused"
    JOB_CLOSED = "the job takes no tasks"
    REQUEST = "the service does not accept this form of request"


class ServiceRefused(BulkSubmitError):
    """The service will take no task at all, so the run stops; the tasks stay unsettled.

    Attributes:
        refusal: Which kind of refusal it is.
        code: The service's error code, such as ``JobCompleted``.
        reason: The service's message, and what would be right.
    """

    def __init__(self, refusal: Refusal, code: str, reason: str) -> None:
        self.refusal, self.code, self.reason = refusal, code, reason
        super().__init__(f"{code}: {reason}")


class ServiceUnreachable(BulkSubmitError):
    """Nothing has answered at the endpoint since the start.

    Attributes:
        name_unknown: True if the host's name does not resolve, so that the account's name or
            region is probably wrong.
    """

    def __init__(self, reason: str, *, name_unknown: bool) -> None:
        self.name_unknown = name_unknown
        super().__init__(reason)


class NotConverged(BulkSubmitError):
    """The run ended with tasks unsettled, and nothing else to blame.

    Attributes:
        exit_code: What the process should say: 5, or 128 and the signal that stopped it.
    """

    def __init__(self, reason: str, *, exit_code: int = 5) -> None:
        self.exit_code = exit_code
        super().__init__(reason)
