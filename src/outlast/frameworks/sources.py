"""Sources: data for a loop that fetches its batches itself, at a position that is known.

``fit`` shows its callbacks neither batches nor iterators. So it is given a source of ours, which counts what
is fetched, and which a resume can bring to where another process was.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from typing import Any, ClassVar

from outlast.core import numbers
from outlast.core.asking import has
from outlast.exceptions import ArgumentError, UsageError
from outlast.frameworks import loaders, random_state

State = dict[str, Any]

_TAKEN = (
    "run.data() takes a tf.data.Dataset, a keras.utils.PyDataset, a DataLoader or another iterable of "
    "batches, arrays in a tuple, or a function that makes a generator"
)


class Uses:
    """How often a thing of the user's was used in this process, by whichever source."""

    _known: ClassVar[dict[int, tuple[Callable[[], Any], Uses]]] = {}

    def __init__(self) -> None:
        self.count = 0

    @classmethod
    def of(cls, thing: Any) -> Uses:
        """Those of a thing; those of nothing else if it cannot be recognised."""
        known, uses = cls._known.get(id(thing), (None, cls()))
        if known is None or known() is not thing:
            uses, key = cls(), id(thing)
            with suppress(TypeError):  # no weak reference can be had
                cls._known[key] = weakref.ref(thing, lambda _: cls._known.pop(key, None)), uses
        return uses


class Source:
    """What all sources have in common.

    Args:
        checksum: of a batch.

    Attributes:
        for_fit: what the loop is given.
        length: batches in one pass; None if that is unknown, or without end.
        endless: the loop makes one iterator for all epochs, not one for each.
    """

    for_fit: Any
    length: int | None = None
    endless = False

    def __init__(self, checksum: Callable[[Any], int]) -> None:
        self._checksum = checksum
        self._fetched: list[int] = []  # checksums of batches of this epoch, and of later ones fetched ahead
        self._goes_on = False  # an iterator that began in another process, in the first epoch here
        self._random: Any = None  # to be put back when its first batch is fetched

    def note(self, batch: Any) -> None:
        """Take the checksum of a batch that is fetched."""
        self._fetched.append(self._checksum(batch))

    def begin_epoch(self) -> None:
        """An epoch begins. If its iterator began in another process, undo what making a new one draws."""
        self._random = random_state.collect() if self._goes_on else None
        self._goes_on = False

    def _undo_draws(self) -> None:
        if self._random is not None:
            random_state.restore(self._random)
            self._random = None

    def state(self) -> State:
        """The position: after the last epoch, or where training begins."""
        raise NotImplementedError

    def begin(self, state: State | None) -> None:
        """Training begins: at a position, or for the first time.

        What was fetched before does not count: the loop only looked at the data. May draw random numbers.
        """
        raise NotImplementedError

    def problem(self, state: State | None) -> str | None:
        """Why the first epoch from a position on is not exact, and what would make it so; None if it is."""
        return None

    def hand_on(self, state: State) -> None:
        """Bring the user's data to a position, as far as another source of them depends on it."""
        raise NotImplementedError

    def end_epoch(self, steps: int | None) -> list[int]:
        """An epoch has ended: the checksums of its batches.

        Args:
            steps: how many it had; None if nobody knows. A loop may have fetched more.
        """
        count = len(self._fetched) if steps is None else steps
        batches = self._fetched[:count]
        del self._fetched[:count]
        return batches


