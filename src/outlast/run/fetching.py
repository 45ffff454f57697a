"""Fetching: how the batches of a loader are fetched, from which one on, and with which seeds.

A loader with workers draws its augmentation in them, in an order that no resume can find in the middle of a
pass without loading all that came before. With a seed for each batch it can.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from outlast.core.asking import asked
from outlast.exceptions import RunChanged
from outlast.frameworks import loaders, positioned
from outlast.run import batches as checksums

AUGMENTATIONS = ("auto", "batch", "leave")

Place = tuple[int, int]  # the epoch or the pass, and the loader's turn in it


_OWN_GENERATOR = (
    "worker_init_fn makes a random generator, and a resume inside an epoch begins it anew: draw from torch, "
    "random or numpy.random in the workers, which have a seed for each batch"
)
_MADE = {"default_rng", "Generator", "Random", "RandomState"}


class Fetching:
    """Begins the iterators of loaders.

    Args:
        augmentation: ``"batch"``: a DataLoader's batches each draw from a seed; ``"leave"``: as PyTorch does;
            ``"auto"``: the former, where there are workers and resume points within a pass.
        seed: the script's.
        say: prints a line.
        tell: called with what is not known for certain, as a phrase.

    Attributes:
        inside: resume points may be made within a pass.
        base: what the seeds of batches are made from; None as long as there are none.
    """

    def __init__(
        self,
        augmentation: str = "auto",
        seed: int | None = None,
        say: Callable[[str], object] = lambda text: None,
        tell: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._augmentation, self._seed, self._say, self._tell = augmentation, seed, say, tell
        self.inside = False
        self.base: int | None = None
        self._said = False
        self._lasting: WeakKeyDictionary[Any, positioned.Rebuilt] = WeakKeyDictionary()  # with their workers

    def meet(self, loader: Any) -> None:
        """Before a loader is used: decide how."""
        if positioned.fits(loader):
            positioned.replace(loader, self._is_seeded(loader))
        if not self._is_seeded(loader):
            return
        if self.base is None:
            self.base = _base(self._seed)
        if self._augmentation == "auto" and not self._said and self.inside and loader.num_workers > 0:
            self._said = True
            self._say(
                "the workers of a DataLoader draw from a seed for each batch, so that the run can go on "
                "inside an epoch: the data is as random as before, but with other random numbers. "
                "augmentation='leave' keeps PyTorch's own draws; augmentation='batch' does without this line"
            )

    def inexact(self, loader: Any) -> list[str]:
        """What of a loader a resume cannot make identical."""
        if not self._is_seeded(loader):
            return loaders.inexact(loader)
        return [_OWN_GENERATOR] if self.inside and _makes_generator(loader) else []

    def _is_seeded(self, loader: Any) -> bool:
        if not positioned.fits(loader) or self._augmentation == "leave":
            return False
        needed = self.base is not None or (self.inside and loader.num_workers > 0)
        return self._augmentation == "batch" or needed

    def begin(self, loader: Any, place: Place) -> Iterator[Any]:
        """An iterator of a loader."""
        rebuilt = self._rebuilt(loader)
        if rebuilt is None:
            plain: Iterator[Any] = iter(loader)
            return plain
        return rebuilt.begin(0, self._seeds(loader, place))[0]

    def begin_behind(
        self, loader: Any, place: Place, trained: int, checksum: int | None, batches: Sequence[int] = ()
    ) -> tuple[Iterator[Any], bool]:
        """One that goes on behind the batches that were trained, and whether it went past them by index.

        Args:
            loader: made again.
            place: of it.
            trained: how many batches.
            checksum: of their indices; None if that is not known.
            batches: their own checksums, as far as they are known, to be compared where they are loaded.

        Raises:
            RunChanged: there are fewer.
        """
        rebuilt = self._rebuilt(loader)
        if rebuilt is None:
            iterator: Any = iter(loader)
            skipped = loaders.skip(iterator, trained)
            lacking, by_index = self._loaded(loader, iterator, trained - skipped, batches), skipped == trained
        else:
            by_index = True
            iterator, lacking = rebuilt.begin(trained, self._seeds(loader, place))
            if not lacking and checksum not in (None, iterator.checksum):
                self._tell(
                    f"{positioned.sampler_of(loader)} gave other indices for the batches that were trained: "
                    "it draws from a generator that something else uses, too, or the data has changed"
                )
        if lacking:
            raise RunChanged(
                f"This loader gave {trained - lacking} batches, and the run was saved after batch {trained} "
                "of it: the data has changed. Give it the same data, or begin again with resume='never'."
            )
        return iterator, by_index

    def _rebuilt(self, loader: Any) -> positioned.Rebuilt | None:
        """The loader that is iterated in place of the user's; None if it is that itself."""
        seeded = self._is_seeded(loader)
        if not seeded and not (self.inside and positioned.fits(loader) and not loader.num_workers):
            return None
        if not loader.persistent_workers:
            return positioned.Rebuilt(loader, seeded=seeded)
        if loader not in self._lasting:
            self._lasting[loader] = positioned.Rebuilt(loader, seeded=seeded)
        return self._lasting[loader]

    def _seeds(self, loader: Any, place: Place) -> Callable[[int], int] | None:
        if self.base is None or not self._is_seeded(loader):
            return None
        return partial(_seed, self.base, *place)

    def _loaded(self, loader: Any, iterator: Iterator[Any], batches: int, known: Sequence[int]) -> int:
        """Load batches to skip them; returns how many are lacking."""
        reason = _why_loaded(loader) if batches else ""
        if reason:
            self._say(f"{batches} batches are loaded once more to be skipped: {reason}")
        nothing, others = object(), []
        for before in [*known, *[None] * batches][:batches]:
            batch = next(iterator, nothing)
            if batch is nothing:
                break
            others.append(before is not None and before != checksums.checksum(batch))
            batches -= 1
        if any(others) and (others[0] or not positioned.draws_order_first(loader)):
            self._tell(
                f"{sum(others)} of the batches that were trained are others now that they are loaded once "
                "more: they draw from a generator that training draws from, too, or the data has changed. "
                "Give the data a generator of their own, and pass it to the Run as a part"
            )
        return batches


