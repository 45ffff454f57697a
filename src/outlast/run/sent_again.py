"""Signals that are sent once more: what a handler raises in a generator that is just closed nobody hears."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

_PAUSE = 0.01  # seconds


def send_again(numbers: Sequence[int], closing: Sequence[FrameType]) -> None:
    """Send signals to this process when frames of the calling thread, the main one, have ended.

    Args:
        numbers: of the signals.
        closing: the frames.
    """
    if not numbers:
        return
    heard = [_Heard(number) for number in numbers]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so the program comes to little else before
    try:
        threading.Thread(target=_send, args=(heard, closing, threading.get_ident(), before)).start()
    except RuntimeError:  # the interpreter ends, and starts no thread any more
        _send(heard, (), threading.get_ident(), before)


class _Heard:
    """Sends a signal until Python has called its handler, before which it stands.

    Python calls a handler between two of its own steps. A signal that comes after such a step, and before the
    system's call that waits, would be heard when that call ends.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        self._number, self._handler = number, signal.getsignal(number)
        self._is_heard = False
        self._sending = threading.RLock()  # in the main thread os.kill calls the handler itself
        if callable(self._handler):
            signal.signal(number, self)

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._is_heard or not callable(self._handler):
            return  # sent twice
        self._is_heard = True
        with self._sending:
            pass  # none is sent from here on
        signal.signal(number, self._handler)  # which first calls this object for one that was sent just now
        self._handler(number, frame)

    def send(self) -> None:
        """Until it is heard, or another handler stands there."""
        while self._send():
            time.sleep(_PAUSE)

    def _send(self) -> bool:
        with self._sending:
            if self._is_heard:
                return False
            os.kill(os.getpid(), self._number)
        return signal.getsignal(self._number) is self


def _send(heard: Sequence[_Heard], closing: Sequence[FrameType], thread: int, switch_interval: float) -> None:
    """In another thread: send signals once none of these frames is on the stack of that one."""
    while closing:
        time.sleep(0)
        frame, on_stack = sys._current_frames().get(thread), []
        while frame is not None:
            on_stack.append(frame)
            frame = frame.f_back
        closing = [one for one in closing if one in on_stack]
    sys.setswitchinterval(switch_interval)
    for one in heard:
        one.send()
