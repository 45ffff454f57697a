"""What stands in a training with Lightning beside the weights: it goes on exactly, or is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from tests.frameworks.lightning_trainings import Leaves, Left, Module, fit, weights
from torchmetrics.wrappers import MinMaxMetric, Running

import outlast

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:The ``compute`` method of metric"),
]


class Grouped(Module):
    """Its metrics are in a collection, and two of them have the same states."""

    def __init__(self) -> None:
        super().__init__()
        kinds = {"precision": torchmetrics.Precision, "recall": torchmetrics.Recall}
        self.all = torchmetrics.MetricCollection(
            {name: one(task="binary") for name, one in kinds.items()}
            | {"error": torchmetrics.MeanSquaredError()}
        )

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.all.update(self.layers(batch[0]).sigmoid().squeeze(), (batch[1] > 0).int().squeeze())
        return super().training_step(batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.all.compute())
        self.all.reset()


class Logged(Grouped):
    """Has the collection logged and reset."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.all.update(self.layers(batch[0]).sigmoid().squeeze(), (batch[1] > 0).int().squeeze())
        self.log_dict(self.all, on_step=False, on_epoch=True)
        return Module.training_step(self, batch, batch_idx)

    def on_train_epoch_end(self) -> None:
        """Lightning does it."""


class Wrapped(Module):
    """Its metrics remember beside their states."""

    def __init__(self) -> None:
        super().__init__()
        self.least, self.latest = MinMaxMetric(torchmetrics.MeanSquaredError()), Running(
            torchmetrics.MeanSquaredError(), 5
        )

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        for one in (self.least, self.latest):
            one.update(self.layers(batch[0]), batch[1])
        found = self.least.compute()["min"] + self.latest.compute()
        return super().training_step(batch, batch_idx) * (1 + found.detach())


class Reduces(Module):
    """Names Python's own functions."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("most", loss, on_step=False, on_epoch=True, reduce_fx=max)
        self.log("total", loss, on_step=False, on_epoch=True, reduce_fx=sum)
        return loss


class Reads(Module):
    """Trains by what was logged."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        self.log("shown", loss, prog_bar=True, on_step=True, on_epoch=True)
        found = [*self.trainer.logged_metrics.values(), *self.trainer.progress_bar_metrics.values()]
        return loss * (1 + 0.1 * sum(map(float, found)))


KINDS: dict[str, dict[str, Any]] = {
    "a collection of metrics": {"module": Grouped},
    "a collection that is logged": {"module": Logged},
    "wrappers of metrics": {"module": Wrapped},
    "Python's own reductions": {"module": Reduces},
    "logged metrics": {"module": Reads},
}


def made(folder: Path, leave: int | None, beside: Callable[[], Any] = list, **settings: Any) -> Any:
    """The module and the rows of a training in a run, which may be left."""
    options = {"save_every": settings.pop("save_every", "epoch"), "check_resume": "never"}
    run = outlast.Run(folder, [outlast.CSVLogger(), Leaves(leave)], **options)
    module = fit(run, beside=beside(), **settings)
    return weights(module), run.history.rows


def goes_on_exactly(folder: Path, **settings: Any) -> bool:
    """Whether a training that was left twice is as one that never was."""
    whole = made(folder / "whole", None, **settings)
    for leave in (15, 2):
        with pytest.raises(Left):
            made(folder / "left", leave, **settings)
    return bool(made(folder / "left", None, **settings) == whole)


@pytest.mark.parametrize("save_every", ["epoch", 2])
@pytest.mark.parametrize("kind", KINDS)
def test_what_lightning_leaves_out_of_weights_goes_on(tmp_path: Path, kind: str, save_every: Any) -> None:
    assert goes_on_exactly(tmp_path, save_every=save_every, **KINDS[kind])
