"""Trees: dicts, lists and tuples with values at their leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def map_leaves(tree: Any, function: Callable[[Any], Any]) -> Any:
    """The same tree, with ``function(leaf)`` in place of each leaf.

    Example:
        >>> map_leaves({"a": [1, (2,)]}, str)
        {'a': ['1', ('2',)]}
    """
    if isinstance(tree, Mapping):
        return {key: map_leaves(value, function) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [map_leaves(value, function) for value in tree]
        return items if isinstance(tree, list) else tuple(items)
    return function(tree)
