"""Small trainings as people have them, each left in its middle and gone on with by the same program.

A training is a function of the folder and of the epoch in which it is left; it returns what a user would
look at in the end. ``@exact`` says that a resume gives the same bits, ``@said(text)`` that a message names
what does not, ``@refused(text)`` that an error does so before the first batch: nothing else is allowed. A new
case is one more function.
"""

from __future__ import annotations

import collections
import itertools
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
)

import outlast

EPOCHS = 6
UNTIL = 4  # the epoch in which they are left

Training = Callable[[Path, "int | None"], Any]


@dataclass(frozen=True)
class Case:
    """A training, and what is expected of a resume.

    Args:
        training: the program.
        text: what a message must have in it; None if the resume is exact.
        then: what one at the resume must have in it, if that is another.
    """

    training: Training
    text: str | None = None
    then: str | None = None


CASES: dict[str, Case] = {}
REFUSED: dict[str, Case] = {}  # what no run is begun with


def exact(training: Training) -> Training:
    CASES[training.__name__] = Case(training)
    return training


def said(text: str, then: str | None = None) -> Callable[[Training], Training]:
    def add(training: Training) -> Training:
        CASES[training.__name__] = Case(training, text, then)
        return training

    return add


def refused(text: str) -> Callable[[Training], Training]:
    def add(training: Training) -> Training:
        REFUSED[training.__name__] = Case(training, text)
        return training

    return add


# What most of them are made of.


def dataset(rows: int = 24) -> TensorDataset:
    x = torch.linspace(-1, 1, rows * 4).reshape(rows, 4).sin()
    return TensorDataset(x, x.sum(1, keepdim=True))


def network(*layers: Any) -> torch.nn.Sequential:
    torch.manual_seed(1)
    inner = layers or (torch.nn.Dropout(0.2),)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), *inner, torch.nn.Linear(8, 1))


def step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
    loss = torch.nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def result(model: Any, *more: Any) -> list[Any]:
    weights = [value.to_dense().tolist() for value in model.state_dict().values()]
    return [*weights, *more]


def train(
    folder: Path,
    until: int | None,
    *,
    loader: Any = None,
    model: Any = None,
    optimizer: Any = None,
    before: Callable[[int], object] = lambda epoch: None,
    batch: Callable[[Any, Any, Any, Any], Any] = step,
    after: Callable[[int], object] = lambda epoch: None,
    callbacks: Any = None,
    batches: Callable[[Any, Any], Any] = lambda run, loader: run.batches(loader),
    left_in: int = 0,
    **parts: Any,
) -> Any:
    """The usual loop, in which a case changes one thing; it is left in that batch of the epoch ``until``."""
    model = model or network()
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 0.01)
    loader = loader if loader is not None else DataLoader(dataset(), 8, shuffle=True)
    run = outlast.Run(folder, callbacks, model=model, optimizer=optimizer, **parts)
    for epoch in run.epochs(EPOCHS):
        before(epoch)
        for x, y in batches(run, loader(epoch) if callable(loader) else loader):
            run.log(loss=batch(model, optimizer, x, y))
            if epoch == until and run.batch >= left_in:
                if left_in:
                    run.flush()  # what was saved inside the epoch
                return None
        after(epoch)
    return result(model, run.history["loss"])


# Without epochs.


def in_steps(folder: Path, until: int | None, loader: Any) -> Any:
    """Rows of 4 steps, of a loader with 3 batches."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    run = outlast.Run(folder, model=model, optimizer=optimizer)
    for x, y in run.steps(loader, 4 * EPOCHS, log_every=4):
        run.log(loss=step(model, optimizer, x + torch.randn(4) * random.random(), y))
        if until is not None and run.step == 4 * until + 1:
            return None
    return result(model, run.history["loss"])


@exact
def steps(folder: Path, until: int | None) -> Any:
    return in_steps(folder, until, DataLoader(dataset(), 8, shuffle=True))


@exact
def steps_with_a_generator(folder: Path, until: int | None) -> Any:
    loader = DataLoader(dataset(), 8, shuffle=True, generator=torch.Generator().manual_seed(3))
    return in_steps(folder, until, loader)


@exact
def steps_through_batches_of_arrays(folder: Path, until: int | None) -> Any:
    return in_steps(folder, until, outlast.Batches(*dataset().tensors, batch_size=8, seed=3))


@exact
def steps_of_a_loader_with_workers(folder: Path, until: int | None) -> Any:
    return in_steps(folder, until, DataLoader(dataset(), 8, shuffle=True, num_workers=1))


# The data.


@exact
def a_loader_that_shuffles(folder: Path, until: int | None) -> Any:
    return train(folder, until)


@exact
def batches_of_arrays(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=outlast.Batches(*dataset().tensors, batch_size=8, seed=3))


@exact
def batches_of_arrays_made_in_every_epoch(folder: Path, until: int | None) -> Any:
    arrays = dataset().tensors
    return train(folder, until, loader=lambda epoch: outlast.Batches(*arrays, batch_size=8, seed=3))


@exact
def a_loader_with_a_generator(folder: Path, until: int | None) -> Any:
    loader = DataLoader(dataset(), 8, shuffle=True, generator=torch.Generator().manual_seed(3))
    return train(folder, until, loader=loader)


@exact
def a_loader_made_in_every_epoch(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=lambda epoch: DataLoader(dataset(), 8, shuffle=True))


@exact
def a_loader_made_in_every_epoch_with_a_seed(folder: Path, until: int | None) -> Any:
    def loader(epoch: int) -> Any:
        return DataLoader(dataset(), 8, shuffle=True, generator=torch.Generator().manual_seed(epoch))

    return train(folder, until, loader=loader)


@exact
def a_sampler_with_a_generator(folder: Path, until: int | None) -> Any:
    sampler = RandomSampler(range(24), generator=torch.Generator().manual_seed(5))
    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=sampler))


@exact
def a_weighted_sampler(folder: Path, until: int | None) -> Any:
    sampler = WeightedRandomSampler([1.0 + i % 3 for i in range(24)], 16)
    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=sampler))


class Passing(Sampler[int]):
    """Turns the data by one place more in every epoch, and remembers how far in an attribute."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        return iter([(i + self.passes) % 24 for i in range(24)])

    def __len__(self) -> int:
        return 24


@exact
def a_sampler_that_counts_its_passes(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=Passing()))


class Shuffling(Sampler[int]):
    """Shuffles a list in place, with a generator of its own."""

    def __init__(self) -> None:
        self.order, self.rng = list(range(24)), random.Random(4)

    def __iter__(self) -> Iterator[int]:
        self.rng.shuffle(self.order)
        return iter(self.order)

    def __len__(self) -> int:
        return 24


@exact
def a_sampler_that_shuffles_a_list_in_place(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=Shuffling()))


@exact
def a_sampler_that_is_told_the_epoch(folder: Path, until: int | None) -> Any:
    sampler = DistributedSampler(dataset(), num_replicas=1, rank=0)
    loader = DataLoader(dataset(), 8, sampler=sampler)
    return train(folder, until, loader=loader, before=sampler.set_epoch)


