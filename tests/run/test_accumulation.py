"""Gradients of several batches for a step, which Accelerate counts: a run is saved between two steps."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import outlast

torch = pytest.importorskip("torch")

TOLD = "would not be exact: Accelerate sums gradients over the end of an epoch"


class Accelerator:
    """Counts batches, and steps with every second of them, as Accelerate's does; nobody saves its count."""

    def __init__(self, ends_with_loader: bool) -> None:
        self.count, self.ends_with_loader = 0, ends_with_loader
        self.gradient_state = SimpleNamespace(sync_gradients=True)

    def begin(self, is_last: bool) -> None:
        self.count = 0 if is_last and self.ends_with_loader else self.count + 1
        self.gradient_state.sync_gradients = self.count % 2 == 0

    def prepare(self, optimizer: Any) -> Any:
        optimizer.gradient_state = self.gradient_state
        return optimizer


def train(
    folder: Path, until: int | None = None, *, batches: int = 7, ends: bool = True, sent: Any = None
) -> Any:
    """The weight at the end; None if the training was left after so many batches."""
    model = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(model.weight)
    accelerator = Accelerator(ends)
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), 0.1))
    run = outlast.Run(folder, model=model, optimizer=optimizer, save_every=3)
    done = 0
    for _ in run.epochs(2):
        for index in run.batches(range(batches)):
            accelerator.begin(index == batches - 1)
            loss = (model.weight * (index + 1) - 1).square().mean()
            loss.backward()
            if accelerator.gradient_state.sync_gradients:
                optimizer.step()
                optimizer.zero_grad()
            run.log(loss=loss)
            done += 1
            if done == sent:
                os.kill(os.getpid(), signal.SIGTERM)
            if done == until:
                run.flush()
                return None
    return model.weight.item()


def test_a_save_waits_for_the_last_batch_of_a_step(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = train(folder / "whole")
    for until in (5, 3, 8):
        train(folder / "left", until)
    assert train(folder / "left") == whole
    out = capsys.readouterr().out
    assert "epoch 1 after batch 4" in out and TOLD not in out and "not identical" not in out


def test_a_signal_inside_a_step_ends_the_training_after_the_step(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(folder / "whole")
    with pytest.raises(SystemExit):
        train(folder / "left", sent=5)
    assert "SIGTERM: ended in epoch 1 up to batch 6, which is saved" in capsys.readouterr().out
    assert train(folder / "left") == whole


@pytest.mark.parametrize(
    ("batches", "ends", "named"), [(7, False, True), (6, False, False), (7, True, False)]
)
def test_a_step_that_goes_on_over_the_end_of_an_epoch_is_named_once(
    folder: Path, capsys: pytest.CaptureFixture[str], batches: int, ends: bool, named: bool
) -> None:
    train(folder, batches=batches, ends=ends)
    assert capsys.readouterr().out.count(TOLD) == named
