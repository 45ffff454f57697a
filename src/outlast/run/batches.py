"""Batches: a checksum of each batch of an epoch, so that another order can be told from other causes.

It must cost next to nothing, so it looks at a few numbers of the first array of a batch, and never at
one on an accelerator: reading that would wait for it.
"""

from __future__ import annotations

import zlib
from array import array as array_of
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from numbers import Integral
from typing import Any

from outlast.core.asking import asked, has

# Numbers of an array that are looked at. A prime: with the usual numbers of rows in a batch, they do not all
# stand at the same place of their row, such as the corner of an image, which is black in all of them.
_LOOKED_AT = 37
_KEPT = 4096  # checksums of batches; later ones are in one for all
_FACTOR, _MODULUS = 31, 1 << 32
_ROWS = (list, tuple)


class Batches:
    """The batches of an epoch, as far as they have come.

    Example:
        >>> import numpy as np
        >>> first, second = Batches(), Batches()
        >>> first.add(checksum(np.arange(6)))
        >>> second.add(checksum((np.arange(6), None)))
        >>> first.saved()["first"].tolist() == second.saved()["first"].tolist()
        True
    """

    def __init__(self) -> None:
        self._first = array_of("I")
        self._count = self._later = 0

    def add(self, checksum: int) -> None:
        """Take a batch's checksum."""
        self._count += 1
        if self._count <= _KEPT:
            self._first.append(checksum)
        else:
            self._later = (self._later * _FACTOR + checksum) % _MODULUS  # so their order counts

    @property
    def first(self) -> Sequence[int]:
        """The checksums of the first batches, as far as each is kept."""
        return self._first

    def saved(self) -> dict[str, Any]:
        """For a resume point."""
        import numpy as np

        return {"count": self._count, "later": self._later, "first": np.array(self._first, np.uint32)}

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Batches:
        """The inverse of :meth:`saved`."""
        batches = cls()
        batches._count, batches._later = saved["count"], saved["later"]
        batches._first = array_of("I", saved["first"].tolist())
        return batches


def checksum(batch: Any) -> int:
    """Of some bytes that differ between batches."""
    first = batch[0] if type(batch) in _ROWS and batch else batch
    if type(first) in _arrays():
        return _of(first, first)
    if has(first, "shape"):  # by far the most usual, and a batch comes often
        return _of(first, _in_memory(first))
    inner = batch[:8] if isinstance(batch, _ROWS) else ()
    if len(inner) > 1 and _is_batch(inner[0]) and all(map(_is_batch, inner)):  # side by side, as zip gives
        return zlib.crc32(b"%d" * len(inner) % tuple(map(checksum, inner)))
    first = _first_array(batch)
    if first is None:
        return zlib.crc32(repr(batch).encode() if isinstance(batch, (int, float, str, bytes)) else b"")
    return _of(first, _in_memory(first))


def _of(first: Any, array: Any) -> int:
    """Of an array, by some of its numbers; by its shape if it is not in memory."""
    size = 0 if array is None or array.dtype.hasobject else array.size
    if not size:
        return zlib.crc32(repr(_sizes(first)).encode())
    if array.flags.c_contiguous:
        flat = array.ravel()
    else:
        flat = array[(0,) * max(array.ndim - 1, 0)].reshape(-1)
        size = flat.size
    if size >= 2 * _LOOKED_AT:
        flat = flat[:: size // _LOOKED_AT]
    return zlib.crc32(flat.tobytes(), size % _MODULUS)


def _is_batch(one: Any) -> bool:
    """Whether it is itself a batch of several arrays."""
    return isinstance(one, (list, tuple, Mapping))


def _first_array(batch: Any) -> Any:
    inner: Iterable[Any] = ()
    if type(batch) in (list, tuple):
        inner = batch[:8]
    elif has(batch, "shape"):
        return batch
    elif isinstance(batch, (list, tuple)):
        inner = batch[:8]
    elif isinstance(batch, Mapping):
        inner = batch.values()
    for one in inner:
        if (found := _first_array(one)) is not None:
            return found
    return None


@cache
def _arrays() -> tuple[type, ...]:
    """NumPy's types, looked up once: a batch comes often."""
    import numpy as np

    return np.ndarray, np.generic


def _in_memory(array: Any) -> Any:
    """As a NumPy array, if that costs no copy of it; else None."""
    try:
        if isinstance(array, _arrays()):
            return array
        if asked(array, "is_cpu", False):  # as PyTorch's tensors say
            return (array.detach() if array.requires_grad else array).numpy()
        if _is_on_tensorflows_cpu(asked(array, "device")):
            import numpy as np

            return np.asarray(memoryview(array))  # its numpy() would copy all of it
    except Exception:  # a type that NumPy lacks, a sparse or a nested one, a class of the user's
        pass
    return None


def _is_on_tensorflows_cpu(device: Any) -> bool:
    """By its name, such as ``/job:localhost/replica:0/task:0/device:CPU:0``."""
    return isinstance(device, str) and "/device:CPU:" in device


def _sizes(array: Any) -> tuple[int | None, ...]:
    """The shape, as far as it is the same in every process: a jagged tensor has a symbol for a size."""
    try:
        return tuple(one if type(one) is int else _size(one) for one in array.shape)
    except Exception:  # a shape that is no tuple, or of no known length
        return ()


def _size(one: Any) -> int | None:
    return int(one) if isinstance(one, Integral) else None
