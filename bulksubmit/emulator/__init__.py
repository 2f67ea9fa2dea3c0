"""Plays the service: jobs, tasks and faults, over real HTTP or in process."""
