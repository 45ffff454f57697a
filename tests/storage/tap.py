"""Taps on the seam: records, stops, or breaks the calls that change the disk."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from outlast.storage.calls import Calls, calls

NAMES = [name for name, _ in inspect.getmembers(Calls, inspect.isfunction)]

Hook = Callable[[str, tuple[Any, ...], Callable[..., Any]], Any]


@contextmanager
def tapped(hook: Hook) -> Iterator[None]:
    """Every call goes to ``hook(name, arguments, real)``, which may call ``real(*arguments)``."""

    def through(name: str) -> Callable[..., Any]:
        real = getattr(calls, name)
        return lambda *arguments: hook(name, arguments, real)

    before = dict(vars(calls))
    replaced = {name: through(name) for name in NAMES}
    try:
        vars(calls).update(replaced)
        yield
    finally:
        vars(calls).clear()
        vars(calls).update(before)


class Killed(BaseException):
    """Stands for the end of the process: after it no call reaches the disk."""


@contextmanager
def killed_at(number: int, partial_writes: bool = False) -> Iterator[list[str]]:
    """The process "dies" instead of making call ``number`` (from 0); yields the calls made.

    With ``partial_writes`` a write, if it is the one, still gets half of its bytes out.
    """
    made: list[str] = []

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        if len(made) == number and partial_writes and name == "write":
            real(arguments[0], arguments[1][: len(arguments[1]) // 2])
        if len(made) >= number:
            if name == "close":  # a dead process leaks nothing
                real(*arguments)
            raise Killed
        made.append(name)
        return real(*arguments)

    with tapped(hook), suppress(Killed):
        yield made
