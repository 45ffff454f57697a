"""Callbacks in Lightning's own loop: what they hear, and do; runs that go on exactly; what is refused."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

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

_generator = torch.Generator().manual_seed(0)
X = torch.randn(44, 4, generator=_generator)
Y = X.sum(1, keepdim=True)
BATCHES = 6  # of an epoch; the last is a short one
QUIET = {
    "accelerator": "cpu",
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "num_sanity_val_steps": 0,
}


class Module(lightning.LightningModule):
    """Draws, remembers and logs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            *(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout(0.3), torch.nn.Linear(8, 1))
        )

    def loss(self, batch: Any) -> Any:
        return ((self.layers(batch[0]) - batch[1]) ** 2).mean()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.loss(batch))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.01)


class Follows(Module):
    """Its ``val_loss`` follows a series."""

    def __init__(self, values: list[float | None]) -> None:
        super().__init__()
        self.values = values

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: it is logged when the epoch ends."""

    def on_train_epoch_end(self) -> None:
        if (value := self.values[self.current_epoch]) is not None:
            self.log("val_loss", value)


class Scheduled(Module):
    """Has a scheduler."""

    make: Callable[[Any], Any] = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
    settings: dict[str, Any] = {}  # noqa: RUF012

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), 0.01)
        scheduler = type(self).make(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **self.settings}}


def scheduled(make: Callable[[Any], Any], **settings: Any) -> Callable[[], Any]:
    return type("Scheduled", (Scheduled,), {"make": staticmethod(make), "settings": settings})


def trained_on(**options: Any) -> Any:
    return DataLoader(TensorDataset(X, Y), 8, **{"shuffle": True, **options})


def held_out() -> Any:
    return DataLoader(TensorDataset(X, Y), 32)


def fit(
    *items: Any,
    module: Callable[[], Any] = Module,
    data: Callable[[], Any] = lambda: (trained_on(), held_out()),
    beside: Any = (),
    **settings: Any,
) -> Any:
    """A module that a ``Trainer`` has trained from a seed."""
    torch.manual_seed(1)
    made = module()
    trainer = lightning.Trainer(
        **{**QUIET, "max_epochs": 4, **settings, "callbacks": [*beside, *callbacks(*items)]}
    )
    trainer.fit(made, *data())
    return made


def weights(module: Any) -> list[bytes]:
    return [one.detach().numpy().tobytes() for one in module.state_dict().values()]


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


# Runs.


class Left(Exception):
    """Ends a training, as a kill does as far as the folder goes."""


class Leaves(outlast.Callback):
    """Leaves the training after a number of batches of this start.

    Args:
        after: the number.
    """

    def __init__(self, after: int | None) -> None:
        self._after = after

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._after is not None:
            self._after -= 1
            if not self._after:
                raise Left

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        """Nothing is kept."""


class Noisy(Dataset[Any]):
    """Samples with noise of their own at each look."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> Any:
        return X[index] + 0.1 * torch.randn(4), Y[index]


class Stream(IterableDataset[Any]):
    """Samples in an order of their own, nobody knows how many."""

    def __iter__(self) -> Any:
        yield from ((X[index], Y[index]) for index in torch.randperm(len(X)))


