"""Batches for Keras's ``fit``, which tells data by Keras's own classes."""

from __future__ import annotations

from typing import Any

import keras

from outlast.frameworks import under_way
from outlast.frameworks.batches import Batches


class KerasBatches(Batches, keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """:class:`Batches` as a ``PyDataset``: what ``outlast.Batches(...)`` makes where Keras is imported."""

    def __init__(self, *arrays: Any, **options: Any) -> None:
        Batches.__init__(self, *arrays, **options)
        keras.utils.PyDataset.__init__(self)
        self._begun = 0  # the epoch that fit has begun, if no run says which it is

    @classmethod
    def of(cls, batches: Batches) -> KerasBatches:
        """The same batches, which were made before Keras was there."""
        if isinstance(batches, cls):
            return batches
        names = ("batch_size", "seed", "shuffle", "drop_last")
        return cls(*batches._arrays, **{name: getattr(batches, name) for name in names})

    def __getitem__(self, index: int) -> Any:
        """For ``fit``: a batch of the epoch that it has begun."""
        epoch = under_way.epoch()
        batch = self.batch(self._begun if epoch is None else epoch, index)
        return batch if isinstance(batch, (tuple, dict)) else (batch,)

    def on_epoch_begin(self) -> None:
        """Each pass is the next epoch, where no run says which it is."""
        self._begun, self.epoch = self.epoch, self.epoch + 1
