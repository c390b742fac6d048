"""Standard error: the terminal's messages, the progress of long work, and words for both."""

import io
import logging
import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from BYOL._distributed import first_process

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

log = logging.getLogger(__name__)
_REDRAW = 0.5  # seconds between updates of a bar

_LONGEST = 120  # characters of a value in a message


class SafeStream(io.TextIOBase):
    """A text stream on standard error whose failures end nothing.

    A closed or full standard error costs the text that is written to it, never a run.

    Args:
        stream: the stream to write to; None means ``sys.stderr`` at the time of each write.
    """

    def __init__(self, stream: TextIO | None = None):
        super().__init__()
        self._stream = stream

    @property
    def _target(self) -> TextIO | None:
        return self._stream or sys.stderr  # None in a process without a standard error

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of the stream."""
        return getattr(self._target, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write ``text`` if possible, and return its length."""
        try:
            if self._target is not None:
                self._target.write(text)
        except (OSError, ValueError):
            pass
        return len(text)

    def flush(self) -> None:
        """Flush the stream if possible."""
        try:
            if self._target is not None:
                self._target.flush()
        except (OSError, ValueError):
            pass

    def isatty(self) -> bool:
        """Return whether the stream is an open terminal."""
        try:
            return self._target is not None and self._target.isatty()
        except (OSError, ValueError):
            return False


STDERR = SafeStream()


class _Handler(logging.StreamHandler):  # type: ignore[type-arg]
    """Shows messages on the present standard error: "warning: " precedes those of that level."""

    def __init__(self) -> None:
        super().__init__(STDERR)
        self.addFilter(_speaks_here)

    def format(self, record: logging.LogRecord) -> str:
        return visible(line_of(record))


def line_of(record: logging.LogRecord) -> str:
    """Return the line that the terminal shows for ``record``."""
    prefix = "warning: " if record.levelno >= logging.WARNING else ""
    return prefix + record.getMessage()


def _speaks_here(record: logging.LogRecord) -> bool:
    """Return whether this process shows ``record``: warnings always, the rest only the first."""
    return record.levelno >= logging.WARNING or first_process()


def show_messages() -> None:
    """Show the package's messages on standard error, from level INFO on; repeated calls are safe.

    Nothing is attached where the application's own logging already writes to standard error: every
    message would appear twice.
    """
    logger = logging.getLogger("BYOL")
    logger.setLevel(logging.INFO)
    if any(isinstance(handler, _Handler) for handler in logger.handlers):
        return
    streams = [getattr(handler, "stream", None) for handler in logging.getLogger().handlers]
    if not any(stream in (sys.stderr, sys.__stderr__) for stream in streams if stream is not None):
        logger.addHandler(_Handler())


def show_messages_by_default() -> None:
    """Call :func:`show_messages` unless the application handles the package's messages itself."""
    if not logging.getLogger("BYOL").hasHandlers():
        show_messages()


class Progress:
    """Progress of long work: a bar on a terminal, elsewhere a line now and then.

    Args:
        name: what is done, in front of the bar.
        total: number of units.
        seconds: least time between lines where there is no terminal; None means no lines.
        transient: whether the bar disappears at the end.
    """

    def __init__(
        self, name: str, total: int, *, seconds: float | None = 20.0, transient: bool = True
    ):
        self._name = name
        self._total = total
        self._seconds = seconds
        self._transient = transient
        self._bar: RichProgress | None = None
        self._shown = time.monotonic()

    def start(self) -> None:
        """Show the bar if standard error is a terminal, and start the clock of the lines."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._shown = time.monotonic()
        # A bar redirects sys.stderr to itself, so that lines appear above it: it needs the stream.
        console = Console(file=cast(TextIO, SafeStream(sys.stderr)))
        if not console.is_terminal:
            return
        self._bar = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=self._transient,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=self._total, note="")

    def due(self) -> bool:
        """Return whether it is time for the next :meth:`update`."""
        pause = self._seconds if self._bar is None else _REDRAW
        return pause is not None and time.monotonic() - self._shown >= pause

    def update(self, done: int, note: str, line: str, total: int | None = None) -> None:
        """Show that ``done`` units are done: with ``note`` next to the bar, or as ``line``.

        ``total`` is the number of units if it has changed.
        """
        self._total = total or self._total
        self._shown = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=self._total, note=note)
        elif self._seconds is not None:
            log.info(line)

    def stop(self) -> None:
        """Remove or complete the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> "Progress":
        self.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def tables_text(tables: Iterable[Any], width: int) -> str:
    """Return tables of rich as text of at most ``width`` columns.

    Names of files, classes and tags in them are not markup.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(file=text, width=width, markup=False, emoji=False, highlight=False)
    for table in tables:
        console.print(table)
    return text.getvalue()


def with_dashes(message: str) -> str:
    """The message with flags as they are usually typed: ``--batch-size`` for ``--batch_size``."""
    return re.sub(r"--\w+", lambda flag: flag[0].replace("_", "-"), message)


def counted(number: int, noun: str) -> str:
    """The number with its noun: ``1 image``, ``2,000 images``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def first_of(names: Sequence[str]) -> str:
    """The first three of ``names``, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def visible(text: str, kept: str = "\n\t") -> str:
    """Return ``text`` without control characters, which could change what a terminal shows.

    File names, labels and files of other people may contain them. Each is replaced by "?".

    Args:
        text: the text.
        kept: control characters that are kept.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in kept else "?" for sign in text)


def printable(value: object) -> str:
    """The value as text of at most 120 characters, with control characters replaced.

    For values of files, which another person may have written.
    """
    text = visible(str(value), kept="")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
