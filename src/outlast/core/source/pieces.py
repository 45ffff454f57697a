"""Pieces: which variables stand for a piece of another one, as in ``for w in model.parameters()``.

To change a piece in place changes the whole, under another name. An average of the weights is often written
so, and so is momentum by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from outlast.core.source import calls
from outlast.core.source.names import last, path
from outlast.core.source.shapes import base

# Methods of a tensor that end like those that change its numbers, and do not.
_NO_NUMBERS = frozenset(("rename_", "requires_grad_", "share_memory_", "detach_"))
_ADDING = frozenset(("+=", "*=", "+1"))
_TOLD = frozenset(("add", "append", "appendleft", "extend", "record", "update"))  # a meter, a list
_BESIDE = frozenset(("filter", "map"))  # which are given a function first
_ALL = frozenset(("chain",))  # each piece is one of any of these
_TOGETHER = frozenset(("enumerate", "zip", "zip_longest"))
_VIEWS = frozenset(("items", "named_parameters", "parameters", "state_dict", "values"))
_ITEMS = frozenset(("get", "setdefault"))

PIECE, ITEM = "piece ", "item "  # before the way in which a piece is changed


@dataclass(frozen=True)
class Piece:
    """What a variable stands for.

    Args:
        whole: the variable of which it is a piece.
        is_each: a loop sets it to each of the pieces.
        is_item: it is what an index gives: of an array perhaps a copy.
    """

    whole: str
    is_each: bool = False
    is_item: bool = False

    def way(self, name: str, way: str) -> str | None:
        """In which way the whole changes where the piece does; None where nothing that matters does.

        Args:
            name: of the piece, or of an attribute of it.
            way: in which that is changed.
        """
        way = way.removeprefix("[]")
        of_tensor = way.endswith("_") and way not in _NO_NUMBERS
        is_data = way == "=" and name.endswith(".data")
        is_change = of_tensor or is_data or way in _ADDING | _TOLD or (way == "reset" and self.is_each)
        if "grad" in name.split(".") or not is_change:
            return None
        return f"{ITEM if self.is_item else PIECE}{way}"


def pieces_of(target: ast.AST, iterated: ast.AST) -> Iterator[tuple[str, list[Piece]]]:
    """The variables that a loop sets, each with those that its values are pieces of.

    Example:
        >>> loop = ast.parse("for i, (a, b) in enumerate(zip(ema.parameters(), weights)): pass").body[0]
        >>> [(name, pieces[0].whole) for name, pieces in pieces_of(loop.target, loop.iter)]
        [('a', 'ema'), ('b', 'weights')]
    """
    elements = target.elts if isinstance(target, ast.Tuple | ast.List) else None
    name = last(iterated.func) if isinstance(iterated, ast.Call) else ""
    given = iterated.args if isinstance(iterated, ast.Call) else []
    if elements is None:
        if isinstance(target, ast.Name) and name not in _TOGETHER:
            yield target.id, [Piece(whole, is_each=True) for whole in _wholes(iterated)]
    elif name == "enumerate" and len(elements) == 2 and given:
        yield from pieces_of(elements[1], given[0])
    elif name in _TOGETHER:
        for element, one in zip(elements, given, strict=False):
            yield from pieces_of(element, one)
    elif len(elements) == 2:  # such as a key, and what it stands for
        yield from pieces_of(elements[1], iterated)


def piece_of(value: ast.AST) -> Piece | None:
    """What a value that is assigned is a piece of, or all of; None if it is neither.

    Example:
        >>> piece_of(ast.parse("velocity[i]", mode="eval").body).whole
        'velocity'
        >>> piece_of(ast.parse("f(velocity)", mode="eval").body)
    """
    name = last(value.func) if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else ""
    is_item = isinstance(value, ast.Subscript) or name in _ITEMS
    is_whole = path(value) is not None or name in _VIEWS
    whole = base(value) if is_item or is_whole else None
    return None if whole is None else Piece(whole, is_item=is_item)


def _wholes(iterated: ast.AST) -> Iterator[str]:
    """The variables that what is gone through is made of."""
    if isinstance(iterated, ast.Tuple | ast.List):
        for one in iterated.elts:
            yield from _wholes(one)
    elif isinstance(iterated, ast.Call) and last(iterated.func) in _ALL:
        for one in iterated.args:
            yield from _wholes(one)
    elif isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name):
        first = 1 if iterated.func.id in _BESIDE else 0
        if calls.hands_on(iterated) and len(iterated.args) > first:
            yield from _wholes(iterated.args[first])
    elif (name := base(iterated.value if isinstance(iterated, ast.Starred) else iterated)) is not None:
        yield name
