"""From disk, a pipe or an iterable to blocks of tasks."""
