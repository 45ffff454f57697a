"""Signals: Ctrl-C, SIGTERM, SIGUSR1 and others end a training at its next safe point, nothing torn.

A training that an error ended calls no hook, so nobody puts the handlers back. A handler must tell then
whether its training is still under way. It looks for one frame, the *anchor*: the frame that called into
callbacks when training began, past the frames of outlast and of the framework's own dispatcher, which
come and go with each hook, and past generators, such as ``tqdm(run.epochs(10))``, which are not on the stack
while the body of their loop runs. As long as the anchor is on the stack, the training lives.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1")  # a person, a system, a scheduler
_OURS = "outlast"
_SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_OTHERS = ("SIGUSR2", "SIGHUP", "SIGXCPU")  # as the last, where nobody else has a handler for them


class Signals:
    """Takes note of a signal while a training runs, and raises what it means at a safe point.

    Handlers are installed only in the main thread and only while a training runs; what was there
    before is put back. A second signal ends the training at once. Forked workers leave signals to
    their parent, but for the one that ends a process. A training that an error ended tells nobody:
    a signal that comes then goes to the handler that was there before.

    Args:
        interrupt_epoch: called once, in the handler, to bring the loop to its next safe point.
    """

    def __init__(self, interrupt_epoch: Callable[[], object]) -> None:
        self._interrupt_epoch = interrupt_epoch
        self._before: dict[int, Any] = {}
        self._pid = os.getpid()
        self._anchor: FrameType | None = None
        self._is_wrapped = False  # it may hold a generator around that of the run
        self._kept: FrameType | None = None
        self.pending: int | None = None

    def install(self, dispatchers: Sequence[str] = ()) -> None:
        """Begin to listen.

        Args:
            dispatchers: names of the framework's modules that call callbacks.
        """
        self.restore()
        self.pending = None
        if threading.current_thread() is not threading.main_thread():
            return
        self._pid = os.getpid()
        for name in (*_NAMES, *_OTHERS):
            number = getattr(signal, name, None)
            if number is None:
                continue
            handler = _alive(number, signal.getsignal(number))
            is_free = handler is signal.SIG_DFL if name in _OTHERS else handler not in (None, signal.SIG_IGN)
            if is_free:
                self._before[number] = handler
                signal.signal(number, self._handle)
        self._anchor, self._is_wrapped = _anchor(sys._getframe(1), (_OURS, *dispatchers))
        self._kept = None

    def restore(self) -> None:
        """Put back what was there before; what somebody else has put there since stays."""
        if self._is_wrapped and self._anchor is not None:
            self._kept = self._anchor  # to let go of it could end the generator that is just being closed
        self._anchor = None
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items() if os.getpid() == self._pid else ():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, _alive(number, handler))

    @property
    def name(self) -> str:
        """The name of the signal that came, such as ``"SIGTERM"``; "" if none did."""
        return "" if self.pending is None else signal.Signals(self.pending).name

    @property
    def shown(self) -> str:
        """The same for a line that people read: what they did, if it was they."""
        return "Ctrl-C" if self.pending == signal.SIGINT else self.name

    def raise_pending(self) -> None:
        """At a safe point: end the training if a signal came.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for the others, with the shell's code: 143 for SIGTERM, 138 for SIGUSR1.
        """
        number, self.pending = self.pending, None
        if number is not None:
            self.restore()
            raise _meaning(number)

    def under_way(self) -> bool:
        """Whether the training that began to listen is still under way."""
        return self._is_training(sys._getframe())

    @property
    def left_behind(self) -> bool:
        """Whether an error has ended the training that began to listen, and no hook said so."""
        return self._anchor is not None and not self.under_way()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            _in_worker(number)
        elif not self._is_training(frame):
            self._pass_on(number, frame)
        elif self.pending is not None:
            self._put_back()  # it stays pending, should somebody swallow what is raised here
            raise _meaning(number)
        else:
            self.pending = number
            if number != signal.SIGINT:
                _let_workers_go()
            self._interrupt_epoch()

    def _is_training(self, frame: FrameType | None) -> bool:
        """Whether the call that began the training is still under way."""
        while frame is not None:
            if frame is self._anchor:
                return True
            frame = frame.f_back
        return False

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        handler = _alive(number, self._before.get(number, signal.SIG_DFL))
        self.restore()
        if callable(handler):
            handler(number, frame)
        elif handler is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _alive(number: int, handler: Any) -> Any:
    """The handler, or if it is that of a training which is over, the one before it."""
    while isinstance(owner := getattr(handler, "__self__", None), Signals):
        if owner._is_training(sys._getframe()):
            break
        handler = owner._before.get(number, signal.SIG_DFL)
    return handler


def _meaning(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _let_workers_go() -> None:
    """A signal to the whole group ends workers too, which PyTorch would raise wherever we are then.

    Nothing is put back: the process ends.
    """
    number = getattr(signal, "SIGCHLD", None)
    if number is not None and callable(signal.getsignal(number)):
        signal.signal(number, lambda *_: None)


def _in_worker(number: int) -> None:
    """A forked worker: its parent, which may have got the same signal, says when to end."""
    if number == signal.SIGTERM:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)


def _anchor(frame: FrameType | None, passing: tuple[str, ...]) -> tuple[FrameType | None, bool]:
    """The frame that lives as long as the training: the first below those that call callbacks.

    Returns:
        It, and whether it was found past a generator that is not outlast's.
    """
    is_wrapped = False
    while frame is not None and (_is_suspended(frame) or _module_of(frame).startswith(passing)):
        is_wrapped |= _is_suspended(frame) and not _module_of(frame).startswith(_OURS)
        frame = frame.f_back
    return frame, is_wrapped


def _is_suspended(frame: FrameType) -> bool:
    """Whether it leaves the stack and comes back: a generator's, or a coroutine's."""
    return bool(frame.f_code.co_flags & _SUSPENDED)


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
