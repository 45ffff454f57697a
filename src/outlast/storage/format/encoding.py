"""Nested Python values to JSON's types and a table of arrays, and back, exactly.

JSON has no tuple, no integer key, no infinity, no bytes and no array, but the states of
optimizers and samplers have. Such a value becomes an object with one key that begins with
``$``; ``_TAGS`` at the end of this file is the list. What comes back has the type that was
saved. Any other type is refused by name; nothing is ever pickled.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from outlast.core.asking import asked, has
from outlast.exceptions import CapabilityError
from outlast.storage.format import limits
from outlast.storage.format.dtypes import Array, Bits, as_array, axes_of, bits_of, name_of, transposed

_ODD = re.compile(r'[^\x20-\x7e]|[,\[{"\\]')  # in a name these would make a header longer
_HALF = re.compile("[\ud800-\udfff]")  # of a character: JSON would join two of them to one
_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Immutable:
    """A value in a state that never changes once it is made.

    It is written once, as a file of its own, however many resume points name it: the best
    weights of a callback, a booster, the shard of a rank. The same object means the same
    content, so make a new one for a new value.

    Args:
        value: what :func:`encode` takes, bytes included, but not another ``Immutable``.

    Example:
        >>> best = Immutable({"w": [1.0, 2.0]})
        >>> first, second = {"epoch": 1, "best": best}, {"epoch": 2, "best": best}
    """

    def __init__(self, value: Any) -> None:
        self._make: Callable[[], Any] = lambda: value

    @property
    def value(self) -> Any:
        """The value."""
        return self._make()

    def __repr__(self) -> str:
        return f"Immutable({self.value!r})"

    def made_by(self, make: Callable[[], Any]) -> None:
        """Let the value go: from now on it is made when it is needed."""
        self._make = make


class Encoded(NamedTuple):
    """A value as it goes into a file.

    Args:
        json_value: in JSON's own types.
        arrays: those that ``json_value`` names.
        immutables: the immutable values that ``json_value`` names.
    """

    json_value: Any
    arrays: dict[str, Array]
    immutables: dict[str, Immutable]


def encode(value: object, root: str) -> Encoded:
    """``value`` in JSON's own types, and the arrays and immutable values that it names.

    Args:
        value: None, booleans, numbers, text, bytes, NumPy arrays, ``Bits`` and ``Immutable``,
            nested in dicts, lists, tuples, sets, frozensets, deques, Counters and OrderedDicts.
        root: what the value is called; the arrays' names begin with it.

    Raises:
        CapabilityError: something in it cannot be stored; the text says what, where, and what to do.

    Example:
        >>> encode({"betas": (0.9, 0.999), "best": float("inf")}, "optimizer").json_value
        {'betas': {'$tuple': [0.9, 0.999]}, 'best': {'$float': 'inf'}}
    """
    encoder = _Encoder()
    return Encoded(encoder.to_json(value, root, 0), encoder.arrays, encoder.immutables)


def decode(json_value: Any, arrays: Mapping[str, Any], immutables: Mapping[str, Any] | None = None) -> Any:
    """The value that was encoded.

    Args:
        json_value: what was parsed from JSON.
        arrays: by name, what to put where an array was.
        immutables: by name, what to put where an ``Immutable`` was.

    Raises:
        ValueError: :func:`encode` did not make it.

    Example:
        >>> decode({"betas": {"$tuple": [0.9, 0.999]}}, {})
        {'betas': (0.9, 0.999)}
    """
    try:
        return _Decoder(arrays, immutables or {}).value(json_value, 0)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"not an encoded value: {error!r}") from error


class _Encoder:
    def __init__(self) -> None:
        self.arrays: dict[str, Array] = {}
        self.immutables: dict[str, Immutable] = {}
        self._names: dict[Immutable, str] = {}
        self._twins: Counter[str] = Counter()

    def to_json(self, value: Any, path: str, depth: int) -> Any:
        """``value`` in JSON's own types."""
        if depth > limits.DEPTH:
            raise CapabilityError(f"Cannot store {path[:500]}...: nested more than {limits.DEPTH} deep.")
        write = _WRITERS.get(type(value))
        if write is not None:
            return write(self, value, path, depth)
        if _is_array(value):
            return self._array(value, path)
        raise CapabilityError(f"Cannot store {path}: {_full_name(value)} is not supported; {_way_out(value)}")

    def as_is(self, value: Any, path: str, depth: int) -> Any:
        return value

    def text(self, value: str, path: str, depth: int) -> Any:
        return value if _is_whole(value) else {"$text": [*map(ord, value)]}

    def integer(self, value: int, path: str, depth: int) -> int:
        if value.bit_length() > limits.INTEGER_BITS:
            raise CapabilityError(
                f"Cannot store {path}: an integer of {value.bit_length():,} bits; at most "
                f"{limits.INTEGER_BITS:,} can be stored."
            )
        return value

    def float(self, value: float, path: str, depth: int) -> Any:
        return value if math.isfinite(value) else {"$float": str(value)}

    def items(self, values: Iterable[Any], path: str, depth: int) -> list[Any]:
        if all(type(item) is int and item.bit_length() <= limits.INTEGER_BITS for item in values):
            return [*values]  # a random generator's hundreds: no path is made for each
        return [self.to_json(item, f"{path}/{i}", depth + 1) for i, item in enumerate(values)]

    def dict(self, value: dict[Any, Any], path: str, depth: int) -> Any:
        if all(type(key) is str and not key.startswith("$") and _is_whole(key) for key in value):
            return {key: self.to_json(item, f"{path}/{key}", depth + 1) for key, item in value.items()}
        return {"$dict": self.pairs(value, path, depth)}

    def pairs(self, value: Mapping[Any, Any], path: str, depth: int) -> list[Any]:
        return [
            [
                self.to_json(key, f"the key {key!r} of {path}", depth + 1),
                self.to_json(item, f"{path}/{key}", depth + 1),
            ]
            for key, item in value.items()
        ]

    def unordered(self, value: Iterable[Any], path: str, depth: int) -> list[Any]:
        """In an order that does not depend on the process, so that equal states make equal files."""
        return sorted(self.items(value, path, depth), key=json.dumps)

    def raw(self, value: bytes | bytearray, path: str, depth: int) -> str:
        return self._named(as_array(bytes(value)), path)

    def immutable(self, value: Immutable, path: str, depth: int) -> Any:
        if value not in self._names:
            self._names[value] = self._free_name(path, self.immutables)
            self.immutables[self._names[value]] = value
        return {"$immutable": self._names[value]}

    def _array(self, value: Any, path: str) -> Any:
        try:
            name_of(value)
        except CapabilityError as error:
            raise CapabilityError(f"Cannot store {path}: {error}.") from None
        import numpy as np

        if isinstance(value, np.generic):
            return {"$scalar": self._named(value, path)}
        axes, order = axes_of(value), bits_of(value).dtype.str[0]
        if axes is None and order != ">":
            return {"$tensor": self._named(value, path)}
        name = self._named(value if axes is None else transposed(value, axes), path)
        return {"$memory": [name, axes or [], order]}

    def _named(self, array: Array, path: str) -> str:
        name = self._free_name(path, self.arrays)
        self.arrays[name] = array
        return name

    def _free_name(self, path: str, taken: Mapping[str, object]) -> str:
        """A name that says where the value is, with a number if another place reads alike."""
        stem = name = readable_name(path)
        while name in taken:
            self._twins[stem] += 1
            name = f"{stem}#{self._twins[stem] + 1}"
        return name


