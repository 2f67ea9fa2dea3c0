"""Many processes, many machines: shards of a source on an executor."""