@exact
def a_sampler_that_counts_the_epoch_on(folder: Path, until: int | None) -> Any:
    sampler = DistributedSampler(dataset(), num_replicas=1, rank=0)

    def after(epoch: int) -> None:
        sampler.set_epoch(sampler.epoch + 2)

    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=sampler), after=after)


# The same, left in the third batch of an epoch: both its resume points are inside it.


def inside(folder: Path, until: int | None, loader: Any, **options: Any) -> Any:
    return train(folder, until, loader=loader, left_in=2, save_every=1, **options)


@exact
def inside_a_sampler_that_counts_its_passes(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(dataset(), 8, sampler=Passing()))


@exact
def inside_a_sampler_that_counts_its_passes_with_workers(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(dataset(), 8, sampler=Passing(), num_workers=2))


@exact
def inside_a_sampler_that_counts_its_passes_without_a_check(folder: Path, until: int | None) -> Any:
    loader = DataLoader(dataset(), 8, sampler=Passing())
    return inside(folder, until, loader, check_resume="never")


class Growing(Sampler[int]):
    """Shuffles a list in place by the number of the pass."""

    def __init__(self) -> None:
        self.order, self.passes = list(range(24)), 0

    def __iter__(self) -> Iterator[int]:
        random.Random(self.passes).shuffle(self.order)
        self.passes += 1
        return iter(self.order)

    def __len__(self) -> int:
        return 24


@exact
def inside_a_sampler_that_shuffles_a_list_in_place(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(dataset(), 8, sampler=Growing()))


@exact
def inside_a_sampler_that_shuffles_a_list_in_place_with_workers(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(dataset(), 8, sampler=Growing(), num_workers=2))


@exact
def inside_a_sampler_that_shuffles_a_list_with_a_generator(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(dataset(), 8, sampler=Shuffling()))


class Lists(Sampler[list[int]]):
    """Gives lists of indices, and counts its passes and these."""

    def __init__(self) -> None:
        self.passes = self.lists = 0

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(24, generator=torch.Generator().manual_seed(self.passes)).tolist()
        self.passes += 1
        for first in range(0, 24, 8):
            self.lists += 1
            yield [(index + self.lists) % 24 for index in order[first : first + 8]]

    def __len__(self) -> int:
        return 3


@exact
def inside_a_sampler_that_counts_its_lists(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(dataset(), batch_sampler=Lists()))


@exact
def inside_a_sampler_that_is_told_the_epoch(folder: Path, until: int | None) -> Any:
    sampler = DistributedSampler(dataset(), num_replicas=1, rank=0)
    return inside(folder, until, DataLoader(dataset(), 8, sampler=sampler), before=sampler.set_epoch)


@exact
def inside_a_sampler_that_counts_the_epoch_on(folder: Path, until: int | None) -> Any:
    sampler = DistributedSampler(dataset(), num_replicas=1, rank=0)

    def after(epoch: int) -> None:
        sampler.set_epoch(sampler.epoch + 2)

    return inside(folder, until, DataLoader(dataset(), 8, sampler=sampler), after=after)


class Dealing:
    """A loader of one's own: it shuffles a list in place, counts its passes, and has a place in a circle."""

    def __init__(self) -> None:
        self.rng, self.order, self.passes, self.place = np.random.default_rng(3), list(range(24)), 0, 0

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        self.rng.shuffle(self.order)
        self.passes += 1
        for first in range(0, 24, 8):
            self.place = (self.place + 1) % 4
            x, y = dataset()[self.order[first : first + 8]]
            yield x * (1 + self.passes / 10 + self.place / 5), y


@exact
def inside_a_loader_of_ones_own(folder: Path, until: int | None) -> Any:
    return inside(folder, until, Dealing())


class Marking(DataLoader[Any]):
    """Tells its sampler the number of the pass, as Fabric's and Accelerate's loaders do."""

    passes_begun = 0

    def __iter__(self) -> Any:
        self.sampler.set_epoch(self.passes_begun)  # type: ignore[union-attr]
        self.passes_begun += 1
        return super().__iter__()


@exact
def inside_a_loader_that_tells_its_sampler_the_epoch(folder: Path, until: int | None) -> Any:
    sampler = DistributedSampler(dataset(), num_replicas=1, rank=0)
    loader = Marking(dataset(), 8, sampler=sampler)
    loader.passes_begun = 0
    return inside(folder, until, loader)