def readable_name(path: str) -> str:
    """What an array is called in a file's header, by its place; two places may read alike.

    Example:
        >>> readable_name("state/weights/['w']")
        "state/weights/_'w']"
    """
    return _ODD.sub("_", path[: limits.ARRAY_NAME])


def _tagged(tag: str, content: Callable[[_Encoder, Any, str, int], Any]) -> Callable[..., Any]:
    return lambda encoder, value, path, depth: {tag: content(encoder, value, path, depth)}


# By exact type: a subclass would come back as its base, so it is refused.
_WRITERS: dict[type, Callable[[_Encoder, Any, str, int], Any]] = {
    type(None): _Encoder.as_is,
    bool: _Encoder.as_is,
    str: _Encoder.text,
    int: _Encoder.integer,
    float: _Encoder.float,
    list: _Encoder.items,
    dict: _Encoder.dict,
    bytes: _tagged("$bytes", _Encoder.raw),
    bytearray: _tagged("$bytearray", _Encoder.raw),
    tuple: _tagged("$tuple", _Encoder.items),
    set: _tagged("$set", _Encoder.unordered),
    frozenset: _tagged("$frozenset", _Encoder.unordered),
    deque: _tagged("$deque", lambda self, value, path, d: [value.maxlen, self.items(value, path, d)]),
    Counter: _tagged("$counter", _Encoder.pairs),
    OrderedDict: _tagged("$ordered", _Encoder.pairs),
    Immutable: _Encoder.immutable,
}


def _is_whole(text: str) -> bool:
    return text.isascii() or not _HALF.search(text)