class Stream(Source):
    """Batches of one iterator after the other.

    A position inside an iterator is reached by fetching what comes before it, with random state as it was
    when the iterator began.

    Args:
        checksum: of a batch.
        make: called with the number of iterators made before; returns what gives one.
        length: batches of each, if that is known.
        counted: the user's function, called as often as before for what it may count; None if it need not.
        holder: of random generators; a data loader.
    """

    def __init__(
        self,
        checksum: Callable[[Any], int],
        make: Callable[[int], Iterable[Any]],
        length: int | None,
        *,
        counted: Any = None,
        holder: Any = None,
    ) -> None:
        super().__init__(checksum)
        self._make, self.length, self._holder = make, length, holder
        self._is_counted = counted is not None
        self._calls = Uses.of(counted)  # of make
        self._iterator: Iterator[Any] | None = None
        self._made = self._taken = 0
        self._began: Any = None  # random state when the iterator began
        self._places: list[tuple[int, int, Any]] = []  # after each batch in _fetched
        self._at: State = {"made": 0, "taken": 0, "calls": 0, "began": None, "generators": {}}

    def fetch(self) -> Any:
        """The next batch."""
        self._undo_draws()
        while True:
            if self._iterator is None:
                self._next_iterator()
            assert self._iterator is not None
            try:
                batch = next(self._iterator)
            except StopIteration:
                if not self._taken:
                    raise UsageError("The data given to run.data(...) have no batches.") from None
                self._iterator = None
                continue
            self._taken += 1
            if self._taken == self.length:  # as a loop ends it: a sampler may draw once more there
                next(self._iterator, None)
                self._iterator = None
            self.note(batch)
            self._places.append((self._made, self._taken, self._began))
            return batch

    def _next_iterator(self) -> None:
        self._began = {"global": random_state.collect(), "generators": self._generators()}
        self._iterator = _iterator(self._make(self._made))
        self._made, self._taken = self._made + 1, 0
        self._calls.count += 1

    def _generators(self) -> State:
        return loaders.states(loaders.generators(self._holder))

    def state(self) -> State:
        """Iterators made, batches taken of the last, and the random state that it began with."""
        return self._at

    def begin(self, state: State | None) -> None:
        """Make the iterator again, and fetch what was fetched of it."""
        first = state is None
        at = self._at if state is None else state
        self._iterator, self._fetched, self._places = None, [], []
        self._made, self._at = at["made"] - (at["taken"] > 0), at
        self._call(at)
        loaders.begin_workers(self._holder)
        self._goes_on = at["taken"] > 0 and self.endless
        if at["taken"]:
            random_state.restore(at["began"]["global"])
            loaders.restore(loaders.generators(self._holder), at["began"]["generators"])
            for _ in range(at["taken"]):
                self.fetch()
            self._fetched, self._places = [], []
        if not first:
            loaders.restore(loaders.generators(self._holder), at["generators"])

    def _call(self, at: State) -> None:
        while self._is_counted and self._calls.count < at["calls"] - (at["taken"] > 0):
            _iterator(self._make(self._calls.count))
            self._calls.count += 1

    def hand_on(self, state: State) -> None:
        """Call the function as often as before; put the generators of a loader back."""
        self._call(state)
        loaders.restore(loaders.generators(self._holder), state["generators"])

    def end_epoch(self, steps: int | None) -> list[int]:
        """The epoch's checksums. The position is that after its last step, whatever was fetched ahead."""
        batches = super().end_epoch(steps)
        if not batches:
            return batches
        made, taken, began = self._places[len(batches) - 1]
        del self._places[: len(batches)]
        ended = self.length is not None and taken >= self.length
        self._at = {
            "made": made,
            "taken": 0 if ended else taken,
            "calls": self._calls.count,
            "began": None if ended else began,
            "generators": self._generators(),
        }
        return batches


def checked(steps: Any, batch_size: Any, shuffle: Any) -> tuple[int | None, int, bool]:
    """Check the arguments of ``run.data`` beside the source; 8.0 becomes 8, and 1 becomes True.

    Raises:
        ArgumentError: one cannot work.
    """
    return (
        None if steps is None else numbers.whole(steps, "steps of run.data()"),
        numbers.whole(batch_size, "batch_size of run.data()"),
        numbers.flag(shuffle, "shuffle of run.data()"),
    )


