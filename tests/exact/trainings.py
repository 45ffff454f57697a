"""Small trainings as people have them, each left in its middle and gone on with by the same program.

A training is a function of the folder and of the epoch in which it is left; it returns what a user would
look at in the end. ``@exact`` says that a resume gives the same bits, ``@said(text)`` that a message names
what does not: nothing else is allowed. A new case is one more function.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler, Sampler, TensorDataset, WeightedRandomSampler

import outlast

EPOCHS = 6

Training = Callable[[Path, "int | None"], Any]


@dataclass(frozen=True)
class Case:
    """A training, and what is expected of a resume.

    Args:
        training: the program.
        text: what a message must have in it; None if the resume is exact.
    """

    training: Training
    text: str | None = None


CASES: dict[str, Case] = {}


def exact(training: Training) -> Training:
    CASES[training.__name__] = Case(training)
    return training


def said(text: str) -> Callable[[Training], Training]:
    def add(training: Training) -> Training:
        CASES[training.__name__] = Case(training, text)
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
    weights = [value.tolist() for value in model.state_dict().values()]
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
    **parts: Any,
) -> Any:
    """The usual loop, in which a case changes one thing."""
    model = model or network()
    optimizer = optimizer or torch.optim.Adam(model.parameters(), 0.01)
    loader = loader if loader is not None else DataLoader(dataset(), 8, shuffle=True)
    run = outlast.Run(folder, callbacks, model=model, optimizer=optimizer, **parts)
    for epoch in run.epochs(EPOCHS):
        before(epoch)
        for x, y in batches(run, loader(epoch) if callable(loader) else loader):
            run.log(loss=batch(model, optimizer, x, y))
            if epoch == until:
                return None
        after(epoch)
    return result(model, run.history["loss"])


# The data.


@exact
def a_loader_that_shuffles(folder: Path, until: int | None) -> Any:
    return train(folder, until)


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


@said("What differs first is the batches")
def a_sampler_that_counts_its_passes(folder: Path, until: int | None) -> Any:
    return train(folder, until, loader=DataLoader(dataset(), 8, sampler=Passing()))


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


@exact
def data_that_grow(folder: Path, until: int | None) -> Any:
    return train(
        folder,
        until,
        loader=lambda epoch: DataLoader(dataset(8 + 8 * epoch), 8, shuffle=True),
        accept_changes=["steps"],
    )


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


@said("What differs first is the weights")
def an_attribute_that_training_changes(folder: Path, until: int | None) -> Any:
    model = network()
    model.temperature = 1.0

    def cooling(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        model.temperature *= 0.9
        return step(model, optimizer, x * model.temperature, y)

    return train(folder, until, model=model, batch=cooling)


@said("What differs first is the weights")
def gradients_that_are_carried_over(folder: Path, until: int | None) -> Any:
    count = 0

    def accumulating(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        nonlocal count
        count += 1
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        if count % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    return train(folder, until, batch=accumulating)


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


@said("What differs first is the learning rate")
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


@exact
def a_rate_that_is_cut_on_plateaus(folder: Path, until: int | None) -> Any:
    callbacks = [
        outlast.ReduceLROnPlateau("loss", patience=1, min_delta=1.0),
        outlast.EarlyStopping("loss", patience=4, restore_best_weights=True),
        outlast.ModelCheckpoint(monitor="loss", save_best_only=True),
        outlast.CSVLogger(),
    ]
    return train(folder, until, callbacks=callbacks)


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
