"""Callbacks in Lightning's own loop: what they hear, and do; runs that go on exactly; what is refused."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from tests.frameworks.lightning_trainings import (
    BATCHES,
    QUIET,
    Follows,
    Leaves,
    Left,
    Module,
    X,
    Y,
    fit,
    held_out,
    scheduled,
    trained_on,
    weights,
)
from torch.utils.data import DataLoader, TensorDataset

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    MissingExtra,
    OutlastWarning,
    RunChanged,
    UsageError,
)
from outlast.frameworks.lightning import Outlast, callbacks, named, resume_arguments

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning"),  # of PyTorch, before a first step
]

# What callbacks hear and do.


def test_metrics_have_the_names_of_the_user_and_loss_is_the_train_loss() -> None:
    history = outlast.History()
    fit(history, max_epochs=2)
    assert [*history.history] == ["learning_rate", "val_loss", "train_loss", "highest", "loss"]
    assert history.history["loss"] == history.history["train_loss"]


def test_a_loss_of_the_users_own_stays() -> None:
    assert named({"loss": 1.0, "train_loss": 2.0}) == {"loss": 1.0, "train_loss": 2.0}


def test_a_metric_of_steps_and_epochs_has_all_three_names() -> None:
    class Both(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.loss(batch)
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

    history = outlast.History()
    fit(history, module=Both, max_epochs=1)
    rows = history.history
    assert rows["train_loss"] == rows["train_loss_epoch"] == rows["loss"]


def test_what_the_module_logs_when_an_epoch_ends_is_seen_in_it() -> None:
    stopping = outlast.EarlyStopping(patience=1)
    made = fit(stopping, module=lambda: Follows([1.0, 2.0, 0.5, 0.1]))
    assert made.trainer.current_epoch == 2
    assert (stopping.best, stopping.stopped_epoch) == (1.0, 1)


def test_a_metric_of_an_earlier_epoch_is_not_heard_again() -> None:
    """Lightning keeps ``val_loss`` in its metrics in epochs that have no validation."""
    history, stopping = outlast.History(), outlast.EarlyStopping(patience=2, min_delta=9)
    made = fit(stopping, history, max_epochs=8, check_val_every_n_epoch=2)
    assert made.trainer.current_epoch == 6
    assert len(history.history["val_loss"]) == 3


def test_the_first_that_stops_silences_no_other_and_two_of_one_class_both_act() -> None:
    first = outlast.EarlyStopping(patience=1)
    second, history = outlast.EarlyStopping(patience=3), outlast.History()
    fit(first, second, history, module=lambda: Follows([1.0, 2.0, 3.0, 4.0]))
    assert (first.stopped_epoch, second.wait, len(history.epoch)) == (1, 1, 2)


def test_a_stopper_of_lightnings_silences_nobody() -> None:
    theirs = lightning.pytorch.callbacks.EarlyStopping("train_loss", patience=0, min_delta=1e9)
    history = outlast.History()
    made = fit(history, beside=[theirs])
    assert made.trainer.current_epoch == len(history.epoch) == 2


def test_nan_at_first_and_negative_metrics_are_no_best() -> None:
    stopping = outlast.EarlyStopping(patience=1)
    fit(stopping, module=lambda: Follows([float("nan"), -1.0, -2.0, -1.5]))
    assert (stopping.best, stopping.best_epoch) == (-2.0, 2)


def test_the_sanity_check_and_other_evaluations_are_not_heard() -> None:
    heard: list[str] = []

    class Hears(outlast.Callback):
        def on_test_begin(self, logs: Any = None) -> None:
            heard.append("test")

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            heard.append("epoch")

    made = fit(Hears(), num_sanity_val_steps=2, max_epochs=1)
    assert heard == ["test", "epoch"]
    made.trainer.validate(made, held_out(), verbose=False)
    assert heard == ["test", "epoch"]


def test_the_best_weights_are_restored_and_saved(tmp_path: Path) -> None:
    seen: list[list[bytes]] = []

    class Keep(outlast.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(weights(self.model))

    given = [
        Keep(),
        outlast.EarlyStopping(patience=1, restore_best_weights=True),
        outlast.ModelCheckpoint(str(tmp_path / "best.pt"), save_best_only=True),
    ]
    made = fit(*given, module=lambda: Follows([1.0, 0.5, 2.0, 3.0]))
    assert weights(made) == seen[1] != seen[2]
    other = Module()
    other.load_state_dict(torch.load(tmp_path / "best.pt", weights_only=True))
    assert weights(other) == seen[1]


def test_a_loss_that_is_not_a_number_ends_the_training_in_its_batch() -> None:
    class Broken(Module):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * (float("nan") if self.global_step == 8 else 1.0)

    ending = outlast.TerminateOnNaN()
    made = fit(ending, module=Broken)
    assert (made.trainer.current_epoch, made.trainer.global_step) == (2, 9)


def test_hooks_of_batches_are_called_with_what_is_logged_in_them(tmp_path: Path) -> None:
    heard: list[Any] = []

    def end(batch: int, logs: Any) -> None:
        heard.append((batch, sorted(logs)))

    saving = outlast.ModelCheckpoint(str(tmp_path / "model-{epoch}-{batch}.pt"), save_freq=4)
    fit(outlast.LambdaCallback(on_train_batch_end=end), saving, max_epochs=1)
    assert [batch for batch, _ in heard] == [*range(BATCHES)]
    assert "loss" in heard[0][1]
    assert [one.name for one in tmp_path.iterdir()] == ["model-1-4.pt"]


# Learning rates.

_S = torch.optim.lr_scheduler
KEPT = {
    "none": None,
    "StepLR": scheduled(lambda one: _S.StepLR(one, 2, 0.5)),
    "LambdaLR": scheduled(lambda one: _S.LambdaLR(one, lambda epoch: 0.9**epoch), interval="step"),
    "CosineAnnealingLR": scheduled(lambda one: _S.CosineAnnealingLR(one, 10)),
    "CyclicLR": scheduled(lambda one: _S.CyclicLR(one, 0.01, 0.1, cycle_momentum=False)),
    "SequentialLR": scheduled(
        lambda one: _S.SequentialLR(one, [_S.ConstantLR(one, 0.1), _S.LambdaLR(one, lambda _: 1)], [3])
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_a_cut_of_the_rate_stays_whatever_the_scheduler(name: str) -> None:
    module = KEPT[name] or Module
    plain, cut = outlast.History(), outlast.History()
    reducing = outlast.ReduceLROnPlateau(monitor="loss", patience=1, min_delta=1e9, factor=0.5)
    fit(plain, module=module)
    fit(reducing, cut, module=module)
    rates = zip(plain.history["learning_rate"], cut.history["learning_rate"], strict=True)
    assert [round(after / before, 9) for before, after in rates] == [1, 1, 0.5, 0.25]


def test_a_rate_is_not_set_where_a_scheduler_sets_it_again() -> None:
    module = scheduled(lambda one: _S.OneCycleLR(one, 0.1, total_steps=99), interval="step")
    with pytest.raises(UsageError, match=r"ReduceLROnPlateau sets the learning rate, but .* OneCycleLR"):
        fit(outlast.ReduceLROnPlateau(), module=module)
    fit(outlast.EarlyStopping(), module=module, max_epochs=1)


# What is refused.


def test_a_metric_without_data_is_refused_before_the_first_batch() -> None:
    with pytest.raises(ArgumentError, match="watches val_loss, but no held-out data"):
        fit(outlast.EarlyStopping(), data=lambda: (trained_on(),))


def test_a_name_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.warns(OutlastWarning, match="Did you mean 'val_loss'"):
        fit(outlast.EarlyStopping("val_los", mode="min"), max_epochs=1)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"min_epochs": 2}, "start_from_epoch"),
        ({"beside": callbacks(outlast.History())}, "pass one list"),
    ],
)
def test_what_a_run_would_not_save_is_refused(tmp_path: Path, settings: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fit(outlast.Run(tmp_path / "run"), **settings)


def test_a_checkpoint_of_lightnings_and_a_trainer_that_has_trained_are_refused(tmp_path: Path) -> None:
    made = fit()
    made.trainer.save_checkpoint(path := tmp_path / "some.ckpt")
    trainer = lightning.Trainer(**QUIET, max_epochs=5, callbacks=callbacks(outlast.Run(tmp_path / "run")))
    with pytest.raises(UsageError, match="leave out ckpt_path"):
        trainer.fit(Module(), trained_on(), held_out(), ckpt_path=path)
    history = outlast.History()
    trainer = lightning.Trainer(**QUIET, max_epochs=5, callbacks=callbacks(history))
    trainer.fit(Module(), trained_on(), held_out(), ckpt_path=path)
    assert history.epoch == [4]
    trainer.callbacks = callbacks(outlast.Run(tmp_path / "run"))
    with pytest.raises(UsageError, match="has trained 5 epochs"):
        trainer.fit(Module(), trained_on(), held_out())


def test_a_run_in_several_processes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning.Trainer, "world_size", 2)
    for one in (outlast.Run(tmp_path / "run"), outlast.CSVLogger(str(tmp_path / "log.csv"))):
        with pytest.raises(CapabilityError, match="cannot write from 2 processes"):
            fit(one)
    fit(outlast.EarlyStopping(), max_epochs=1)


def test_another_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Left):
        fit(outlast.Run(tmp_path / "run", [Leaves(15)]))
    with pytest.raises(RunChanged, match="schedulers changed from none to StepLR"):
        fit(outlast.Run(tmp_path / "run"), module=KEPT["StepLR"])
    with pytest.raises(RunChanged, match="batch_size changed from 8 to 4"):
        fit(
            outlast.Run(tmp_path / "run", [Leaves(None)]),
            data=lambda: (DataLoader(TensorDataset(X, Y), 4, shuffle=True), held_out()),
        )


def test_a_run_of_a_loop_of_ones_own_is_another_training(tmp_path: Path) -> None:
    """A LightningModule is a module as any other there."""
    made = Module()
    optimizer = torch.optim.Adam(made.parameters(), 0.01)
    with outlast.Run(tmp_path / "run", model=made, optimizer=optimizer) as run:
        for _ in run.epochs(1):
            for batch in run.batches(trained_on()):
                optimizer.zero_grad()
                made.loss(batch).backward()
                optimizer.step()
    with pytest.raises(RunChanged, match="not made by a Trainer"):
        fit(outlast.Run(tmp_path / "run"))


# The module.


def test_a_trainer_of_the_package_pytorch_lightning_is_heard_too(tmp_path: Path) -> None:
    other = pytest.importorskip("pytorch_lightning")

    class Other(other.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return ((self.layers(batch[0]) - batch[1]) ** 2).mean()

        def on_train_epoch_end(self) -> None:
            self.log("val_loss", float(self.current_epoch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    def train(leave: int | None = None) -> Any:
        torch.manual_seed(1)
        run = outlast.Run(tmp_path / str(leave is None), [Leaves(leave)])
        other.Trainer(**QUIET, max_epochs=3, callbacks=callbacks(run)).fit(module := Other(), trained_on())
        return weights(module), run.history["val_loss"]

    whole = train()
    os.rename(tmp_path / "True", tmp_path / "whole")
    with pytest.raises(Left):
        train(9)
    os.rename(tmp_path / "False", tmp_path / "True")
    assert train() == whole == (whole[0], [0.0, 1.0, 2.0])


def test_a_pickle_has_the_callbacks_and_no_run(tmp_path: Path) -> None:
    given = pickle.loads(pickle.dumps(callbacks(outlast.EarlyStopping(patience=7))[0]))
    assert isinstance(given, Outlast)
    assert given._driven.callbacks[0].patience == 7
    given = pickle.loads(pickle.dumps(callbacks(outlast.Run(tmp_path / "run"))[0]))
    trainer = lightning.Trainer(**QUIET, max_epochs=1, callbacks=[given])
    with pytest.raises(UsageError, match="stayed where it was made"):
        trainer.fit(Module(), trained_on(), held_out())


def test_a_fit_needs_no_keywords_to_go_on() -> None:
    assert resume_arguments(outlast.Run(None)) == {}


def test_lightning_that_is_too_old_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "outlast.frameworks.lightning")
    monkeypatch.delattr(outlast.frameworks, "lightning")
    monkeypatch.setattr(lightning.pytorch, "__version__", "2.5.1.post0")
    with pytest.raises(MissingExtra, match=r"needs lightning 2\.5\.5 or newer"):
        outlast.frameworks.lightning.callbacks()


def test_lightning_that_is_missing_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "outlast.frameworks.lightning")
    monkeypatch.delattr(outlast.frameworks, "lightning")
    for name in ("lightning", "lightning.pytorch", "lightning.pytorch.callbacks"):
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=r"outlast\[lightning\]"):
        outlast.frameworks.lightning.callbacks()
