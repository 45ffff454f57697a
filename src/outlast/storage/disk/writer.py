"""The background thread that writes while training goes on.

One item is in flight; who submits the next waits for it. The thread takes no
core from training (nice 19 on Linux), which is also why it can take long on
busy cores. So when somebody waits, the heavy part of the item, an iterator of
small pieces of work, moves to a fresh thread with the priority of who waits.
An error is raised in the foreground, at the next call.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from outlast.exceptions import UsageError
from outlast.storage.disk.files import exhaust

_LOWEST = 19


@dataclass(eq=False)
class _Loan:
    """Work that the writer's thread offers to whoever waits for it."""

    pieces: Iterator[object]
    done: bool = False
    error: BaseException | None = None


class Writer:
    """Runs functions, one after the other, on a thread of its own.

    The thread starts with the first item. It ends with :meth:`close`, or when
    the interpreter does, which waits for the item in flight.

    Example:
        >>> done = []
        >>> writer = Writer()
        >>> writer.submit(lambda: done.append("written"))
        >>> writer.close()
        >>> done
        ['written']
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Callable[[], object] | None = None  # until it is done
        self._error: BaseException | None = None
        self._loan: _Loan | None = None
        self._waiting = 0
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False

    def submit(self, item: Callable[[], object]) -> None:
        """Run ``item`` in the background, once the one before is done.

        Raises:
            UsageError: after ``close()``, or in a forked child.
            BaseException: what the item before raised; ``item`` is not run then.
        """
        self.flush()
        if self._closed or self._process != os.getpid():
            raise UsageError("This writer is closed, or its process has forked: nothing is written.")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="outlast-writer", daemon=True)
            self._thread.start()
            atexit.register(self._finish)
        with self._changed:
            self._item = item
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until the item in flight is done.

        Raises:
            BaseException: what it raised.
        """
        if self._process != os.getpid():
            return
        with self._changed:
            self._waiting += 1
            try:
                while self._item is not None:
                    self._take_loan()
                    self._changed.wait()
            finally:
                self._waiting -= 1
                self._changed.notify_all()
        self.check()

    def check(self) -> None:
        """Raise what the last item raised, once; do not wait."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def close(self) -> None:
        """Flush, and end the thread. A second call does nothing.

        Raises:
            BaseException: what the last item raised.
        """
        try:
            self.flush()
        finally:
            self._finish()

    def drain(self, pieces: Iterator[object]) -> None:
        """Called by an item: do the work that ``pieces`` stands for, here or where it is faster."""
        for _ in pieces:
            if self._waiting and self._lend(pieces):
                return

    def _lend(self, pieces: Iterator[object]) -> bool:
        """Offer the rest to who waits; False if they left before they took it."""
        loan = _Loan(pieces)
        with self._changed:
            self._loan = loan
            self._changed.notify_all()
            self._changed.wait_for(lambda: loan.done or (self._loan is loan and not self._waiting))
            if self._loan is loan:
                self._loan = None
                return False
        if loan.error is not None:
            raise loan.error
        return True

    def _take_loan(self) -> None:
        """A thread inherits the priority of the one that starts it: so who waits starts it.

        It is not done by who waits, for Ctrl-C would tear it there.
        """
        loan, self._loan = self._loan, None
        if loan is None:
            return
        try:
            threading.Thread(target=self._pay_back, args=(loan,), daemon=True).start()
        except RuntimeError:  # the interpreter is ending, and starts no thread any more
            self._pay_back(loan)

    def _pay_back(self, loan: _Loan) -> None:
        try:
            exhaust(loan.pieces)
        except BaseException as error:
            loan.error = error
        with self._changed:
            loan.done = True
            self._changed.notify_all()

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere nice belongs to the process
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        while self._run_next():
            pass

    def _run_next(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed)
            item = self._item
        if item is None:
            return False
        try:
            item()
        except BaseException as error:
            self._error = error
        with self._changed:
            self._item = None
            self._changed.notify_all()
        return True

    def _finish(self) -> None:
        """End the thread after the item in flight; also when the interpreter ends."""
        if self._process != os.getpid():
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self._finish)
