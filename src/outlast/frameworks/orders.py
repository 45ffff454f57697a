"""Orders: numbers, and lists of numbers, in attributes of a sampler that change as it is used."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from outlast.core.asking import asked, has
from outlast.frameworks.base import weakly
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
            if isinstance(value, (list, dict))
            else to_array(value).copy()
            if has(value, "shape")
            else value
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
    """Whether a value is a plain number, a flag, or None, as one is that is not known yet."""
    return value is None or isinstance(value, (int, float))


def is_order(value: Any, most: int = LENGTH) -> bool:
    """Whether a value is a list, a dict or an array of not too many numbers."""
    if isinstance(value, (list, dict)):
        return _numbers_in(value, most) <= most
    kind = str(asked(value, "dtype", "")).removeprefix("torch.")
    if not kind.startswith(("int", "float3", "float6", "bool")):
        return False
    size = asked(value, "numel") or asked(value, "size")
    size = size() if callable(size) else size
    return isinstance(size, int) and 0 < size <= most


def _numbers_in(value: Any, most: int, depth: int = 3) -> int:
    """How many numbers are in a list, or in a list or dict of such; too many if there is something else."""
    if len(value) > most or not depth:
        return most + 1
    if isinstance(value, dict) and not all(isinstance(key, (str, int)) for key in value):
        return most + 1
    members = [*value.values()] if isinstance(value, dict) else value
    kinds = set(map(type, members))  # which are few
    if all(issubclass(one, (int, float)) for one in kinds):
        return len(members)
    if not kinds <= {list, dict}:
        return most + 1
    found = 0
    for one in members:
        found += _numbers_in(one, most, depth - 1)
        if found > most:
            break
    return found


def _copied(value: Any) -> Any:
    """A list or dict, and those in it, copied; numbers need no copy, which takes time in a long list."""
    if isinstance(value, dict):
        return {key: _copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [*map(_copied, value)] if value and isinstance(value[0], (list, dict)) else value[:]
    return value


def _same(one: Any, other: Any) -> bool:
    import numpy as np

    if type(one) is not type(other) or one is None:
        return one is other
    if isinstance(one, (list, dict)):
        return one == other or repr(one) == repr(other)  # NaN is not equal to itself
    return bool(np.array_equal(one, other, equal_nan=is_number(one) or one.dtype.kind == "f"))


def _fill(live: Any, value: Any) -> None:
    """Change a list or dict in place, and those in it."""
    for key in value if isinstance(live, dict) else range(len(value)):
        inner = live.get(key) if isinstance(live, dict) else (live[key] if key < len(live) else None)
        if isinstance(inner, (list, dict)) and type(inner) is type(value[key]):
            _fill(inner, value[key])
            value[key] = inner
    if isinstance(live, dict):
        live.clear()
        live.update(value)
    else:
        live[:] = value


def _set(holder: Any, name: str, value: Any) -> None:
    """In place where it is a list or an array, which others may hold; else where it was read from.

    A class may forbid to set an attribute of itself, as subclasses of PyTorch's DataLoader do.
    """
    live = vars(holder)[name]
    if has(live, "shape") and has(value, "shape") and live.shape == value.shape:
        live[...] = to_tensor(value) if has(live, "detach") else value
    elif isinstance(live, (list, dict)) and isinstance(value, type(live)):
        _fill(live, value)
    else:
        vars(holder)[name] = to_tensor(value) if has(live, "detach") else value
