"""``bulksubmit``, and ``python -m bulksubmit``."""

from bulksubmit import early


def main() -> None:
    """Run the command line; exits."""
    early.begin()
    from bulksubmit.cli import main as command_line  # noqa: PLC0415 - it takes its time

    command_line()


if __name__ == "__main__":
    main()
