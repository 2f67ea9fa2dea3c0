"""What nobody knows of the service, each as a switch with a name and a default.

No source says what the service does in these cases, or sources contradict each other. The default
is what is likelier, by what is documented and recorded nearby. A client is good if it ends well
under each setting of each switch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

COUNTS_KEPT_S = 120  # How far counts can be asked for in the past; recorded is a lag below 13 s.
_NUMBER_MAX = (
    10**9
)  # Thirty years, a gigabyte: to be reckoned with safely, and longer than any run.


def _switch(default: object, *others: object, text: str) -> Any:
    return field(default=default, metadata={"settings": (default, *others), "text": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """How the service behaves where nobody knows.

    Numbers may be set to others than ``settings()`` lists, none below zero; ``counts_lag_s`` to
    COUNTS_KEPT_S at most.

    Raises:
        ValueError: a setting that the switch does not have.
    """

    server_error_code: Literal["any", "InternalError", "OperationTimedOut", "ServerBusy"] = _switch(
        "any",
        "InternalError",
        "OperationTimedOut",
        "ServerBusy",
        text="The code of a task's ServerError; 'any' draws one of the three.",
    )
    too_many_tasks_code: Literal["InvalidRequestBody", "InvalidPropertyValue"] = _switch(
        "InvalidRequestBody",
        "InvalidPropertyValue",
        text="The code of the 400 for more than 100 tasks.",
    )
    duplicate_ids: Literal["first", "none", "request"] = _switch(
        "first",
        "none",
        "request",
        text="Of tasks with one ID in one request the first is added, or none, or the request is "
        "refused.",
    )
    empty_collection: Literal["accept", "refuse"] = _switch(
        "accept",
        "refuse",
        text="A request without a task is answered with no result, or refused.",
    )
    unknown_properties: Literal["task", "request", "accept"] = _switch(
        "task",
        "request",
        "accept",
        text="A property that nobody knows fails its task, or the whole request, or nothing.",
    )
    disabled_job: Literal["refuse", "accept"] = _switch(
        "refuse",
        "accept",
        text="A job that is disabled, or becomes so or active again, takes tasks or does not.",
    )
    list_lag_s: float = _switch(
        0.0,
        5.0,
        text="How long a task that was added is missing in lists, in seconds; GET finds it.",
    )
    counts_lag_s: float = _switch(
        2.0,
        0.0,
        10.0,
        text="How far taskcounts lags behind, in seconds; recorded is more than 1, less than 13.",
    )
    throttled_adds: Literal["none", "some"] = _switch(
        "none",
        "some",
        text="A request that a fault answers with 429 or 503 adds no task, or half of them; one "
        "that a scenario's capacity refuses adds none.",
    )
    expired_token_status: Literal[401, 403] = _switch(
        401,
        403,
        text="The status for a bearer token that has expired, or is bad otherwise.",
    )
    gzip_bodies: Literal["refuse", "accept"] = _switch(
        "refuse",
        "accept",
        text="A body with Content-Encoding: gzip is refused, or unpacked.",
    )
    zero_timeout: Literal["refuse", "accept"] = _switch(
        "refuse",
        "accept",
        text="A query parameter timeout of zero is refused, or means the default.",
    )
    task_bytes_max: int | None = _switch(
        None,
        65_536,
        text="A single task above so many bytes fails with RequestBodyTooLarge; none by default.",
    )
    auto_terminate: Literal["final", "revocable"] = _switch(
        "final",
        "revocable",
        text="A job cannot be patched from terminatejob to noaction, as documented, or can.",
    )
    secrets: Literal["shown", "hidden"] = _switch(
        "shown",
        "hidden",
        text="Tasks are shown with registry passwords and the signatures of URLs, or without.",
    )
    job_change_s: float = _switch(
        0.2,
        0.0,
        text="How long a job is disabling, enabling, terminating or deleting, in seconds.",
    )

    def __post_init__(self) -> None:
        for name, settings in self.settings().items():
            value = getattr(self, name)
            if isinstance(settings[-1], str) or name == "expired_token_status":
                if value not in settings:
                    known = ", ".join(map(str, settings))
                    raise ValueError(f"the switch {name} is {value!r}; it is one of {known}")
            elif value is not None or None not in settings:
                most = COUNTS_KEPT_S if name == "counts_lag_s" else _NUMBER_MAX
                kinds = {int, float} if isinstance(settings[-1], float) else {int}
                if type(value) not in kinds or not 0 <= value <= most:
                    raise ValueError(
                        f"the switch {name} is {value!r}; it is a number from 0 to {most:,}"
                    )

    @classmethod
    def settings(cls) -> Mapping[str, tuple[object, ...]]:
        """Each switch and the settings worth trying, the default first."""
        return {each.name: each.metadata["settings"] for each in fields(cls)}

    @classmethod
    def texts(cls) -> Mapping[str, str]:
        """Each switch and what it decides, in a sentence or two."""
        return {each.name: each.metadata["text"] for each in fields(cls)}
