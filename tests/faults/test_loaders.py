"""Loaders with generators of their own: the order of batches after a resume is that of no interruption."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import outlast
from outlast.testing import FakeAdapter

torch = pytest.importorskip("torch")
EPOCHS = 5

Make = Callable[[int], Any]  # a loader for an epoch


def torch_loader(generator: Any) -> Any:
    return torch.utils.data.DataLoader(range(7), batch_size=2, shuffle=True, generator=generator)


def one_loader() -> Make:
    loader = torch_loader(torch.Generator().manual_seed(3))
    return lambda epoch: loader


def one_generator() -> Make:
    generator = torch.Generator().manual_seed(3)
    return lambda epoch: torch_loader(generator)


def new_ones_by_epoch() -> Make:
    return lambda epoch: torch_loader(torch.Generator().manual_seed(epoch))


def always_the_same() -> Make:
    return lambda epoch: torch_loader(torch.Generator().manual_seed(3))


def two_in_turn() -> Make:
    loaders = [torch_loader(torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    return lambda epoch: loaders[epoch % 2]


class Shuffled:
    """A loader with NumPy's generator."""

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        return iter(self.generator.permutation(7).tolist())


def numpy_generator() -> Make:
    loader = Shuffled(np.random.default_rng(3))
    return lambda epoch: loader


def numpy_random_state() -> Make:
    loader = Shuffled(np.random.RandomState(3))
    return lambda epoch: loader


def seeded_by_chance() -> Make:
    loader = Shuffled(np.random.default_rng(next(_CHANCE)))
    return lambda epoch: loader


_CHANCE = iter([3, 3, 8, 9])  # the undisturbed training, then each start of the other

KINDS = [
    one_loader,
    one_generator,
    new_ones_by_epoch,
    always_the_same,
    two_in_turn,
    numpy_generator,
    numpy_random_state,
    seeded_by_chance,
]


def orders(folder: Path, make: Make, leave_in: int | None = None) -> dict[int, str]:
    """The batches of each epoch, by epoch; the training is left in the midst of ``leave_in``."""
    found: dict[int, str] = {}
    run = outlast.Run(folder, adapter=FakeAdapter())
    for epoch in run.epochs(EPOCHS):
        found[epoch] = str([np.asarray(batch).tolist() for batch in run.batches(make(epoch))])
        if epoch == leave_in:
            break
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_batches_come_in_the_order_of_a_training_that_was_never_left(
    tmp_path: Path, kind: Callable[[], Make]
) -> None:
    undisturbed = orders(tmp_path / "undisturbed", kind())
    found: dict[int, str] = {}
    for left in (2, 3, None):  # each time as a new process would
        found |= orders(tmp_path / "left", kind(), left)
    assert found == undisturbed
    assert len(found) == EPOCHS


def test_a_loader_of_an_earlier_epoch_is_not_kept_in_memory(tmp_path: Path) -> None:
    alive: list[weakref.ref[Any]] = []

    def make(epoch: int) -> Any:
        loader = torch_loader(torch.Generator().manual_seed(epoch))
        alive.append(weakref.ref(loader))
        return loader

    run = outlast.Run(tmp_path / "run", adapter=FakeAdapter())
    for epoch in run.epochs(EPOCHS):
        for _ in run.batches(make(epoch)):
            pass
        gc.collect()
        assert sum(ref() is not None for ref in alive) <= 1
