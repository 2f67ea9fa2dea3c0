"""How fast a service takes tasks, and what limits that: found out by flooding it.

    climb      fixed numbers of requests in flight, 1, 2, 4, ... for a few seconds each, as long as
               more of them bring more tasks a second
    close in   on the knee, by numbers between the last that was too few and the first that was
               enough
    auto       the same with the limit that finds its number by itself, as a run has it by default

Every step is the ordinary engine at work, on throw-away tasks in a job that is made for it.
``climb`` says what to try next, ``meter`` measures, ``curve`` says what it comes to, ``flood`` does
it, and ``throwaway`` is the job.
"""
