"""Errors that end a command: a user's mistake, or a request to stop."""

RESUME_CODE = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command can resume


class UserError(ValueError):
    """A user's mistake: one line that names the argument, its value and what is accepted.

    The command line prints the message without a traceback and ends with exit code 2. In Python it
    is an ordinary ``ValueError``. A subclass tells what has to be changed.
    """


class SettingsError(UserError):
    """A setting is unknown, out of range, or does not fit another setting."""


class DataError(UserError):
    """Images, labels or another input file are missing, unreadable or inconsistent."""


class WeightsError(UserError):
    """Weights or a checkpoint are missing, damaged or those of another network."""


class MachineError(UserError):
    """The machine lacks something: memory, disk space, a device, a program or a permission."""


class LostError(DataError):
    """Images were lost while a run was reading them; the run can resume once they are back."""


class StoppedError(BaseException):
    """A run stopped before its end and can resume: on request, or because a process died.

    The command line prints the message and ends with exit code :data:`RESUME_CODE`. Where all
    processes stop together, only the first one has a message. Like KeyboardInterrupt, the error may
    be raised in a signal handler at any place, and no ``except Exception`` catches it.
    """


_MEMORY = (  # in messages about a lack of memory
    "allocate memory",
    "out of memory",
    "start new thread",
    "bad_alloc",
    "could not create a primitive",  # oneDNN
    "failed to map segment",  # a shared library
    "error return without exception set",  # an import of CPython that could not even raise
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` says that the main memory or that of a device is used up."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    kinds = RuntimeError | ImportError | SystemError
    return isinstance(error, kinds) and any(map(text.__contains__, _MEMORY))


def first_line(error: BaseException, limit: int = 200) -> str:
    """Return the message of ``error`` as one line of at most ``limit`` characters.

    The line is the first one that is not blank; without a message it is the name of the class. An
    error of the operating system has no number there if it is 0, which none of its own have.
    """
    message = str(error).removeprefix("[Errno 0] ")
    lines = (" ".join(line.split()) for line in message.splitlines())
    return next(filter(None, lines), type(error).__name__)[:limit]
