"""Buffers: memory that a training's state is copied into, again and again.

A copy into memory that is in use already costs one pass; fresh memory costs several times that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from outlast.storage.format.dtypes import Array, Bits


class Buffers:
    """Copies arrays; the copies are overwritten by the next :meth:`copy`.

    Example:
        >>> import numpy as np
        >>> buffers, live = Buffers(), np.zeros(2)
        >>> kept = buffers.copy({"w": live})
        >>> live += 1
        >>> kept["w"]
        array([0., 0.])
    """

    def __init__(self) -> None:
        self._buffers: dict[str, Any] = {}

    def copy(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """The same arrays, copied. Nobody may still read the copies before these.

        Args:
            arrays: by names that stay the same from one copy to the next.
        """
        used = {name: self._copied(name, array) for name, array in arrays.items()}
        self._buffers = used  # memory for what is not among them is freed
        return {
            name: Bits(array.dtype, used[name]) if isinstance(array, Bits) else used[name]
            for name, array in arrays.items()
        }

    def _copied(self, name: str, array: Array) -> Any:
        import numpy as np

        live = array.array if isinstance(array, Bits) else array
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != live.shape or buffer.dtype != live.dtype:
            buffer = np.empty(live.shape, live.dtype)
        np.copyto(buffer, live)
        return buffer
