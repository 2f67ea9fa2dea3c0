"""Many processes, many machines: shards of a source on an executor.

A *coordinator* (this process) cuts the source into shards and hands them to an executor. A *worker*
is one call of that executor: it connects back over a *line*, gets its orders, submits its shard as
an ordinary submission, and reports what it has settled. The coordinator keeps the one journal.

    plan ─▶ roster ─▶ dispatch ─▶ executor ─▶ worker ─▶ service
               ▲                                │ line
     journal ◀─ books ◀──────── hall ◀──────────┘

``crew`` says who does the work.
"""
