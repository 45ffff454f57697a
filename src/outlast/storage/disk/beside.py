"""Work in threads beside the caller's: reads, checksums and writes, which let other Python code run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

_MUCH = 8 << 20  # bytes that are worth a thread
_THREADS = 4  # more would wait for the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


class Work(Generic[Result]):
    """Something to be done in a thread of its own, of the caller's priority.

    Whoever begins it keeps it first: Ctrl-C may come while the thread starts, and then nothing tells whether
    it will run. So what it uses may be given to others only after :meth:`leave`.

    Args:
        work: what to call.
        arguments: of the call.

    Example:
        >>> work = Work(len, "abc")
        >>> work.begin()
        >>> work.result()
        3
    """

    def __init__(self, work: Callable[..., Result], *arguments: Any) -> None:
        self._work, self._arguments = work, arguments
        self._promise: Future[Result] = Future()

    def begin(self) -> None:
        """Start the thread; do the work here if there is none to be had."""
        try:
            threading.Thread(target=self._do, daemon=True).start()
        except RuntimeError:  # as when the interpreter ends
            self._do()

    def result(self) -> Result:
        """What came of it, once it is done; what it raised is raised here."""
        return self._promise.result()

    def error(self) -> BaseException | None:
        """What it raised, once it is done; None if nothing."""
        return self._promise.exception()

    def leave(self) -> None:
        """Return once nobody does it: if it has not begun, it never will."""
        if not self._promise.cancel():
            self._promise.exception()

    def _do(self) -> None:
        if self._promise.set_running_or_notify_cancel():
            fulfil(self._promise, self._work, *self._arguments)


def fulfil(promise: Future[Result], work: Callable[..., Result], *arguments: Any) -> None:
    """Do the work, and tell the promise what became of it."""
    try:
        promise.set_result(work(*arguments))
    except BaseException as error:
        promise.set_exception(error)


def mapped(work: Callable[[Item], Result], items: Sequence[Item], sizes: Iterable[int]) -> list[Result]:
    """What ``work`` gives for each item, in their order; done on several cores if there is much to do.

    Args:
        work: may be called in several threads at once.
        items: what to call it with.
        sizes: of the items, in bytes.

    Raises:
        BaseException: what ``work`` has raised for one of them, once nobody works any more.

    Example:
        >>> mapped(len, ["a", "bb"], [1, 2])
        [1, 2]
    """
    weights = [*sizes]
    threads = min(_cores(), _THREADS, sum(weights) // _MUCH + 1)
    if threads == 1:
        return [work(item) for item in items]
    shares: list[list[int]] = [[] for _ in range(threads)]
    loads = [0] * threads
    for place in sorted(range(len(items)), key=lambda place: -weights[place]):
        least = loads.index(min(loads))
        shares[least].append(place)
        loads[least] += weights[place]
    found: dict[int, Result] = {}

    def do(share: Iterable[int]) -> None:
        for place in share:
            found[place] = work(items[place])

    others = [Work(do, sorted(share)) for share in shares[1:]]
    try:
        for other in others:
            other.begin()
        do(sorted(shares[0]))
        errors = [other.error() for other in others]
    finally:
        for other in others:
            other.leave()
    for error in errors:
        if error is not None:
            raise error
    return [found[place] for place in range(len(items))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
