"""Attributes: plain numbers and tensors of a module or a layer, which are not in what is saved of it.

Tensors in lists and dicts are looked at, too. Which attributes are state and which are notes, nobody can tell
from outside: so none is saved, and those that change in training are named.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from outlast.core.asking import asked

# Full name, the class of what has it, value.
Attribute = tuple[str, type, Any]

_MOST_NAMED = 5
_FEW = 1 << 16  # numbers of a tensor that nobody seems to have touched
_ENDS = 32  # members at either end of a list, such as the newest of a queue
_MANY = 1 << 20  # of one that was touched, such as a memory bank of which a step writes a few rows


class _Seen(NamedTuple):
    """What was seen of an attribute.

    Args:
        kind: the class of its module, which changes if that was a lazy one.
        touched: the same as long as its memory was not written to, as far as it knows; None if it does not.
        few: a checksum of some of its numbers.
        value: what it is; of an array its shape and a checksum of many of its numbers.
    """

    kind: type
    touched: Any
    few: Any
    value: Any


class Attributes:
    """Knows what the attributes of a module were when they were last looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}
        self._named: set[str] = set()

    def changed(self, attributes: Iterable[Attribute]) -> list[str]:
        """Names of attributes that are not what they were; each is named once."""
        looked = {name: _looked(kind, value, self._seen.get(name)) for name, kind, value in attributes}
        now = {name: seen for name, seen in looked.items() if seen is not None}
        names = [name for name, seen in now.items() if _differs(self._seen.get(name), seen)]
        new = [name for name in names if name not in self._named]
        self._seen = now
        self._named.update(new)
        return new


def told(names: Sequence[str], way: str) -> str:
    """The warning that training changes these; "" if there are none.

    Args:
        names: of attributes.
        way: what to do, so that they are saved.
    """
    named = ", ".join(names[:_MOST_NAMED]) + (" and more" if len(names) > _MOST_NAMED else "")
    return named and (
        f"Training changes {named}, which a plain attribute holds and a Run does not save. If a step or a "
        f"metric depends on it, a resume is not exact: {way}."
    )


def _differs(before: _Seen | None, now: _Seen) -> bool:
    """Whether it changed while the module was of one class, which a lazy one is not."""
    return before is not None and before.kind is now.kind and before.value != now.value


def _looked(kind: type, value: Any, before: _Seen | None) -> _Seen | None:
    """What is seen of an attribute now; None if it holds no numbers, or the result of the last batch."""
    import numpy as np

    if isinstance(value, (int, float, complex, np.generic)):
        return _Seen(kind, None, None, repr(value))
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else _of_array(kind, value, before)
    if is_tensor(value):
        return _of_array(kind, value, before) if asked(value, "grad_fn") is None else None
    if isinstance(value, (list, tuple, deque, dict)):
        return _of_container(kind, value)
    return None


def _of_container(kind: type, value: Any) -> _Seen | None:
    """Of one that holds tensors or arrays, or nothing yet; a list of numbers is mostly a note of losses."""
    import numpy as np

    members = [*(value.values() if isinstance(value, dict) else value)]
    if len(members) > 2 * _ENDS:
        members = members[:_ENDS] + members[-_ENDS:]
    if members and not any(is_tensor(one) or isinstance(one, np.ndarray) for one in members):
        return None
    looked = [_looked(kind, one, None) for one in members]
    return _Seen(kind, None, None, (len(value), [one and one.value for one in looked]))


def is_tensor(value: Any) -> bool:
    """Whether it is an array that knows its device, of any framework; a variable is saved, and is none."""
    cls = type(value)
    return hasattr(cls, "__array__") and hasattr(cls, "device") and not hasattr(cls, "assign")


def _of_array(kind: type, array: Any, before: _Seen | None) -> _Seen:
    """Many of its numbers are looked at only if it was written to, or a few of them are others already."""
    version = asked(array, "_version")
    touched = None if version is None else (id(array), version)
    try:
        few = tuple(array.shape), checksum(array, _FEW)
        if touched and before and (before.kind, before.touched, before.few) == (kind, touched, few):
            return before
        return _Seen(kind, touched, few, (few, checksum(array, _MANY)))
    except Exception:  # no numbers at hand: a sparse, quantised or nested one, on "meta", one of a trace
        return _Seen(kind, touched, None, version)


def checksum(array: Any, at_most: int = _MANY) -> int:
    """Of about so many of its numbers, evenly spread; of all if it has no more."""
    import numpy as np

    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        if array.layout != torch.strided or array.is_quantized:
            raise TypeError(f"the numbers of a tensor of {array.layout} are not at hand")
        flat = array.detach().reshape(-1)
        some = flat[:: -(-flat.numel() // at_most) or 1].resolve_conj().resolve_neg()
        return zlib.crc32(some.contiguous().view(torch.uint8).cpu().numpy())
    every = -(-math.prod(array.shape) // at_most) or 1
    if every > 1 and not isinstance(array, np.ndarray):  # on its device, whole rows
        array, every = array[::every], 1
    flat = np.asarray(array).reshape(-1)
    if flat.dtype.hasobject:
        raise TypeError("an array of objects has no numbers")
    data: Any = np.ascontiguousarray(flat[::every]).view(np.uint8)
    return zlib.crc32(data)
