"""Inside an epoch: how often a resume point is made there, and how a loop is brought back to one.

A resumed script runs the code of its epoch from the beginning. Its loader begins with the random state that
it began with, and the batches that were trained are skipped; then all is as it was saved, whatever the
code before the batches has changed once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from outlast.frameworks import loaders, random_state

_PATIENCE = 0.25  # seconds that saves inside an epoch may take in any case
_SHARE = 1 / 3  # of the training's time that they may take
SHARE_OF_ROUNDS = 1 / 20  # where each round of boosting would be saved, and nobody asked for that
_LONG = 10  # seconds of training after which that is worth a line: a shorter one is over soon


class Every:
    """When a resume point is due inside an epoch.

    Args:
        wanted: a number of batches, or a timedelta.
        clock: gives seconds.
        share: of the training's time that saves may take.

    Example:
        >>> every = Every(2, lambda: 0.0)
        >>> [every.is_due(done) for done in (1, 2, 3, 4)]
        [False, True, False, True]
        >>> [every.is_due(done, 3) for done in (3, 6)]
        [True, True]
    """

    def __init__(self, wanted: int | timedelta, clock: Callable[[], float], *, share: float = _SHARE) -> None:
        self._share = share
        self._batches = wanted if isinstance(wanted, int) else None
        self._seconds = 0.0 if isinstance(wanted, int) else wanted.total_seconds()
        self.clock = clock
        self.begin()

    def begin(self) -> None:
        """Training begins."""
        self._began = self._last = self.clock()
        self._spent = 0.0  # seconds in saves
        self._is_owed = False

    def is_due(self, done: int, size: int = 1) -> bool:
        """After so many batches of the epoch, the last of them in a step of that size."""
        if self._is_owed:
            return True
        if self._batches is not None:
            return done % self._batches < size
        return self.clock() - self._last >= self._seconds

    @property
    def slows(self) -> bool:
        """Whether saves have slowed the training down enough: the next waits for the disk no longer.

        Example:
            >>> now = [0.0]
            >>> every = Every(1, lambda: now[0])
            >>> every.made(1.5)
            >>> every.slows
            True
            >>> now = [10.0]
            >>> every.slows
            False
        """
        return self._spent > max(_PATIENCE, self._share * (self.clock() - self._began))

    @property
    def is_long(self) -> bool:
        """Whether the training takes long enough for its user to care how it could be faster."""
        return self.clock() - self._began >= _LONG

    def put_off(self) -> None:
        """Have it due after the next batch."""
        self._is_owed = True

    def made(self, seconds: float = 0.0) -> None:
        """A resume point has been made, which took so long if it was inside an epoch."""
        self._last, self._is_owed = self.clock(), False
        self._spent += seconds


@dataclass
class Begun:
    """The loaders of an epoch that is under way.

    Args:
        start: the global random state when the code of the epoch began.
        counts: the batches of each so far, in the order in which they were used.
        random: the global random state when the last was begun.
        generators: those of the last, then; and counters and lists that have changed since, as they were.
        indices: a checksum of those of its batches so far, where they are known.
    """

    start: Any = None
    counts: list[int] = field(default_factory=list)
    random: Any = None
    generators: Sequence[Mapping[str, Any]] = ()
    indices: int | None = None

    def __post_init__(self) -> None:
        self._found: list[dict[str, Any]] = []  # of the last loader, as long as it is iterated here

    def begin(self, loader: Any) -> None:
        """Another loader is about to be iterated."""
        self.counts.append(0)
        self.indices = None
        self.random = random_state.collect()
        self._begin(loader)

    def _begin(self, loader: Any) -> None:
        self._found = _sources(loader)
        self.generators = [loaders.begin(found) for found in self._found]

    def count(self, indices: int | None) -> None:
        """A batch came; ``indices`` is the checksum with its own."""
        self.counts[-1] += 1
        self.indices = indices

    def saved(self) -> dict[str, Any]:
        """For a resume point."""
        pairs = zip(self.generators, self._found, strict=False)
        generators: list[Mapping[str, Any]] = [
            {**states, **loaders.at_first(found)} for states, found in pairs
        ]
        return {
            "start": self.start,
            "counts": [*self.counts],
            "random": self.random,
            "generators": generators or [*self.generators],
            "indices": self.indices,
        }

    def take(self, saved: Mapping[str, Any]) -> None:
        """The inverse of :meth:`saved`; a loader that is iterated here goes on."""
        self.start, self.counts, self.random = saved["start"], [*saved["counts"]], saved["random"]
        self.generators, self.indices = saved["generators"], saved["indices"]

    def put_back(self, loader: Any) -> Callable[[], None]:
        """Have all be where it was when the last loader began, for that loader, made again.

        What is returned undoes that for counters and lists.
        """
        random_state.restore(self.random)
        known = [
            (sources, loaders.put(sources, states))
            for sources, states in zip(_sources(loader), self.generators, strict=False)
        ]
        self._begin(loader)
        return partial(_put, known)

    def gone_on(self, loader: Any, *, of_order: bool) -> Callable[[], None]:
        """Remember where the last loader is now; what is returned puts that back.

        Args:
            loader: the loader.
            of_order: that of its order alone: it went past batches by index, and its dataset has drawn
                nothing.
        """
        wanted = loaders.of_order(loader) if of_order else None
        known = [
            (sources, {place: one for place, one in now.items() if wanted is None or place in wanted})
            for sources in self._found
            for now in [loaders.gone_on(sources)]
        ]
        return partial(_put, known)


def _sources(loader: Any) -> list[dict[str, Any]]:
    found = (one.holder for one in loaders.within(loader))
    return [{**loaders.generators(holder), **loaders.orders(holder)} for holder in found]


def _put(known: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    for sources, values in known:
        loaders.put(sources, values)
