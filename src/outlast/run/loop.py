"""Loop: the batches of an epoch in a loop of one's own, and what is logged in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from outlast.frameworks import loaders
from outlast.run.means import Means


class Loop:
    """Counts batches, means their metrics, and knows the loaders' own random generators."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}  # what was logged in the batch at hand
        self._means = Means()
        self._in_batch = False
        self._loaders: list[Any] = []  # in the order in which they were first seen
        self._saved: list[Any] = []  # states of generators, of loaders that are not seen yet

    def begin_epoch(self) -> None:
        """Forget the epoch before."""
        self._means = Means()

    def metrics(self) -> dict[str, Any]:
        """The epoch's metrics."""
        return self._means.result()

    def log(self, metrics: Mapping[str, Any], weight: float) -> None:
        """Take metrics; inside a batch they are part of a mean."""
        if self._in_batch:
            self.last.update(metrics)
            self._means.add(metrics, weight)
        else:
            self._means.put(metrics)

    def batches(self, loader: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """(index, batch) of a loader."""
        self._meet(loader)
        try:
            for batch, data in enumerate(loader):
                self.last = {}
                self._in_batch = True
                yield batch, data
                self._in_batch = False
        finally:
            self._in_batch = False

    def _meet(self, loader: Any) -> None:
        """Put a loader's generators back, when it is seen for the first time."""
        if any(known is loader for known in self._loaders):
            return
        place = len(self._loaders)
        self._loaders.append(loader)
        if place < len(self._saved):
            loaders.restore(loader, self._saved[place])

    def state(self) -> dict[str, Any]:
        """What the next epoch's order of batches depends on, beside the global generators."""
        seen = [loaders.collect(loader) for loader in self._loaders]
        return {"loaders": seen + self._saved[len(seen) :]}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._loaders, self._saved = [], list(state["loaders"])
