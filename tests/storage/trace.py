"""A recorded trace of the calls that change the disk, with names instead of descriptors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.storage.tap import tapped


@dataclass(frozen=True)
class Event:
    """One call that succeeded, or a mark that the test made.

    Args:
        call: the call's name, or ``"mark"``.
        path: what it was about; for ``link`` and ``rename`` the old name.
        target: the new name of ``link`` and ``rename``.
        data: what was written; where, is ``offset`` (-1: at the end).
        new: whether ``open`` made the file; for a mark, its text is in ``path``.
    """

    call: str
    path: str
    target: str = ""
    data: bytes = b""
    offset: int = -1
    new: bool = False


class Trace(list[Event]):
    """The events in their order."""

    def mark(self, text: object) -> None:
        self.append(Event("mark", str(text)))


@contextmanager
def traced() -> Iterator[Trace]:
    """SavedRun what happens inside, while it happens for real."""
    trace = Trace()
    paths: dict[int, str] = {}

    def hook(name: str, arguments: tuple[Any, ...], real: Callable[..., Any]) -> Any:
        first = arguments[0]
        new = name == "open" and not os.path.lexists(first)
        data = bytes(arguments[1]) if name in ("write", "pwrite") else b""
        result = real(*arguments)
        if name == "open":
            paths[result] = os.path.abspath(first)
            trace.append(Event(name, paths[result], new=new))
        elif name in ("link", "rename"):
            trace.append(Event(name, os.path.abspath(first), os.path.abspath(arguments[1])))
        elif name in ("write", "pwrite"):
            offset = arguments[2] if name == "pwrite" else -1
            trace.append(Event("write", paths[first], data=data[:result], offset=offset))
        elif name == "ftruncate":
            trace.append(Event(name, paths[first], offset=arguments[1]))
        elif name in ("fsync", "close"):
            trace.append(Event(name, paths[first]))
        elif name != "clone":
            trace.append(Event(name, os.path.abspath(first)))
        return result

    with tapped(hook):
        yield trace
