"""Outside: which variables others see than the function that changes them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from outlast.core.source import calls
from outlast.core.source.dataflow import BINDING, Code, parameters
from outlast.core.source.names import path, prefixes, root, targets
from outlast.core.source.pieces import pieces_of
from outlast.core.source.places import Function, Place

_NOTHING: frozenset[str] = frozenset()
Pieces = dict[str, list[str]]  # of what the targets of loops are pieces


class Outside:
    """Tells what of the variables that a loop changes others see, which its function does not show."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._given = {*parameters(place.function)} if place.function is not None else set()
        code = Code()
        if place.function is not None:
            code.run(place.function.body, _NOTHING)
        self._declared = code.declared
        self._bound = {name for name, ways in code.changed.items() if ways & BINDING} - self._declared
        entering = Code()
        self._begun = entering.run(place.before, _NOTHING) if place.function is not None else _NOTHING
        self._repeated = {*_begun_repeatedly(place.tree, {*ast.walk(place.loop)})}
        read = (one.value for one in ast.walk(place.tree) if isinstance(one, ast.Attribute))
        self._asked = {_tail(name) for one in read if (name := path(one)) is not None}

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
        is_begun = any(one in self._begun for one in prefixes(name))
        return not is_begun and (f".{_tail(name)}" if "." in name else name) not in self._repeated

    def is_asked(self, name: str) -> bool:
        """Whether the source asks it for something anywhere."""
        return _tail(name) in self._asked


def _tail(name: str) -> str:
    return name.rpartition(".")[2]


def _begun_repeatedly(tree: ast.AST, own: set[ast.AST]) -> Iterator[str]:
    """The variables that code begins which may run again, and attributes, each with a dot before it.

    That is the code of loops and functions, but for ``__init__``. A function begins a variable of the module
    if it declares it, or a function in it does.

    Args:
        tree: of the code.
        own: what is assigned there does not count.
    """
    declared = _declared_in_each(tree)
    left: list[tuple[ast.AST, bool, frozenset[str] | None, Pieces]] = [(tree, False, None, {})]
    while left:
        one, is_repeated, outer, pieces = left.pop()
        for name in _begun(one, own, pieces) if is_repeated else ():
            if "." in name:
                yield f".{_tail(name)}"
            elif outer is None or name in outer:
                yield name
        if isinstance(one, Function):
            if one.name in ("__init__", "__new__"):
                continue
            inner = frozenset(declared.get(one, ()))
            is_repeated, outer = True, inner if outer is None else outer & inner
        is_repeated = is_repeated or isinstance(one, ast.For | ast.While | ast.AsyncFor)
        if isinstance(one, ast.For):
            of = {name: [piece.whole for piece in all_] for name, all_ in pieces_of(one.target, one.iter)}
            pieces = {**pieces, **of} if of else pieces
        left += [(child, is_repeated, outer, pieces) for child in ast.iter_child_nodes(one)]


def _begun(one: ast.AST, own: set[ast.AST], pieces: Pieces) -> list[str]:
    if isinstance(one, ast.Assign) and one not in own:
        return [name for target in one.targets for name in targets(target)]
    is_reset = isinstance(one, ast.Call) and calls.resets(one) and not calls.loads(one)
    if is_reset and isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
        name = path(one.func.value) or ""
        return [name, *pieces.get(name, ())]
    return []


def _declared_in_each(tree: ast.AST) -> dict[ast.AST, set[str]]:
    """What each function declares as ``global`` or ``nonlocal``, and what functions in it do."""
    found: dict[ast.AST, set[str]] = {}
    left: list[tuple[ast.AST, tuple[ast.AST, ...]]] = [(tree, ())]
    while left:
        one, around = left.pop()
        if isinstance(one, Function):
            around = (*around, one)
        elif isinstance(one, ast.Global | ast.Nonlocal):
            for function in around:
                found.setdefault(function, set()).update(one.names)
        left += [(child, around) for child in ast.iter_child_nodes(one)]
    return found
