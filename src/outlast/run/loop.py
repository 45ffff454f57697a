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

_SIZES = 16  # of first loaders that are remembered


class Loop(AnyPart):
    """Counts batches, averages their metrics, and knows the loaders' own random generators.

    It is a part of the run: the next epoch's order of batches depends on those generators.
    """

    name, moment = "loop", Moment.OPEN

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}  # what was logged in the batch at hand
        self._means = Means()
        self._in_batch = False
        self._generators = Generators()
        self._seen = Batches()
        self.begins_epoch = True  # no loader was used in it yet
        self.first_sizes: dict[str, list[int]] = {}  # of the first loader of each epoch, each once

    def begin_epoch(self) -> None:
        """Forget the epoch before."""
        self._means, self._seen, self.begins_epoch = Means(), Batches(), True
        self._generators.begin_epoch()

    def note_first(self, size: dict[str, Any], *, anew: bool) -> None:
        """Note the size of the epoch's first loader; ``anew``: those before it do not count any more."""
        self.begins_epoch = False
        known = {} if anew else self.first_sizes
        for name, value in size.items():
            values = known.get(name, [])
            if value is not None and value not in values:
                known = {**known, name: [*values, value][-_SIZES:]}
        self.first_sizes = known

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
        return {"loaders": self._generators.state(), "batches": self._seen.saved(), "sizes": self.first_sizes}

    def put_back(self, saved: Mapping[str, Any]) -> None:
        """Go on from :meth:`collect`; loaders that come are recognised by what was saved of them."""
        self._generators, self._seen = Generators(saved["loaders"]), Batches.of(saved["batches"])
        self.first_sizes = saved["sizes"]

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Give the loaders that are known their states back, in the middle of a training."""
        self._generators.restore(saved["loaders"])

    def forget(self) -> None:
        """Know no loader: nothing was put back."""
        self._generators = Generators()
