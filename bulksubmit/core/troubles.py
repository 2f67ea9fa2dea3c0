"""What is known of the unsettled tasks whose earlier attempts did not settle them."""

from collections.abc import Sequence

from bulksubmit.core.model import Attempt, Task, Trouble

NO_TROUBLE = Trouble()


class Troubles(dict[int, Trouble]):
    """By ordinal; most tasks have none."""

    def of(self, ordinal: int) -> Trouble:
        """A task's, or none, which is not to be changed."""
        return self.get(ordinal, NO_TROUBLE)

    def doubt(self, tasks: Sequence[Task], below: int) -> None:
        """Tasks of a lower ordinal may have been sent by an earlier process."""
        if tasks and tasks[0].ordinal < below:
            for task in tasks:
                if task.ordinal < below:
                    self[task.ordinal] = Trouble(in_doubt=True)

    def doubted(self) -> set[int]:
        """The ordinals of those that may have been added."""
        return {ordinal for ordinal, trouble in self.items() if trouble.in_doubt}

    def fail(
        self, attempt: Attempt, tasks: Sequence[Task], *, in_doubt: bool, pressed: bool, streak: int
    ) -> int:
        """An attempt did not settle some of its tasks.

        Args:
            attempt: It.
            tasks: Those.
            in_doubt: It may have added them.
            pressed: It settled nothing at all.
            streak: How many such attempts there were in a row.

        Returns:
            What sets their common backoff: the most failures of one of them.
        """
        failures, doubtful_s = 0, attempt.sent_s if in_doubt else None
        for task in tasks:
            trouble = self.setdefault(task.ordinal, Trouble())
            trouble.fail(pressed=pressed, doubtful_s=doubtful_s)
            # A task that was unlucky again and again, while the service answers others well,
            # need not wait as for a service that is down.
            pressures = min(trouble.pressures, streak)
            failures = max(failures, pressures if pressed else trouble.server_errors)
        return failures
