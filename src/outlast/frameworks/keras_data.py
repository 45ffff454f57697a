"""Data for Keras's ``fit``, on every backend, at a position that is known.

A ``tf.data.Dataset`` is wrapped in another one, which notes when an iterator begins, and skips what was
trained before a resume. Everything else becomes a ``PyDataset``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras

from outlast.core.asking import asked, has
from outlast.frameworks import loaders, random_state
from outlast.frameworks.batches import Batches
from outlast.frameworks.keras_batches import KerasBatches
from outlast.frameworks.orders import Order
from outlast.frameworks.sources import Source, State, Stream, Uses, stream
from outlast.frameworks.tensors import to_arrays

_INFINITE = -1  # TensorFlow's number for the length of a dataset without an end
_LATER = (
    "Repeat",
    "Concatenate",
    "DirectedInterleave",
)  # datasets that begin others later than with themselves
_PLAIN = ":plain"  # the name of a dataset's plain attributes among its generators


def source(
    data: Any, checksum: Callable[[Any], int], steps: int | None, batch_size: int, shuffle: bool
) -> Source:
    """The source of what the user gave; arguments and errors as in ``sources.stream``."""
    if "tensorflow" in sys.modules and isinstance(data, sys.modules["tensorflow"].data.Dataset):
        return TensorFlowSource(data, checksum)
    if isinstance(data, Batches):
        data = KerasBatches.of(data)
    if isinstance(data, keras.utils.PyDataset):
        return DatasetSource(data, checksum)
    found = stream(data, checksum, steps, batch_size, shuffle)
    found.for_fit = StreamDataset(found, steps or found.length)
    found.endless = found.for_fit.num_batches is None
    return found


class StreamDataset(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """The batches of a stream in their order, whatever index is asked for."""

    def __init__(self, batches: Stream, steps: int | None) -> None:
        super().__init__()
        self._batches, self._steps = batches, steps

    @property
    def num_batches(self) -> int | None:
        """Batches of an epoch; None if ``fit`` has to say."""
        return self._steps

    def __getitem__(self, index: int) -> Any:
        batch = self._batches.fetch()
        return tuple(batch) if isinstance(batch, list) else batch


class DatasetSource(Source):
    """A ``PyDataset`` that the user wrote.

    A resume brings it to its position with its ``load_state_dict``. If it has none, ``on_epoch_end`` is
    called as often as before, from the random state that the first training began with. That shuffles as
    before only if the batches draw nothing from the same generator, so plain attributes are saved, too: the
    indices that it shuffles.
    """

    def __init__(self, data: Any, checksum: Callable[[Any], int]) -> None:
        super().__init__(checksum)
        self._data = data
        self._has_state = has(data, "state_dict") and has(data, "load_state_dict")
        self._ended = Uses.of(data)  # epochs
        self._taken = self._skipped = 0
        self._began: Any = None
        self._at: State | None = None
        self._attributes = {**loaders.generators(data), _PLAIN: Order(data, numbers=True)}
        self.for_fit = ForwardedDataset(data, self)
        self._in_order = data.workers <= 1 and not data.use_multiprocessing

    def problem(self, state: State | None) -> str | None:
        """Workers, which Keras starts before it tells anybody that training begins; too many epochs."""
        kind = type(self._data).__name__
        if not self._in_order:
            return (
                f"the workers of {kind} fetch batches before the run knows where to go on: "
                "leave out workers=, or give run.data a PyTorch DataLoader with workers"
            )
        if state is not None and not self._has_state and self._ended.count > state["ended"]:
            return _used(kind)
        return None

    def epoch_ends(self) -> None:
        """Tell the user's dataset that an epoch has ended, and count it."""
        self._data.on_epoch_end()
        self._ended.count += 1

    def state(self) -> State:
        """How often an epoch ended, and what the dataset says of itself."""
        return self._at or self._state()

    def _state(self) -> State:
        saved = to_arrays(self._data.state_dict(), "state/data") if self._has_state else None
        plain = {} if self._has_state else loaders.states(self._attributes)
        return {
            "ended": self._ended.count,
            "taken": self._taken,
            "began": self._began,
            "own": saved,
            "plain": plain,
        }

    def fetch(self, index: int) -> Any:
        """A batch of the user's dataset; in one without an end, counted on from where another process was."""
        self._undo_draws()
        batch = self._data[index + self._skipped]
        if self._in_order:
            self.note(batch)
        return batch

    def begin(self, state: State | None) -> None:
        """Load the dataset's state, or let it end as many epochs as before."""
        self._fetched = []
        if state is None or state["began"] is None:
            self._began = random_state.collect()
            self._at = self._state()
            return
        self._began, self._at = state["began"], state
        self._taken = self._skipped = state["taken"]
        self._goes_on = self._taken > 0
        self.hand_on(state)

    def hand_on(self, state: State) -> None:
        """Load the dataset's state, or let it end as many epochs as before."""
        if self._has_state:
            self._data.load_state_dict(state["own"])
            self._ended.count = state["ended"]
            return
        before = loaders.now(self._attributes)
        if self._ended.count < state["ended"]:
            random_state.restore(state["began"])
        while self._ended.count < state["ended"]:
            self._data.on_epoch_begin()
            self.epoch_ends()
        if plain := state.get("plain"):
            loaders.put(self._attributes, before)  # what is there now and does not change
            loaders.restore(self._attributes, plain, anyway=True)

    def end_epoch(self, steps: int | None) -> list[int]:
        """The epoch's checksums; counts the batches of a dataset without an end."""
        self._taken += (steps or 0) if self._data.num_batches is None else 0
        self._at = self._state()
        return super().end_epoch(steps)