def checksums_of(iterator: Iterator[Any]) -> positioned.Batches | None:
    """What has the checksum of the indices of all batches so far; None where they are not known."""
    return iterator if isinstance(iterator, positioned.Batches) else None


def _base(seed: int | None) -> int:
    """From the script's seed: that of the run, or else PyTorch's."""
    drawn = positioned.initial_seed() if seed is None else seed
    return int.from_bytes(hashlib.blake2b(repr(drawn).encode(), digest_size=4).digest())


def _seed(base: int, epoch: int, turn: int, batch: int) -> int:
    text = f"{base} {epoch} {turn} {batch}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def _why_loaded(loader: Any) -> str:
    """What the user can do about it; nothing is said of what is no DataLoader."""
    found = [one.holder for one in loaders.within(loader)]
    if not any(asked(one, "num_workers") is not None for one in found):
        return ""
    if positioned.fits(loader):
        return "augmentation='leave' keeps what workers draw; augmentation='batch' goes on by index"
    if any(one is loader for one in found) and asked(loader, "_dataset_kind"):
        return "the dataset is a stream; one with indices (__getitem__ and __len__) goes on by index"
    return (
        "only a DataLoader itself, passed to run.batches directly, goes on by index: no subclass, no wrapper"
    )


def _makes_generator(loader: Any) -> bool:
    """Whether the code that a worker begins with makes a random generator of its own."""
    code = asked(asked(loader, "worker_init_fn"), "__code__")
    return asked(loader, "num_workers", 0) > 0 and bool(_MADE & {*asked(code, "co_names", ())})
