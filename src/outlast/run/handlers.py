"""Handlers: whose a signal is before a training begins: nobody's, the script's own, or one that stays."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def may_be_taken(number: int, handler: Any) -> bool:
    """Whether a training may listen in the place of a handler.

    It may not where a signal is ignored, as ``nohup`` leaves it, or where code in C has a handler, as
    ``faulthandler.register`` does: nobody could call that one, or put it back.
    """
    if handler in (None, signal.SIG_IGN):
        return False
    return handler is not signal.SIG_DFL or not is_set_in_c(number)


def is_scripts(handler: Any, frameworks: Sequence[str]) -> bool:
    """Whether a handler is the script's own: not the default, and none of a framework that runs the loop.

    Args:
        handler: as ``signal.getsignal`` gives it.
        frameworks: the framework's packages, or modules of them.

    Example:
        >>> is_scripts(signal.SIG_DFL, ()), is_scripts(signal.default_int_handler, ())
        (False, False)
        >>> is_scripts(lambda number, frame: None, ("keras",))
        True
    """
    if not callable(handler) or handler is signal.default_int_handler:
        return False
    module = getattr(handler, "__module__", None) or type(handler).__module__
    return not is_in(str(module), frameworks)


def is_in(module: str, packages: Sequence[str]) -> bool:
    """Whether a module is one of these, or in one of them.

    Example:
        >>> is_in("keras.src.callbacks", ["keras"]), is_in("keras_helpers", ["keras"])
        (True, False)
    """
    return any(module == one or module.startswith(f"{one}.") for one in packages)


def is_set_in_c(number: int) -> bool:
    """Whether the process catches a signal that Python shows as not caught; False where nobody can tell."""
    with suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text("ascii", "replace").splitlines():
            if line.startswith("SigCgt:"):
                caught = int(line.split()[1], 16)
                return bool(caught >> (number - 1) & 1) and signal.getsignal(number) is signal.SIG_DFL
    return False
