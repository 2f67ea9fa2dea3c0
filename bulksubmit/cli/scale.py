"""The flags of a run that is shared by several workers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self

import click

from bulksubmit.cli.options import concurrency, option
from bulksubmit.errors import SettingsError

if TYPE_CHECKING:
    from bulksubmit.distribute.crew import Crew
    from bulksubmit.service.auth import EntraToken, SharedKey

WORKERS = "Several workers"
_MIB = 2**20


_OPTIONS = (
    option(
        "--workers",
        group=WORKERS,
        type=concurrency,
        metavar="N|auto",
        help="So many processes share the work; auto: one a core.  [default: this one alone]",
    ),
    option(
        "--executor",
        group=WORKERS,
        type=click.Choice(["local", "dask", "dask+local"]),
        help="Processes of this machine, the workers of a Dask cluster, or a cluster for this run.",
    ),
    option(
        "--scheduler",
        group=WORKERS,
        metavar="URL",
        help="Of the Dask cluster, tcp://HOST:8786; implies --executor dask.",
    ),
    option(
        "--listen",
        group=WORKERS,
        metavar="HOST[:PORT]",
        help="Where workers on other machines reach this one.  [default: found out]",
    ),
    option(
        "--shard-size",
        group=WORKERS,
        type=click.IntRange(1, 65_536),
        metavar="MIB",
        help="Of the source, what is handed to a worker at once.  [default: 4 to 256]",
    ),
)


def worker_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the flags of Scale."""
    for each in reversed(_OPTIONS):
        command = each(command)
    return command


@dataclass(frozen=True, slots=True)
class Scale:
    """What the flags were set to, by name."""

    workers: int | Literal["auto"] | None = None
    executor: Literal["local", "dask", "dask+local"] | None = None
    scheduler: str | None = None
    listen: str | None = None
    shard_size: int | None = None

    @classmethod
    def of(cls, flags: dict[str, Any]) -> Self:
        """Take them out of all that a command was given."""
        return cls(**{each.name: flags.pop(each.name) for each in fields(cls)})

    @property
    def asked(self) -> bool:
        """Whether several workers are asked for."""
        return any(each is not None for each in (self.workers, self.executor, self.scheduler))

    def check(self) -> None:
        """See whether they go together.

        Raises:
            SettingsError: if they do not.
        """
        if self.executor in (None, "local") and self.listen:
            raise SettingsError("--listen is for workers on other machines: --executor dask")
        if self.scheduler and self.executor not in (None, "dask"):
            raise SettingsError(f"--scheduler is of a cluster, and --executor {self.executor} none")
        if self.executor == "dask" and not self.scheduler:
            raise SettingsError("say where the cluster is: --scheduler tcp://HOST:8786")
        if self.shard_size and not self.asked:
            raise SettingsError("--shard-size is for several workers: --workers N")

    def crew(self, credential: "SharedKey | EntraToken") -> "Crew | None":
        """Who shares the work; None if nobody does. Waits for a cluster, so not on the loop.

        Raises:
            BulkSubmitError: if they cannot be had.
        """
        if not self.asked:
            return None
        from bulksubmit.distribute import crew  # noqa: PLC0415 - for few
        from bulksubmit.distribute.local import cores  # noqa: PLC0415 - likewise

        size = self.shard_size and self.shard_size * _MIB
        host, _, port = (self.listen or "").partition(":")
        if port and not port.isdigit():
            raise SettingsError(f"--listen is {self.listen!r}; write HOST or HOST:PORT")
        count = cores() if self.workers in (None, "auto") else int(self.workers)
        if self.executor in (None, "local") and not self.scheduler:
            return crew.local_crew(count, credential, shard_bytes=size)
        # What matters of it is told by us; a scheduler that is lost would bring tracebacks.
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        return crew.cluster_crew(
            self.scheduler,
            workers=count,
            host=host or None,
            port=int(port or 0),
            shard_bytes=size,
        )
