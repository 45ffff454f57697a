"""Children: what the handler for ended children raises where a signal to the whole group has ended them."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Any

_CHILD = getattr(signal, "SIGCHLD", None)


class Children:
    """Keeps the handler for ended children quiet while those of a training end.

    PyTorch's raises wherever the program is then, if a worker of a ``DataLoader`` was ended by a signal. It
    is called all the same, for it may be one of the script's own.
    """

    def __init__(self) -> None:
        self._before: Any = None  # the handler, while it is kept quiet
        self._ending: list[int] | None = None  # who may end yet; None while the training goes on

    def keep_quiet(self) -> None:
        """From here on."""
        if _CHILD is None or self._before is not None or not callable(signal.getsignal(_CHILD)):
            return
        self._ending, self._before = None, signal.signal(_CHILD, self._hear)

    def let_speak(self) -> None:
        """Again, as soon as the processes that are left from the training have ended."""
        if self._before is not None:
            self._ending = _workers()
            self._put_back()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        with suppress(Exception):
            self._before(number, frame)
        self._put_back()

    def _put_back(self) -> None:
        if self._ending is None or any(map(_runs, self._ending)):
            return
        before, self._before = self._before, None
        if _CHILD is not None and signal.getsignal(_CHILD) == self._hear:
            signal.signal(_CHILD, before)


def _workers() -> list[int]:
    """The numbers of Python's own child processes."""
    processes = sys.modules.get("multiprocessing.process")
    return [] if processes is None else [child.pid for child in processes.active_children()]


def _runs(process: int) -> bool:
    """Whether a child has not ended; nobody else's wait for it is disturbed."""
    if not hasattr(os, "waitid"):  # macOS, before Python 3.13
        return False
    try:
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
