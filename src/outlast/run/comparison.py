"""Comparison: how two states of a training differ, in what first, and the likely cause.

The order is that in which causes lie: other batches lead to other weights, and never the other way round.
docs/exact.md has the causes at length.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from outlast.storage.disk.beside import mapped
from outlast.storage.format.dtypes import Bits, bits_of
from outlast.storage.format.encoding import encode

Tree = Any  # dicts, lists and tuples of numbers, text, bytes and arrays
Leaves = dict[str, Any]

# Of a package that is imported later, or of a loader that is not used in every epoch, only one may know.
_RANDOM = ("state/random", "state/loop/loaders", "state/loop/validation_loaders")
_RANDOM_STATE = (*_RANDOM, "state/training/generators", "state/fit/start")

_ARRAYS = ("$tensor", "$scalar", "$bytes", "$bytearray")  # what stands for an array, in JSON
_NOTHING = object()
_BATCHES = "state/loop/batches"
_EPOCH = re.compile(r"(/\d+)+$")  # with the place in an array

ROOT = "state"  # what names in errors begin with, as the format's do


@dataclass(frozen=True)
class Kind:
    """A kind of difference.

    Args:
        name: what differs, in words.
        places: beginnings of the names of values of this kind.
        cause: the likely one, and the way out.
    """

    name: str
    places: tuple[str, ...]
    cause: str

    def place_of(self, name: str) -> int:
        """Which of its places a value is in: what is in a later one may follow from an earlier."""
        return next(index for index, place in enumerate(self.places) if name.startswith(place))


# What no step depends on: if only these differ, the training itself is the same.
_METRIC = Kind(
    "a metric",
    ("state/row/", "state/fit"),
    "it is computed from something that is not saved, or from the time; later checks name it in their "
    "line alone",
)
_ASIDE = (
    _METRIC,
    Kind(
        "what a callback remembers",
        ("state/attributes",),
        "it counts on from something that is not saved, or holds a time; later checks name it in their line "
        "alone",
    ),
    Kind(
        "run.extra",
        ("state/extra",),
        "the script puts something in it that is different in each start",
    ),
)
KINDS = (
    Kind(
        "the number of batches",
        ("state/loop/batches/count",),
        "how many data there are depends on something that is not saved, such as a list that grows or a "
        "validation at each start. Make them from the epoch, or pass what holds them to the Run as a part",
    ),
    Kind(
        "the batches",
        ("state/loop/batches",),
        "the data came in another order or had other contents: a shuffle, a split or an augmentation without "
        "a seed, a cache, a dataset or a sampler that training changes. Seed each by the epoch, or pass what "
        "holds them to the Run as a part; put layers that draw random numbers in the model, not in the map "
        "of a tf.data.Dataset",
    ),
    Kind(
        "random state",
        _RANDOM_STATE,
        "more or fewer random numbers were drawn, since what decides how many is not saved (a replay buffer, "
        "an iterator such as cycle(loader) that a new start begins again), or a generator is not put back. "
        "Pass it to the Run as a part, or make it in each epoch",
    ),
    Kind(
        "the learning rate",
        ("state/row/learning_rate",),
        "something sets the rate that is not saved: pass the scheduler to the Run, scheduler=..., or keep "
        "what the rate is computed from, such as a count of steps, in run.extra",
    ),
    Kind(
        "the weights",
        ("state/training",),
        "something that a step depends on is not saved (a buffer, a flag, an attribute, gradients, labels "
        "that training changes, a variable of the script, which run.extra saves, a random generator of your "
        "own, or the order of the data, which run.data(...) saves in Keras's fit), or the device computes "
        "sums in another order each time",
    ),
    Kind(
        "a metric that Lightning keeps",
        ("state/training/lightning/loops", "state/training/lightning/torchmetrics"),
        "it is computed from something that is not saved, such as data that validation draws in persistent "
        "workers, or a count in a plain attribute",
    ),
    Kind(
        "what stands beside the module",
        ("state/training/lightning",),
        "a callback, the data module or a module that one of them holds depends on something that is not in "
        "its state_dict(), such as a count in a plain attribute. Put it there",
    ),
    Kind(
        "a part",
        ("state/parts",),
        "something that the part depends on is not in its state_dict(), and not saved elsewhere, such as a "
        "count of updates in a plain attribute; or, of a generator, what decides how many numbers it draws. "
        "Put it there, or pass it to the Run as a part, too",
    ),
    Kind(
        "carried gradients",
        ("state/training/gradients",),
        "at the epoch's end there were gradients that no step of the Run's optimizers had used. If another "
        "optimizer steps now, its state is not saved: give it to another Run, or change the groups of the "
        "one that the Run has",
    ),
    _METRIC,
    Kind(
        "a callback",
        ("state/callbacks", "state/decisions"),
        "it remembers something that is not in its state_dict()",
    ),
    *_ASIDE[1:],
)


@dataclass(frozen=True)
class Difference:
    """One value that is not the same.

    Args:
        kind: of difference.
        name: of the value.
    """

    kind: Kind
    name: str

    @property
    def aside(self) -> str:
        """The name of a thing that no step depends on; "" of others.

        Example:
            >>> [*differences({"state/row/seconds/5": 1.5}, {"state/row/seconds/5": 2.5})][0].aside
            'seconds'
        """
        if self.kind not in _ASIDE:
            return ""
        _, kind, *path = self.name.split("/")
        if kind == "attributes":
            return ".".join(path[:2])
        return _EPOCH.sub("", "/".join(path)) if kind == "row" else self.kind.name


class _Array(NamedTuple):
    tag: str
    of: Any


def leaves(tree: Tree) -> Leaves:
    """Every value of a tree by its name; of an array its type, shape and checksum.

    Example:
        >>> leaves({"a": [1, 2.5]})
        {'state/a': 2, 'state/a/0': 1, 'state/a/1': 2.5}
    """
    values = dict(_values(tree))
    sizes = (one.of.nbytes if isinstance(one, _Array) else 0 for one in values.values())
    return dict(zip(values, mapped(_described, [*values.values()], sizes), strict=True))


def unlike(before: Tree, now: Tree) -> list[str]:
    """The names of values of a tree that are not the same in another; whatever is beside them there.

    Example:
        >>> unlike({"a": {"b": 1.0, "c": 2}}, {"a": {"b": 1.0, "c": 2.0, "d": 3}})
        ['state/a/c']
    """
    there = dict(_values(now))
    return [name for name, value in _values(before) if not _are_same(value, there.get(name))]


def _are_same(one: Any, other: Any) -> bool:
    """Whether two values are, byte by byte, which takes less time than their checksums."""
    if not (isinstance(one, _Array) and isinstance(other, _Array)):
        return same(one, other)
    import numpy as np

    first, second = bits_of(one.of), bits_of(other.of)
    if (one.tag, _dtype(one.of), first.shape) != (other.tag, _dtype(other.of), second.shape):
        return False
    plain = f"u{first.itemsize if first.itemsize in (1, 2, 4, 8) else 1}"
    return bool(np.array_equal(_flat_bytes(first).view(plain), _flat_bytes(second).view(plain)))


def differences(before: Leaves, now: Leaves) -> list[Difference]:
    """What is not the same in the two, the likely cause first."""
    names = [name for name in {**before, **now} if not same(before.get(name), now.get(name))]
    names = [name for name in names if not name.startswith(_RANDOM) or (name in before and name in now)]
    found = [Difference(kind, name) for name in names if (kind := _kind(name))]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), one.kind.place_of(one.name)))


def by_how_much(before: Tree, now: Tree, name: str) -> str:
    """How two trees differ in the value ``name``, as a phrase."""
    import numpy as np

    first, second = (_plain(dict(_values(tree)).get(name, _NOTHING)) for tree in (before, now))
    if not (isinstance(first, np.ndarray) and isinstance(second, np.ndarray)):
        return f"{_short(first)} was saved, and {_now(second)}"
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"{first.dtype} {first.shape} was saved, and it is {second.dtype} {second.shape} now"
    differ = first != second
    if name.startswith(_BATCHES):
        return f"{int(differ.sum())} of {first.size} batches, the first is batch {int(differ.argmax()) + 1}"
    count = f"{int(differ.sum())} of {first.size} numbers differ"
    if first.dtype.kind not in "fiu" and first.dtype.name != "bfloat16":
        return count
    with np.errstate(all="ignore"):
        most = np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0.0, where=differ)
    return f"{count}, by up to {most:.3g}"


def _plain(value: Any) -> Any:
    value = value.of if isinstance(value, _Array) else value
    return value.numpy() if isinstance(value, Bits) else value


def _now(value: Any) -> str:
    return "there is nothing now" if value is _NOTHING else f"it is {_short(value)} now"


def _short(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    is_array = hasattr(value, "shape") and hasattr(value, "dtype")
    return f"an array {value.dtype} {value.shape}" if is_array else f"{value!r:.40}"


def _kind(name: str) -> Kind | None:
    """The kind whose place says most: gradients lie within what else is of the training."""
    fitting = [(len(place), kind) for kind in KINDS for place in kind.places if name.startswith(place)]
    return max(fitting, key=lambda one: one[0])[1] if fitting else None


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are the same, their types too."""
    return type(one) is type(other) and bool(one == other)


