"""Batches: arrays in batches, in an order that depends on a seed and the epoch alone.

Nothing of it has to be saved, and every batch can be had by its index, so a resumed run is at its place at
once, wherever in an epoch that is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import import_module
from typing import Any, Self

from outlast.core import numbers
from outlast.core.asking import has
from outlast.exceptions import ArgumentError, UnknownArgument, nearest
from outlast.frameworks import under_way


class Batches:
    """Arrays in batches; the order of each epoch depends on ``seed`` and the epoch alone.

    In a run's loop the run says which epoch it is: ``for x, y in run.batches(batches)``. A resume inside an
    epoch goes on by index, at no cost. Anywhere in such an epoch, the order is that epoch's, also in
    ``enumerate(batches)`` and ``run.validation(batches)``. Without a run each pass is the next epoch: the
    first is epoch 0, and ``epoch`` can be set.

    Keras's ``fit`` takes it as ``x``, if Keras was imported before it was made; ``run.data(batches)`` works
    always. ``fit`` shuffles the batches, not the rows in them, once more with Python's ``random``, unless it
    is told ``shuffle=False``.

    The order is made from numbers that NumPy promises not to change between its versions.

    Args:
        *arrays: NumPy arrays, memory maps, JAX arrays, PyTorch tensors, or whatever gives rows for an array
            of indices; or tuples and dicts of them. All have the same number of rows, along the first axis.
        batch_size: rows of a batch.
        seed: of the order, at least 0.
        shuffle: the rows in each epoch; else they come in their own order.
        drop_last: leave out the last batch of an epoch if it is short.

    Attributes:
        epoch: which epoch the next pass is, where no run says so.

    Raises:
        ArgumentError: an argument cannot work; the text says what can.

    Example:
        >>> import numpy as np
        >>> import outlast
        >>> batches = outlast.Batches(np.arange(6), np.arange(6) * 10, batch_size=4, seed=3)
        >>> for x, y in batches:
        ...     print(x, y)
        [0 4 1 5] [ 0 40 10 50]
        [3 2] [30 20]
        >>> len(batches), batches.epoch
        (2, 1)
        >>> [x.tolist() for x, y in batches.at(epoch=0, batch=1)]
        [[3, 2]]
    """

    def __new__(cls, *arrays: Any, **options: Any) -> Self:
        """One that Keras's ``fit`` takes, if Keras is there: that has to be a class of Keras's own."""
        if cls is Batches:
            _check_names(options)
        if cls is Batches and has(sys.modules.get("keras"), "utils"):
            cls = import_module("outlast.frameworks.keras_batches").KerasBatches
        return super().__new__(cls)

    def __init__(
        self, *arrays: Any, batch_size: int = 32, seed: int = 0, shuffle: bool = True, drop_last: bool = False
    ) -> None:
        self.batch_size = numbers.whole(batch_size, "batch_size of Batches")
        self.seed = numbers.whole(seed, "seed of Batches", least=0)
        self.shuffle = numbers.flag(shuffle, "shuffle of Batches")
        self.drop_last = numbers.flag(drop_last, "drop_last of Batches")
        self.epoch = 0
        self._arrays = arrays
        self._rows = _count_rows(arrays)
        self._known: tuple[int, Any] = (-1, None)  # an epoch, and its order
        if not len(self):
            raise ArgumentError(
                f"Batches has no batch: drop_last=True drops the only one, of {self._rows} rows, which is "
                f"shorter than batch_size={self.batch_size}. Take a smaller batch_size, or drop_last=False."
            )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._rows // self.batch_size if self.drop_last else -(-self._rows // self.batch_size)

    def __iter__(self) -> Pass:
        """The batches of the epoch under way in a run, or else of the next."""
        epoch = under_way.epoch()
        if epoch is None:
            epoch = self.epoch
        self.epoch = epoch + 1
        return Pass(self, epoch, 0)

    def at(self, epoch: int, batch: int = 0) -> Iterator[Any]:
        """The batches of an epoch, from one of them on.

        Args:
            epoch: from 0.
            batch: from 0. As many as an epoch has: none is left.

        Raises:
            ArgumentError: there is no such batch.
        """
        epoch = numbers.whole(epoch, "epoch of Batches", least=0)
        batch = numbers.whole(batch, "batch of Batches", least=0)
        if batch > len(self):
            raise ArgumentError(
                f"batch of Batches must be at most {len(self)}, since an epoch has {len(self)} batches, "
                f"counted from 0, but is {batch}."
            )
        return Pass(self, epoch, batch)

    def batch(self, epoch: int, index: int) -> Any:
        """One batch: a tuple, or the array alone if one was given."""
        start = index * self.batch_size
        chosen = self._order(epoch)[start : start + self.batch_size]
        batch = _map(partial(_rows_of, chosen=chosen), self._arrays)
        return batch if len(batch) > 1 else batch[0]

    def _order(self, epoch: int) -> Any:
        known, order = self._known  # read once: a loader may ask from a thread of its own
        if known != epoch:
            order = _order(self._rows, self.seed, epoch) if self.shuffle else _in_order(self._rows)
            self._known = epoch, order
        return order

    def state_dict(self) -> dict[str, int]:
        """For a loop without a run: the epoch of the next pass."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from :meth:`state_dict`."""
        self.epoch = int(state["epoch"])

    def __repr__(self) -> str:
        return f"Batches({self._rows} rows, batch_size={self.batch_size}, seed={self.seed})"


