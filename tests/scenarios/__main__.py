"""``python -m tests.scenarios [--fixed N] [NAME...]``: run scenarios, and print what they came to.

Without a name, all of them. ``--fixed`` puts a fixed limit in the place of the adaptive one.
"""

import argparse
from functools import partial

from bulksubmit.core.pacing import FixedLimit
from tests.scenarios.run import run, scenarios

parser = argparse.ArgumentParser(prog="python -m tests.scenarios")
parser.add_argument("--fixed", type=int, metavar="N")
parser.add_argument("names", nargs="*", metavar="NAME")
given = parser.parse_args()

for scenario in scenarios():
    if scenario.name in given.names or not given.names:
        timeline = run(scenario, limit=given.fixed and partial(FixedLimit, given.fixed))
        print(timeline, *([timeline.error] if timeline.error else []), sep="\n  ")
        for each in timeline.measured():
            print("   " if each.fits else "  !", each)
