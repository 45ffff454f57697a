"""Ctrl-C in the demo: it ends at the next good moment; pressed again, at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

_SAID = b"\nCtrl-C: this ends at the next good moment (again: at once)\n"
_STDERR = 2


class CtrlC:
    """Takes note of the first Ctrl-C, and leaves the second to the system, which ends the process.

    A ``KeyboardInterrupt`` would come between any two instructions: inside a library's destructor
    it is printed and forgotten, between a training's steps it can cost Keras on JAX the weights.

    Attributes:
        noted: whether it came.
    """

    def __init__(self) -> None:
        self.noted = False
        self._before: object = None

    def __enter__(self) -> CtrlC:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:  # else somebody chose to ignore or handle it
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.noted = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.write(_STDERR, _SAID)

    def look(self) -> None:
        """This is a good moment: raise ``KeyboardInterrupt`` if it came."""
        if self.noted:
            raise KeyboardInterrupt
