"""The report of a run as one HTML page that loads nothing and runs nothing.

``story`` is what it tells, ``page`` puts it together, ``charts`` draws what went on over time.
"""

from bulksubmit.observe.htmlreport.page import about, html_report
from bulksubmit.observe.htmlreport.story import Example, Exceptions, Story

__all__ = ["Example", "Exceptions", "Story", "about", "html_report"]
