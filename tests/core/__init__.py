"""The core, tested without an event loop: values in, values out."""
