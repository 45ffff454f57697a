"""Source: the code that a frame runs, as it is written in its file or its notebook's cell."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from types import CodeType, FrameType
from typing import Any

_INSTALLED = {"site-packages", "dist-packages"}  # folders that pip, and Debian, install into
_LIBRARY = os.path.dirname(os.__file__)  # Python's own
_MOST_NODES = 100_000  # of a source that is read: some ten thousand lines

_remembered: dict[str, ast.Module] = {}  # by their text, while a loop is looked at


@contextmanager
def remembered() -> Iterator[None]:
    """Read each source once meanwhile."""
    _remembered.clear()
    try:
        yield
    finally:
        _remembered.clear()  # a tree takes much memory


def passes_on(frame: FrameType) -> bool:
    """Whether it is a generator's, which hands on what it is given, as a progress bar does."""
    return bool(frame.f_code.co_flags & inspect.CO_GENERATOR)


def is_installed(code: Any) -> bool:
    """Whether code is a package's or Python's own, and not the script's."""
    if not issubclass(type(code), CodeType):
        return False
    file = str(code.co_filename)
    is_package = not _INSTALLED.isdisjoint(file.split(os.sep))
    return is_package or file.startswith((_LIBRARY + os.sep, "<frozen "))


def is_anothers(frame: FrameType) -> bool:
    """Whether it only hands on what it is given, or is none of the script's."""
    return passes_on(frame) or is_installed(frame.f_code)


def text(frame: FrameType) -> str:
    """The source; empty where it cannot be had."""
    return "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals))


def parsed(frame: FrameType) -> ast.Module:
    """Its tree; an empty one where it cannot be had, or is too long to be read."""
    found = text(frame)
    tree = _remembered.get(found)
    if tree is None:
        tree = _remembered[found] = _parsed(found, frame.f_code.co_filename)
    return tree


def _parsed(text: str, file: str) -> ast.Module:
    for _ in range(2):  # Python 3.11 can fail with a SystemError once: its issue 106905
        with suppress(SyntaxError, ValueError, RecursionError, SystemError):  # the file may have changed
            with warnings.catch_warnings():  # of its own strings, which Python told of when it was compiled
                warnings.simplefilter("ignore")
                tree = ast.parse(text, file)
            is_long = any(True for _ in islice(ast.walk(tree), _MOST_NODES, None))
            return ast.Module([], []) if is_long else tree
    return ast.Module([], [])
