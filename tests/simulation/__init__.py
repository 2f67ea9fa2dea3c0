"""The whole engine in a world that goes wrong, on a clock that jumps, from one seed.

    python -m tests.simulation --seeds 0:3000     many seeds, on all cores
    python -m tests.simulation --seeds 42         one, to see its failure again
    python -m tests.simulation --mutants          how many seeds find each planted bug

A seed draws a workload, whose task IDs tell what must become of them; the weather at the
service, a swarm in which each fault is there or not, weak or strong; and up to six lives of the
run's process, each with its end: killed, cut off from power, stopped, cancelled, left by its
consumer, or with a full disk, at any time or at any step at which the journal or the service
changes. Then the weather heals, sometimes only in the midst of the last life, and the run must
converge within a budget of virtual time.

    scenario   what a seed decides beforehand
    world      the lives, one after the other
    network    the Transport: the wire's bytes, drops, late processing, the emulator
    disk       what of the journal's files survives a crash
    auditor    the rules, and who sees them broken
    mutants    bugs planted on purpose

What is real: the engine, unchanged, from ``runs.begin`` and ``runs.resume`` to the report; the
journal in SQLite files; the source, a file of lines; the results and rejects files; the wire's
bytes in both directions; the emulator's service. What is played: the network, the clock, the
order of what is ready at one moment (shuffled), and the threads in which files are read: a
thread's end comes at no set point of the loop's rounds, so that a seed would not run the same way
twice; reading takes virtual time instead. The sizes of blocks, bitmaps, strides and of SQLite's
log are drawn small, so that a few hundred tasks cross many borders.

Under some of the run's IDs somebody else has added tasks before, with the same content or with
another, and lists may leave out what exists: whose a task is must be found out all the same.

A process that dies leaves the journal's files as they are at that instant. After ``kill -9``
that is all that was written; after a power cut the log ends anywhere behind what a commit has
synced, its tail missing, zeroed or garbage. What goes on in the dead process is never seen. The
results and rejects files are with the operating system, and stay: a power cut that loses their
tail as well is not played.

Planted bugs, and how many of 150 seeds find them:

    no_doubt_when_lost               16
    missing_is_added                 23
    no_mark                         122
    mark_not_synced                  18
    exists_is_rejected               80
    no_doubt_on_resume               71
    throttled_is_not_added            7
    stop_lowers_mark_to_settled      81
    gaps_are_filled                  31
    resumes_where_reading_ended     115
    exists_is_ours                   48
    exists_in_doubt_is_ours          41
    lagging_list_is_believed         16
"""
