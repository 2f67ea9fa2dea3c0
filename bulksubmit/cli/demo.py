"""``bulksubmit demo``: the whole line on this machine, in a few seconds."""

import sys

import click

from bulksubmit.cli.command import Command
from bulksubmit.cli.flags import EXIT_CODES
from bulksubmit.cli.options import output_json

_EPILOG = f"""{EXIT_CODES}
1 is also what it says if the emulator lists other tasks than the report counts.

\b
Examples:
  bulksubmit demo
  bulksubmit demo --tasks 1000000 --seed 7 --output json
"""


@click.command(cls=Command, epilog=_EPILOG)
@click.option(
    "--tasks", type=click.IntRange(1), default=100_000, show_default=True, help="How many."
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the faults.")
@output_json
def demo(*, tasks: int, seed: int, output: str) -> None:
    """Flood a local emulator with tasks, and check the result against its own list.

    The emulator answers after 50 ms, fails 1 % of the tasks with servererror, and drops a few
    connections. Everything stays on this machine.
    """
    from bulksubmit.cli.showing import show_off  # noqa: PLC0415 - --help goes without

    sys.exit(show_off(tasks=tasks, seed=seed, as_json=output == "json"))
