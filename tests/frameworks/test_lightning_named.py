"""What a Run in a training with Lightning does not save is named, and what cannot act is said."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import torchmetrics
from tests.frameworks.lightning_trainings import (
    QUIET,
    Module,
    X,
    Y,
    fit,
    held_out,
    scheduled,
    trained_on,
)
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.wrappers import MetricTracker

import outlast
from outlast.exceptions import ArgumentError, OutlastWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*returned `None`, this fit will run with no optimizer"),
    pytest.mark.filterwarnings("ignore:The ``compute`` method of metric"),
]


class Settings:
    """A plain object."""

    beta = 0.0

    def __init__(self) -> None:
        self.values = {"beta": [0.0]}


class Plain(Module):
    """Has attributes of many kinds."""

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.phase, self.nested, self.settings = "warm", {"a": [1, {"b": 2.0}]}, Settings()
        self.recent: Any = deque(maxlen=3)
        self.losses: list[float] = []
        self.numbers, self.hidden = iter(range(1000)), {"teacher": None}
        self.kept = ("a", 1)


def _grow(one: Any) -> None:
    one.hidden["teacher"] = "found"


CHANGES: dict[str, Callable[[Any], Any]] = {
    "phase": lambda one: setattr(one, "phase", "train"),
    "nested": lambda one: one.nested["a"][1].update(b=3.0),
    "settings": lambda one: one.settings.values["beta"].append(0.1),
    "recent": lambda one: one.recent.append((torch.ones(2), 1)),
    "losses": lambda one: one.losses.append(0.5),
    "numbers": lambda one: next(one.numbers),
    "hparams": lambda one: one.hparams.update(rate=one.hparams.rate + 1),
    "hidden": _grow,
}


@pytest.mark.parametrize("name", [*CHANGES, "nothing"])
@pytest.mark.parametrize("save_every", ["epoch", 2])
def test_what_training_changes_and_nobody_saves_is_named(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, name: str, save_every: Any
) -> None:
    class Changes(Plain):
        def on_train_batch_end(self, *others: Any) -> None:
            CHANGES.get(name, str)(self)

    class Still(Changes):
        def __init__(self) -> None:
            super().__init__()
            if name != "numbers":  # where an iterator stands nobody can see
                del self.numbers

    fit(outlast.Run(tmp_path / "run", save_every=save_every), module=Still, max_epochs=1)
    told = [str(one.message) for one in recwarn if "Training changes" in str(one.message)]
    assert [one.split(",")[0] for one in told] == ([] if name == "nothing" else [f"Training changes {name}"])


def test_outputs_of_steps_in_a_list_are_named_inside_an_epoch(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    class Gathers(Plain):
        def __init__(self) -> None:
            super().__init__()
            del self.numbers

        def on_train_batch_end(self, *others: Any) -> None:
            self.losses.append(0.5)

        def on_train_epoch_end(self) -> None:
            self.losses.clear()

    told = []
    for save_every in ("epoch", 2):
        fit(outlast.Run(tmp_path / str(save_every), save_every=save_every), module=Gathers)
        told.append([str(one.message) for one in recwarn if "Training changes" in str(one.message)])
    assert told[0] == []
    assert "changes losses" in told[1][0]
    assert "self.log(..., on_epoch=True)" in told[1][0]


def test_what_callbacks_and_data_modules_remember_is_named(tmp_path: Path) -> None:
    class Stopper(lightning.pytorch.callbacks.EarlyStopping):
        def on_train_batch_end(self, *others: Any) -> None:
            self.seen = getattr(self, "seen", 0) + 1

    class Data(lightning.LightningDataModule):
        calls = 0

        def train_dataloader(self) -> Any:
            return trained_on()

        def on_after_batch_transfer(self, batch: Any, index: int) -> Any:
            self.calls += 1
            return batch

    seen = {"count": 0}

    def count(*others: Any) -> None:
        seen["count"] += 1

    def warned(**settings: Any) -> Any:
        folder = tmp_path / str(len([*tmp_path.iterdir()]))
        return fit(outlast.Run(folder), max_epochs=2, **settings)

    stopper = Stopper("val_loss", patience=9)
    with pytest.warns(OutlastWarning, match=r"changes Stopper\.seen, .* state_dict\(\)"):
        warned(beside=[stopper])
    with pytest.warns(OutlastWarning, match=r"changes Data\.calls, .* state_dict\(\)"):
        warned(data=lambda: (Data(),))
    with pytest.warns(OutlastWarning, match=r"changes LambdaCallback\.on_train_batch_end"):
        warned(beside=[lightning.pytorch.callbacks.LambdaCallback(on_train_batch_end=count)])


class Carries(DataLoader[Any]):
    """Has a state."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


