"""A PyTorch DataLoader that is begun at any batch: it is built anew around lists of indices that come later.

A ``DataLoader`` cannot be told to begin later, and its sampler cannot be replaced. What it was made of can be
read, so another one is made of that, with a batch sampler in between that leaves out the first lists. Order,
batches and random state are those of the user's own loader, if no seeds are given.
"""

from __future__ import annotations

import array
import sys
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from weakref import WeakSet

from outlast.core.asking import asked
from outlast.frameworks.seeded import Draws, Seeded, SeededCollate

_KEPT = (
    *("num_workers", "collate_fn", "pin_memory", "timeout", "worker_init_fn", "multiprocessing_context"),
    *("generator", "prefetch_factor", "persistent_workers", "pin_memory_device", "in_order"),
)
_WITH_INDICES = 0  # PyTorch's number for a dataset that is no stream

_replaced: WeakSet[Any] = WeakSet()  # loaders in whose place another one is iterated


class Indices(Iterator[Any]):
    """Lists of indices from one of them on, with their checksums.

    Args:
        lists: of all batches, from the first on.
        skipped: how many of them are left out.
        seed: called with the number of a batch, for its seed; None to give none.

    Attributes:
        lacking: how many there were too few to leave out.
        before: the checksum of those that are left out.
        checksum: of all lists up to the last.
        later: the checksums up to each list that was asked for since the beginning.
    """

    def __init__(self, lists: Iterable[Any], skipped: int, seed: Callable[[int], int] | None) -> None:
        self._lists: Any = lists if seed else iter(lists)  # without seeds it draws when PyTorch's own does
        self._seed, self._left_out, self._number = seed, skipped, 0
        self.lacking = self.before = self.checksum = 0
        self.later: deque[int] = deque()

    def come_to_place(self) -> None:
        """Leave out what is to be left out, if that has not been done."""
        if not isinstance(self._lists, Iterator):
            self._lists = iter(self._lists)
        while self._number < self._left_out:
            try:
                self._count(next(self._lists))
            except StopIteration:
                self.lacking, self._left_out = self._left_out - self._number, self._number
            self.before = self.checksum

    def __next__(self) -> Any:
        self.come_to_place()
        indices = next(self._lists)
        self._count(indices)
        self.later.append(self.checksum)
        return indices if self._seed is None else (self._seed(self._number - 1), indices)

    def _count(self, indices: Any) -> None:
        self._number += 1
        self.checksum = zlib.crc32(_bytes_of(indices), self.checksum)


def _bytes_of(indices: Any) -> bytes:
    try:
        return array.array("q", indices).tobytes()
    except (TypeError, OverflowError):  # one index alone, texts, tuples
        text = repr(indices)
        return b"" if " at 0x" in text else text.encode()  # an address is another in each process


class Sampler:
    """What gives a loader its lists of indices.

    Attributes:
        begun: the iterator that was made last: PyTorch makes two for a loader with workers.
    """

    def __init__(self, lists: Iterable[Any]) -> None:
        self._lists, self._skipped = lists, 0
        self._seed: Callable[[int], int] | None = None
        self.begun: Indices

    def begin_at(self, skipped: int, seed: Callable[[int], int] | None) -> None:
        """Where the next iterator begins, and with which seeds; see :class:`Indices`."""
        self._skipped, self._seed = skipped, seed

    def __iter__(self) -> Indices:
        self.begun = Indices(self._lists, self._skipped, self._seed)
        return self.begun


class Batches(Iterator[Any]):
    """The batches of a loader, from one of them on.

    Attributes:
        checksum: of the indices of all batches up to the last.
    """

    def __init__(self, iterator: Iterator[Any], indices: Indices) -> None:
        self._iterator, self._indices, self.checksum = iterator, indices, indices.before

    def __next__(self) -> Any:
        batch = next(self._iterator)
        self.checksum = self._indices.later.popleft()  # others were asked for ahead
        return batch


class Rebuilt:
    """A user's loader, built anew.

    Args:
        loader: for which :func:`fits` is true.
        seeded: each batch is given a seed.
    """

    def __init__(self, loader: Any, *, seeded: bool) -> None:
        lists = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
        self._sampler, self._seeded, self._has_begun = Sampler(lists), seeded, False
        self._loader = _made(loader, self._sampler, seeded)

    def begin(self, skipped: int, seed: Callable[[int], int] | None) -> tuple[Batches, int]:
        """The batches behind so many, and how many there were too few.

        Args:
            skipped: how many are left out.
            seed: called with the number of a batch, for its seed.
        """
        self._sampler.begin_at(skipped, seed)
        if self._has_begun and self._loader.persistent_workers:
            _draw_as_at_a_beginning(self._loader)
        self._has_begun = True
        iterator = iter(self._loader)
        indices = self._sampler.begun
        indices.come_to_place()
        return Batches(iterator, indices), indices.lacking


def fits(loader: Any) -> bool:
    """Whether it is PyTorch's own DataLoader, not a subclass, of a dataset with indices."""
    torch_data = getattr(sys.modules.get("torch.utils.data"), "DataLoader", None)
    return type(loader) is torch_data and asked(loader, "_dataset_kind") == _WITH_INDICES


def replace(loader: Any, replaced: bool) -> None:
    """Whether another one is iterated in place of this one, whose workers then need not be started."""
    (_replaced.add if replaced else _replaced.discard)(loader)


def is_replaced(loader: Any) -> bool:
    """Whether another one is iterated in its place."""
    return fits(loader) and loader in _replaced


def initial_seed() -> int:
    """The seed that the script gave PyTorch, or that PyTorch has chosen."""
    return int(sys.modules["torch"].initial_seed())


def sampler_of(loader: Any) -> str:
    """What the order of a loader comes from, by the name of its class."""
    lists = loader.batch_sampler
    is_users = lists is not None and not type(lists).__module__.startswith("torch.utils.data")
    return type(lists if is_users else loader.sampler).__name__


def draws_order_first(loader: Any) -> bool:
    """Whether the order of its batches is known once it has begun, whatever its data draw then.

    So it is with PyTorch's samplers, and torchdata's, of a dataset with indices.
    """
    kinds = {type(asked(loader, name)).__module__ for name in ("sampler", "batch_sampler")}
    theirs = ("torch.utils.data.", "torchdata.")
    return asked(loader, "_dataset_kind") == _WITH_INDICES and all(one.startswith(theirs) for one in kinds)


def _made(loader: Any, sampler: Sampler, seeded: bool) -> Any:
    options = {name: getattr(loader, name) for name in _KEPT if hasattr(loader, name)}
    if not loader.num_workers:
        options.pop("prefetch_factor", None)
    if not options.get("pin_memory_device"):
        options.pop("pin_memory_device", None)  # newer versions warn of it
    dataset = loader.dataset
    if seeded:
        draws = Draws()
        dataset = Seeded(dataset, draws)
        options["collate_fn"] = SeededCollate(loader.collate_fn, draws)
    if loader.batch_sampler is None:
        options |= {"batch_size": None, "sampler": sampler}
    else:
        options["batch_sampler"] = sampler
    with warnings.catch_warnings():  # the user's own has warned already
        warnings.simplefilter("ignore")
        return type(loader)(dataset, **options)


def _draw_as_at_a_beginning(loader: Any) -> None:
    """Workers that are there already are given no seed; a resumed run starts them anew, and draws one."""
    import torch

    torch.empty((), dtype=torch.int64).random_(generator=loader.generator)