class ForwardedDataset(keras.utils.PyDataset):  # type: ignore[misc]
    """A user's ``PyDataset``, as ``fit`` is given it: every call goes on to it, and its source is told."""

    def __init__(self, data: Any, source: DatasetSource) -> None:
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data, self._source = data, source

    @property
    def num_batches(self) -> int | None:
        """How many batches the user's dataset has; None if it has no end."""
        count: int | None = self._data.num_batches
        return count

    def __getitem__(self, index: int) -> Any:
        return self._source.fetch(index)

    def on_epoch_begin(self) -> None:
        """Pass it on to the user's dataset."""
        self._data.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Pass it on to the user's dataset, which may shuffle itself here, and count it."""
        self._source.epoch_ends()


class TensorFlowSource(Source):
    """A ``tf.data.Dataset``. Its iterators are counted, because each has an order of its own."""

    def __init__(self, data: Any, checksum: Callable[[Any], int]) -> None:
        super().__init__(checksum)
        self._data = data
        self._begun = Uses.of(data)  # iterators
        self._taken = self._left_out = 0
        self._at: State = {"begun": 0, "taken": 0}
        self._shuffles_within = _shuffles_within(data, repeated=False)
        cardinality = int(data.cardinality())
        # Keras looks at the first batch before it trains, with an iterator of its own.
        self._begins_anywhere = cardinality != _INFINITE or _fetches_ahead(data)
        self.length = cardinality if cardinality >= 0 else None
        self.for_fit = self._around(data, cardinality)

    def _around(self, data: Any, cardinality: int) -> Any:
        import tensorflow as tf

        plain = tf.autograph.experimental.do_not_convert

        @plain  # type: ignore[untyped-decorator]
        def begin(_: Any) -> Any:
            return tf.numpy_function(self._begin_iterator, [], tf.int64)

        @plain  # type: ignore[untyped-decorator]
        def noted(*batch: Any) -> Any:
            first = tf.nest.flatten(batch, expand_composites=True)[0]
            flat = tf.reshape(first, [-1])
            looked_at = flat[:: tf.maximum(1, tf.size(flat) // 64)]
            tf.numpy_function(self.note, [looked_at], [])
            return batch if isinstance(data.element_spec, tuple) else batch[0]

        around = tf.data.Dataset.range(1).map(begin).flat_map(plain(lambda count: data.skip(count)))
        if cardinality != tf.data.UNKNOWN_CARDINALITY:
            around = around.apply(tf.data.experimental.assert_cardinality(cardinality))
        return around.map(noted)

    def _begin_iterator(self) -> Any:
        """Called when the first batch of an iterator is fetched: how many to leave out."""
        import numpy as np

        self._undo_draws()
        left_out, self._left_out = self._left_out, 0
        self._begun.count += 1
        self._taken, self._fetched = left_out, []
        return np.int64(left_out)

    def state(self) -> State:
        """Iterators begun, and batches taken of the last if it goes on in the next epoch."""
        return self._at

    def begin(self, state: State | None) -> None:
        """Begin as many iterators as before; the next leaves out what had been taken of it."""
        self._at = self._at if state is None else state
        self._fetched, self._left_out = [], self._at["taken"]
        self._goes_on = self._left_out > 0
        if state is None:
            self._at = {"begun": self._begun.count, "taken": 0}
        self.hand_on(self._at)

    def problem(self, state: State | None) -> str | None:
        """Too many iterators were begun already; a shuffle that begins several times in an iterator."""
        if state and self._begun.count > _ended(state):
            return _used("tf.data.Dataset")
        if self._shuffles_within and self._begins_anywhere:
            return (
                "this tf.data.Dataset shuffles again within an epoch, and nobody knows how often it did: put "
                "shuffle(...) behind repeat(n), concatenate(...) or sample_from_datasets(...)"
            )
        return None

    def hand_on(self, state: State) -> None:
        """Begin as many iterators as before, but for one that goes on."""
        while self._begun.count < _ended(state):
            iter(self._data)
            self._begun.count += 1

    def end_epoch(self, steps: int | None) -> list[int]:
        """The epoch's checksums. Where nobody gave a number of steps, each epoch has its own iterator."""
        self._taken += steps or 0
        ended = steps is None or (self.length is not None and self._taken >= self.length)
        self._at = {"begun": self._begun.count, "taken": 0 if ended else self._taken}
        return super().end_epoch(steps)


def _shuffles_within(data: Any, *, repeated: bool) -> bool:
    """Whether a shuffle of a ``tf.data.Dataset`` begins later than its iterator, or several times in one."""
    kind = type(data).__name__
    if repeated and "Shuffle" in kind:
        return True
    repeated = repeated or any(one in kind for one in _LATER)
    return any(_shuffles_within(one, repeated=repeated) for one in asked(data, "_inputs", list)())


def _fetches_ahead(data: Any) -> bool:
    """Whether nobody knows how much of its shuffles a ``tf.data.Dataset`` has taken when it gives a batch."""
    kind = type(data).__name__
    if "Shuffle" in kind:
        return False
    is_ahead = any(one in kind for one in ("Prefetch", "Parallel"))
    return is_ahead or any(_fetches_ahead(one) for one in asked(data, "_inputs", list)())


def _ended(at: State) -> int:
    """How many iterators have begun and ended."""
    return int(at["begun"] - (at["taken"] > 0))


def _used(kind: str) -> str:
    return (
        f"this {kind} was used for more epochs in this process than are saved, and cannot be brought back: "
        "make it again, in a notebook by running its cell too"
    )
