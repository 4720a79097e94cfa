"""The exceptions for wrong use, of a script or of the API, and for work that cannot go on."""

AGAIN = 75
"""Exit code: nothing is wrong with the command, and given again it goes on (EX_TEMPFAIL)."""


class UsageError(ValueError):
    """Something a person has to change: an argument, a path, a broken file.

    Scripts print its text without a traceback and exit with code 2; libraries raise it, or plain
    ValueError, in the terms of their own arguments.
    """


class Failure(Exception):
    """Work that was asked for rightly and cannot go on, such as a training that diverges.

    Scripts print its text without a traceback and exit with code 1.
    """
