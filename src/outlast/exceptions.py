"""Every error and warning that outlast raises.

The tree; each class also derives from the built-in that fits, so that
``except ValueError`` and ``except OSError`` go on working::

    OutlastError
    ├── ArgumentError (ValueError)        an argument has a value that cannot work
    │   ├── UnknownArgument (TypeError)   a keyword that does not exist
    │   └── UnknownDirection              neither mode= nor the metric's name tells up from down
    ├── TemplateError (KeyError)          a file name template cannot be filled
    ├── MetricError (ValueError, TypeError)  a metric is not a number
    ├── CapabilityError (TypeError)       the training in hand cannot do what a callback needs
    ├── UsageError (RuntimeError)         a call at the wrong moment or in the wrong place
    ├── FileError (OSError)               a file could not be written or read; names the path
    │   ├── DamagedFile                   a checksum or a length does not fit
    │   ├── UnknownFormat                 written by a newer or older outlast
    │   └── RunLocked                     another process has the run, or the folder
    ├── RunChanged (ValueError)           the code asks for another training than the one on disk
    └── MissingExtra (ImportError)        an optional package is not installed; names the pip line

    OutlastWarning (UserWarning)
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from difflib import get_close_matches


class OutlastError(Exception):
    """Base of every error that outlast raises."""


class ArgumentError(OutlastError, ValueError):
    """An argument has a value that cannot work; the text says which would."""


class UnknownArgument(ArgumentError, TypeError):
    """A keyword that does not exist; the text names the nearest that does."""


class UnknownDirection(ArgumentError):
    """It cannot be told whether a metric should go up or down; pass ``mode=``."""


class TemplateError(OutlastError, KeyError):
    """A file name such as ``"{epoch}-{val_loss:.2f}.keras"`` cannot be filled."""

    def __str__(self) -> str:  # KeyError would show the text quoted and escaped
        return str(self.args[0])


class MetricError(OutlastError, ValueError, TypeError):
    """A monitored metric is not a number."""


class CapabilityError(OutlastError, TypeError):
    """The training in hand cannot do what a callback needs."""


class UsageError(OutlastError, RuntimeError):
    """A call at the wrong moment or in the wrong place."""


class FileError(OutlastError, OSError):
    """A file could not be written or read; the text names the path.

    ``errno`` and ``filename`` are those of the cause.
    """

    def __init__(self, message: str, *, path: str = "", errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.filename = path or None

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedFile(FileError):
    """A checksum or a length does not fit: the file is not what was written."""


class UnknownFormat(FileError):
    """The file's format has a version that this outlast does not read.

    ``newer`` tells that it is none of an older outlast.
    """

    def __init__(self, message: str, *, path: str = "", newer: bool = True) -> None:
        super().__init__(message, path=path)
        self.newer = newer


class RunLocked(FileError):
    """Another process holds the run, or the folder has become another run's; the text says which."""


class RunChanged(OutlastError, ValueError):
    """The code asks for another training than the one that the folder holds."""


class MissingExtra(OutlastError, ImportError):
    """An optional package is not installed.

    Args:
        package: the name that was to be imported, such as ``"matplotlib"``.
        extra: the extra of outlast that brings it, such as ``"plot"``.
        purpose: what needs it, as the subject of a sentence.

    Example:
        >>> print(MissingExtra("matplotlib", extra="plot", purpose="A picture"))
        A picture needs matplotlib, which is not installed: pip install "outlast[plot]"
    """

    def __init__(self, package: str, *, extra: str, purpose: str) -> None:
        super().__init__(f'{purpose} needs {package}, which is not installed: pip install "outlast[{extra}]"')
        self.name = package


class OutlastWarning(UserWarning):
    """Something is probably not as the user meant it; nothing was lost."""


def warn(message: str) -> None:
    """Warn once per place, at the line of the user's that led here.

    Frames of outlast and of Keras are skipped: a warning that points into a
    library tells nobody what to change.
    """
    frame = sys._getframe(1)
    level = 2
    while frame.f_back is not None and _is_library(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    warnings.warn(message, OutlastWarning, stacklevel=level)


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in {"outlast", "keras"}


def nearest(word: str, possible: Iterable[str]) -> str:
    """A hint ``" Did you mean 'patience'?"``, or nothing if no word is near.

    Example:
        >>> nearest("patiance", ["patience", "monitor"])
        " Did you mean 'patience'?"
    """
    match = get_close_matches(word, list(possible), n=1)
    return f" Did you mean {match[0]!r}?" if match else ""