def stream(
    source: Any, checksum: Callable[[Any], int], steps: int | None, batch_size: int, shuffle: bool
) -> Stream:
    """A stream of what the user gave.

    Args:
        source: a function that makes an iterator, arrays in a tuple, or an iterable of batches.
        checksum: of a batch.
        steps: batches of an epoch, where the source does not know.
        batch_size: of arrays.
        shuffle: arrays, in an order that depends on the epoch alone.

    Raises:
        ArgumentError: it is something else.
    """
    if isinstance(source, tuple) and any(has(one, "shape") for one in source):
        count = _rows(source)
        pieces = -(-count // batch_size)
        return Stream(checksum, lambda epoch: _of_arrays(source, count, batch_size, shuffle, epoch), pieces)
    if isinstance(source, Iterator):
        raise ArgumentError(
            "run.data() was given an iterator, which cannot be begun again: pass the function that makes it, "
            "run.data(lambda: batches())."
        )
    _refuse_no_batches(source)
    if isinstance(source, Iterable):
        length = len(source) if isinstance(source, Sized) else None
        return Stream(checksum, lambda _: source, length or steps, holder=source)
    if not callable(source):
        raise ArgumentError(f"{_TAKEN}, but got {source!r:.100}.")
    if _takes_one(source):
        return Stream(checksum, source, None)
    return Stream(checksum, lambda epoch: source(), None, counted=source)


def _rows(arrays: tuple[Any, ...]) -> int:
    """How many rows the arrays have, each as many as the others."""
    other = next((one for one in arrays if not hasattr(one, "shape")), None)
    if other is not None:
        raise ArgumentError(
            f"run.data() was given a tuple of arrays with {_kind(other)} in it: convert that to an array, or "
            "pass a function that makes a generator of batches."
        )
    rows = [one.shape[0] if one.shape else None for one in arrays]
    if len({*rows}) > 1 or not rows[0]:
        shapes = ", ".join(str(tuple(one.shape)) for one in arrays)
        raise ArgumentError(
            "run.data() takes arrays with the same number of rows, at least one, but got arrays of the "
            f"shapes {shapes}."
        )
    return int(rows[0])


def _refuse_no_batches(source: Any) -> None:
    """Refuse what can be iterated over, but not batch by batch."""
    if hasattr(source, "shape"):
        way_out = "pass arrays in a tuple, run.data((x, y)) or run.data((x,))"
    elif isinstance(source, list) and any(hasattr(one, "shape") for one in source):
        way_out = (
            "pass a tuple of arrays, run.data((x, y)); in a list of batches, each batch must be a tuple too"
        )
    elif isinstance(source, (Mapping, str, bytes)):
        way_out = "pass arrays in a tuple, run.data((x, y)), or a function that makes a generator of batches"
    else:
        return
    raise ArgumentError(f"{_TAKEN}, but got {_kind(source)}: {way_out}.")


def _kind(thing: Any) -> str:
    if isinstance(thing, list) and any(hasattr(one, "shape") for one in thing):
        return "a list of arrays"
    return "None" if thing is None else f"a value of type {type(thing).__name__}"


def _of_arrays(arrays: Any, count: int, batch_size: int, shuffle: bool, epoch: int) -> Iterator[Any]:
    import numpy as np

    order = np.random.default_rng([count, epoch]).permutation(count) if shuffle else np.arange(count)
    for start in range(0, count, batch_size):
        chosen = order[start : start + batch_size]
        yield tuple(np.asarray(array)[chosen] for array in arrays)


def _iterator(made: Any) -> Iterator[Any]:
    try:
        return iter(made)
    except TypeError as error:
        raise ArgumentError(
            "The function given to run.data() must return a generator of batches, but returned "
            f"{made!r:.100}."
        ) from error


def _takes_one(function: Callable[..., Any]) -> bool:
    """Whether the function takes one argument, and not none."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin without one
        return False
    for arguments in ((), (0,)):
        with suppress(TypeError):
            signature.bind(*arguments)
            return len(arguments) == 1
    raise ArgumentError(
        "run.data() takes a function of no argument, or of one, the number of generators before, but "
        f"{getattr(function, '__name__', function)!s:.100} takes {signature}."
    )