class Pass(Iterator[Any]):
    """The batches of one epoch, from one of them on.

    Args:
        batches: to which it belongs.
        epoch: from 0.
        index: of the next batch.
    """

    def __init__(self, batches: Batches, epoch: int, index: int) -> None:
        self._batches, self._epoch, self._index = batches, epoch, index

    def __next__(self) -> Any:
        if self._index >= len(self._batches):
            raise StopIteration
        self._index += 1
        return self._batches.batch(self._epoch, self._index - 1)

    def skip(self, batches: int) -> int:
        """Go past batches; returns past how many it went."""
        skipped = min(batches, len(self._batches) - self._index)
        self._index += skipped
        return skipped


def _order(rows: int, seed: int, epoch: int) -> Any:
    """The rows sorted by random numbers: NumPy may change its shuffling, but not these numbers."""
    import numpy as np

    drawn = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(rows)
    return np.argsort(drawn, kind="stable")


def _in_order(rows: int) -> Any:
    import numpy as np

    return np.arange(rows)


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same tuples and dicts, with what the function makes of each array."""
    if isinstance(tree, Mapping):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        members = [_map(function, value) for value in tree]
        return type(tree)(*members) if hasattr(tree, "_fields") else tuple(members)
    return function(tree)


def _rows_of(array: Any, chosen: Any) -> Any:
    """These rows, as a copy: what a training does to a batch must not change the data."""
    import numpy as np

    kind = type(array).__module__.partition(".")[0]
    if kind == "tensorflow":
        return sys.modules["tensorflow"].gather(array, chosen)
    if kind == "torch":
        return array[sys.modules["torch"].from_numpy(chosen)]
    return np.array(array[chosen]) if isinstance(array, np.memmap) else array[chosen]


# Arguments.

_OPTIONS = ("batch_size", "seed", "shuffle", "drop_last")


def _check_names(options: Mapping[str, Any]) -> None:
    for name in options:
        if name not in _OPTIONS:
            raise UnknownArgument(
                f"Batches has no argument {name!r}.{nearest(name, _OPTIONS)} It takes arrays, then: "
                f"{', '.join(_OPTIONS)}."
            )


def _count_rows(arrays: tuple[Any, ...]) -> int:
    """How many rows the arrays have, each as many as the others."""
    if not arrays:
        raise ArgumentError(f"{_TAKEN}, but got none.")
    found: list[Any] = []
    _map(lambda array: found.append(_checked(array)), arrays)
    counts = {array.shape[0] for array in found}
    if len(counts) != 1 or 0 in counts:
        shapes = ", ".join(str(tuple(array.shape)) for array in found) or "none at all"
        raise ArgumentError(
            f"Batches takes arrays with the same number of rows, at least one, but got the shapes {shapes}."
        )
    return int(counts.pop())


_TAKEN = "Batches takes arrays, then keywords: outlast.Batches(x, y, batch_size=32, seed=0)"


def _checked(array: Any) -> Any:
    if not has(array, "shape") or has(array, "iloc"):
        raise ArgumentError(f"{_TAKEN}, but got {_described(array)}.")
    if not len(array.shape):
        raise ArgumentError(f"Batches takes arrays with rows, but got a single number: {array!r:.80}.")
    if not array.shape[0]:
        return array
    try:
        given = _rows_of(array, _in_order(2) % array.shape[0])  # of one row: that row twice
        fits = tuple(given.shape) == (2, *array.shape[1:])
    except Exception as error:
        raise ArgumentError(
            f"Batches cannot take rows of a value of type {type(array).__name__} by an array of their "
            f"indices ({type(error).__name__}: {error}): convert it first, np.asarray(x)."
        ) from error
    if not fits:
        raise ArgumentError(
            f"Batches takes arrays that give rows for an array of indices, but a {type(array).__name__} gave "
            f"the shape {tuple(given.shape)} for two: convert it first, np.asarray(x)."
        )
    return array


def _described(value: Any) -> str:
    if isinstance(value, list):
        return "a list: np.asarray(...) makes an array of it, and several arrays are passed as x, y"
    if has(value, "iloc"):
        return f"a {type(value).__name__} of pandas: pass its values, .to_numpy()"
    if isinstance(value, (bool, int, float)):
        return f"{value!r}: a number has a name, such as batch_size={value!r}"
    if has(value, "__next__"):
        return "an iterator: arrays are needed here, and run.batches(...) takes a loader as it is"
    return _loader_described(value) or f"a value of type {type(value).__name__}"


def _loader_described(value: Any) -> str:
    """Something that gives batches or rows itself, with what to do with it; "" if it is none."""
    name = type(value).__name__
    if isinstance(value, (str, bytes, set, frozenset)):
        return ""
    if has(value, "tensors"):
        return f"a {name} of PyTorch: pass its tensors, outlast.Batches(*dataset.tensors)"
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(value).__mro__}
    if ("keras", "PyDataset") in kinds or (has(value, "__iter__") and ("torch", "Dataset") not in kinds):
        return (
            f"a {name}, which gives batches itself: pass it as it is, to run.batches(loader) in a loop of "
            "your own, or to Keras's fit"
        )
    if has(value, "__getitem__"):
        return (
            f"a {name}, which gives one row at a time: put it in a DataLoader of PyTorch, and pass that to "
            "run.batches(loader) in a loop of your own, or to Keras's fit"
        )
    return ""