class Manual(Module):
    """Two optimizers, which it steps itself."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = super().training_step(batch, batch_idx)
        for one in self.optimizers():
            one.zero_grad()
        self.manual_backward(loss)
        for one in self.optimizers():
            one.step()
        return loss

    def configure_optimizers(self) -> Any:
        first, *_, last = self.layers
        return [
            torch.optim.Adam(first.parameters(), 0.01),
            torch.optim.SGD(last.parameters(), 0.01, momentum=0.9),
        ]


class Measured(Module):
    """Has metrics of torchmetrics."""

    def __init__(self) -> None:
        super().__init__()
        self.error, self.val_error = torchmetrics.MeanAbsoluteError(), torchmetrics.MeanAbsoluteError()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.error(self.layers(batch[0]), batch[1])
        self.log("error", self.error, on_step=False, on_epoch=True)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.val_error.update(self.layers(batch[0]), batch[1])
        self.log("val_error", self.val_error)
        super().validation_step(batch, batch_idx)


class Drawing(Module):
    """Draws in its hooks."""

    def on_train_epoch_start(self) -> None:
        self.register_buffer("noise", torch.rand(1), persistent=False)

    def on_train_epoch_end(self) -> None:
        self.log("drawn", torch.rand(()))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return super().training_step(batch, batch_idx) * (1 + self.noise[0])


class Making(Module):
    """Makes its loaders in each epoch, at random."""

    def train_dataloader(self) -> Any:
        order = torch.randperm(len(X))[: 40 - self.current_epoch]
        return DataLoader(TensorDataset(X[order], Y[order]), 8, shuffle=True)

    def val_dataloader(self) -> Any:
        return held_out()


class Data(lightning.LightningDataModule):
    """Has a state."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def train_dataloader(self) -> Any:
        self.made += 1
        return DataLoader(TensorDataset(X[self.made :], Y[self.made :]), 8, shuffle=True)

    def val_dataloader(self) -> Any:
        return held_out()

    def state_dict(self) -> dict[str, Any]:
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.made = state["made"]


class Shrinks(lightning.Callback):
    """One of Lightning's, with a state."""

    def __init__(self) -> None:
        self.seen = 0

    def on_train_batch_start(self, trainer: Any, module: Any, *batch: Any) -> None:
        self.seen += 1
        with torch.no_grad():
            module.layers[0].weight.mul_(1 - self.seen / 1000)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


class Sums(Module):
    """Gets two batches at a time."""

    def loss(self, batch: Any) -> Any:
        return super().loss(
            batch if isinstance(batch, list) else [batch["a"][0] + batch["b"][0], batch["a"][1]]
        )


