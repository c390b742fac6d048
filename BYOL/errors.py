"""The one exception for mistakes that a user can mend."""


class UserError(ValueError):
    """A mistake of the user's: one line that names the argument, its value and what is accepted.

    The command line prints the message without a traceback and ends with exit code 2; in Python
    it is an ordinary ``ValueError``.
    """
