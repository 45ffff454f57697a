"""A rate that a callback sets, and something else that sets it too: refused, or said by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as schedulers

import outlast
from outlast import OutlastWarning, UsageError

ANEW: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda optimizer: schedulers.LambdaLR(optimizer, lambda epoch: 1.0),
    "OneCycleLR": lambda optimizer: schedulers.OneCycleLR(optimizer, 0.1, total_steps=40),
    "CyclicLR": lambda optimizer: schedulers.CyclicLR(optimizer, 0.05, 0.1),
    "SequentialLR": lambda optimizer: schedulers.SequentialLR(
        optimizer, [schedulers.LinearLR(optimizer), schedulers.LambdaLR(optimizer, lambda epoch: 1.0)], [3]
    ),
}
MULTIPLYING: dict[str, Callable[[Any], Any]] = {
    "StepLR": lambda optimizer: schedulers.StepLR(optimizer, 100),
    "ExponentialLR": lambda optimizer: schedulers.ExponentialLR(optimizer, 0.99),
    "ReduceLROnPlateau": lambda optimizer: schedulers.ReduceLROnPlateau(optimizer),
}


def train(folder: Path, callback: Any, make: Callable[[Any], Any], *, as_part: bool) -> outlast.Run:
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = make(optimizer)
    parts = {"scheduler": scheduler} if as_part else {}
    run = outlast.Run(folder, [callback], model=model, optimizer=optimizer, **parts)
    for _ in run.epochs(5):
        for _ in run.batches(range(2)):
            optimizer.step()
            scheduler.step(*(1.0,) * isinstance(scheduler, schedulers.ReduceLROnPlateau))
            run.log(loss=1.0)
    return run


def plateau() -> Any:
    return outlast.ReduceLROnPlateau("loss", factor=0.1, patience=1)


@pytest.mark.parametrize("name", ANEW)
@pytest.mark.parametrize("callback", [plateau, lambda: outlast.LearningRateScheduler(lambda epoch: 0.01)])
def test_a_scheduler_that_sets_the_rate_anew_is_refused_before_the_first_batch(
    folder: Path, name: str, callback: Callable[[], Any]
) -> None:
    told = f"sets the learning rate, but the scheduler scheduler={name} sets it again in each of its steps"
    with pytest.raises(UsageError, match=told):
        train(folder, callback(), ANEW[name], as_part=True)


@pytest.mark.parametrize("name", MULTIPLYING)
def test_a_scheduler_that_multiplies_the_rate_undoes_no_cut(folder: Path, name: str) -> None:
    run = train(folder, plateau(), MULTIPLYING[name], as_part=True)
    assert run.learning_rate < 0.0011


@pytest.mark.parametrize("name", [name for name in ANEW if name != "SequentialLR"])
def test_a_cut_that_something_unknown_undoes_is_said_once(folder: Path, name: str) -> None:
    told = r"^ReduceLROnPlateau set the learning rate to \S+, but it is \S+ at the end of epoch 3: something"
    with pytest.warns(OutlastWarning, match=told) as caught:
        train(folder, plateau(), ANEW[name], as_part=False)
    assert len(caught) == 1


def test_a_rate_of_a_schedule_that_something_undoes_is_said(folder: Path) -> None:
    told = r"^LearningRateScheduler set the learning rate to 0\.01, but it is 0\.1 at the end of epoch 1"
    callback = outlast.LearningRateScheduler(lambda epoch: 0.01)
    with pytest.warns(OutlastWarning, match=told) as caught:
        train(folder, callback, ANEW["LambdaLR"], as_part=False)
    assert len(caught) == 1
