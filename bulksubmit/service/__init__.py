"""Talks to Azure Batch."""
