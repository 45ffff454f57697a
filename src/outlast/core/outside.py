"""Outside: which variables others see than the function that changes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from outlast.core import calls
from outlast.core.dataflow import BINDING, Code, declared_outside, parameters
from outlast.core.names import path, prefixes, root
from outlast.core.places import Function, Place

_NOTHING: frozenset[str] = frozenset()


class Outside:
    """Tells what of the variables that a loop changes others see, which its function does not show."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._declared = declared_outside(place.function) if place.function is not None else set()
        self._given = {*parameters(place.function)} if place.function is not None else set()
        code = Code()
        if place.function is not None:
            code.run(place.function.body, _NOTHING)
        self._bound = {name for name, ways in code.changed.items() if ways & BINDING} - self._declared
        entering = Code()
        self._begun = entering.run(place.before, _NOTHING) if place.function is not None else _NOTHING

    def has(self, name: str, *, is_changed_inside: bool) -> bool:
        """Whether it is global, or an attribute or the content of something that the function was given."""
        if self._place.function is None:
            return False
        first = root(name)
        if first in self._declared:
            return True
        if first in self._bound and first not in self._given:
            return False
        return (first not in self._bound and "." in name) or is_changed_inside

    def outlasts(self, name: str, *, is_changed_inside: bool) -> bool:
        """Whether it is such a variable, and nobody begins it again in each epoch."""
        if not self.has(name, is_changed_inside=is_changed_inside):
            return False
        return not any(one in self._begun for one in prefixes(name)) and not self._is_begun_elsewhere(name)

    def _is_begun_elsewhere(self, name: str) -> bool:
        own = {id(one) for one in ast.walk(self._place.loop)}
        tail = name.rpartition(".")[2]
        for one in _repeated(self._place.tree):
            if id(one) in own:
                continue
            names = [path(target) for target in one.targets] if isinstance(one, ast.Assign) else []
            if isinstance(one, ast.Call) and calls.resets(one) and isinstance(one.func, ast.Attribute):
                names = [path(one.func.value)]
            if any(known is not None and known.rpartition(".")[2] == tail for known in names):
                return True
        return False

    def is_asked(self, name: str) -> bool:
        """Whether the source asks it for something anywhere."""
        tail = name.rpartition(".")[2]
        asked = (one.value for one in ast.walk(self._place.tree) if isinstance(one, ast.Attribute))
        return any((path(one) or "").rpartition(".")[2] == tail for one in asked)


def _repeated(tree: ast.AST, *, is_repeated: bool = False) -> Iterator[ast.AST]:
    """The code that may run again: that of loops and functions, but for ``__init__``."""
    for child in ast.iter_child_nodes(tree):
        if is_repeated:
            yield child
        is_code = isinstance(child, Function) and child.name not in ("__init__", "__new__")
        is_loop = isinstance(child, ast.For | ast.While | ast.AsyncFor)
        if not (isinstance(child, Function) and not is_code):
            yield from _repeated(child, is_repeated=is_repeated or is_code or is_loop)
