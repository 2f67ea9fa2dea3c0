"""Decides. No clock, no network, no files, and no randomness of its own."""
