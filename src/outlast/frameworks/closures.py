"""Closures: what a function keeps from call to call, in variables of the function around it."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from outlast.frameworks import random_state


class Closure:
    """Those variables as attributes: the ones that the function sets, lists, dicts and random generators.

    Example:
        >>> def counting():
        ...     calls = 0
        ...     def count(step=1):
        ...         nonlocal calls
        ...         calls += step
        ...     return count
        >>> vars(Closure(counting()))
        {'calls': 0}
    """

    __slots__ = ("__weakref__", "_cells")

    def __init__(self, function: FunctionType) -> None:
        self._cells = dict(_kept(function))

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return _Contents(self._cells)


class _Contents(dict[str, Any]):
    """Values of cells by name; to set one sets it there."""

    def __init__(self, cells: dict[str, CellType]) -> None:
        super().__init__({name: cell.cell_contents for name, cell in cells.items()})
        self._cells = cells

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self._cells[name].cell_contents = value


_known: WeakKeyDictionary[FunctionType, Closure] = WeakKeyDictionary()


def closure(function: FunctionType) -> Closure | None:
    """That of a function, the same each time; None if it keeps nothing."""
    if function not in _known and any(True for _ in _kept(function)):
        _known[function] = Closure(function)
    return _known.get(function)


def _kept(function: FunctionType) -> Iterator[tuple[str, CellType]]:
    names, cells = function.__code__.co_freevars, function.__closure__ or ()
    for name, cell in zip(names, cells, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # it is empty yet
            continue
        is_changed_inside = isinstance(value, (list, dict)) or random_state.is_generator(value)
        if is_changed_inside or name in set_by(function.__code__):
            yield name, cell


@lru_cache(maxsize=256)
def set_by(code: CodeType) -> frozenset[str]:
    """The variables around it that a function sets, or a function in it."""
    stored = {one.argval for one in dis.get_instructions(code) if one.opname == "STORE_DEREF"}
    inner = (set_by(one) for one in code.co_consts if isinstance(one, CodeType))
    return frozenset(stored.union(*inner)) & frozenset(code.co_freevars)
