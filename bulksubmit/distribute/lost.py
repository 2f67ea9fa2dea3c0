"""What an executor says of a call that did not end by itself, whichever executor it is."""

from bulksubmit.errors import BulkSubmitError


class WorkerLost(BulkSubmitError):
    """The process that ran a call died of it, or during it: the call may have done anything.

    Attributes:
        what: How it died, as far as it is known: ``killed by SIGKILL``, ``exit code 1``.
        pid: The process, of the machine that it ran on; None if nobody told.
    """

    def __init__(self, what: str, pid: int | None = None) -> None:
        self.what, self.pid = what, pid
        super().__init__(what, pid)

    def __str__(self) -> str:
        return f"worker lost: {self.what}" + (f" (process {self.pid})" if self.pid else "")


class ClusterLost(BulkSubmitError):
    """The scheduler does not answer any more: nothing is known of the calls that it was given."""
