"""The exception for wrong use, of a script or of the API."""


class UsageError(ValueError):
    """Something a person has to change: an argument, a path, a broken file.

    Scripts print its text without a traceback and exit with code 2; libraries raise it, or plain
    ValueError, in the terms of their own arguments.
    """
