"""Real kills: the command line floods the emulator, is killed, resumes, and so on to the end.

``python -m tests.kills --kills 200`` does it until so many processes were killed. Then the
emulator is listed, and every line must have been settled once: see ``audit``. With ``--sharded``
it is runs of several workers, any of whom may be killed, and so may whoever coordinates them: see
``sharded`` and ``sharded_audit``.
"""
