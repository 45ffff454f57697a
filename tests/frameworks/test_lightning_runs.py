"""Runs in Lightning's own loop: they go on exactly, or what does not is named."""

from __future__ import annotations

import os
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from tests.frameworks.lightning_trainings import (
    QUIET,
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
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import outlast
from outlast.exceptions import (
    OutlastWarning,
    UsageError,
)
from outlast.frameworks.lightning import callbacks

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning"),  # of PyTorch, before a first step
]

_S = torch.optim.lr_scheduler


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
        lightning.pytorch.callbacks.ModelPruning("l1_unstructured", amount=0.1),
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
    for one in ("ModelCheckpoint", "Timer", "ModelPruning", "on_save_checkpoint", "every_n"):
        assert one in told


def test_attributes_that_are_not_saved_are_named(tmp_path: Path) -> None:
    class Counts(Module):
        seen = 0

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.seen += 1
            return super().training_step(batch, batch_idx)

    with pytest.warns(OutlastWarning, match="Training changes seen"):
        fit(outlast.Run(tmp_path / "run"), module=Counts)
