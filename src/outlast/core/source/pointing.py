"""Pointing: which variables a loop has stand for something else, as in ``criterion = later``."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from outlast.core.source.names import assigned, mentioned, path, prefixes

Key = str | int
Way = tuple[str, tuple[Key, ...]]  # a name, and keys of items


def pointed(loop: ast.AST) -> dict[str, set[Way]]:
    """The variables that code sets to another one, or to an item of one, and to which.

    Example:
        >>> pointed(ast.parse("if step == 20: loss_fn = losses[1]"))
        {'loss_fn': {('losses', (1,))}}
        >>> pointed(ast.parse("node = node.next; x = y + 1"))
        {}
    """
    found: dict[str, set[Way]] = {}
    for names, value in assigned(loop):
        read = {part for one in mentioned(value) for part in prefixes(one)}
        for name in names if len(names) == 1 else ():
            if name not in read and (ways := {*_ways(value)}):
                found.setdefault(name, set()).update(ways)
    return found


def _ways(value: ast.AST, keys: tuple[Key, ...] = ()) -> Iterator[Way]:
    if isinstance(value, ast.IfExp):
        yield from _ways(value.body, keys)
        yield from _ways(value.orelse, keys)
    elif isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Constant):
        if isinstance(key := value.slice.value, Key):
            yield from _ways(value.value, (key, *keys))
    elif (name := path(value)) is not None:
        yield name, keys
