"""Floods Azure Batch jobs with millions of tasks and accounts for every one of them."""
