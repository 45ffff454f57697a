"""Signals: Ctrl-C, SIGTERM, SIGUSR1 and others end a training at its next safe point, nothing torn.

A training that an error ended calls no hook, so nobody puts the handlers back. A handler must tell then
whether its training is still under way. It looks for one frame, the *anchor*: the frame that called into
callbacks when training began, past the frames of outlast and of the framework's own dispatcher, which
come and go with each hook, and past generators, such as ``tqdm(run.epochs(10))``, which are not on the stack
while the body of their loop runs. As long as the anchor is on the stack, the training lives.

Where the script has a handler of its own, it is the script that decides what a signal means. Its handler is
called when what was trained is saved, and the training goes on if it returns.
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

from outlast.run.children import Children
from outlast.run.handlers import is_in, is_scripts, may_be_taken
from outlast.run.sent_again import send_again

_NAMES = ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU")  # a person, a system, schedulers
_OURS = "outlast"
_SUSPENDED = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


class Signals:
    """Takes note of a signal while a training runs, and raises what it means at a safe point.

    Handlers are installed only in the main thread and only while a training runs; what was there
    before is put back. A second signal ends the training at once. Forked workers leave signals to
    their parent, but for the one that ends a process. A training that an error ended tells nobody:
    a signal that comes then goes to the handler that was there before.

    Args:
        interrupt_epoch: called once, in the handler, to bring the loop to its next safe point.
        saves_soon: whether there will be a save at the next safe point, for which the script's own handlers
            wait.
        tell: called with the name of a signal before the script's own handler is.

    Attributes:
        pending: the signal that ends the training; None if none came.
        waiting: those that the script's own handlers have not heard of.
        have_come: whether there are any of these two, for which the next safe point is waited for.
        called: the name of the signal whose handler, the script's own, was called last; "" for none so far.
    """

    def __init__(
        self,
        interrupt_epoch: Callable[[], object],
        saves_soon: Callable[[], bool] = lambda: False,
        tell: Callable[[str], object] = lambda name: None,
    ) -> None:
        self._interrupt_epoch, self._saves_soon, self._tell = interrupt_epoch, saves_soon, tell
        self._before: dict[int, Any] = {}
        self._of_script: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._children = Children()
        self._pid = os.getpid()
        self._anchor: FrameType | None = None
        self._is_wrapped = False  # it may hold a generator around that of the run
        self._kept: FrameType | None = None
        self.pending: int | None = None
        self.waiting: list[int] = []
        self.have_come = False
        self.called = ""
        self._has_raised = False

    def install(self, dispatchers: Sequence[str] = ()) -> None:
        """Begin to listen.

        Args:
            dispatchers: names of the framework's modules that call callbacks.
        """
        self.restore()
        self.pending, self.waiting, self._of_script = None, [], {}
        self.have_come = self._has_raised = False
        if threading.current_thread() is not threading.main_thread():
            return
        self._pid = os.getpid()
        passing = (_OURS, *dispatchers)
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            handler = _alive(number, signal.getsignal(number))
            if not may_be_taken(number, handler):
                continue
            if is_scripts(first := _beneath(number, handler), passing):
                self._of_script[number] = first
            self._before[number] = handler
            signal.signal(number, self._handle)
        self._anchor, self._is_wrapped = _anchor(sys._getframe(1), passing)
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
        return "" if self.pending is None else _shown(self.pending)

    def call_waiting(self) -> None:
        """At a safe point: let the script's own handlers hear of the signals that came.

        What they raise is raised here.
        """
        try:
            while self.waiting:
                self._call(self.waiting.pop(0), sys._getframe(1))
        finally:
            self._look_again()
            self._children.let_speak()

    @property
    def all_shown(self) -> list[str]:
        """The names of all that came, and that nobody has heard of."""
        return [*map(_shown, self._numbers())]

    def _numbers(self) -> list[int]:
        return self.waiting if self.pending is None or self._has_raised else [*self.waiting, self.pending]

    def send_again(self) -> None:
        """While generators of the loop are closed: send what waits once more when they have ended.

        The handlers of before are back.
        """
        numbers, self.waiting, self.pending = self._numbers(), [], None
        self.call_waiting()
        frame: FrameType | None = sys._getframe(1)
        closing = []
        while frame is not None and (_is_suspended(frame) or is_in(_module_of(frame), (_OURS,))):
            closing.append(frame)
            frame = frame.f_back
        send_again(numbers, closing)

    def raise_pending(self) -> None:
        """At a safe point: end the training if a signal came.

        Raises:
            KeyboardInterrupt: for Ctrl-C.
            SystemExit: for the others, with the shell's code: 143 for SIGTERM, 138 for SIGUSR1.
        """
        number, self.pending = self.pending, None
        self._look_again()
        if number is not None:
            self.restore()
            raise _meaning(number)

    def _look_again(self) -> None:
        self.have_come = False  # first: a signal that comes in between is seen by one of these lines
        if self.pending is not None or self.waiting:
            self.have_come = True

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
        elif number in self._of_script:
            self._hear_for_script(number, frame)
        elif self.pending is not None:
            self._has_raised = True
            self._put_back()  # it stays pending, should somebody swallow what is raised here
            raise _meaning(number)
        else:
            self.pending, self.have_come = number, True
            if number != signal.SIGINT:
                self._children.keep_quiet()
            self._interrupt_epoch()

    def _hear_for_script(self, number: int, frame: FrameType | None) -> None:
        """Have the script's own handler wait for the save; a second signal of the kind does not wait."""
        if number in self.waiting or not self._saves_soon():
            self._call(number, frame)
            return
        self.waiting.append(number)
        self.have_come = True
        self._children.keep_quiet()

    def _call(self, number: int, frame: FrameType | None) -> None:
        self.called = _shown(number)
        self._tell(self.called)
        self._of_script[number](number, frame)

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


def _beneath(number: int, handler: Any) -> Any:
    """The handler, or if it is that of another training, the first one that is not."""
    while isinstance(owner := getattr(handler, "__self__", None), Signals):
        handler = owner._before.get(number, signal.SIG_DFL)
    return handler


def _shown(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _meaning(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


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
    while frame is not None and (_is_suspended(frame) or is_in(_module_of(frame), passing)):
        is_wrapped |= _is_suspended(frame) and not is_in(_module_of(frame), (_OURS,))
        frame = frame.f_back
    return frame, is_wrapped


def _is_suspended(frame: FrameType) -> bool:
    """Whether it leaves the stack and comes back: a generator's, or a coroutine's."""
    return bool(frame.f_code.co_flags & _SUSPENDED)


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
