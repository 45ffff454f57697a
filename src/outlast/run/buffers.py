"""Buffers: memory that a training's state is copied into, again and again.

A copy into memory that is in use already costs one pass; fresh memory costs several times that. The copies
lie one behind the other from the beginning of a page on, as they will in the file: so the disk can take them
from here, and nobody copies them once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outlast.storage.disk.direct import PAGE
from outlast.storage.format.dtypes import Array, Bits, bits_of

if TYPE_CHECKING:
    import numpy.typing as npt

_MORE = 1 << 20  # bytes that the memory has for a state that grows a little; they cost nothing until used


@dataclass(frozen=True)
class Copied:
    """Arrays that were copied.

    Args:
        arrays: by name.
        memory: from the beginning of a page on, their bytes, in their order, with nothing between them; None
            if a file has them otherwise, with the lowest byte of each number first.
    """

    arrays: dict[str, Array]
    memory: npt.NDArray[Any] | None


class Buffers:
    """Copies arrays; the copies are overwritten by the next :meth:`copy`.

    Example:
        >>> import numpy as np
        >>> buffers, live = Buffers(), np.zeros(2)
        >>> kept = buffers.copy({"w": live}).arrays
        >>> live += 1
        >>> kept["w"]
        array([0., 0.])
    """

    def __init__(self) -> None:
        self._memory: Any = None
        self._laid: Any = None  # the part of it that is in use, if it is as a file has it
        self._layout: dict[str, tuple[Any, Any]] | None = None
        self._places: dict[str, Any] = {}

    def copy(self, arrays: Mapping[str, Array]) -> Copied:
        """The same arrays, copied. Nobody may still read the copies before these.

        Args:
            arrays: by names that stay the same from one copy to the next.
        """
        import numpy as np

        live = {name: bits_of(array) for name, array in arrays.items()}
        layout = {name: (one.shape, one.dtype) for name, one in live.items()}
        if layout != self._layout:
            self._lay_out(live)
            self._layout = layout
        for name, place in self._places.items():
            np.copyto(place, live[name])
        copies = {
            name: Bits(one.dtype, place) if isinstance(one := arrays[name], Bits) else place
            for name, place in self._places.items()
        }
        return Copied(copies, self._laid)

    def _lay_out(self, live: Mapping[str, Any]) -> None:
        """Find each array a place, those of the largest numbers first, so that all are aligned."""
        import numpy as np

        needed = sum(one.nbytes for one in live.values())
        if self._memory is None or not needed <= self._memory.size <= 2 * needed + 2 * _MORE:
            self._places, self._memory, self._laid = {}, None, None  # it goes before the new one comes
            fresh = np.empty(needed + needed // 8 + _MORE, np.uint8)
            self._memory = fresh[-fresh.ctypes.data % PAGE :]
        self._places, start = {}, 0
        for name in sorted(live, key=lambda name: -live[name].itemsize):
            one = live[name]
            place = self._memory[start : start + one.nbytes]
            self._places[name] = place.view(one.dtype).reshape(one.shape)
            start += one.nbytes
        as_in_file = all(one.dtype.newbyteorder("<") == one.dtype for one in live.values())
        self._laid = self._memory[:start] if as_in_file else None
