"""Nested Python values to JSON's types and a table of arrays, and back, exactly.

JSON has no tuple, no integer key, no infinity, no bytes and no array, but the
states of optimizers and samplers have. Such a value becomes an object with one
key that begins with ``$``::

    {"$tuple": [...]}        {"$dict": [[key, value], ...]}
    {"$float": "nan"}        {"$bytes": "base64"}
    {"$tensor": "name"}      {"$scalar": "name"}     (a NumPy scalar)

``$dict`` stands for a dict with keys that are not text or begin with ``$``.
What has no place here is refused by name; nothing is ever pickled.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from outlast.exceptions import CapabilityError
from outlast.storage.format.dtypes import Array, Bits, name_of

_DEPTH = 200  # nested deeper than this it is a cycle, or an attack


def encode(value: object, root: str) -> tuple[Any, dict[str, Array]]:
    """``value`` in JSON's own types, and the arrays that it names.

    Args:
        value: None, booleans, numbers, text, bytes, NumPy arrays and ``Bits``,
            nested in dicts, lists and tuples.
        root: what the value is called; the arrays' names begin with it.

    Raises:
        CapabilityError: something in it has no place; the text says where.

    Example:
        >>> encode({"betas": (0.9, 0.999), "best": float("inf")}, "optimizer")[0]
        {'betas': {'$tuple': [0.9, 0.999]}, 'best': {'$float': 'inf'}}
    """
    arrays: dict[str, Array] = {}
    return _Encoder(arrays).plain(value, root, 0), arrays


def decode(plain: Any, arrays: Mapping[str, Any]) -> Any:
    """The value that was encoded.

    Args:
        plain: what was parsed from JSON.
        arrays: by name, what shall stand where an array stood.

    Raises:
        ValueError: it is nothing that :func:`encode` makes.

    Example:
        >>> decode({"betas": {"$tuple": [0.9, 0.999]}}, {})
        {'betas': (0.9, 0.999)}
    """
    try:
        return _value(plain, arrays)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"not an encoded value: {error!r}") from error


@dataclass(frozen=True, eq=False)
class Immutable:
    """A value that never changes."""

    value: Any


class _Encoder:
    def __init__(self, arrays: dict[str, Array]) -> None:
        self._arrays = arrays

    def plain(self, value: object, path: str, depth: int) -> object:
        """``value`` in JSON's own types."""
        if depth > _DEPTH:
            raise CapabilityError(f"Cannot store {path}: nested more than {_DEPTH} deep.")
        if isinstance(value, Immutable):
            return {"$part": self.plain(value.value, path, depth)}
        if value is None or isinstance(value, bool | str):
            return value
        if _is_array(value):
            return self._array(value, path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"$float": str(float(value))}
        if isinstance(value, bytes | bytearray):
            return {"$bytes": base64.b64encode(value).decode()}
        if isinstance(value, dict):
            return self._dict(value, path, depth)
        if isinstance(value, list | tuple):
            items = self._items(value, path, depth)
            return {"$tuple": items} if isinstance(value, tuple) else items
        raise CapabilityError(
            f"Cannot store {path}: a {type(value).__name__} is neither a number, text, bytes, "
            "an array, nor a dict, list or tuple of these."
        )

    def _items(self, value: Sequence[object], path: str, depth: int) -> list[object]:
        if all(type(item) is int for item in value):  # a random generator's hundreds
            return list(value)
        return [self.plain(item, f"{path}/{i}", depth + 1) for i, item in enumerate(value)]

    def _dict(self, value: dict[Any, object], path: str, depth: int) -> object:
        items = [(k, self.plain(v, f"{path}/{k}", depth + 1)) for k, v in value.items()]
        if all(type(key) is str and not key.startswith("$") for key in value):
            return dict(items)
        return {"$dict": [[self.plain(k, f"the key {k!r} of {path}", depth), v] for k, v in items]}

    def _array(self, value: Any, path: str) -> object:
        try:
            name_of(value)
        except CapabilityError as error:
            raise CapabilityError(f"Cannot store {path}: {error}.") from None
        name, twins = path, 1
        while name in self._arrays:  # {"a/b": x} and {"a": {"b": y}}
            twins += 1
            name = f"{path}#{twins}"
        self._arrays[name] = value
        return {"$scalar" if _is_scalar(value) else "$tensor": name}


def _is_array(value: object) -> bool:
    if isinstance(value, Bits):
        return True
    import numpy as np

    return isinstance(value, np.ndarray | np.generic) and not isinstance(value, str | bytes)


def _is_scalar(array: object) -> bool:
    import numpy as np

    return isinstance(array, np.generic)


def _value(plain: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(plain, list):
        return [_value(item, arrays) for item in plain]
    if not isinstance(plain, dict):
        return plain
    tag, content = next(iter(plain.items()), ("", None))
    if tag.startswith("$"):
        return _TAGS[tag](content, arrays)
    return {key: _value(item, arrays) for key, item in plain.items()}


def _scalar(array: Any) -> Any:
    """A NumPy scalar; what is no NumPy array (bits, a mere description) stays as it is."""
    return array[()] if hasattr(array, "__getitem__") else array


_TAGS: dict[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "$part": lambda content, arrays: Immutable(_value(content, arrays)),
    "$tuple": lambda content, arrays: tuple(_value(content, arrays)),
    "$dict": lambda content, arrays: {_value(k, arrays): _value(v, arrays) for k, v in content},
    "$float": lambda content, arrays: float(content),
    "$bytes": lambda content, arrays: base64.b64decode(content),
    "$tensor": lambda content, arrays: arrays[content],
    "$scalar": lambda content, arrays: _scalar(arrays[content]),
}
