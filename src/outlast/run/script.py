"""Script: the script's own variables that its loops carry on, as its source says. No resume can set them."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from outlast.core.asking import asked, has
from outlast.core.carried import carried, counted, handed_over, loop_at

_OURS = __name__.partition(".")[0]
_REFERENCES = 3  # to the copy of a frame's variables, if nobody else has it: the frame's, ours, the question
_PLAIN = (bool, int, float, complex, str, bytes, list, tuple, dict, set, deque, type(None))


@dataclass(frozen=True)
class Carried:
    """What a loop of the script carries from turn to turn.

    Args:
        names: of variables.
        counter: the variable with which ``enumerate`` counts its turns; None if there is none.
    """

    names: tuple[str, ...] = ()
    counter: str | None = None


class Script:
    """Looks at the loops of the script, at each once.

    Args:
        is_saved: whether a value is the run, or something that it saves.
    """

    def __init__(self, is_saved: Callable[[Any], bool]) -> None:
        self._is_saved = is_saved
        self._seen: set[tuple[CodeType, int]] = set()
        self._named: set[str] = set()

    def look(self, *, inside: bool) -> Carried:
        """What the loop that is beginning carries, and was not named; nothing where there is no source.

        Args:
            inside: it is one of batches inside an epoch, and what it carries matters behind it, too.
        """
        frame = _asking()
        if frame is None or (place := (frame.f_code, frame.f_lineno)) in self._seen:
            return Carried()
        self._seen.add(place)
        found = loop_at(_parsed(frame), frame.f_lineno)
        if found is None:
            return Carried()
        loop, around = found
        return self._carried(frame, loop, around if inside else loop)

    def _carried(self, frame: FrameType, loop: ast.For, scope: ast.stmt) -> Carried:
        names = [name for name in carried(loop, scope) if name not in self._named]
        handed = handed_over(scope)
        firsts = {name.partition(".")[0] for one in names for name in (one, *handed.get(one, ()))}
        variables = _variables(frame, firsts)
        names = [
            name
            for name in names
            if self._counts(variables, name)
            and not any(self._is_found_saved(variables, one) for one in handed.get(name, ()))
        ]
        self._named |= {*names}
        return Carried(tuple(names), counted(loop))

    def _counts(self, variables: Mapping[str, Any], name: str) -> bool:
        """Whether a variable has a value that a loop sums up, counts or collects, and nobody saves it."""
        values = self._values(variables, name)
        if len(values) <= name.count(".") or self._is_saved(values[-1]):
            return False
        value = values[-1]
        is_array = has(value, "shape") and has(value, "dtype")
        is_metric = has(value, "update") and has(value, "compute")
        return isinstance(value, _PLAIN) or is_array or is_metric or has(value, "__next__")

    def _is_found_saved(self, variables: Mapping[str, Any], name: str) -> bool:
        """Whether the run, or something that it saves, has what is assigned to an attribute of this name."""
        return any(map(self._is_saved, self._values(variables, name)))

    def _values(self, variables: Mapping[str, Any], name: str) -> list[Any]:
        """The value of each part of a dotted name, up to one that is saved: the run notes who reads it."""
        first, *others = name.split(".")
        values = [variables[first]] if first in variables else []
        for other in others if values else ():
            if self._is_saved(values[-1]) or not has(values[-1], other):
                break
            values.append(asked(values[-1], other))
        return values


def _asking() -> FrameType | None:
    """The frame of the loop: generators around ours, such as a progress bar, do not count."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] != _OURS and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            return frame
        frame = frame.f_back
    return None


def _parsed(frame: FrameType) -> ast.Module:
    """The file or the notebook's cell that the frame's code is from; empty where it cannot be had."""
    lines = linecache.getlines(frame.f_code.co_filename, frame.f_globals)
    for _ in range(2):  # Python 3.11 can fail with a SystemError once: its issue 106905
        with suppress(SyntaxError, ValueError, RecursionError, SystemError):  # the file may have changed
            return ast.parse("".join(lines))
    return ast.Module([], [])


def _variables(frame: FrameType, names: set[str]) -> dict[str, Any]:
    """The variables that the frame's code knows by these names."""
    here = frame.f_locals
    places = {name: place for place in (frame.f_globals, here) for name in names if name in place}
    found = {name: place[name] for name, place in places.items()}
    is_copy = sys.version_info < (3, 13) and bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)
    if is_copy and sys.getrefcount(here) <= _REFERENCES:  # it stays with the frame, and holds all it has
        here.clear()
    return found
