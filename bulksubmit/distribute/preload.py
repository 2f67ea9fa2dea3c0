"""What each worker of a local Dask cluster does first; Dask calls dask_setup() by its name."""

import signal


def dask_setup(_worker: object) -> None:
    """Ignore Ctrl-C: a terminal sends it to the workers too, which the coordinator stops itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