def _own(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


KINDS: dict[str, dict[str, Any]] = {
    "shuffled and dropped out": {},
    "a generator of the loader's": {"data": lambda: (trained_on(generator=_own()), held_out())},
    "a generator of the validation's": {
        "num_sanity_val_steps": 1,
        "data": lambda: (
            trained_on(),
            DataLoader(TensorDataset(X, Y), 32, shuffle=True, generator=_own(), drop_last=True),
        ),
    },
    "augmented": {"data": lambda: (DataLoader(Noisy(), 8, shuffle=True), held_out())},
    "two loaders": {"module": Sums, "data": lambda: ({"a": trained_on(), "b": trained_on()}, held_out())},
    "a scheduler that waits": {
        "module": scheduled(
            lambda one: _S.ReduceLROnPlateau(one, patience=0, factor=0.5, threshold=0.5), monitor="val_loss"
        )
    },
    "a scheduler of steps": {
        "module": scheduled(lambda one: _S.OneCycleLR(one, 0.05, total_steps=30), interval="step")
    },
    "two optimizers by hand": {"module": Manual},
    "gathered gradients": {"accumulate_grad_batches": 4},
    "a few batches": {"limit_train_batches": 4},
    "several validations": {"val_check_interval": 2},
    "some validations": {"check_val_every_n_epoch": 2},
    "steps": {"max_steps": 21, "max_epochs": -1},
    "half precision": {"precision": "bf16-mixed"},
    "metrics of torchmetrics": {"module": Measured},
    "hooks that draw": {"module": Drawing},
    "loaders made in each epoch": {
        "module": Making,
        "data": tuple,
        "reload_dataloaders_every_n_epochs": 1,
    },
    "a data module": {"data": lambda: (Data(),)},
    "a callback of Lightning's": {"beside": lambda: [Shrinks()]},
    "a stopper of Lightning's": {
        "max_epochs": 6,
        "beside": lambda: [lightning.pytorch.callbacks.EarlyStopping("val_loss", min_delta=1e9, patience=3)],
    },
    "callbacks of ours": {
        "given": lambda: [
            outlast.EarlyStopping(patience=2, restore_best_weights=True),
            outlast.ReduceLROnPlateau(patience=0, min_delta=0.5, factor=0.5),
            outlast.ModelCheckpoint(save_best_only=True),
        ]
    },
}


def trained(folder: Path, kind: str, leave: int | None = None, **options: Any) -> tuple[Any, ...]:
    """What comes of a training in a run: weights, rows, rates and Lightning's own counts."""
    settings = dict(KINDS[kind])
    given, beside = settings.pop("given", list)(), settings.pop("beside", list)()
    run = outlast.Run(folder, [*given, outlast.CSVLogger(), Leaves(leave)], **options)
    made = fit(run, beside=beside, **settings)
    trainer = made.trainer
    rates = [group["lr"] for one in trainer.optimizers for group in one.param_groups]
    return weights(made), run.history.rows, rates, trainer.current_epoch, trainer.global_step


@pytest.mark.parametrize("save_every", ["epoch", 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_exactly_between_two_epochs_and_inside_one(
    tmp_path: Path, kind: str, save_every: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = trained(tmp_path / "whole", kind, save_every=save_every)
    for leave in (15, 2):  # of the first start, and of the second
        with pytest.raises(Left):
            trained(tmp_path / "left", kind, leave, save_every=save_every, check_resume="never")
    assert trained(tmp_path / "left", kind, save_every=save_every, check_resume="always") == whole
    assert "would not be exact" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["shuffled and dropped out", "several validations", "gathered gradients"])
@pytest.mark.parametrize("save_every", ["epoch", 2])
def test_a_run_trains_what_lightning_trains(tmp_path: Path, kind: str, save_every: Any) -> None:
    assert trained(tmp_path / "run", kind, save_every=save_every)[0] == weights(fit(**KINDS[kind]))


def test_a_loader_without_a_length_is_gone_on_with_between_epochs(tmp_path: Path) -> None:
    data = {"data": lambda: (DataLoader(Stream(), 8), held_out())}
    whole = weights(fit(outlast.Run(tmp_path / "whole"), **data))
    assert whole == weights(fit(**data))
    with pytest.raises(Left):
        fit(outlast.Run(tmp_path / "left", [Leaves(15)]), **data)
    assert weights(fit(outlast.Run(tmp_path / "left", [Leaves(None)]), **data)) == whole
    with pytest.raises(UsageError, match="Lightning fetches a batch ahead"):
        fit(outlast.Run(tmp_path / "inside", save_every=2), **data)


def test_a_finished_run_gives_back_what_it_has_and_more_epochs_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fit(outlast.Run(tmp_path / "run"), max_epochs=2)
    trained = weights(made)
    again = fit(outlast.Run(tmp_path / "run"), module=lambda: made, max_epochs=2)
    assert "is finished (all 2 epochs are done)" in capsys.readouterr().out
    assert (weights(again), again.trainer.current_epoch) == (trained, 2)
    assert weights(fit(outlast.Run(tmp_path / "run"), max_epochs=4)) == weights(fit())


def test_an_error_gives_the_folder_back(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run", [leaving := Leaves(8)])
    with pytest.raises(Left):
        fit(run)
    assert run.status == "interrupted"
    assert leaving._after == 0
    assert fit(run).trainer.current_epoch == 4


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("save_every", ["epoch", 100])
def test_a_signal_ends_a_training_where_all_is_saved_that_can_be(
    tmp_path: Path, number: int, code: int, save_every: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Sends(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, *others: Any) -> None:
            if trainer.global_step == 9:
                os.kill(os.getpid(), number)

    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        with pytest.raises(SystemExit) as ended:
            fit(outlast.Run(tmp_path / "run", save_every=save_every), beside=[Sends()])
        assert ended.value.code == code
        assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    finally:
        signal.signal(signal.SIGINT, before[0])
    saved = "epoch 2 up to batch 3, which is saved" if save_every == 100 else "epoch 1 is"
    assert saved in capsys.readouterr().out
    made = fit(outlast.Run(tmp_path / "run", save_every=save_every))
    assert weights(made) == weights(fit())


def test_a_signal_ends_a_validation(tmp_path: Path) -> None:
    class Sends(lightning.Callback):
        def on_validation_batch_start(self, trainer: Any, *others: Any, **more: Any) -> None:
            if trainer.current_epoch == 1:
                os.kill(os.getpid(), signal.SIGTERM)

    run = outlast.Run(tmp_path / "run")
    with pytest.raises(SystemExit):
        fit(run, beside=[Sends()])
    assert len(run.history.rows) == 1


def test_the_same_list_goes_on_with_another_trainer_after_an_error(tmp_path: Path) -> None:
    given = callbacks(outlast.Run(tmp_path / "run", [leaving := Leaves(15)]))
    for error in (Left, None):
        torch.manual_seed(1)
        made = Module()
        trainer = lightning.Trainer(**QUIET, max_epochs=4, callbacks=given)
        with pytest.raises(Left) if error else nullcontext():
            trainer.fit(made, trained_on(), held_out())
        leaving._after = None
    assert weights(made) == weights(fit())


def test_steps_are_all_that_there_is_to_train(tmp_path: Path) -> None:
    run = outlast.Run(tmp_path / "run")
    fit(run, max_steps=9, max_epochs=-1)
    assert (run.status, run.stopped, len(run.history.rows)) == ("finished", None, 2)
    again = fit(outlast.Run(tmp_path / "run"), max_steps=9, max_epochs=-1)
    assert (again.trainer.global_step, again.trainer.current_epoch) == (9, 2)


def test_one_list_is_used_for_two_trainings_and_a_trainer_for_two_fits(tmp_path: Path) -> None:
    stopping, history = outlast.EarlyStopping(patience=0, min_delta=1e9), outlast.History()
    given = callbacks(stopping, history)
    for _ in range(2):
        trainer = lightning.Trainer(**QUIET, max_epochs=4, callbacks=given)
        trainer.fit(Module(), trained_on(), held_out())
        assert len(history.epoch) == 2
    made = fit(run := outlast.Run(tmp_path / "run"), max_epochs=2)
    made.trainer.fit_loop.max_epochs = 3
    made.trainer.fit(made, trained_on(), held_out())
    assert len(run.history.rows) == 3


def test_a_try_of_the_code_leaves_the_folder_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(outlast.Run(tmp_path / "run"), fast_dev_run=True)
    assert not (tmp_path / "run").exists()
    assert "fast_dev_run" in capsys.readouterr().out


def test_checkpoints_of_lightnings_own_are_as_the_user_asked(tmp_path: Path) -> None:
    for wanted in (True, False):
        folder = tmp_path / str(wanted)
        fit(outlast.Run(folder / "run"), enable_checkpointing=wanted, default_root_dir=folder, max_epochs=1)
        assert bool([*folder.glob("checkpoints/*.ckpt")]) == wanted


def test_what_a_run_does_not_keep_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class LightningModule(Module):
        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            checkpoint["mine"] = 1

    theirs = [
        lightning.pytorch.callbacks.ModelCheckpoint(dirpath=tmp_path, monitor="val_loss"),
        lightning.pytorch.callbacks.Timer(),
        lightning.pytorch.callbacks.StochasticWeightAveraging(0.01, swa_epoch_start=3),
    ]
    run = outlast.Run(tmp_path / "run")
    fit(
        run,
        module=LightningModule,
        beside=theirs,
        enable_checkpointing=True,
        reload_dataloaders_every_n_epochs=2,
    )
    told = capsys.readouterr().out
    for one in ("ModelCheckpoint", "Timer", "StochasticWeightAveraging", "on_save_checkpoint", "every_n"):
        assert one in told


def test_attributes_that_are_not_saved_are_named(tmp_path: Path) -> None:
    class Counts(Module):
        seen = 0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.seen += 1
            return super().training_step(batch, batch_idx)

    with pytest.warns(OutlastWarning, match="Training changes seen"):
        fit(outlast.Run(tmp_path / "run"), module=Counts)


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
