"""Orders: numbers, and lists of numbers, in attributes of a sampler that change as it is used."""

from __future__ import annotations

import sys
import zlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping
from typing import Any

from outlast.core.asking import asked, has
from outlast.frameworks.base import weakly
from outlast.frameworks.containers import filled
from outlast.frameworks.tensors import to_array, to_tensor

LENGTH = 100_000  # of a list that is an order
SHORT = 10_000  # of a list of a dataset, where a longer one is the data


class Order:
    """Such attributes of a sampler, a loader or a dataset, as they were when it was first seen.

    Args:
        holder: held weakly.
        numbers: look at numbers.
        lists: look at lists and arrays of up to so many numbers.
        data: these lists may be data: nothing is said of one that has not changed and is another now.
        own: only what changes while the loader is iterated: what else changes, such as a flag that is set
            for a validation, the script sets again.
    """

    def __init__(
        self, holder: Any, numbers: bool, lists: int = LENGTH, *, data: bool = False, own: bool = False
    ) -> None:
        self._holder, self._numbers, self._lists, self._data = weakly(holder), numbers, lists, data
        self._born = self.now()
        self._own: set[str] | None = set() if own else None
        self._begun: dict[str, Any] | None = None
        self._checksums: dict[str, int] = {}  # of what was born, as far as somebody asked

    def is_of(self, other: Any) -> bool:
        """Whether another has the same holder."""
        return isinstance(other, Order) and self._holder() is other._holder() is not None

    def now(self) -> dict[str, Any]:
        """Copies of the attributes."""
        return {
            name: _copied(value)
            for name, value in asked(self._holder(), "__dict__", {}).items()
            if (self._numbers and is_number(value)) or is_order(value, self._lists)
        }

    def surely(self) -> dict[str, Any]:
        """Those of :meth:`now` that are no data."""
        return {name: one for name, one in self.now().items() if is_number(one) or not self._data}

    def put(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Set the attributes, as far as there are any of these names; returns what they were."""
        now = self.now()
        for name in values.keys() & now.keys():
            _set(self._holder(), name, _copied(values[name]))
        return {name: now[name] for name in values.keys() & now.keys()}

    def begin(self) -> None:
        """The loader is about to be iterated."""
        self._begun = self.now() if self._own is not None else None

    def leave(self) -> None:
        """It is iterated no longer."""
        self._note_own(self.now())
        self._begun = None

    def _note_own(self, now: Mapping[str, Any]) -> None:
        if self._own is not None and self._begun is not None:
            begun = self._begun
            self._own |= {name for name in now if name in begun and not _same(begun[name], now[name])}

    def changed(self) -> dict[str, list[Any]]:
        """What has changed, before and now."""
        now = self.now()
        self._note_own(now)
        return {
            name: [before, now[name]]
            for name, before in self._born.items()
            if name in now and not _same(before, now[name]) and (self._own is None or name in self._own)
        }

    def state(self) -> dict[str, Any]:
        """What has changed, before and now; and checksums of lists that have not."""
        changed, now = self.changed(), self.now()
        there = [name for name, before in self._born.items() if name in now and not is_number(before)]
        lists = [] if self._data else [name for name in there if name not in changed]
        return {"changed": changed, "lists": {name: self._checksum(name) for name in lists}}

    def _checksum(self, name: str) -> int:
        if name not in self._checksums:
            self._checksums[name] = checksum(self._born[name])
        return self._checksums[name]

    def is_as_before(self, saved: Mapping[str, Any]) -> bool:
        """Whether all that a :meth:`state` has is here, and is as it was at first."""
        return not self._otherwise(saved)

    def _otherwise(self, saved: Mapping[str, Any]) -> list[str]:
        now = self.now()
        changed, lists = saved.get("changed", {}), saved.get("lists", {})
        return [
            *(name for name, (before, _) in changed.items() if name in now and not _same(now[name], before)),
            *(name for name, one in lists.items() if name in now and checksum(now[name]) != one),
        ]

    def restore(self, saved: Mapping[str, Any], *, anyway: bool) -> list[str]:
        """Set what was changed, unless this start has set it to another value itself.

        Args:
            saved: a :meth:`state`.
            anyway: it is of this process.

        Returns:
            The names of lists that this start has made otherwise. A number that it has set, such as
            ``dataset.epoch = epoch``, it sets in each epoch.
        """
        holder, now, changed = self._holder(), self.now(), saved.get("changed", {})
        kept = [] if anyway else self._otherwise(saved)
        for name, (before, value) in changed.items():
            if name in now and name not in kept:
                _set(holder, name, value)
                self._born[name] = before
                self._checksums.pop(name, None)
        if self._own is not None:
            self._own |= changed.keys()
        kept = [name for name in kept if name not in changed or not _same(now[name], changed[name][1])]
        kept = [name for name in kept if not is_number(now[name])]
        return [f"{name} of {type(holder).__name__}" for name in kept]


def checksum(order: Any) -> int:
    """Of a list, a dict or an array of numbers."""
    return zlib.crc32(repr(order if isinstance(order, (list, dict)) else order.tobytes()).encode())


def is_number(value: Any) -> bool:
    """Whether a value is a plain number, a flag, or None, as one is that is not known yet.

    A number of a class of its own, such as one of an ``enum``, would not come back as what it is.
    """
    return type(value) in _NUMBERS


def is_order(value: Any, most: int = LENGTH) -> bool:
    """Whether a value is a list, a dict or an array of not too many numbers, which can be set again."""
    if type(value) in _CONTAINERS:
        return _numbers_in(value, most) <= most
    if not _is_array(value):
        return False
    kind = str(asked(value, "dtype", "")).removeprefix("torch.")
    if not kind.startswith(_KINDS):
        return False
    size = asked(value, "numel") or asked(value, "size")
    size = size() if callable(size) else size
    return isinstance(size, int) and 0 < size <= most


_NUMBERS = (type(None), bool, int, float)
_CONTAINERS = (list, dict, Counter, OrderedDict, defaultdict)
_KINDS = ("int", "uint3", "uint6", "float3", "float6", "bool")  # how the types of such arrays begin


def _is_array(value: Any) -> bool:
    """Whether it is an array, or a number, of NumPy's, PyTorch's or JAX's; of a subclass nobody knows."""
    import numpy as np

    if type(value) is np.ndarray or isinstance(value, np.generic):
        return True
    is_tensor = type(value).__module__.partition(".")[0] == "torch" and has(value, "detach")
    if is_tensor:
        return bool(value.layout == sys.modules["torch"].strided and not value.is_meta)
    return _is_jaxs(value) and not value.is_deleted()


def _is_jaxs(value: Any) -> bool:
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(value, jax.Array):
        return False
    return value.is_fully_addressable and not isinstance(value, jax.core.Tracer)


def _numbers_in(value: Any, most: int, depth: int = 3) -> int:
    """How many numbers are in a list, or in a list or dict of such; too many if there is something else."""
    if len(value) > most or not depth:
        return most + 1
    if isinstance(value, dict) and not all(isinstance(key, (str, int)) for key in value):
        return most + 1
    members = [*value.values()] if isinstance(value, dict) else value
    kinds = set(map(type, members))  # which are few
    if kinds <= {bool, int, float}:
        return len(members)
    if not kinds <= {*_CONTAINERS}:
        return most + 1
    found = 0
    for one in members:
        found += _numbers_in(one, most, depth - 1)
        if found > most:
            break
    return found


def _copied(value: Any) -> Any:
    """Lists and dicts, and those in them, as plain ones; arrays as NumPy's. Numbers need no copy."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):  # which may be long
        return [*map(_copied, value)] if value and isinstance(value[0], (list, dict)) else value[:]
    if not has(value, "shape"):
        return value
    import numpy as np

    return np.array(to_array(value))


def _same(one: Any, other: Any) -> bool:
    import numpy as np

    if type(one) is not type(other):
        return False
    if has(one, "shape"):
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))
    return bool(one == other) or repr(one) == repr(other)  # NaN is not equal to itself


def _set(holder: Any, name: str, value: Any) -> None:
    """In place where it is a list, a dict or an array, which others may hold; else where it was read from.

    A class may forbid to set an attribute of itself, as subclasses of PyTorch's DataLoader do.
    """
    live = vars(holder)[name]
    if not has(value, "shape"):
        new = filled(live, value)
    elif not _is_filled(live, value):
        new = _like(live, value)
    else:
        return
    if new is not live:
        vars(holder)[name] = new


def _is_filled(live: Any, array: Any) -> bool:
    """Whether an array or a tensor could be given the numbers of another one in place."""
    import numpy as np

    if asked(live, "shape") != array.shape:
        return False
    try:
        if type(live) is np.ndarray:
            live[...] = array
            return True
        if has(live, "detach"):
            live.detach().copy_(to_tensor(array))
            return True
    except (ValueError, RuntimeError):  # it may only be read, or its numbers share memory
        pass
    return False


def _like(live: Any, array: Any) -> Any:
    """An array as what has taken its place: a tensor, JAX's array, a number of NumPy's."""
    import numpy as np

    if has(live, "detach"):
        return to_tensor(array).to(live.device)
    if _is_jaxs(live):
        return sys.modules["jax"].numpy.asarray(array)
    return array[()] if isinstance(live, np.generic) else array
