"""Taps on the seam: records, stops, or breaks the calls that change the disk."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from outlast.storage.disk.calls import Calls, calls

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
def killed_at(number: int) -> Iterator[None]:
    """The process "dies" instead of making call ``number``, counted from 0."""
    made = 0

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        nonlocal made
        if made == number:
            _dead(name, arguments, real)
        made += 1
        return real(*arguments)

    with tapped(hook), suppress(Killed):
        yield


@contextmanager
def killed_after_link(target: str) -> Iterator[None]:
    """The process "dies" as soon as a file has got the name ``target``."""
    linked = False

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        nonlocal linked
        if linked:
            _dead(name, arguments, real)
        result = real(*arguments)
        linked = name == "link" and arguments[1] == target
        return result

    with tapped(hook), suppress(Killed):
        yield


def _dead(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> None:
    if name == "close":  # a dead process leaks nothing
        real(*arguments)
    raise Killed
