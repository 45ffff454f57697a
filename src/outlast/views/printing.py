"""Printing what a command has found: a full disk or a closed terminal changes no verdict."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress

_failures: list[OSError] = []


def say(text: str) -> None:
    """Print at once, even to a pipe; characters that the encoding lacks are written as escapes.

    Raises:
        BrokenPipeError: whoever read the output has ended.
    """
    stream = sys.stdout
    if _failures:  # what is left need not be tried
        return
    if stream is None:
        _failures.append(OSError(errno.EBADF, "it is closed"))
        return
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _failures.append(error)
        discard_output()


def discard_output() -> None:
    """Nobody can have the output any more: let what is left in its buffer go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def complain(text: str) -> None:
    """Print to standard error, if there is one; nobody could be told that it failed."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


def take_failure() -> OSError | None:
    """Why something could not be printed; None if all was. It is forgotten then."""
    failure = _failures[0] if _failures else None
    _failures.clear()
    return failure
