"""The background thread that writes while training goes on.

One item is in flight; who submits the next waits for it. The thread takes no core from training
(nice 19 on Linux), which is also why it can take long on busy cores. So whoever waits starts a
helper, a thread with the priority of who waits, and the heavy work of the item, an iterator of
small pieces of work, moves there. An error is raised in the foreground, at the next call.

Ctrl-C can come between any two lines of the foreground. So the foreground holds no lock, takes no
work upon itself, and changes one thing at a time: it names the item, wakes the writer, and waits
for its word. Whatever line is interrupted, the writer ends the item, and the next call finds it.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue

from outlast.exceptions import UsageError
from outlast.storage.disk.beside import fulfil
from outlast.storage.disk.files import exhaust

_LOWEST = 19
# Work that the writer's thread hands to a helper, and what became of it.
_Loan = tuple[Iterator[object], Future[None]]


class _Item:
    """A function to run, and what became of it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self.work = work
        self.begun = threading.Lock()  # who gets it runs the item
        self.ended = False
        self.error: BaseException | None = None
        self._waiting: list[SimpleQueue[None]] = []

    def wait(self) -> None:
        """Wait until it was run. Who is interrupted here leaves a mailbox, and holds nothing."""
        mailbox: SimpleQueue[None] = SimpleQueue()
        self._waiting.append(mailbox)
        while not self.ended:  # looked at after the mailbox is there: the end is seen, or heard of
            mailbox.get()

    def end(self) -> None:
        """Tell everybody who waits that it was run."""
        self.ended = True
        for mailbox in self._waiting:
            mailbox.put(None)


class Writer:
    """Runs functions, one after the other, on a thread of its own.

    The thread starts with the first item. It ends with :meth:`close`, or when
    the interpreter does, which waits for the item in flight. While no thread
    is to be had, an item runs where it is submitted.

    Example:
        >>> done = []
        >>> writer = Writer()
        >>> writer.submit(lambda: done.append("written"))
        >>> writer.close()
        >>> done
        ['written']
    """

    def __init__(self) -> None:
        self._item: _Item | None = None  # the last one
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._process = os.getpid()
        self._closed = False
        # Between the writer's thread and helpers alone: neither hears Ctrl-C.
        self._changed = threading.Condition()
        self._helpers = 0
        self._loan: _Loan | None = None

    def submit(self, item: Callable[[], object]) -> None:
        """Run ``item`` in the background, once the one before is done.

        Raises:
            UsageError: after ``close()``, or in a forked child.
            BaseException: what the item before raised; ``item`` is not run then.
        """
        self.flush()
        if self._closed or self._process != os.getpid():
            raise UsageError("This writer is closed, or its process has forked: nothing is written.")
        begun = _Item(item)
        if self._thread is None and not self._start():
            self._carry_out(begun)  # before it is the last one, whose end others wait for
            self._item = begun
            return
        self._item = begun
        self._wake.put(None)

    @property
    def is_busy(self) -> bool:
        """Whether an item is in flight."""
        return self._item is not None and not self._item.ended

    def flush(self) -> None:
        """Wait until the item in flight is done.

        Raises:
            BaseException: what it raised.
        """
        item = self._item
        if item is None or self._process != os.getpid():
            return
        if not item.ended:
            self._wait(item)
        if item.error is not None:
            try:
                raise item.error  # once
            finally:
                item.error = None

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
        """Called by an item: do the work of ``pieces``, here or where it is faster."""
        for _ in pieces:
            if self._helpers and self._lend(pieces):
                return

    def _start(self) -> bool:
        """Start the writer's thread, if one is to be had. It counts once it runs; else it does no harm."""
        thread = threading.Thread(target=self._run, name="outlast-writer", daemon=True)
        atexit.register(self._finish)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads, or the interpreter is ending
            return False
        self._thread = thread
        return True

    def _wait(self, item: _Item) -> None:
        """Wait for the item in flight, and have it helped."""
        self._wake.put(None)  # the submit may have been interrupted before it did
        with suppress(RuntimeError):  # the interpreter is ending, and starts no thread any more
            threading.Thread(target=self._help, args=(item,), daemon=True).start()
        item.wait()

    # On the writer's thread and on helpers.

    def _lend(self, pieces: Iterator[object]) -> bool:
        """Have a helper do the rest; False if there is none any more."""
        done: Future[None] = Future()
        with self._changed:
            if not self._helpers:
                return False
            self._loan = pieces, done
            self._changed.notify_all()
        done.result()
        return True

    def _help(self, item: _Item) -> None:
        """Take every loan until the item has ended; who started this may be gone by then."""
        with self._changed:
            self._helpers += 1
        while (loan := self._next_loan(item)) is not None:
            pieces, done = loan
            fulfil(done, exhaust, pieces)

    def _next_loan(self, item: _Item) -> _Loan | None:
        """The next loan; None, and one helper less, once the item has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._loan is not None or item.ended)
            loan, self._loan = self._loan, None
            self._helpers -= loan is None
            return loan

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere nice belongs to the process
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
        while True:
            self._wake.get()
            closed = self._closed  # before the item is looked at: there is none after it
            item = self._item
            if item is not None and item.begun.acquire(blocking=False):
                self._carry_out(item)
            if closed:
                self._wake.put(None)  # for a second thread: the start of the first was interrupted
                return

    def _carry_out(self, item: _Item) -> None:
        try:
            item.work()
        except BaseException as error:
            item.error = error
        item.work = lambda: None  # it holds a whole state
        with self._changed:
            item.end()
            self._changed.notify_all()

    def _finish(self) -> None:
        """End the thread after the item in flight; also when the interpreter ends."""
        if self._process != os.getpid():
            return
        self._closed = True
        self._wake.put(None)
        if self._item is not None and self._thread is not None:
            self._item.wait()
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self._finish)
