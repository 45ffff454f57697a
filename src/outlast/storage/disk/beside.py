"""Work in threads beside the caller's: reads, checksums and writes, which let other Python code run."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

_MUCH = 8 << 20  # bytes that are worth a thread
_THREADS = 4  # more would wait for the memory

Item = TypeVar("Item")
Result = TypeVar("Result")


def begin(work: Callable[..., Result], *arguments: Any) -> Future[Result]:
    """Have work done in a thread of its own, of the caller's priority; at once if there is none to be had.

    Args:
        work: what to call.
        arguments: of the call.
    """
    promise: Future[Result] = Future()
    try:
        threading.Thread(target=fulfil, args=(promise, work, *arguments), daemon=True).start()
    except RuntimeError:  # as when the interpreter ends
        fulfil(promise, work, *arguments)
    return promise


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

    others = [begin(do, sorted(share)) for share in shares[1:]]
    try:
        do(sorted(shares[0]))
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error
    return [found[place] for place in range(len(items))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
