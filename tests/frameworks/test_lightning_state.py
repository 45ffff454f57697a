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
from outlast.exceptions import UsageError

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


def test_what_ends_a_training_beside_the_run_ends_it_for_one_start(tmp_path: Path) -> None:
    def start(stopper: Any = None, **settings: Any) -> tuple[Any, Any]:
        run = outlast.Run(tmp_path / "run")
        return fit(run, beside=[stopper] if stopper else [], **settings), run

    def stopper(patience: int) -> Any:
        return lightning.pytorch.callbacks.EarlyStopping("val_loss", min_delta=99, patience=patience)

    def epochs(patience: int) -> tuple[int, str]:
        _, run = start(stopper(patience))
        return len(run.history.rows), run.status

    assert [epochs(one) for one in (1, 1, 2)] == [(2, "interrupted"), (2, "interrupted"), (3, "interrupted")]
    made, run = start()
    assert (len(run.history.rows), run.status, weights(made)) == (4, "finished", weights(fit()))
    assert len(start(max_epochs=5)[1].history.rows) == 5


def test_an_epoch_that_something_has_cut_short_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Stops(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
            trainer.should_stop = trainer.global_step == 9

    for save_every in ("epoch", 2):
        folder = tmp_path / str(save_every)
        fit(outlast.Run(folder, save_every=save_every), beside=[Stops()])
        assert "Lightning has ended the training: it ended in" in capsys.readouterr().out
        made = fit(outlast.Run(folder, save_every=save_every))
        assert weights(made) == weights(fit())


def test_averages_that_nothing_can_save_are_refused(tmp_path: Path) -> None:
    averaging = lightning.pytorch.callbacks.StochasticWeightAveraging(0.01)
    with pytest.raises(UsageError, match="leave it out"):
        fit(outlast.Run(tmp_path / "run"), beside=[averaging])


def test_a_setting_of_the_trainer_that_changed_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(outlast.Run(tmp_path / "run"), max_epochs=1)
    fit(outlast.Run(tmp_path / "run"), max_epochs=2, gradient_clip_val=0.5, limit_train_batches=3)
    told = capsys.readouterr().out
    assert "gradient_clip_val changed from None to 0.5" in told
    assert "limit_train_batches changed from 1.0 to 3" in told


def test_a_class_of_the_users_own_is_not_taken_for_lightnings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Timer(lightning.Callback):
        """Has but the name."""

    fit(outlast.Run(tmp_path / "run"), beside=[Timer()], max_epochs=1)
    assert "Timer" not in capsys.readouterr().out
