"""Outside: which variables others see than the function that changes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from outlast.core.source import calls
from outlast.core.source.dataflow import BINDING, Code, declared_outside, parameters
from outlast.core.source.names import path, prefixes, root, targets
from outlast.core.source.places import Function, Place

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
        first, tail = root(name), name.rpartition(".")[2]
        for one in _repeated(self._place.tree, None if "." in name else first):
            names: list[str] = []
            if isinstance(one, ast.Assign) and id(one) not in own:
                names = [begun for target in one.targets for begun in targets(target)]
            elif isinstance(one, ast.Call) and calls.resets(one) and isinstance(one.func, ast.Attribute):
                names = [path(one.func.value) or ""]
            if any(begun.rpartition(".")[2] == tail and ("." in begun) == ("." in name) for begun in names):
                return True
        return False

    def is_asked(self, name: str) -> bool:
        """Whether the source asks it for something anywhere."""
        tail = name.rpartition(".")[2]
        asked = (one.value for one in ast.walk(self._place.tree) if isinstance(one, ast.Attribute))
        return any((path(one) or "").rpartition(".")[2] == tail for one in asked)


def _repeated(tree: ast.AST, declared: str | None, *, is_repeated: bool = False) -> Iterator[ast.AST]:
    """The code that may run again: that of loops and functions, but for ``__init__``.

    Args:
        tree: of the code.
        declared: the functions must declare this variable as one of others; None: any function counts.
        is_repeated: the tree is such code.
    """
    for child in ast.iter_child_nodes(tree):
        if is_repeated:
            yield child
        if isinstance(child, Function):
            counts = declared is None or declared in declared_outside(child)
            if counts and child.name not in ("__init__", "__new__"):
                yield from _repeated(child, declared, is_repeated=True)
        else:
            is_loop = isinstance(child, ast.For | ast.While | ast.AsyncFor)
            yield from _repeated(child, declared, is_repeated=is_repeated or is_loop)
