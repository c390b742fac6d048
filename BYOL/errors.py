"""What ends a run before its end: a mistake that a user can mend, or a request to stop."""

RESUME_CODE = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, the same line again goes on


class UserError(ValueError):
    """A mistake of the user's: one line that names the argument, its value and what is accepted.

    The command line prints the message without a traceback and ends with exit code 2; in Python
    it is an ordinary ``ValueError``.
    """


class LostError(UserError):
    """A mistake that befalls pictures while they are read; a run that is mended can go on."""


class StoppedError(BaseException):
    """A run that stopped before its end and can go on: asked to, or another process of it died.

    The command line prints the message, which only the first process has where all stop together,
    and ends with exit code :data:`RESUME_CODE`. Like
    KeyboardInterrupt it may come out of a signal anywhere, and no ``except Exception`` keeps it.
    """
