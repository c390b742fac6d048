"""Exceptions that end a run early: mistakes that a user can fix, and requests to stop."""

RESUME_CODE = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command resumes the run


class UserError(ValueError):
    """A mistake of the user. The message is one line: the argument, its value, what is accepted.

    The command line prints the message without a traceback and ends with exit code 2. In Python it
    is an ordinary ``ValueError``.
    """


class LostError(UserError):
    """Images could not be read during training. The run can be resumed once that is fixed."""


class StoppedError(BaseException):
    """A run stopped early, after a signal or the end of another process, and can be resumed.

    The command line prints the message and ends with exit code :data:`RESUME_CODE`. Where all
    processes stop together, only the first one has a message. Like KeyboardInterrupt, it may be
    raised by a signal handler anywhere, and ``except Exception`` does not catch it.
    """


def first_line(error: BaseException, limit: int = 200) -> str:
    """Return the message of ``error`` as one line of at most ``limit`` characters.

    The line is the first one that is not blank; without a message it is the name of the class.
    """
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:limit]
