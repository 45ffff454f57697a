"""A validation inside the epoch is a scope of its own: the training does not notice it."""

from __future__ import annotations

import os
import random
import signal
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.run.training import start

from outlast import Callback, Run, UsageError
from outlast.exceptions import ArgumentError, MetricError

DataLoader, TensorDataset = torch.utils.data.DataLoader, torch.utils.data.TensorDataset


class Ear(Callback):
    """Hears everything that a validation and a batch tell."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(dict(logs))

    def on_test_begin(self, logs: Any = None) -> None:
        self.heard.append("test")

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("test", batch))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("test", dict(logs)))

    def on_test_end(self, logs: Any = None) -> None:
        self.heard.append(("tested", dict(logs)))


def test_a_validation_inside_an_epoch_counts_nothing_and_averages_under_its_own_names(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for i in run.batches(range(6)):
            if i % 3 == 2:
                for value in run.validation([i, i + 2]):
                    run.log(loss=value, val_acc=0.5, weight=value)
            run.log(loss=float(i))
    row = {"epoch": 0, "learning_rate": 0.1, "loss": 2.5, "val_loss": (25 + 49) / 12, "val_acc": 0.5}
    assert run.history.rows == [row]


def test_a_validation_after_the_batches_works_the_same(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(2):
        for value in run.batches([1.0, 3.0]):
            run.log(loss=value)
        for value in run.validation([5.0, 7.0]):
            run.log({"loss": value, "val/f1": 1.0, "valid_loss": 2.0})
        run.log(other=1.0)
    assert run.history.rows[1] == {
        "epoch": 1, "learning_rate": 0.1, "loss": 2.0, "val_loss": 6.0, "val/f1": 1.0, "valid_loss": 2.0,
        "other": 1.0,
    }  # fmt: skip


def test_the_hooks_of_tests_hear_it_with_the_names_as_logged(folder: Path) -> None:
    run = start(folder, [ear := Ear()])
    for _ in run.epochs(1):
        for i in run.batches([1.0, 2.0]):
            run.log(loss=i)
            if i == 1:
                for value in run.validation([3.0, 5.0]):
                    run.log(loss=value)
    assert ear.heard == [
        0,
        "test",
        *[("test", 0), ("test", {"loss": 3.0}), ("test", 1), ("test", {"loss": 5.0})],
        ("tested", {"loss": 4.0}),
        {"loss": 1.0},
        *[1, {"loss": 2.0}],
    ]


@pytest.mark.parametrize("kept", [False, True])
def test_a_validation_that_is_left_by_break_ends_there(folder: Path, kept: bool) -> None:
    run = start(folder, [ear := Ear()])
    for _ in run.epochs(1):
        for i in run.batches([1.0, 3.0]):
            validation = run.validation([5.0, 7.0, 100.0]) if kept else None
            for value in validation or run.validation([5.0, 7.0, 100.0]):
                run.log(loss=value)
                if value == 7:
                    break
            if not kept:
                run.log(loss=i)
    assert run.history["val_loss"] == [6.0]
    assert ear.heard.count(("tested", {"loss": 6.0})) == 2
    assert kept or run.history["loss"] == [2.0]


def test_the_training_finds_its_random_state_as_it_was(folder: Path) -> None:
    def drawn(validates: bool, folder: Path) -> list[Any]:
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        own = torch.Generator().manual_seed(5)
        data = TensorDataset(torch.arange(6))
        train, valid = (DataLoader(data, 2, shuffle=True, generator=own) for _ in range(2))
        shuffled = DataLoader(data, 2, shuffle=True)
        run = start(folder)
        seen: list[Any] = []
        for _ in run.epochs(3):
            for (x,) in run.batches(train):
                seen.append((x.tolist(), random.random(), np.random.rand(), torch.rand(()).item()))
                for loader in (valid, shuffled) if validates else ():
                    for _ in run.validation(loader):
                        random.random(), np.random.rand(), torch.rand(())
                        run.log(loss=1.0)
        return seen

    assert drawn(True, folder) == drawn(False, folder.with_name("other"))


def test_a_validations_own_generator_goes_on_and_is_put_back_at_a_resume(folder: Path) -> None:
    def seen(folder: Path, until: int | None = None) -> list[list[int]]:
        torch.manual_seed(0)
        own = torch.Generator().manual_seed(5)
        valid = DataLoader(TensorDataset(torch.arange(6)), 6, shuffle=True, generator=own)
        run = start(folder)
        found: list[list[int]] = []
        for epoch in run.epochs(5):
            if epoch == until:
                break
            for (batch,) in run.validation(valid):
                found.append(batch.tolist())
        return found

    whole = seen(folder / "whole")
    assert seen(folder / "left", 3) + seen(folder / "left") == whole
    assert len(set(map(tuple, whole))) > 1


def test_it_is_refused_where_no_epoch_is(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(UsageError, match=r"run\.validation was called outside an epoch"):
        next(run.validation([1]))
    for _ in run.epochs(1):
        pass
    with pytest.raises(UsageError, match=r"run\.validation was called outside an epoch"):
        next(run.validation([1]))


def test_batches_within_batches_are_an_error_that_names_the_validation(folder: Path) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for value in run.batches([1.0, 3.0]):
            with pytest.raises(UsageError, match=r"run\.validation\(loader\)"):
                next(run.batches([5.0]))
            for _ in run.validation([1]):
                with pytest.raises(UsageError, match=r"run\.validation was called inside run\.validation"):
                    next(run.validation([5.0]))
                with pytest.raises(UsageError, match=r"run\.batches was called inside run\.validation"):
                    next(run.batches([5.0]))
            run.log(loss=value)
    assert run.history["loss"] == [2.0]


def test_loaders_one_after_the_other_are_counted_on(folder: Path) -> None:
    run = start(folder, [ear := Ear()])
    for _ in run.epochs(2):
        for loader in ([1, 2], [3], islice([4, 5, 6], 2)):
            for _ in run.batches(loader):
                pass
    assert [one for one in ear.heard if one != {}] == [0, 1, 2, 3, 4] * 2


def test_two_loaders_in_a_zip_of_batches_are_told_to_be_zipped_inside(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(UsageError, match=r"For two loaders side by side use run\.batches\(zip\(a, b\)\)"):
        for _ in run.epochs(1):
            for _ in zip(run.batches([1, 2]), run.batches([3, 4]), strict=True):
                pass
    run = start(folder)
    with pytest.raises(UsageError, match=r"use run\.validation\(zip\(a, b\)\)"):
        for _ in run.epochs(1):
            for _ in zip(run.validation([1, 2]), run.validation([3, 4]), strict=True):
                pass


@pytest.mark.parametrize("name", ["batches", "validation"])
@pytest.mark.parametrize("loader", [3, None, 1.5, len])
def test_what_is_no_loader_is_refused(folder: Path, name: str, loader: Any) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        with pytest.raises(ArgumentError) as caught:
            next(getattr(run, name)(loader))
    assert str(caught.value) == (
        f"run.{name} takes a loader of batches, such as a DataLoader or a list, but got {loader!r}."
    )


@pytest.mark.parametrize("name", ["batches", "validation"])
@pytest.mark.parametrize("loader", [[], iter([]), (x for x in ()), DataLoader(range(0))])
def test_a_loader_that_gives_nothing_is_an_error_in_that_epoch(folder: Path, name: str, loader: Any) -> None:
    run = start(folder)
    for _ in run.epochs(1):
        for _ in run.batches([1]):
            run.log(loss=1.0)
        with pytest.raises(ArgumentError, match=rf"run\.{name} got no batch from its loader"):
            for _ in getattr(run, name)(loader):
                pass


def test_an_iterator_that_was_gone_through_ends_the_second_epoch(folder: Path) -> None:
    loader = iter([1.0, 2.0])
    run = start(folder)
    with pytest.raises(ArgumentError, match=r"run\.batches\(loader\) instead of run\.batches\(iter"):
        for _ in run.epochs(3):
            for value in run.batches(loader):
                run.log(loss=value)
    assert (run.history["loss"], run.status) == ([1.5], "interrupted")


def test_a_signal_ends_a_validation_at_its_next_batch(folder: Path) -> None:
    seen = []
    run = start(folder)
    with pytest.raises(SystemExit):
        for epoch in run.epochs(3):
            for _ in run.batches(range(2)):
                for value in run.validation(range(4)):
                    run.log(loss=1.0)
                    seen.append((epoch, value))
                    if seen[-1] == (1, 2):
                        os.kill(os.getpid(), signal.SIGTERM)
    assert seen[-1] == (1, 2)
    assert (run.history.epochs, run.committed) == ((0,), (0, None))


def test_an_error_in_a_validation_names_the_metric_and_leaves_the_run_usable(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(MetricError, match=r"^loss must be a number"):
        for _ in run.epochs(2):
            for _ in run.validation([1]):
                run.log(loss="abc")
    for _ in run.epochs(2):
        for value in run.validation([1]):
            run.log(loss=value)
    assert run.history["val_loss"] == [1.0, 1.0]


def test_without_a_folder_it_is_the_same() -> None:
    run = Run(None)
    for _ in run.epochs(1):
        for _ in run.validation([2]):
            run.log(loss=1.0)
    assert run.history["val_loss"] == [1.0]