@exact
def inside_weights_of_a_sampler_that_each_batch_changes(folder: Path, until: int | None) -> Any:
    sampler = WeightedRandomSampler(torch.ones(24), 24)

    def batch(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = step(model, optimizer, x, y)
        sampler.weights = (3 * sampler.weights + torch.arange(24) * loss.item()) % 1 + 0.01
        return loss

    return inside(folder, until, DataLoader(dataset(), 8, sampler=sampler), batch=batch)


class Mixture(IterableDataset[Any]):
    """Draws from two halves, by weights that training changes."""

    def __init__(self) -> None:
        self.weights, self.last, self.rng = np.full(2, 0.5), 0, np.random.default_rng(4)

    def __iter__(self) -> Iterator[Any]:
        x, y = dataset().tensors
        for _ in range(3):
            self.last = int(self.rng.choice(2, p=self.weights))
            chosen = 12 * self.last + self.rng.integers(12, size=8)
            yield x[chosen] * (1 + self.weights[0]), y[chosen]

    def update(self, loss: float) -> None:
        weights = self.weights.copy()
        weights[self.last] *= np.exp(loss)
        self.weights = weights / weights.sum()


def _of_a_mixture(folder: Path, until: int | None, **options: Any) -> Any:
    mixture = Mixture()

    def after(epoch: int) -> None:
        mixture.update(float(epoch))

    return train(folder, until, loader=DataLoader(mixture, batch_size=None), after=after, **options)


@exact
def weights_of_a_stream_that_training_changes(folder: Path, until: int | None) -> Any:
    return _of_a_mixture(folder, until)


@exact
def inside_weights_of_a_stream_that_training_changes(folder: Path, until: int | None) -> Any:
    return _of_a_mixture(folder, until, left_in=2, save_every=1)


class Mosaic(Dataset[Any]):
    """Mixes each sample with one of the last."""

    def __init__(self) -> None:
        self.buffer: list[int] = []

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        self.buffer = [*self.buffer, index][-5:]
        (x, y), (other, _) = dataset()[index], dataset()[random.choice(self.buffer)]
        return (x + other) / 2, y


@exact
def a_list_of_the_last_samples_in_a_dataset(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(Mosaic(), 8, shuffle=True))


@exact
def inside_a_list_of_the_last_samples_in_a_dataset(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(Mosaic(), 8, shuffle=True))


@exact
def inside_a_list_of_the_last_samples_in_a_dataset_in_a_subset(folder: Path, until: int | None) -> Any:
    return inside(folder, until, DataLoader(Subset(Mosaic(), range(24)), 8, shuffle=True))


class Noisy(Dataset[Any]):
    """A dataset with a generator of its own, which also counts what was asked for."""

    def __init__(self) -> None:
        self.rng, self.asked = np.random.default_rng(2), 0

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        self.asked += 1
        x, y = dataset()[index]
        return x + float(self.rng.normal()) + self.asked / 100, y


@exact
def a_dataset_with_a_generator(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(Noisy(), 8))


def seeded(**options: Any) -> Any:
    return DataLoader(dataset(), 8, shuffle=True, generator=torch.Generator().manual_seed(3), **options)


@exact
def a_progress_bar_around_a_loader(folder: Path, until: int | None) -> Any:
    class Bar:
        def __init__(self, iterable: Any) -> None:
            self.iterable = iterable

        def __iter__(self) -> Iterator[Any]:
            yield from self.iterable

    loader = seeded()
    return train(folder, until, loader=lambda epoch: Bar(loader))


@exact
def a_loader_that_is_enumerated(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=seeded(), batches=_from_pairs)


def _from_pairs(run: Any, loader: Any) -> Iterator[Any]:
    for _, batch in run.batches(enumerate(loader)):
        yield batch


@said("persistent workers of a DataLoader go on with random numbers of their own")
def a_loader_with_persistent_workers(folder: Path, until: int | None) -> Any:
    loader = DataLoader(Jittered(), 8, shuffle=True, num_workers=1, persistent_workers=True)
    return train(folder, until, loader=loader)


class Jittered(Dataset[Any]):
    """Random augmentation."""

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        x, y = dataset()[index]
        return x + torch.rand(4) / 10, y


@exact
def a_loader_with_workers_and_augmentation(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(Jittered(), 8, shuffle=True, num_workers=1))


@said("the workers of a DataLoader began before run.batches saw it")
def a_loader_with_workers_that_is_enumerated(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=seeded(num_workers=1), batches=_from_pairs)


@exact
def the_first_batches_of_a_loader(folder: Path, until: int | None) -> Any:
    loader = seeded()
    return train(folder, until, loader=lambda epoch: itertools.islice(loader, 2))


@exact
def two_loaders_in_a_zip(folder: Path, until: int | None) -> Any:
    first, second = seeded(), seeded()
    next(iter(second))  # another order

    def batches(run: Any, loader: Any) -> Iterator[Any]:
        for (x, _), (more, _) in run.batches(zip(first, second, strict=True)):
            x = x + 0.1 * more
            yield x, x.sum(1, keepdim=True)

    return train(folder, until, loader=first, batches=batches)


@exact
def a_loader_in_a_map(folder: Path, until: int | None) -> Any:
    loader = seeded()
    return train(
        folder, until, loader=lambda epoch: map(lambda batch: (batch[0] * 2, batch[1]), iter(loader))
    )


@exact
def a_loader_in_a_generator_expression(folder: Path, until: int | None) -> Any:
    loader = seeded()
    return train(folder, until, loader=lambda epoch: ((x * 2, y) for x, y in loader))


@said("What differs first is the batches")
def a_list_that_an_own_generator_shuffles(folder: Path, until: int | None) -> Any:
    order, rng = list(range(24)), random.Random(4)
    x, y = dataset().tensors

    def loader(epoch: int) -> Any:
        rng.shuffle(order)
        return [(x[order[i : i + 8]], y[order[i : i + 8]]) for i in range(0, 24, 8)]

    return train(folder, until, loader=loader)


@exact
def a_list_that_a_generator_shuffles_which_is_a_part(folder: Path, until: int | None) -> Any:
    rng = np.random.default_rng(4)
    x, y = dataset().tensors

    def loader(epoch: int) -> Any:
        order = rng.permutation(24)
        return [(x[order[i : i + 8]], y[order[i : i + 8]]) for i in range(0, 24, 8)]

    return train(folder, until, loader=loader, rng=rng)


class Attributed(dict[str, Any]):
    """A dict that is read by attributes, and says KeyError where others say AttributeError."""

    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__  # type: ignore[assignment]


@exact
def batches_that_are_read_by_attributes(folder: Path, until: int | None) -> Any:
    def collate(samples: Any) -> Any:
        x, y = torch.utils.data.default_collate(samples)
        return Attributed(x=x, y=y)

    def batches(run: Any, loader: Any) -> Iterator[Any]:
        return ((batch.x, batch.y) for batch in run.batches(loader))

    return train(
        folder, until, loader=DataLoader(dataset(), 8, shuffle=True, collate_fn=collate), batches=batches
    )


def nested(folder: Path, until: int | None, layout: Any) -> Any:
    """Rows of other lengths in one tensor."""

    def collate(samples: Any) -> Any:
        x, y = torch.utils.data.default_collate(samples)
        rows = [x[i].repeat(1 + i % 3, 1) for i in range(len(x))]
        return torch.nested.nested_tensor(rows, layout=layout), y

    def batch(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        return step(model, optimizer, torch.stack([rows.mean(0) for rows in x.unbind()]), y)

    loader = DataLoader(dataset(), 8, shuffle=True, collate_fn=collate)
    return train(folder, until, loader=loader, batch=batch)


@exact
def batches_of_nested_tensors(folder: Path, until: int | None) -> Any:
    return nested(folder, until, torch.strided)


@exact
def batches_of_jagged_tensors(folder: Path, until: int | None) -> Any:
    return nested(folder, until, torch.jagged)


@exact
def weights_of_a_sampler_that_training_changes(folder: Path, until: int | None) -> Any:
    model, (x, y) = network(), dataset().tensors
    sampler = WeightedRandomSampler(torch.ones(24), 16)

    def after(epoch: int) -> None:
        with torch.no_grad():
            sampler.weights = 0.5 * sampler.weights + (model(x) - y).pow(2).flatten().double()

    return train(folder, until, model=model, loader=DataLoader(dataset(), 8, sampler=sampler), after=after)


@exact
def indices_of_a_subset_that_training_adds_to(folder: Path, until: int | None) -> Any:
    pool = Subset(dataset(), list(range(8)))

    def after(epoch: int) -> None:
        pool.indices += [8 + 2 * epoch, 9 + 2 * epoch]  # type: ignore[operator]

    return train(folder, until, loader=lambda epoch: DataLoader(pool, 4, shuffle=True), after=after)


@exact
def indices_of_a_subset_in_a_tensor(folder: Path, until: int | None) -> Any:
    pool = Subset(dataset(), torch.arange(8))  # type: ignore[arg-type]

    def after(epoch: int) -> None:
        pool.indices = torch.cat([pool.indices, pool.indices[:2] + 8 + epoch])  # type: ignore

    return train(folder, until, loader=lambda epoch: DataLoader(pool, 4, shuffle=True), after=after)


class Pool(Subset[Any]):
    """The samples that were chosen so far."""


@exact
def indices_of_a_subset_of_ones_own(folder: Path, until: int | None) -> Any:
    pool = Pool(dataset(), list(range(8)))

    def after(epoch: int) -> None:
        pool.indices += [8 + 2 * epoch, 9 + 2 * epoch]  # type: ignore[operator]

    return train(folder, until, loader=lambda epoch: DataLoader(pool, 4, shuffle=True), after=after)


class Cached(Dataset[Any]):
    """Keeps the first augmentation of each sample."""

    def __init__(self) -> None:
        self.cache: dict[int, Any] = {}

    def __len__(self) -> int:
        return 24

    def __getitem__(self, index: int) -> Any:
        x, y = dataset()[index]
        if index not in self.cache:
            self.cache[index] = x + torch.randn(4) / 10
        return self.cache[index], y


@said("the data came in another order or had other contents")
def a_dataset_that_caches_random_augmentation(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(Cached(), 8, shuffle=True))


@said("What differs first is the number of batches")
def a_list_of_data_that_grows(folder: Path, until: int | None) -> Any:
    data = list(DataLoader(dataset(), 8))
    return train(folder, until, loader=lambda epoch: data, after=lambda epoch: data.append(data[epoch % 3]))


@said("an iterator such as cycle(loader) that a new start begins again")
def an_endless_iterator_that_is_made_once(folder: Path, until: int | None) -> Any:
    def cycle(loader: Any) -> Iterator[Any]:
        while True:
            yield from loader

    endless = cycle(DataLoader(dataset(), 6, shuffle=True))

    def batches(run: Any, loader: Any) -> Iterator[Any]:
        return (next(endless) for _ in run.batches(range(5)))

    return train(folder, until, batches=batches)


@said("a replay buffer")
def a_replay_buffer_that_is_not_saved(folder: Path, until: int | None) -> Any:
    buffer: deque[Any] = deque(maxlen=100)

    def replayed(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        buffer.append((x + random.random(), y))
        if len(buffer) < 8:
            return 0.0
        return step(model, optimizer, *random.choice(buffer))

    return train(folder, until, batch=replayed)


@exact
def data_that_grow(folder: Path, until: int | None) -> Any:
    return train(
        folder,
        until,
        loader=lambda epoch: DataLoader(dataset(8 + 8 * epoch), 8, shuffle=True),
    )


@exact
def another_batch_size_from_an_epoch_on(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=lambda epoch: DataLoader(dataset(), 8 if epoch < 4 else 4))


@exact
def two_tasks_in_turn(folder: Path, until: int | None) -> Any:
    tasks = [DataLoader(dataset(rows), rows // 2, shuffle=True) for rows in (24, 16)]
    return train(folder, until, loader=lambda epoch: tasks[epoch % 2])


@said("What differs first is the number of batches")
def a_validation_before_the_first_epoch_of_each_start(folder: Path, until: int | None) -> Any:
    model = network()
    checked = []

    def batches(run: Any, loader: Any) -> Any:
        if not checked:
            checked.extend(model(x).sum().item() for x, _ in run.batches(DataLoader(dataset(8), 4)))
        return run.batches(loader)

    return train(folder, until, model=model, batches=batches)


@exact
def noise_from_the_global_generators(folder: Path, until: int | None) -> Any:
    def noisy(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        x = x + random.random() + float(np.random.rand()) + torch.rand(())
        return step(model, optimizer, x, y)

    return train(folder, until, batch=noisy)


@said("What differs first is the weights")
def noise_from_an_own_generator(folder: Path, until: int | None) -> Any:
    rng = np.random.default_rng(0)

    def noisy(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        return step(model, optimizer, x + float(rng.normal()), y)

    return train(folder, until, batch=noisy)


# The model.


@exact
def batch_normalisation(folder: Path, until: int | None) -> Any:
    return train(folder, until, model=network(torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2)))


@exact
def several_optimizers(folder: Path, until: int | None) -> Any:
    model = network()
    body, head = (
        torch.optim.SGD(model[0].parameters(), 0.1, momentum=0.9),
        torch.optim.Adam(model[2].parameters()),
    )

    def both(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        for one in (body, head):
            one.step()
            one.zero_grad()
        return loss

    return train(folder, until, model=model, optimizer=[body, head], batch=both)


@exact
def a_frozen_layer_from_the_start(folder: Path, until: int | None) -> Any:
    model = network()
    model[0].requires_grad_(False)
    return train(folder, until, model=model)


@exact
def a_tensor_that_the_run_keeps_in_a_buffer(folder: Path, until: int | None) -> Any:
    model = network()
    model.register_buffer("temperature", torch.ones(()))

    def cooling(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        model.temperature *= 0.99
        return step(model, optimizer, x * model.temperature, y)

    return train(folder, until, model=model, batch=cooling)


@said("Training changes temperature")
def an_attribute_that_training_changes(folder: Path, until: int | None) -> Any:
    model = network()
    model.temperature = 1.0

    def cooling(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        model.temperature *= 0.9
        return step(model, optimizer, x * model.temperature, y)

    return train(folder, until, model=model, batch=cooling)


def accumulating(steps: int) -> Callable[[Any, Any, Any, Any], Any]:
    """Steps after so many batches, whichever epoch they are in."""
    progress = torch.zeros(())

    def batch(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        progress.add_(1)
        if progress % steps == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    batch.progress = progress  # type: ignore[attr-defined]
    return batch


class Counter:
    """A part that is a number in a tensor."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> Any:
        return {"value": self.value.clone()}

    def load_state_dict(self, state: Any) -> None:
        self.value.copy_(state["value"])


@said("Training changes 1.p")
def a_dropout_that_training_changes(folder: Path, until: int | None) -> Any:
    model = network()

    def before(epoch: int) -> None:
        model[1].p *= 0.9

    return train(folder, until, model=model, before=before)


@said("Training changes mean")
def a_tensor_in_an_attribute_that_training_changes(folder: Path, until: int | None) -> Any:
    model = network()
    model.mean = torch.zeros(4)

    def centred(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        model.mean = 0.9 * model.mean + 0.1 * x.mean(0)
        return step(model, optimizer, x - model.mean, y)

    return train(folder, until, model=model, batch=centred)


class Bank(torch.nn.Module):
    """A memory of a thousand rows, of which each step writes a few."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.bank = torch.nn.Linear(4, 1), torch.zeros(1000, 4)

    def forward(self, x: Any) -> Any:
        self.bank[3:5] = 0.5 * self.bank[3:5] + 0.5 * x[:2].detach()
        return self.inner(x + self.bank[3])


@said("Training changes bank")
def a_memory_bank_in_an_attribute(folder: Path, until: int | None) -> Any:
    torch.manual_seed(1)
    return train(folder, until, model=Bank())


class Drawing(torch.nn.Module):
    """Noise from generators of its own, one of them shared with another module."""

    def __init__(self, shared: Any) -> None:
        super().__init__()
        self.generator, self.shared = torch.Generator().manual_seed(3), shared
        self.rng, self.python = np.random.default_rng(3), random.Random(3)

    def forward(self, x: Any) -> Any:
        noise = torch.rand(x.shape, generator=self.generator) + float(self.shared.normal())
        return x + (noise + float(self.rng.normal()) + self.python.random()) / 10


@exact
def generators_in_attributes_of_modules(folder: Path, until: int | None) -> Any:
    shared = np.random.RandomState(4)
    return train(folder, until, model=network(Drawing(shared), torch.nn.Dropout(0.2), Drawing(shared)))


@exact
def gradients_that_are_carried_over(folder: Path, until: int | None) -> Any:
    batch = accumulating(4)
    return train(folder, until, batch=batch, counter=Counter(batch.progress))  # type: ignore[attr-defined]


@exact
def gradients_that_are_carried_over_in_two_optimizers(folder: Path, until: int | None) -> Any:
    model = network()
    body, head = torch.optim.SGD(model[0].parameters(), 0.1), torch.optim.Adam(model[2].parameters())

    def batch(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        head.step()
        head.zero_grad()
        return loss

    def after(epoch: int) -> None:
        if epoch % 2:
            body.step()
            body.zero_grad()

    return train(folder, until, model=model, optimizer=[body, head], batch=batch, after=after)


@said("What differs first is the weights")
def a_count_of_steps_that_is_not_saved(folder: Path, until: int | None) -> Any:
    return train(folder, until, batch=accumulating(2))


@exact
def a_layer_that_is_thawed_in_an_epoch(folder: Path, until: int | None) -> Any:
    model = network(torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2))
    model[0].requires_grad_(False)

    def before(epoch: int) -> None:
        if epoch == 2:
            model[0].requires_grad_(True)
        if epoch == 3:
            model[1].eval()

    return train(folder, until, model=model, before=before)


@said(
    "these were set after the Run was made, and are kept instead of what was saved: "
    "state/training/flags/frozen"
)
def a_layer_that_is_frozen_after_the_run_was_made(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    loader, run = seeded(), outlast.Run(folder, model=model, optimizer=optimizer)
    model[0].requires_grad_(False)
    for epoch in run.epochs(EPOCHS):
        if epoch == 2:
            model[0].requires_grad_(True)
        for x, y in run.batches(loader):
            run.log(loss=step(model, optimizer, x, y))
            if epoch == until:
                return None
    return result(model, run.history["loss"])


class Scaled(torch.nn.Module):
    """Counts its batches in a buffer that is not persistent, and keeps sparse buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.register_buffer("count", torch.zeros(()), persistent=False)
        self.register_buffer("coo", torch.eye(4).to_sparse())
        self.register_buffer("csr", torch.eye(4).to_sparse_csr(), persistent=False)
        self.register_buffer("cache", None, persistent=False)
        self.register_buffer("pairs", torch.view_as_complex(torch.ones(3, 2).half()))

    def forward(self, x: Any) -> Any:
        self.count += 1
        if self.cache is None:
            self.cache = x.mean()
        self.csr = torch.eye(4)[: int(self.count) % 4].to_sparse_csr()
        return self.inner(torch.sparse.mm(self.coo, x.T).T) * (1 + self.count / 100) + self.cache


@exact
def buffers_that_are_not_in_the_state_dict(folder: Path, until: int | None) -> Any:
    model = Scaled()
    ended = train(folder, until, model=model, batch=lambda *a: step(*a) + model.count)
    return ended and [model.count.item(), model.cache.item(), ended[-1], *result(model.inner)]


class Quantised(torch.nn.Module):
    """Looks things up in a table of eight bits."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.quantize_per_tensor(torch.ones(8), 0.1, 0, torch.qint8))

    def forward(self, x: Any) -> Any:
        return x * self.table.dequantize()


@refused("table")
def a_quantised_tensor_in_a_buffer(folder: Path, until: int | None) -> Any:
    return train(folder, until, model=network(Quantised()))


@exact
def weights_that_get_their_shape_from_the_data(folder: Path, until: int | None) -> Any:
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.LazyLinear(8), torch.nn.LazyBatchNorm1d(), torch.nn.LazyLinear(1))
    return train(folder, until, model=model)


@exact
def a_teacher_in_evaluation_that_is_a_part(folder: Path, until: int | None) -> Any:
    model, teacher = network(), network(torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.2))

    def before(epoch: int) -> None:
        if epoch == 2:
            teacher.eval()

    def distil(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        with torch.no_grad():
            y = teacher(x)
        return step(model, optimizer, x, y)

    return train(folder, until, model=model, before=before, batch=distil, teacher=teacher)


@exact
def observers_of_quantisation_that_resize_their_buffers(folder: Path, until: int | None) -> Any:
    kinds = torch.ao.quantization
    model = torch.nn.Sequential(kinds.QuantStub(), *network(torch.nn.ReLU()), kinds.DeQuantStub())
    model.qconfig = kinds.get_default_qat_qconfig("fbgemm")
    kinds.prepare_qat(model.train(), inplace=True)
    stopping = outlast.EarlyStopping("loss", patience=EPOCHS, restore_best_weights=True)
    return train(folder, until, model=model, callbacks=[stopping])


class Widening(torch.nn.Module):
    """Resizes the memory of buffers that have numbers already, and keeps one that it is given to load."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.register_buffer("left_out", torch.ones(1), persistent=False)
        self.register_buffer("seen", torch.ones(1))

    def forward(self, x: Any) -> Any:
        for one in (self.left_out, self.seen):
            one.resize_(2 * len(one))[len(one) // 2 :] = x.mean()
        return self.inner(x) * self.left_out.mean() * self.seen.mean()

    def _load_from_state_dict(self, state: Any, prefix: str, *others: Any) -> None:
        self.seen = state[f"{prefix}seen"]
        super()._load_from_state_dict(state, prefix, *others)


@exact
def buffers_whose_memory_the_model_resizes(folder: Path, until: int | None) -> Any:
    model = Widening()
    loader = DataLoader(dataset(), 24, shuffle=True)
    ended = train(folder, until, model=model, loader=loader)
    return ended and [ended, model.left_out.tolist()]


# The optimizer.


class Around(torch.optim.Optimizer):
    """Passes everything on to another optimizer and does not begin as one, as Accelerate's does."""

    param_groups = property(lambda self: self.optimizer.param_groups)  # type: ignore[assignment]
    state = property(lambda self: self.optimizer.state)  # type: ignore[assignment]
    defaults = property(lambda self: self.optimizer.defaults)  # type: ignore[assignment]

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.optimizer.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> Any:
        return self.optimizer.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self.optimizer.load_state_dict(state)


@exact
def an_optimizer_around_another_whose_steps_cannot_be_seen(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = Around(torch.optim.Adam(model.parameters(), 0.01))
    return train(folder, until, model=model, optimizer=optimizer)


@exact
def gradients_that_are_carried_over_in_an_optimizer_around_another(folder: Path, until: int | None) -> Any:
    model, batch = network(), accumulating(4)
    optimizer = Around(torch.optim.Adam(model.parameters(), 0.01))
    counter = Counter(batch.progress)  # type: ignore[attr-defined]
    return train(folder, until, model=model, optimizer=optimizer, batch=batch, counter=counter)


class Slow(Around):
    """Follows another optimizer slowly, as Lookahead does, and saves both."""

    state: Any = None

    def __init__(self, optimizer: Any) -> None:
        super().__init__(optimizer)
        self.state, self.steps = collections.defaultdict(dict), 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        super().step()
        self.steps += 1
        for one in self.param_groups[0]["params"] if self.steps % 2 else ():
            slow = self.state[one].setdefault("slow", one.clone())
            one.copy_(slow.lerp_(one, 0.5))

    def state_dict(self) -> Any:
        slow = [self.state[one].get("slow") for one in self.param_groups[0]["params"]]
        return {"fast": super().state_dict(), "slow": slow, "steps": self.steps}

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state["fast"])
        self.steps = state["steps"]
        for one, slow in zip(self.param_groups[0]["params"], state["slow"], strict=True):
            self.state[one] = {} if slow is None else {"slow": slow.clone()}


@exact
def an_optimizer_that_follows_another_slowly(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = Slow(torch.optim.Adam(model.parameters(), 0.01))
    return train(folder, until, model=model, optimizer=optimizer)


class Sam(torch.optim.Optimizer):
    """Steps with an optimizer that its own state dict does not have, with one list of groups for both."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.05})
        self.base = torch.optim.SGD(self.param_groups, lr=0.05, momentum=0.9)
        self.param_groups = self.base.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        assert self.param_groups is self.base.param_groups
        for one in self.param_groups[0]["params"]:
            self.state[one]["steps"] = self.state[one].get("steps", torch.zeros(())) + 1
        self.base.step()

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.base.param_groups = self.param_groups


@exact
def an_optimizer_inside_another_that_does_not_save_it(folder: Path, until: int | None) -> Any:
    model = network()
    cut = outlast.ReduceLROnPlateau("loss", patience=0, factor=0.5, min_delta=1.0)
    return train(folder, until, model=model, optimizer=Sam(model.parameters()), callbacks=[cut])


@exact
def an_optimizer_inside_another_that_is_a_part(folder: Path, until: int | None) -> Any:
    model = network()
    sam = Sam(model[2].parameters())

    def both(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        for one in (optimizer, sam):
            one.step()
            one.zero_grad()
        return loss

    optimizer = torch.optim.Adam(model[0].parameters(), 0.01)
    return train(folder, until, model=model, optimizer=optimizer, batch=both, sam=sam)


class Average:
    """Of all weights that there were; of how many, it does not save."""

    def __init__(self, model: Any) -> None:
        self.model, self.count = model, 0
        self.value = torch.zeros_like(model[0].bias)

    def update(self) -> None:
        self.count += 1
        self.value += (self.model[0].bias.detach() - self.value) / self.count

    def state_dict(self) -> Any:
        return {"value": self.value}

    def load_state_dict(self, state: Any) -> None:
        self.value = state["value"]


@said("What differs first is a part: state/parts/average/state/value")
def a_part_that_does_not_save_all_that_it_has(folder: Path, until: int | None) -> Any:
    model = network()
    average = Average(model)

    def averaged(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = step(model, optimizer, x, y)
        average.update()
        return loss

    return train(folder, until, model=model, batch=averaged, average=average)


@said("None of the optimizers that the Run has (adam) took a step", then="What differs first is the weights")
def an_optimizer_that_is_replaced_in_an_epoch(folder: Path, until: int | None) -> Any:
    model = network()
    used = [torch.optim.Adam(model.parameters(), 0.01)]

    def before(epoch: int) -> None:
        if epoch == 2:
            used.append(torch.optim.SGD(model.parameters(), 0.01, momentum=0.9))

    def batch(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        return step(model, used[-1], x, y)

    return train(folder, until, model=model, optimizer=used[0], before=before, batch=batch)


@exact
def an_optimizer_that_is_a_part_and_replaces_the_first(folder: Path, until: int | None) -> Any:
    model = network()
    first = torch.optim.Adam(model.parameters(), 0.01)
    second = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    epochs: list[int] = []

    def batch(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        return step(model, first if epochs[-1] < 2 else second, x, y)

    return train(
        folder, until, model=model, optimizer=first, before=epochs.append, batch=batch, second=second
    )


@exact
def gradients_that_are_carried_over_in_a_module_that_is_a_part(folder: Path, until: int | None) -> Any:
    model, head, batch = network(), torch.nn.Linear(4, 1), accumulating(4)
    optimizer = torch.optim.Adam([*model.parameters(), *head.parameters()], 0.01)

    def both(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        return batch(lambda x: model(x) + head(x), optimizer, x, y)

    counter = Counter(batch.progress)  # type: ignore[attr-defined]
    parts = {"head": head, "counter": counter}
    return train(folder, until, model=model, optimizer=optimizer, batch=both, **parts)


def weighting(folder: Path, until: int | None, logs: Any, **parts: Any) -> Any:
    """A loss with parameters of its own, which the optimizer trains with the model's."""
    model = network()
    optimizer = torch.optim.Adam([*model.parameters(), logs], 0.01)

    def weighted(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        errors = torch.stack([(model(x) - y).square().mean(), (model(x) - y).abs().mean()])
        loss = (errors * (-logs).exp() + logs).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    ended = train(folder, until, model=model, optimizer=optimizer, batch=weighted, **parts)
    return ended and [ended, logs.tolist()]


@said(
    "adam trains parameters that neither the model nor a part has, so they are not saved: number 4 of shape"
)
def parameters_of_a_loss_that_the_run_was_not_given(folder: Path, until: int | None) -> Any:
    return weighting(folder, until, torch.zeros(2, requires_grad=True))


@exact
def parameters_of_a_loss_in_a_module_that_is_a_part(folder: Path, until: int | None) -> Any:
    head = torch.nn.ParameterList([torch.zeros(2)])
    return weighting(folder, until, head[0], head=head)


class Kept:
    """Saves a copy of a parameter."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def state_dict(self) -> Any:
        return {"values": [self.value.detach().clone()], "name": "logs"}

    def load_state_dict(self, state: Any) -> None:
        with torch.no_grad():
            self.value.copy_(state["values"][0])


@exact
def parameters_of_a_loss_in_a_part_that_copies_them(folder: Path, until: int | None) -> Any:
    logs = torch.zeros(2, requires_grad=True)
    return weighting(folder, until, logs, kept=Kept(logs))


@exact
def a_group_of_parameters_that_is_added_in_an_epoch(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.Adam(model[2].parameters(), 0.01)

    def before(epoch: int) -> None:
        if epoch == 2:
            optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.001})

    return train(folder, until, model=model, optimizer=optimizer, before=before)


@exact
def a_group_of_parameters_that_is_added_in_the_epoch_of_the_check(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.Adam(model[2].named_parameters(), 0.01)

    def before(epoch: int) -> None:
        if epoch == UNTIL - 1:
            optimizer.add_param_group({"params": list(model[0].named_parameters()), "lr": 0.001})

    return train(folder, until, model=model, optimizer=optimizer, before=before)


@exact
def parameters_that_are_added_to_a_group_in_an_epoch(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.Adam(model[2].parameters(), 0.01)

    def before(epoch: int) -> None:
        if epoch == 2:
            optimizer.param_groups[0]["params"].extend(model[0].parameters())

    return train(folder, until, model=model, optimizer=optimizer, before=before)


@exact
def a_group_of_parameters_that_is_added_between_two_trainings(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.Adam(model[2].parameters(), 0.01)
    loader, run = seeded(), outlast.Run(folder, model=model, optimizer=optimizer)
    for epochs in (2, EPOCHS):
        for epoch in run.epochs(epochs):
            for x, y in run.batches(loader):
                run.log(loss=step(model, optimizer, x, y))
                if epoch == until:
                    return None
        if epochs == 2:
            optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 0.001})
    return result(model, run.history["loss"])


class Odd(torch.optim.Optimizer):
    """Keeps momentum in another precision than the weights, and other things beside."""

    def __init__(self, parameters: Any) -> None:
        super().__init__(parameters, {"lr": 0.01})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for one in group["params"]:
                state = self.state[one]
                if not state:
                    state["momentum"] = torch.zeros_like(one, dtype=torch.float32)
                    state.update(
                        last=deque(maxlen=2), name="abc", inner=OrderedDict(count=collections.Counter())
                    )
                    state["scale"] = [torch.ones((), dtype=torch.float64), np.ones(1)]
                state["momentum"].mul_(0.9).add_(one.grad.float())
                state["last"].append(float(state["momentum"].sum()))
                state["inner"]["count"].update(["steps"])
                assert state["name"] == "abc" and isinstance(state["scale"][1], np.ndarray)
                state["scale"][0] *= 1.01
                by = group["lr"] * state["scale"][0] * (2 + np.tanh(sum(state["last"])))
                one.sub_((state["momentum"] * by).to(one.dtype))


@exact
def an_optimizer_with_a_state_of_other_types(folder: Path, until: int | None) -> Any:
    model = network().bfloat16()
    data = TensorDataset(*(one.bfloat16() for one in dataset().tensors))
    loader = DataLoader(data, 8, shuffle=True)
    return train(folder, until, model=model, optimizer=Odd(model.parameters()), loader=loader)


@exact
def an_optimizer_of_other_types_that_is_a_part(folder: Path, until: int | None) -> Any:
    model = network()
    model[2].bfloat16()
    odd = Odd(model[2].parameters())

    def both(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss = torch.nn.functional.mse_loss(model[2](model[1](model[0](x)).bfloat16()), y.bfloat16())
        loss.backward()
        for one in (optimizer, odd):
            one.step()
            one.zero_grad()
        return loss

    optimizer = torch.optim.Adam(model[0].parameters(), 0.01)
    return train(folder, until, model=model, optimizer=optimizer, batch=both, odd=odd)


# The learning rate.


@exact
def a_scheduler_that_is_a_part(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    return train(
        folder,
        until,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        after=lambda epoch: scheduler.step(),
    )


@exact
def schedulers_one_after_the_other(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    kinds = torch.optim.lr_scheduler
    first, second = kinds.LinearLR(optimizer, total_iters=3), kinds.MultiStepLR(optimizer, [1, 2, 2])
    scheduler = kinds.SequentialLR(optimizer, [first, second], milestones=[3])
    return train(
        folder,
        until,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        after=lambda epoch: scheduler.step(),
    )


@said("CosineAnnealingLR acts on sgd, and its state is not saved; pass it to the Run: Run(..., scheduler=sch")
def a_scheduler_that_the_run_was_not_given(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    return train(folder, until, model=model, optimizer=optimizer, after=lambda epoch: scheduler.step())


@said("the optimizer is not saved")
def a_model_without_its_optimizer(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    run = outlast.Run(folder, model=model)
    for epoch in run.epochs(EPOCHS):
        for x, y in run.batches(DataLoader(dataset(), 8, shuffle=True)):
            run.log(loss=step(model, optimizer, x, y))
            if epoch == until:
                return None
    return result(model, run.history["loss"])


@exact
def a_rate_that_is_cut_beside_a_scheduler_that_multiplies(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    return train(
        folder,
        until,
        model=model,
        optimizer=optimizer,
        scheduler=scheduler,
        callbacks=[outlast.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1.0)],
        after=lambda epoch: scheduler.step(),
    )


@refused("sets the learning rate, but the scheduler scheduler=LambdaLR sets it again in each of its steps")
def a_rate_that_is_cut_beside_a_scheduler_that_sets_it_anew(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    callbacks = [outlast.ReduceLROnPlateau("loss")]
    return train(folder, until, model=model, optimizer=optimizer, scheduler=scheduler, callbacks=callbacks)


@exact
def a_rate_that_is_cut_on_plateaus(folder: Path, until: int | None) -> Any:
    callbacks = [
        outlast.ReduceLROnPlateau("loss", patience=1, min_delta=1.0),
        outlast.EarlyStopping("loss", patience=4, restore_best_weights=True),
        outlast.ModelCheckpoint(monitor="loss", save_best_only=True),
        outlast.CSVLogger(),
    ]
    return train(folder, until, callbacks=callbacks)


@said("ReduceLROnPlateau acts on sgd")
def a_plateau_of_pytorchs_that_the_run_was_not_given(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1)
    return train(folder, until, model=model, optimizer=optimizer, after=lambda epoch: scheduler.step(1.0))


# Callbacks of one's own.


class Damping(outlast.Callback):
    """Sets the rate by what it remembers in plain attributes."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer, self.best, self.rates = optimizer, None, [0.1]

    def on_train_begin(self, logs: Any = None) -> None:
        self.worse = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.worse += self.best is not None and logs["loss"] > 0.5 * self.best
        self.best = min(self.best or 9.0, float(logs["loss"]))
        self.rates.append(self.rates[-1] / (1 + self.worse))
        self.optimizer.param_groups[0]["lr"] = self.rates[-1]


@exact
def a_callback_with_plain_attributes(folder: Path, until: int | None) -> Any:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return train(folder, until, model=model, optimizer=optimizer, callbacks=[Damping(optimizer)])


class Smoothed(outlast.EarlyStopping):
    """Stops by a mean that it keeps in an attribute of its own."""

    mean = 1.0

    def get_monitor_value(self, logs: Any) -> float | None:
        self.mean = 0.5 * self.mean + 0.5 * float(logs["loss"])
        return self.mean


@exact
def a_subclass_of_early_stopping_with_an_attribute(folder: Path, until: int | None) -> Any:
    stopping = Smoothed("loss", min_delta=0.2, patience=1, restore_best_weights=True)
    return train(folder, until, callbacks=[stopping])


@exact
def a_callback_that_draws_from_a_generator_of_its_own(folder: Path, until: int | None) -> Any:
    class Jitter(outlast.Callback):
        def __init__(self) -> None:
            self.rng = np.random.default_rng(7)

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            optimizer.param_groups[0]["lr"] = float(self.rng.uniform(0.01, 0.1))

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return train(folder, until, model=model, optimizer=optimizer, callbacks=[Jitter()])


@exact
def a_callback_with_a_dict_that_is_read_by_attributes(folder: Path, until: int | None) -> Any:
    class Halving(outlast.Callback):
        def __init__(self) -> None:
            self.cfg = Attributed(rate=0.1)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.cfg.rate /= 2
            optimizer.param_groups[0]["lr"] = self.cfg.rate

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return train(folder, until, model=model, optimizer=optimizer, callbacks=[Halving()])


class Averaged:
    """A memory that is no plain value."""

    value = 0.1


@said("Halving.memory (Averaged) is not saved")
def a_callback_with_an_object_that_remembers(folder: Path, until: int | None) -> Any:
    class Halving(outlast.Callback):
        def __init__(self) -> None:
            self.memory = Averaged()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.memory.value /= 2
            optimizer.param_groups[0]["lr"] = self.memory.value

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    return train(folder, until, model=model, optimizer=optimizer, callbacks=[Halving()])


# What is logged.


@said("What differs first is a metric")
def a_metric_of_an_own_counter(folder: Path, until: int | None) -> Any:
    seen = 0

    def counting(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        nonlocal seen
        seen += len(x)
        return step(model, optimizer, x, y) * 0 + seen

    return train(folder, until, batch=counting)


@exact
def metrics_of_half_precision_with_weights(folder: Path, until: int | None) -> Any:
    def half(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        return step(model, optimizer, x, y).to(torch.bfloat16)

    return train(folder, until, batch=half)


class Score(outlast.Callback):
    """Adds a metric of its own to the logs."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_f1"] = np.float32(logs["loss"] / 3)


@exact
def a_metric_that_a_callback_adds(folder: Path, until: int | None) -> Any:
    run_history = train(folder, until, callbacks=[outlast.CSVLogger(), Score()])
    return run_history and [run_history, (folder / "history.csv").read_text()]


# Validations.


def validating(folder: Path, until: int | None, valid: Any, between: bool) -> Any:
    """A validation that draws random numbers, in the middle of an epoch or after its batches."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    loader = DataLoader(dataset(), 8, shuffle=True, generator=torch.Generator().manual_seed(3))
    run = outlast.Run(folder, model=model, optimizer=optimizer)

    def validate() -> None:
        for x, y in run.validation(valid):
            run.log(loss=torch.nn.functional.mse_loss(model(x), y), weight=len(x))

    for epoch in run.epochs(EPOCHS):
        for x, y in run.batches(loader):
            run.log(loss=step(model, optimizer, x, y))
            if between:
                validate()
            if epoch == until:
                return None
        if not between:
            validate()
    return result(model, run.history["loss"], run.history["val_loss"])


@exact
def a_validation_inside_the_epoch(folder: Path, until: int | None) -> Any:
    return validating(folder, until, DataLoader(dataset(16), 6, shuffle=True), between=True)


@exact
def a_validation_after_the_batches(folder: Path, until: int | None) -> Any:
    return validating(folder, until, DataLoader(dataset(16), 6), between=False)


@exact
def a_validation_with_a_generator_of_its_own(folder: Path, until: int | None) -> Any:
    rng = torch.Generator().manual_seed(7)
    sampler = RandomSampler(range(16), num_samples=5, generator=rng)
    return validating(folder, until, DataLoader(dataset(16), 5, sampler=sampler), between=True)


class Compose:
    """Transforms one after the other, as torchvision has it."""

    def __init__(self, *transforms: Any) -> None:
        self.transforms = transforms

    def __call__(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x


class Jitter:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: Any) -> Any:
        return x + 0.1 * float(self.rng.normal())


@exact
def generators_in_a_list_of_transforms_of_a_dataset(folder: Path, until: int | None) -> Any:
    class Augmented(Dataset[Any]):
        def __init__(self) -> None:
            self.data, self.transform = dataset(), Compose(Jitter(1), Jitter(2))

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, index: int) -> Any:
            x, y = self.data[index]
            return self.transform(x), y

    return train(folder, until, loader=DataLoader(Augmented(), 8))


@exact
def generators_in_a_list_and_an_object_of_a_module(folder: Path, until: int | None) -> Any:
    class Noisy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.noises, self.by_name = [Jitter(1)], {"last": torch.Generator().manual_seed(2)}

        def forward(self, x: Any) -> Any:
            return self.noises[0](x) + 0.1 * torch.randn(1, generator=self.by_name["last"])

    return train(folder, until, model=network(Noisy()))


class Grouped(Sampler[int]):
    """Shuffles lists in a dict in place, and counts in a list of lists."""

    def __init__(self) -> None:
        self.groups = {name: list(range(name, 24, 3)) for name in range(3)}
        self.seen: list[list[int]] = [[0], [0], [0]]
        self.held = self.groups[1]

    def __len__(self) -> int:
        return 24

    def __iter__(self) -> Iterator[int]:
        for name, group in self.groups.items():
            self.seen[name].append(len(self.seen[name]))
            random.Random(sum(self.seen[name])).shuffle(group)
        yield from (
            index for turn in zip(self.groups[0], self.held, self.groups[2], strict=True) for index in turn
        )


@exact
def lists_in_a_dict_of_a_sampler(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=Grouped()))


def _phases(folder: Path, until: int | None, loaders: Iterable[Any], **parts: Any) -> Any:
    """Two Runs one after the other, each with a loader of these, which may be the same."""
    model = network()
    for phase, (part, loader) in enumerate(zip((model[-1], model), loaders, strict=True)):
        optimizer = torch.optim.Adam(part.parameters(), 0.01)
        run = outlast.Run(folder / str(phase), model=model, optimizer=optimizer, **parts)
        for epoch in run.epochs(3):
            for x, y in run.batches(loader() if callable(loader) else loader):
                run.log(loss=step(model, optimizer, x, y))
                if 3 * phase + epoch == until:
                    return None
    return result(model)


def _shuffled(generator: Any) -> Any:
    return DataLoader(dataset(), 8, shuffle=True, generator=generator)


@exact
def two_phases_whose_loader_has_a_generator_that_is_a_part(folder: Path, until: int | None) -> Any:
    generator = torch.Generator().manual_seed(1)
    loader = _shuffled(generator)
    return _phases(folder, until, [loader, loader], rng=generator)


@exact
def two_phases_with_one_loader(folder: Path, until: int | None) -> Any:
    loader = _shuffled(torch.Generator().manual_seed(1))
    _other = _shuffled(torch.Generator().manual_seed(2))
    return _phases(folder, until, [loader, loader])


@exact
def two_phases_with_one_generator_in_two_loaders(folder: Path, until: int | None) -> Any:
    generator = torch.Generator().manual_seed(1)
    return _phases(folder, until, [_shuffled(generator), _shuffled(generator)])


@exact
def two_phases_with_one_counting_sampler(folder: Path, until: int | None) -> Any:
    loader = DataLoader(dataset(), 8, sampler=Passing())
    return _phases(folder, until, [loader, loader])


@exact
def two_phases_that_each_make_a_loader_of_the_same_seed(folder: Path, until: int | None) -> Any:
    made = (_shuffled(torch.Generator().manual_seed(1)) for _ in range(2))
    return _phases(folder, until, made)


@exact
def two_phases_with_two_loaders_of_the_same_seed(folder: Path, until: int | None) -> Any:
    loaders = [_shuffled(torch.Generator().manual_seed(1)) for _ in range(2)]
    return _phases(folder, until, loaders)


@exact
def two_phases_with_one_generator_in_loaders_of_each_epoch(folder: Path, until: int | None) -> Any:
    generator, model = torch.Generator().manual_seed(1), network()
    for phase, part in enumerate((model[-1], model)):
        optimizer = torch.optim.Adam(part.parameters(), 0.01)
        run = outlast.Run(folder / str(phase), model=model, optimizer=optimizer)
        for epoch in run.epochs(3):
            for x, y in run.batches(_shuffled(generator)):
                run.log(loss=step(model, optimizer, x, y))
                if 3 * phase + epoch == until:
                    return None
    return result(model)


@exact
def two_phases_of_which_the_first_makes_its_loader_when_it_needs_it(folder: Path, until: int | None) -> Any:
    second, made = _shuffled(torch.Generator().manual_seed(1)), []

    def first() -> Any:
        if not made:
            made.append(_shuffled(torch.Generator().manual_seed(1)))
        return made[0]

    return _phases(folder, until, [first, second])
