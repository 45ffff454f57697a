"""Ctrl-C in the demo: training ends after its epoch, everything else at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

from outlast.callbacks.base import Callback
from outlast.core.logs import Logs


class CtrlC:
    """Takes note of Ctrl-C, beside raising ``KeyboardInterrupt``.

    A ``KeyboardInterrupt`` comes between any two instructions: inside a library's destructor it is
    printed and forgotten, between a training's steps it costs Keras on JAX the weights. So it is
    remembered, and ``while_training`` the first one is not raised.

    Attributes:
        noted: whether it came.
        while_training: whether a training goes on that looks at ``noted``.
    """

    def __init__(self) -> None:
        self.noted = False
        self.while_training = False
        self._installed = False

    def __enter__(self) -> CtrlC:
        # Whoever started us may have chosen to ignore it, or to handle it: that stays.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        first, self.noted = not self.noted, True
        if not (first and self.while_training):
            raise KeyboardInterrupt

    def look(self) -> None:
        """Raise the ``KeyboardInterrupt`` that was noted, if there was one."""
        if self.noted:
            raise KeyboardInterrupt


class EndAfterEpoch(Callback):
    """Ends the training after the epoch in which Ctrl-C came."""

    def __init__(self, ctrl_c: CtrlC) -> None:
        self._ctrl_c = ctrl_c

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Look whether it came."""
        if self._ctrl_c.noted:
            self.adapter.stop("Ctrl-C")