def test_what_loaders_keep_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*data: Any) -> str:
        fit(outlast.Run(tmp_path / "run", resume="never"), data=lambda: data, max_epochs=1)
        return capsys.readouterr().out

    plain = TensorDataset(X, Y)
    assert "exact" not in told(trained_on(), held_out())
    assert "what Carries.state_dict() gives is not saved" in told(Carries(plain, 8), held_out())
    assert "what Carries.state_dict() gives is not saved" in told(trained_on(), Carries(plain, 8))
    lasting = DataLoader(plain, 32, num_workers=1, persistent_workers=True)
    assert "leave out persistent_workers=True" in told(trained_on(), lasting)


class Spoils(Module):
    """Its loss becomes NaN, and it returns none."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        loss = self.loss(batch) * (float("nan") if self.global_step > 3 else 1)
        self.optimizers().zero_grad()
        self.manual_backward(loss)
        self.optimizers().step()
        self.log(self.logged, loss, on_step=True)


def test_terminate_on_nan_looks_at_the_train_loss_where_none_is_returned() -> None:
    logs, others = (type("Spoils", (Spoils,), {"logged": name}) for name in ("train_loss", "other"))
    assert fit(outlast.TerminateOnNaN(), module=logs).trainer.global_step == 5
    with pytest.warns(OutlastWarning, match="return the loss in training_step"):
        fit(outlast.TerminateOnNaN(), module=others, max_epochs=1)


class Sets:
    """A scheduler that has rates of its own, as those of other libraries."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def step(self) -> None:
        self.optimizer.param_groups[0]["lr"] = 0.05

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


def test_a_scheduler_that_nobody_can_ask_is_said_to_undo_a_cut() -> None:
    class Steps(scheduled(Sets)):  # type: ignore[misc]
        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
            scheduler.step()

    with pytest.warns(OutlastWarning, match="Sets has no get_lr"):
        fit(outlast.ReduceLROnPlateau(), module=Steps, max_epochs=1)


def test_lightning_finds_its_own_checkpoints(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    made = fit(outlast.Run(tmp_path / "none"), max_epochs=1)
    assert made.trainer.checkpoint_callback is None
    made = fit(
        outlast.Run(tmp_path / "run"), max_epochs=1, enable_checkpointing=True, default_root_dir=tmp_path
    )
    assert made.trainer.checkpoint_callback.best_model_path
    assert made.trainer.validate(made, held_out(), ckpt_path="best", verbose=False)
    assert not [one for one in recwarn if "multiple" in str(one.message)]


@pytest.mark.parametrize("make", [outlast.Run, outlast.EarlyStopping])
def test_a_trainer_that_is_given_our_callbacks_themselves_says_what_to_pass(
    tmp_path: Path, make: Any
) -> None:
    one = make(tmp_path / "run") if make is outlast.Run else make()
    with pytest.raises(AttributeError, match=r"outlast\.frameworks\.lightning\.callbacks"):
        lightning.Trainer(**QUIET, callbacks=[one]).fit(Module(), trained_on())
    assert not hasattr(one, "setup")


def test_a_callback_of_lightnings_belongs_beside_the_run(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="beside the Run"):
        outlast.Run(tmp_path / "run", [lightning.pytorch.callbacks.EarlyStopping("val_loss")])


def test_parameters_that_nobody_saves_are_named_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Trains(Module):
        def configure_optimizers(self) -> Any:
            return torch.optim.Adam([*self.parameters(), torch.nn.Parameter(torch.ones(3))], 0.01)

    fit(outlast.Run(tmp_path / "run"), module=Trains, max_epochs=1)
    assert capsys.readouterr().out.count("trains parameters that neither") == 1


def test_a_module_that_grows_and_one_that_comes_late_are_named(tmp_path: Path) -> None:
    class Grows(Module):
        def __init__(self) -> None:
            super().__init__()
            self.tracked = MetricTracker(torchmetrics.MeanSquaredError(), maximize=False)

        def on_train_epoch_start(self) -> None:
            self.tracked.increment()

    class Late(lightning.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *batch: Any) -> None:
            self.averaged = copy.deepcopy(module.layers)

    with pytest.warns(OutlastWarning, match="changes the modules in tracked"):
        fit(outlast.Run(tmp_path / "grows"), module=Grows, max_epochs=1)
    with pytest.warns(OutlastWarning, match=r"changes Late\.averaged.*before the training"):
        fit(outlast.Run(tmp_path / "late"), beside=[Late()], max_epochs=1)


class Counts:
    """Has a state."""

    def __init__(self) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def test_what_is_a_part_of_the_run_is_saved_and_not_named(tmp_path: Path) -> None:
    class Follows(Module):
        def on_train_batch_end(self, *others: Any) -> None:
            self.counts.seen += 1

    for epochs in (1, 2):
        counts = Counts()
        run = outlast.Run(tmp_path / "run", counts=counts)
        fit(run, module=lambda counts=counts: _with(Follows(), counts), max_epochs=epochs)
    assert counts.seen == 12


def _with(module: Any, counts: Counts) -> Any:
    module.counts = counts
    return module
