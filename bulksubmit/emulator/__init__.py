"""Plays the service: jobs, tasks and faults, over real HTTP or in process.

The HTTP shell stands apart, in ``bulksubmit.emulator.server``: the service itself needs no network.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulksubmit.emulator.access import Access
    from bulksubmit.emulator.capacity import Capacity, Phase
    from bulksubmit.emulator.exchange import Answer, Call, Operation, Plan
    from bulksubmit.emulator.faults import Fault, Faults, TaskFault
    from bulksubmit.emulator.local import Emulator
    from bulksubmit.emulator.service import Service
    from bulksubmit.emulator.state import State, StateError
    from bulksubmit.emulator.store import Job, JobState
    from bulksubmit.emulator.switches import Switches

__all__ = [
    "Access",
    "Answer",
    "Call",
    "Capacity",
    "Emulator",
    "Fault",
    "Faults",
    "Job",
    "JobState",
    "Operation",
    "Phase",
    "Plan",
    "Service",
    "State",
    "StateError",
    "Switches",
    "TaskFault",
]

# A command line that only wants to know which switches there are need not wait for the rest, nor
# does the simulation wait for aiohttp.
_IMPORTED_WHEN_USED = {
    "Access": "access",
    "Answer": "exchange",
    "Call": "exchange",
    "Capacity": "capacity",
    "Emulator": "local",
    "Fault": "faults",
    "Faults": "faults",
    "Job": "store",
    "JobState": "store",
    "Operation": "exchange",
    "Phase": "capacity",
    "Plan": "exchange",
    "Service": "service",
    "State": "state",
    "StateError": "state",
    "Switches": "switches",
    "TaskFault": "faults",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_IMPORTED_WHEN_USED[name]}"), name)
    globals()[name] = value
    return value
