"""Plays the service: jobs, tasks and faults, over real HTTP or in process.

The HTTP shell stands apart, in ``bulksubmit.emulator.server``: nothing here needs a network.
"""

from bulksubmit.emulator.access import Access
from bulksubmit.emulator.capacity import Capacity, Phase
from bulksubmit.emulator.exchange import Answer, Call, Operation, Plan
from bulksubmit.emulator.faults import Fault, Faults, TaskFault
from bulksubmit.emulator.service import Service
from bulksubmit.emulator.store import Job, JobState

__all__ = [
    "Access",
    "Answer",
    "Call",
    "Capacity",
    "Fault",
    "Faults",
    "Job",
    "JobState",
    "Operation",
    "Phase",
    "Plan",
    "Service",
    "TaskFault",
]
