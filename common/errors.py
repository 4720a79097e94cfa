"""The one exception for wrong use."""


class UsageError(Exception):
    """Something the person who runs a script has to change: a flag, a path, a broken file.

    Scripts print its text without a traceback and exit with code 2.
    """
