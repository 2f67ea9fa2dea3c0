"""Shows what happens: logs, progress, the report."""
