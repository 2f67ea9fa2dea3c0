"""Looks for IDs that come twice among many that do not, and says how long it took.

To be measured from outside, in a process of its own: see ``validate``.
"""

import sys
import time
from contextlib import closing

from bulksubmit.core.model import Task
from bulksubmit.producer.duplicates import DuplicateCheck

_IDS_PER_BLOCK = 800


def main() -> None:
    """Add so many IDs, and the first one again; print the CPU seconds of adding and of finding."""
    ids, adding_s = int(sys.argv[1]), 0.0
    with closing(DuplicateCheck()) as check:
        for first in range(0, ids, _IDS_PER_BLOCK):
            end = min(first + _IDS_PER_BLOCK, ids)
            numbers = range(first, end)
            tasks = [Task(n, n + 1, f"Frame-{n:09}-render", b"") for n in numbers]
            began_s = time.process_time()
            check.add(tasks, end)
            adding_s += time.process_time() - began_s
        check.add([Task(ids, ids + 1, f"frame-{0:09}-RENDER", b"")], ids + 1)
        began_s = time.process_time()
        found = check.find()
        print(adding_s, time.process_time() - began_s, found.count)


if __name__ == "__main__":
    main()
