"""Batches of a PyTorch DataLoader that draw from a seed of their own, in whichever process they are made.

Items are augmented with the global generators of the process that loads them. If those are set for each
batch, it is the same whoever loads it: this process, or any of so many workers. All of this is at module
level, and small: it is pickled where workers are started by ``spawn``.
"""

from __future__ import annotations

import random
from typing import Any


class Draws:
    """Sets the global generators for a batch; in the training's own process they are put back after it."""

    def __init__(self) -> None:
        self._before: Any = None

    def begin(self, seed: int) -> None:
        """A batch begins."""
        import numpy as np
        import torch
        from torch.utils.data import get_worker_info

        if get_worker_info() is None:
            self._before = random.getstate(), np.random.get_state(), torch.get_rng_state()
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)

    def end(self) -> None:
        """A batch is made."""
        import numpy as np
        import torch

        if self._before is not None:
            (of_python, of_numpy, of_torch), self._before = self._before, None
            random.setstate(of_python)
            np.random.set_state(of_numpy)
            torch.set_rng_state(of_torch)


class Seeded:
    """A dataset that is asked for a whole batch, with its seed: ``(seed, indices)``.

    Whoever looks into it, such as a ``worker_init_fn``, finds the user's dataset.
    """

    def __init__(self, dataset: Any, draws: Draws) -> None:
        self.__dict__.update(_dataset=dataset, _draws=draws)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_dataset" not in self.__dict__:  # as pickle asks, before it is filled
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._dataset, name, value)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, seeded: Any) -> Any:
        """The items of a batch."""
        return self._drawn(seeded, self._items)

    def __getitem__(self, seeded: Any) -> Any:
        """What one index gives, where the user makes batches himself (``batch_size=None``)."""
        return self._drawn(seeded, self._dataset.__getitem__)

    def _items(self, indices: Any) -> Any:
        whole = getattr(self._dataset, "__getitems__", None)
        return whole(indices) if whole else [self._dataset[index] for index in indices]

    def _drawn(self, seeded: Any, items: Any) -> Any:
        seed, indices = seeded
        self._draws.begin(seed)
        try:
            return items(indices)
        except BaseException:
            self._draws.end()
            raise


class SeededCollate:
    """Makes a batch of its items, which is the last that is drawn for it."""

    def __init__(self, collate: Any, draws: Draws) -> None:
        self._collate, self._draws = collate, draws

    def __call__(self, items: Any) -> Any:
        try:
            return self._collate(items)
        finally:
            self._draws.end()
