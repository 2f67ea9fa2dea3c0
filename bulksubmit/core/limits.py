"""Numbers and words of the service that settings are made of; they cost nothing to import."""

API_VERSION = "2024-07-01.20.0"

TASKS_MAX = 100  # REST reference, TaskAddCollectionParameter.value.
BYTES_MAX = 1_048_576  # REST reference; the service's 413 says MaxLimit=1048576.

# What a collection's body begins and ends with, around its tasks and the commas between them.
OPEN, CLOSE = b'{"value":[', b"]}"
FRAME_BYTES = len(OPEN) + len(CLOSE)