def _full_name(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _way_out(value: object) -> str:
    for base in (str, int, float, bytes, tuple, list, dict, set, frozenset):
        if isinstance(value, base):
            return f"convert it with {base.__name__}()"
    if has(value, "mask") and has(value, "__array__"):
        return "store its data and its mask, as two arrays"
    if str(asked(value, "dtype", "")).startswith("key<"):  # of JAX, which are no plain numbers
        return "store the numbers in it, jax.random.key_data(key)"
    if has(value, "__array__"):
        return "convert it with np.asarray"
    return "store numbers, text, bytes, arrays, or dicts, lists, tuples and sets of these in its place"


def _is_array(value: object) -> bool:
    if isinstance(value, Bits):
        return True
    import numpy as np

    if isinstance(value, np.ndarray):
        return type(value) in (np.ndarray, np.memmap)  # others, such as masked arrays, hold more
    return isinstance(value, np.generic) and not isinstance(value, str | bytes)


class _Decoder:
    def __init__(self, arrays: Mapping[str, Any], immutables: Mapping[str, Any]) -> None:
        self._arrays, self._taken = arrays, set[str]()
        self.immutables = immutables

    def array(self, name: str) -> Any:
        """An array, which an encoder names once: a file that names it often could stand for very much."""
        if name in self._taken:
            raise ValueError(f"{name[:100]!r} is named twice")
        self._taken.add(name)
        return self._arrays[name]

    def value(self, json_value: Any, depth: int) -> Any:
        """What was encoded as ``json_value``."""
        if not isinstance(json_value, list | dict):
            return json_value
        if depth > limits.DEPTH:
            raise ValueError(f"nested more than {limits.DEPTH} deep")
        if isinstance(json_value, list):
            return self.items(json_value, depth)
        tag = next(iter(json_value), "")
        if tag.startswith("$"):
            ((tag, content),) = json_value.items()
            return _TAGS[tag](self, content, depth)
        return {key: self.value(item, depth + 1) for key, item in json_value.items()}

    def items(self, content: list[Any], depth: int) -> list[Any]:
        if not isinstance(content, list):
            raise TypeError(f"{type(content).__name__} where a list should be")
        return [self.value(item, depth + 1) for item in content]

    def pairs(self, content: list[Any], depth: int) -> dict[Any, Any]:
        return {self.value(key, depth + 1): self.value(item, depth + 1) for key, item in content}


def _scalar(array: Any) -> Any:
    """A NumPy scalar; bits, or a mere description of the array, stay as they are."""
    return array[()] if hasattr(array, "__getitem__") else array


def _in_memory(array: Any, axes: list[int], order: str) -> Any:
    """An array as it lay in memory; a mere description of the array stays as it is."""
    there = array.array if isinstance(array, Bits) else array
    if axes and (not all(type(axis) is int for axis in axes) or sorted(axes) != [*range(len(there.shape))]):
        raise ValueError(f"{str(axes)[:100]} are not the axes of an array with the shape {there.shape}")
    if not isinstance(array, Bits) and not hasattr(array, "transpose"):
        return array
    if order == ">":
        array = array.astype(array.dtype.newbyteorder(">"))
    return transposed(array, sorted(range(len(axes)), key=axes.__getitem__)) if axes else array


def _bytes(array: Any, kind: Callable[[bytes], Any]) -> Any:
    """Bytes; a mere description of the array stays as it is."""
    return kind(array.tobytes()) if hasattr(array, "tobytes") else array


_TAGS: dict[str, Callable[[_Decoder, Any, int], Any]] = {
    "$tensor": lambda its, content, depth: its.array(content),
    "$memory": lambda its, content, depth: _in_memory(its.array(content[0]), *content[1:]),
    "$scalar": lambda its, content, depth: _scalar(its.array(content)),
    "$bytes": lambda its, content, depth: _bytes(its.array(content), bytes),
    "$bytearray": lambda its, content, depth: _bytes(its.array(content), bytearray),
    "$text": lambda its, content, depth: "".join(map(chr, content)),
    "$immutable": lambda its, content, depth: its.immutables[content],
    "$float": lambda its, content, depth: _NOT_FINITE[content],
    "$tuple": lambda its, content, depth: tuple(its.items(content, depth)),
    "$set": lambda its, content, depth: set(its.items(content, depth)),
    "$frozenset": lambda its, content, depth: frozenset(its.items(content, depth)),
    "$deque": lambda its, content, depth: deque(its.items(content[1], depth), content[0]),
    "$dict": lambda its, content, depth: its.pairs(content, depth),
    "$counter": lambda its, content, depth: Counter(its.pairs(content, depth)),
    "$ordered": lambda its, content, depth: OrderedDict(its.pairs(content, depth)),
}
