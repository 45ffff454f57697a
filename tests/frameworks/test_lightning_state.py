"""What stands in a training with Lightning beside the weights: it goes on exactly, or is named."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from tests.frameworks.lightning_trainings import (
    Leaves,
    Left,
    Module,
    fit,
    weights,
)
from torchmetrics.wrappers import MinMaxMetric, Running

import outlast
from outlast.exceptions import UsageError

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*returned `None`, this fit will run with no optimizer"),
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
        self.least, self.latest = (
            MinMaxMetric(torchmetrics.MeanSquaredError()),
            Running(torchmetrics.MeanSquaredError(), 5),
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


class Averages(lightning.Callback):
    """Holds a module, which it validates with."""

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.averaged = copy.deepcopy(module.layers)

    def on_train_batch_end(self, trainer: Any, module: Any, *batch: Any) -> None:
        with torch.no_grad():
            for one, other in zip(self.averaged.parameters(), module.layers.parameters(), strict=True):
                one.mul_(0.9).add_(other, alpha=0.1)
                other.mul_(0.99).add_(one, alpha=0.01)


class Probes(lightning.Callback):
    """Trains a module of its own."""

    def on_fit_start(self, trainer: Any, module: Any) -> None:
        self.probe = torch.nn.Linear(4, 1)
        self.optimizer = torch.optim.Adam(self.probe.parameters(), 0.01)

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        loss = ((self.probe(batch[0]) - batch[1]) ** 2).mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        module.log("probe", loss, on_step=False, on_epoch=True)


class Hides(Module):
    """Holds a module in a list, metrics in a dict, and an optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.teachers = [copy.deepcopy(self.layers)]
        self.measured = {"error": torchmetrics.MeanSquaredError()}
        self.own = torch.optim.Adam(self.parameters(), 0.01)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        with torch.no_grad():
            taught = self.teachers[0](batch[0])
            for one, other in zip(self.teachers[0].parameters(), self.layers.parameters(), strict=True):
                one.mul_(0.9).add_(other, alpha=0.1)
        self.measured["error"].update(taught, batch[1])
        self.own.zero_grad()
        self.manual_backward(super().training_step([batch[0], batch[1] + 0.1 * taught], batch_idx))
        self.own.step()

    def on_train_epoch_end(self) -> None:
        self.log("error", self.measured["error"].compute())
        self.measured["error"].reset()

    def configure_optimizers(self) -> None:
        """It has one."""


KINDS: dict[str, dict[str, Any]] = {
    "a collection of metrics": {"module": Grouped},
    "a collection that is logged": {"module": Logged},
    "wrappers of metrics": {"module": Wrapped},
    "Python's own reductions": {"module": Reduces},
    "logged metrics": {"module": Reads},
    "a module in a callback": {"beside": lambda: [Averages()]},
    "a module that a callback trains": {"beside": lambda: [Probes()]},
    "what the module holds by the way": {"module": Hides},
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


class Begins(Module):
    """Sets all back when a fit begins."""

    def __init__(self) -> None:
        super().__init__()
        self.best = torchmetrics.MinMetric()
        self.register_buffer("calls", torch.zeros(()))

    def on_train_start(self) -> None:
        self.best.reset()
        self.calls.zero_()
        torch.rand(3)
        with torch.no_grad():
            self.layers[0].weight.zero_()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.calls += 1
        loss = super().training_step(batch, batch_idx) * (1 + self.calls / 100)
        self.best.update(loss.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        self.log("best", self.best.compute())


@pytest.mark.parametrize("save_every", ["epoch", 2])
def test_what_the_module_sets_when_a_fit_begins_undoes_no_resume(tmp_path: Path, save_every: Any) -> None:
    assert goes_on_exactly(tmp_path, save_every=save_every, module=Begins)
