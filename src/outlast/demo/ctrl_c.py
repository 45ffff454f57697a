"""Ctrl-C in the demo: the first one ends it at the next safe moment, the second one at once."""

from __future__ import annotations

import os
import signal
from types import FrameType, TracebackType

_SAID = b"\nCtrl-C: this ends at the next good moment (again: at once)\n"
_STDERR = 2


class CtrlC:
    """Remembers the first Ctrl-C; leaves the second to the operating system, which ends the process.

    Why not a ``KeyboardInterrupt`` at once? Python raises it between any two instructions. In a
    destructor it is printed and lost. Between two training steps of Keras on JAX it can lose the weights.

    Attributes:
        noted: whether Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.noted = False
        self._before: object = None

    def __enter__(self) -> CtrlC:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:  # else another handler was chosen, and stays
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
        """Call this at a safe moment: raises ``KeyboardInterrupt`` if Ctrl-C was pressed."""
        if self.noted:
            raise KeyboardInterrupt
