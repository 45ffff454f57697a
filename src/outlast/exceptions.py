"""Every error and warning of outlast. All are public: ``except outlast.RunChanged:``.

Each class also derives from the built-in error that fits, so ``except ValueError`` and
``except OSError`` work as usual. The tree::

    OutlastError
    ├── ArgumentError (ValueError)        an argument has a wrong value
    │   ├── UnknownArgument (TypeError)   there is no such keyword argument
    │   └── UnknownDirection              it is unknown whether a higher metric is better
    ├── TemplateError (KeyError)          a file name such as "{epoch}.keras" cannot be filled
    ├── MetricError (ValueError, TypeError)  a metric is not a number
    ├── CapabilityError (TypeError)       this training cannot do what a callback needs
    ├── UsageError (RuntimeError)         a call at the wrong moment or in the wrong place
    ├── FileError (OSError)               a file could not be written or read
    │   ├── DamagedFile                   a file is not what was written
    │   ├── UnknownFormat                 a newer or older outlast wrote the file
    │   └── RunLocked                     another process has the run, or the folder open
    ├── RunChanged (ValueError)           the code describes another training than the folder
    └── MissingExtra (ImportError)        an optional package is not installed

    OutlastWarning (UserWarning)
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from types import FrameType
from typing import Any


class OutlastError(Exception):
    """Base of every error that outlast raises."""

    def __str__(self) -> str:  # KeyError would show the text quoted, OSError with the number and the path
        return Exception.__str__(self)


class ArgumentError(OutlastError, ValueError):
    """An argument has a value that cannot work; the message says which values do."""


class UnknownArgument(ArgumentError, TypeError):
    """There is no such keyword argument; the message names the most similar one."""


class UnknownDirection(ArgumentError):
    """Neither the model nor the metric's name tells whether higher is better; pass ``mode=``."""


class TemplateError(OutlastError, KeyError):
    """A file name such as ``"{epoch}-{val_loss:.2f}.keras"`` cannot be filled."""


class MetricError(OutlastError, ValueError, TypeError):
    """A monitored metric is not a number."""


class CapabilityError(OutlastError, TypeError):
    """This training cannot do what a callback needs; the message says which trainings can."""


class UsageError(OutlastError, RuntimeError):
    """A call at the wrong moment or in the wrong place."""


class FileError(OutlastError, OSError):
    """A file could not be written or read; the message has the path and the reason.

    ``errno`` and ``filename`` are those of the error from the operating system.
    """

    def __init__(self, message: str, *, path: str = "", errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno
        self.filename = path or None

    def __reduce__(self) -> Any:
        """As pickled for another process, with all that it says."""
        attributes = {**vars(self), "errno": self.errno, "filename": self.filename}
        return _as_it_was, (type(self), self.args[0], attributes)


class DamagedFile(FileError):
    """A file is not what was written: its checksum or its length does not match."""


class UnknownFormat(FileError):
    """A file has a version of the format that this outlast cannot read.

    ``newer`` is False if an older outlast wrote it.
    """

    def __init__(self, message: str, *, path: str = "", newer: bool = True) -> None:
        super().__init__(message, path=path)
        self.newer = newer


class RunLocked(FileError):
    """Another process has the run open, or the folder is another run's now; the message says which."""


class RunChanged(OutlastError, ValueError):
    """The code describes another training than the one in the folder; the message lists what differs."""


class MissingExtra(OutlastError, ImportError):
    """An optional package is not installed.

    Args:
        package: the package, such as ``"matplotlib"``.
        extra: the extra of outlast that installs it, such as ``"plot"``.
        purpose: what needs it, as the subject of a sentence.
        instead: another way out, if there is one.

    Example:
        >>> print(MissingExtra("matplotlib", extra="plot", purpose="A picture"))
        A picture needs matplotlib, which is not installed: pip install "outlast[plot]"
    """

    def __init__(self, package: str, *, extra: str, purpose: str, instead: str = "") -> None:
        super().__init__(
            f'{purpose} needs {package}, which is not installed: pip install "outlast[{extra}]"'
            + (f", or {instead}" if instead else "")
        )
        self.name = package

    def __reduce__(self) -> Any:
        """As pickled for another process, with all that it says."""
        return _as_it_was, (type(self), self.args[0], {"name": self.name})


def _as_it_was(kind: type[Exception], text: str, attributes: dict[str, Any]) -> Exception:
    """An error of that class, made without its own arguments."""
    error = kind.__new__(kind)
    Exception.__init__(error, text)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


class OutlastWarning(UserWarning):
    """Something is probably not what the user meant; nothing is lost."""


def warn(message: str) -> None:
    """Warn, once per place, at the line of the user's code that led here.

    Frames of outlast, of frameworks and of installed packages, such as tqdm, are skipped: the user can change
    none of them. Where all code is installed, the line is the one that called outlast or the framework.
    """
    frames = [*_callers(sys._getframe(1))]
    ours = [_is_library(frame.f_globals.get("__name__", "")) for frame in frames]
    skipped = [one or _is_installed(frame) for one, frame in zip(ours, frames, strict=True)]
    found = skipped if False in skipped else ours
    level = found.index(False) if False in found else len(frames) - 1
    warnings.warn(message, OutlastWarning, stacklevel=level + 2)


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


_LIBRARIES = {"outlast"}
_INSTALLED = {"site-packages", "dist-packages"}  # folders that pip, and Debian, install into


def skip_frames_of(package: str) -> None:
    """Let no warning point into a framework's code."""
    _LIBRARIES.add(package)


def _is_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES


def _is_installed(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return file.startswith("<frozen ") or not _INSTALLED.isdisjoint(file.split(os.sep))


_RENAMED = {"period": "save_freq", "epsilon": "min_delta"}  # arguments of older Keras


def nearest(word: str, possible: Iterable[str]) -> str:
    """A hint ``" Did you mean 'patience'?"``; "" if no possible word is similar.

    Example:
        >>> nearest("patiance", ["patience", "monitor"]), nearest("maximize", ["min", "max"])
        (" Did you mean 'patience'?", " Did you mean 'max'?")
    """
    words = list(possible)
    renamed = [one for one in words if one == _RENAMED.get(word)]
    similar = get_close_matches(word, words, n=1)
    match = renamed or similar or [one for one in words if _begin_alike(one, word)]
    return f" Did you mean {match[0]!r}?" if match else ""


def _begin_alike(one: str, other: str) -> bool:
    """Whether one word is the other's beginning, as ``acc`` is of ``accuracy``."""
    return min(len(one), len(other)) > 2 and (one.startswith(other) or other.startswith(one))
