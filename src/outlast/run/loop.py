"""Loop: the batches of an epoch in a loop of one's own, and what is logged in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from outlast.core.run_state import Moment
from outlast.exceptions import MetricError
from outlast.run.batches import Batches
from outlast.run.generators import Generators
from outlast.run.means import Means
from outlast.run.parts import AnyPart


class Loop(AnyPart):
    """Counts batches, means their metrics, and knows the loaders' own random generators.

    It is a part of the run: the next epoch's order of batches depends on those generators.
    """

    name, moment = "loop", Moment.OPEN

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}  # what was logged in the batch at hand
        self._means = Means()
        self._in_batch = False
        self._generators = Generators()
        self._seen = Batches()

    def begin_epoch(self) -> None:
        """Forget the epoch before."""
        self._means, self._seen = Means(), Batches()
        self._generators.begin_epoch()

    def saw(self, batches: Iterable[int]) -> None:
        """An epoch's batches, by their checksums, of a loop that fetches them itself."""
        self._seen = Batches()
        for checksum in batches:
            self._seen.add(checksum)

    def metrics(self) -> dict[str, Any]:
        """The epoch's metrics."""
        return self._means.result()

    def log(self, metrics: Mapping[str, Any], weight: float) -> None:
        """Take metrics; inside a batch they are part of a mean.

        Raises:
            MetricError: one has the reserved name ``epoch``.
        """
        if "epoch" in metrics:
            raise MetricError("'epoch' is reserved: it numbers the history rows; rename this metric.")
        if self._in_batch:
            self.last.update(metrics)
            self._means.add(metrics, weight)
        else:
            self._means.put(metrics)

    def batches(self, loader: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """(index, batch) of a loader."""
        self._generators.meet(loader)
        try:
            for batch, data in enumerate(loader):
                self.last = {}
                self._seen.note(data)
                self._in_batch = True
                yield batch, data
                self._in_batch = False
        finally:
            self._in_batch = False

    def collect(self) -> dict[str, Any]:
        """What the next epoch's order of batches depends on, beside the global generators."""
        return {"loaders": self._generators.state(), "batches": self._seen.saved()}

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Go on from :meth:`collect`; loaders that come are recognised by what was saved of them."""
        self._generators, self._seen = Generators(saved["loaders"]), Batches.of(saved["batches"])

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Give the loaders that are known their states back, in the middle of a training."""
        self._generators.restore(saved["loaders"])

    def forget(self) -> None:
        """Know no loader: nothing was put back."""
        self._generators = Generators()
