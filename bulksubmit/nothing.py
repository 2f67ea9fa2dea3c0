"""Runs that come to nothing: there is no use in going on with them, so they are forgotten."""

import shutil

from bulksubmit.runs import Run

SPOOL = "spool"  # The file in a run's folder that holds a copy of a pipe or an iterable.


def is_nothing(run: Run) -> bool:
    """Whether nothing was read or sent, nor is there a copy of the source, perhaps the only one."""
    journal, counts = run.journal, run.journal.counts
    begun = counts.total or counts.source_complete or journal.doubt_below or journal.held
    kept = run.resumed or journal.path is None or (run.folder / SPOOL).exists()
    return not (begun or kept)


def forget_if_nothing(run: Run) -> None:
    """Remove the files of a run that came to nothing; it is closed by now."""
    if run.journal.path and is_nothing(run):
        # The journal first: a folder without one is no run, should we be killed here.
        run.journal.path.unlink(missing_ok=True)
        shutil.rmtree(run.folder, ignore_errors=True)
