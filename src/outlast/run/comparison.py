"""Comparison: how two states of a training differ, in what first, and the likely cause.

The order is that in which causes lie: other batches lead to other weights, and never the other way round.
docs/exact.md has the causes at length.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from outlast.storage.format.dtypes import Bits
from outlast.storage.format.encoding import encode

Tree = Any  # dicts, lists and tuples of numbers, text, bytes and arrays
Leaves = dict[str, Any]

# Of a package that is imported later, or of a loader that is not used in every epoch, only one may know.
_RANDOM = ("state/random", "state/loop/loaders")
_RANDOM_STATE = (*_RANDOM, "state/training/generators")

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


METRIC = Kind(
    "a metric",
    ("state/row/",),
    "it is computed from something that is not saved, or from the time; later checks name it in their "
    "line alone",
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
        ("state/training", "state/parts"),
        "something that a step depends on is not saved (a buffer, a flag, an attribute, gradients, labels "
        "that training changes, a variable of the script, which run.extra saves, a random generator of your "
        "own, or the order of the data, which run.data(...) saves in Keras's fit), or the device computes "
        "sums in another order each time",
    ),
    METRIC,
    Kind(
        "a callback",
        ("state/callbacks", "state/decisions"),
        "it remembers something that is not in its state_dict()",
    ),
    Kind(
        "run.extra",
        ("state/extra",),
        "the script puts something in it that is different in each start",
    ),
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


def leaves(tree: Tree) -> Leaves:
    """Every value of a tree by its name; of an array its type, shape and checksum.

    Example:
        >>> leaves({"a": [1, 2.5]})
        {'state/a': 2, 'state/a/0': 1, 'state/a/1': 2.5}
    """
    encoded = encode(tree, ROOT)
    found = dict(_flat(encoded.json_value, ROOT))
    for name, array in encoded.arrays.items():
        found[name] = _described(array)
    for name, immutable in encoded.immutables.items():
        found |= {f"{name}{key[len(ROOT) :]}": leaf for key, leaf in leaves(immutable.value).items()}
    return found


def differences(before: Leaves, now: Leaves) -> list[Difference]:
    """What is not the same in the two, the likely cause first."""
    names = [name for name in {**before, **now} if not same(before.get(name), now.get(name))]
    names = [name for name in names if not name.startswith(_RANDOM) or (name in before and name in now)]
    found = [Difference(kind, name) for name in names if (kind := _kind(name))]
    return sorted(found, key=lambda one: KINDS.index(one.kind))


def by_how_much(before: Tree, now: Tree, name: str) -> str:
    """How two trees differ in the value ``name``, as a phrase."""
    import numpy as np

    values = []
    for tree in (before, now):
        encoded = encode(tree, ROOT)
        found = {**dict(_flat(encoded.json_value, ROOT)), **encoded.arrays}
        value = found.get(name, "nothing")
        values.append(value.numpy() if isinstance(value, Bits) else value)
    first, second = values
    if not (isinstance(first, np.ndarray) and isinstance(second, np.ndarray)):
        return f"{_short(first)} was saved, and it is {_short(second)} now"
    if first.shape != second.shape or first.dtype != second.dtype:
        return f"{first.dtype} {first.shape} was saved, and it is {second.dtype} {second.shape} now"
    differ = first != second
    count = f"{int(differ.sum())} of {first.size} numbers differ"
    if first.dtype.kind not in "fiu" and first.dtype.name != "bfloat16":
        return count
    with np.errstate(all="ignore"):
        most = np.abs(first.astype(np.float64) - second.astype(np.float64)).max(initial=0.0, where=differ)
    return f"{count}, by up to {most:.3g}"


def _short(value: Any) -> str:
    return value if value == "nothing" else f"{value!r:.40}"


def _kind(name: str) -> Kind | None:
    return next((kind for kind in KINDS if name.startswith(kind.places)), None)


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are the same, their types too."""
    return type(one) is type(other) and bool(one == other)


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


def _described(array: Any) -> tuple[str, tuple[int, ...], int]:
    import numpy as np

    bits = array.array if isinstance(array, Bits) else array
    dtype = array.dtype if isinstance(array, Bits) else str(array.dtype)
    data = np.ascontiguousarray(bits).reshape(-1).view(np.uint8)
    return dtype, bits.shape, zlib.crc32(data.data)