def _values(tree: Tree, root: str = ROOT) -> Iterator[tuple[str, Any]]:
    """Every value by its name, in the order in which they are stored; arrays as they are."""
    encoded = encode(tree, root)
    for name, value in _flat(encoded.json_value, root):
        tag = name.rpartition("/")[2]
        if tag in _ARRAYS:
            yield value, _Array(tag, encoded.arrays[value])
        else:
            yield name, value
    for name, immutable in encoded.immutables.items():
        yield from _values(immutable.value, name)


def _flat(json_value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Its values by name; a list has its length under its own."""
    if isinstance(json_value, dict):
        inner: Iterable[tuple[Any, Any]] = json_value.items()
    elif isinstance(json_value, list):
        yield name, len(json_value)
        inner = enumerate(json_value)
    else:
        yield name, json_value
        return
    for key, value in inner:
        yield from _flat(value, f"{name}/{key}")


def _described(value: Any) -> Any:
    """A value as it is compared; of an array its kind, type, shape and checksum."""
    if not isinstance(value, _Array):
        return value
    bits = bits_of(value.of)
    return value.tag, _dtype(value.of), bits.shape, zlib.crc32(_flat_bytes(bits).data)


def _dtype(array: Any) -> str:
    """The name of an array's type, whether NumPy has it or only its bits."""
    return array.dtype if isinstance(array, Bits) else str(array.dtype)


def _flat_bytes(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
