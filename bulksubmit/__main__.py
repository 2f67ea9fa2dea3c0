"""``python -m bulksubmit`` is ``bulksubmit``."""

from bulksubmit.cli import main

main()
