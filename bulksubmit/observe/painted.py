"""The report on a terminal: the table with colours, and long words wrapped below themselves."""

import textwrap
from typing import TextIO

from rich.console import Console
from rich.style import Style
from rich.text import Text

from bulksubmit.observe.live import STYLES
from bulksubmit.observe.panel import Tone
from bulksubmit.observe.report import Report
from bulksubmit.observe.table import report_rows

# To be copied as they are: the terminal wraps them, and knows that they are one.
_WHOLE = frozenset(["rejects", "journal", "next"])
_VALUE_MIN = 20  # Columns; with fewer, nothing is wrapped.


def print_painted(report: Report, out: TextIO) -> None:
    """Print the report to a terminal, in the colours that it has."""
    console = Console(file=out, highlight=False, markup=False, emoji=False)
    rows = report_rows(report)
    label_width = max(len(label) for label, _ in rows) + 2
    value_width = console.width - label_width
    for label, value in rows:
        lines = [value]
        if label not in _WHOLE and value_width >= _VALUE_MIN:
            lines = textwrap.wrap(value, value_width, break_on_hyphens=False) or [value]
        words = f"\n{' ' * label_width}".join(lines)
        text = Text.assemble(
            (f"{label:<{label_width}}", STYLES[Tone.FAINT]), (words, _style(label.strip(), report))
        )
        console.print(text, soft_wrap=True)


def _style(label: str, report: Report) -> Style:
    match label:
        case "converged":
            return STYLES[Tone.GOOD if report.converged else Tone.BAD] + Style(bold=True)
        case "rejected" if report.rejected:
            return STYLES[Tone.BAD]
        case "abandoned" if report.abandoned:
            return STYLES[Tone.ODD]
        case "unsettled" if report.unsettled:
            return STYLES[Tone.ODD]
        case "ended by":
            return STYLES[Tone.BAD]
        case "next":
            return Style(bold=True)
        case _:
            return STYLES[Tone.PLAIN]
