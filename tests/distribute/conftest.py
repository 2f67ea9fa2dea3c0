"""What these tests share."""

from tests.end_to_end.conftest import hurried

__all__ = ["hurried"]
