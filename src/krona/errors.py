"""The one error that a user's mistake raises."""


class KronaError(Exception):
    """A mistake or a missing thing outside the code: one message that says what, where and the way out.

    The command line prints it as one line, without a stack trace, and exits with 1.
    """
