"""A client does what it is told: calls come as lines of JSON, and so do their results.

The first call is ``connect``, with the account's ``endpoint``, ``account_name`` and ``key``, and
perhaps a ``token`` to use instead of the key; it may come again, for another account. This runs in
the client's own environment, so nothing of ours is imported.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any


def answer_calls(client: object, tell: Callable[[Exception], dict[str, Any]]) -> None:
    """Do all calls of the standard input, and write what each one gives.

    Args:
        client: Has a method of each call's name.
        tell: What is to be told of an exception that the client raises.
    """
    for line in sys.stdin:
        call = json.loads(line)
        try:
            given = {"result": getattr(client, call.pop("do"))(**call)}
        except Exception as error:  # noqa: BLE001  Whatever it raises is what users see.
            given = {"raised": {"type": type(error).__name__, "text": str(error), **tell(error)}}
        print(json.dumps(given), flush=True)  # noqa: T201  That is how it answers.


def unset_in(model: Any, attributes: Callable[[Any], dict[str, Any]]) -> set[str]:
    """Which attributes of which models are nowhere set, by the models' own lists.

    Args:
        model: Where to start.
        attributes: The names and values of all that a model can hold; none if it is no model.
    """
    unset: set[str] = set()
    given: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, list | tuple):
            for each in value:
                look(each)
            return
        for name, inner in attributes(value).items():
            full = f"{type(value).__name__}.{name}"
            (unset if inner is None else given).add(full)
            look(inner)

    look(model)
    return unset - given


def moment(text: str) -> datetime:
    """A date that a call holds."""
    return datetime.fromisoformat(text).astimezone(UTC)
