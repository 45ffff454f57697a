"""Buffers: memory that snapshots of a training are copied into, again and again.

A copy into memory that is in use already costs one pass; fresh memory costs several times that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.storage.format.dtypes import Bits
from outlast.storage.format.encoding import Immutable


class Buffers:
    """Copies trees of arrays; the copies are overwritten by the next :meth:`copy`.

    Example:
        >>> import numpy as np
        >>> buffers, live = Buffers(), np.zeros(2)
        >>> kept = buffers.copy({"w": live})
        >>> live += 1
        >>> kept["w"]
        array([0., 0.])
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Any] = {}

    def copy(self, tree: Any) -> Any:
        """The same tree with its arrays copied. Nobody may still read the copy before this one."""
        used: dict[str, Any] = {}
        result = self._copied(tree, "", used)
        self._arrays = used  # what no place of this tree needs is let go
        return result

    def _copied(self, tree: Any, place: str, used: dict[str, Any]) -> Any:
        if tree is None or isinstance(tree, (int, float, str, bytes, Immutable)):
            return tree
        if isinstance(tree, Mapping):
            return {key: self._copied(value, f"{place}/{key}", used) for key, value in tree.items()}
        if isinstance(tree, (list, tuple)):
            return type(tree)([self._copied(v, f"{place}/{i}", used) for i, v in enumerate(tree)])
        if isinstance(tree, Bits):
            return Bits(tree.dtype, self._copied(tree.array, place, used))
        return self._array(tree, place, used) if hasattr(tree, "__array_interface__") else tree

    def _array(self, array: Any, place: str, used: dict[str, Any]) -> Any:
        import numpy as np

        buffer = self._arrays.get(place)
        if buffer is None or buffer.shape != array.shape or buffer.dtype != array.dtype:
            buffer = np.empty(array.shape, array.dtype)
        np.copyto(buffer, array)
        used[place] = buffer
        return buffer
