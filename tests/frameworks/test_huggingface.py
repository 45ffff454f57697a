"""Callbacks in Hugging Face's Trainer: what they hear, and do; runs that go on exactly."""

from __future__ import annotations

import json
import os
import pickle
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sklearn.datasets import load_digits
from torch.optim import lr_scheduler
from transformers import Trainer, TrainerCallback, TrainingArguments

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    MissingExtra,
    OutlastWarning,
    RunChanged,
    UsageError,
)
from outlast.frameworks.huggingface import InTrainer, callbacks, resume_arguments

MISSING = "ignore:.*which is not available:outlast.exceptions.OutlastWarning"

transformers.logging.set_verbosity_error()
X, Y = load_digits(return_X_y=True)
X = (X / 16).astype("float32")
SAMPLES, BATCH = 96, 16  # six steps an epoch
BY_STEPS = {"eval_strategy": "steps", "eval_steps": 4}


class Digits(torch.utils.data.Dataset[Any]):
    """Digits, with noise or without."""

    def __init__(self, first: int, last: int, noise: float = 0.0) -> None:
        self.first, self.last, self.noise = first, last, noise

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.tensor(X[self.first + index])
        if self.noise:
            x += self.noise * torch.randn(64)
        return {"x": x, "labels": int(Y[self.first + index])}


class Drawing(Digits):
    """Digits with a generator of their own."""

    rng: Any

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.rng = np.random.default_rng(0)


class Stream(torch.utils.data.IterableDataset[Any]):
    """The same without indices."""

    def __iter__(self) -> Iterator[Any]:
        return (Digits(0, SAMPLES)[index] for index in range(SAMPLES))


class Net(torch.nn.Module):
    """Draws in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Dropout(0.3), torch.nn.Linear(16, 10)
        )

    def forward(self, x: Any, labels: Any) -> dict[str, Any]:
        logits = self.layers(x)
        return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}


def accuracy(predicted: Any) -> dict[str, float]:
    return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}


def trainer(*items: Any, beside: Any = (), kind: type[Trainer] = Trainer, **settings: Any) -> Trainer:
    """A Trainer, with callbacks of ours and others beside them."""
    torch.manual_seed(0)
    parts = {
        "model": Net(),
        "train_dataset": Digits(0, SAMPLES),
        "eval_dataset": Digits(SAMPLES, 2 * SAMPLES),
        "compute_metrics": accuracy,
    }
    parts |= {name: settings.pop(name) for name in [*parts, "optimizers"] if name in settings}
    arguments = {
        "output_dir": "unused",
        "num_train_epochs": 3,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": SAMPLES,
        "learning_rate": 0.02,
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
        "save_strategy": "no",
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "report_to": [],
        "use_cpu": True,
    }
    made = kind(
        args=TrainingArguments(**{**arguments, **settings}),
        callbacks=[*(callbacks(*items) if items else []), *beside],
        **parts,
    )
    made.pop_callback(transformers.PrinterCallback)
    return made


def train(*items: Any, **settings: Any) -> Trainer:
    made = trainer(*items, **settings)
    made.train()
    return made


def weights(made: Any) -> bytes:
    model = getattr(made, "model", made)
    return b"".join(value.numpy().tobytes() for value in model.state_dict().values())


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# What callbacks hear and do.


def test_metrics_have_kerass_names_and_loss_is_what_trainer_logs() -> None:
    history = outlast.History()
    made = train(history)
    assert [*history.history] == ["learning_rate", "loss", "val_loss", "val_accuracy"]
    for ours, theirs in {"loss": "loss", "val_loss": "eval_loss"}.items():
        assert history.history[ours] == [one[theirs] for one in made.state.log_history if theirs in one]
    assert history.epoch == [0, 1, 2]


def test_the_loss_does_not_depend_on_when_trainer_logs() -> None:
    histories = [outlast.History() for _ in range(3)]
    for history, strategy in zip(histories, ("epoch", "steps", "no"), strict=True):
        train(history, logging_strategy=strategy, logging_steps=4)
    assert histories[0].history == histories[1].history == histories[2].history


def test_a_metric_may_be_watched_by_trainers_own_name() -> None:
    history, stopping = outlast.History(), outlast.EarlyStopping("eval_accuracy", patience=9)
    train(history, stopping)
    assert stopping.best == max(history.history["val_accuracy"])


def test_speed_is_no_metric_and_what_is_named_alike_is() -> None:
    history = outlast.History()
    train(history, compute_metrics=lambda _: {"mem_accuracy": 0.5, "runtime_error": 0.25})
    assert [*history.history] == [
        *("learning_rate", "loss", "val_loss", "val_mem_accuracy", "val_runtime_error")
    ]


def test_several_sets_of_data_have_their_names() -> None:
    history = outlast.History()
    train(history, eval_dataset={"a": Digits(96, 120), "b": Digits(120, 150)}, compute_metrics=None)
    assert [*history.history] == ["learning_rate", "loss", "val_a_loss", "val_b_loss"]


def test_with_evaluations_by_steps_a_patience_counts_them() -> None:
    history = outlast.History()
    stopping = outlast.EarlyStopping(patience=2, min_delta=10)
    made = train(stopping, history, **BY_STEPS)
    assert history.history["step"] == [4, 8, 12]
    assert (stopping.stopped_epoch, made.state.global_step) == (2, 12)


def test_the_last_row_ends_with_the_training() -> None:
    history = outlast.History()
    train(history, **BY_STEPS, max_steps=10)
    assert history.history["step"] == [4, 8, 10]


def test_an_evaluation_before_the_first_step_is_none_of_an_epoch() -> None:
    history = outlast.History()
    train(history, eval_on_start=True)
    assert len(history.history["val_loss"]) == 3


def test_all_hear_the_last_epoch_though_the_first_stops() -> None:
    first, second = outlast.EarlyStopping(patience=1, min_delta=10), outlast.EarlyStopping(patience=9)
    history = outlast.History()
    made = train(first, second, history)
    assert (history.epoch, first.stopped_epoch, second.stopped_epoch) == ([0, 1], 1, 0)
    assert second.best == history.history["val_loss"][1]
    assert made.state.global_step == 12


def test_lists_beside_each_other_hear_the_same() -> None:
    histories = [outlast.History(), outlast.History()]
    made = train(histories[0], beside=callbacks(histories[1]))
    assert histories[0].history == histories[1].history
    assert not {"training_step", "_run_epoch", "_maybe_log_save_evaluate"} & vars(made).keys()


class Following(Trainer):
    """Its evaluations give these losses."""

    values: Iterator[float]

    def evaluate(self, *args: Any, **options: Any) -> dict[str, float]:
        found = {"eval_loss": next(self.values)}
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found


def follow(values: list[float], *items: Any, **settings: Any) -> Trainer:
    made = trainer(*items, kind=Following, num_train_epochs=len(values), **settings)
    assert isinstance(made, Following)
    made.values = iter(values)
    made.train()
    return made


def test_nan_in_the_first_evaluation_is_never_the_best() -> None:
    stopping = outlast.EarlyStopping(patience=9)
    follow([float("nan"), 0.5, 0.7], stopping)
    assert (stopping.best, stopping.best_epoch) == (0.5, 1)


def test_getting_worse_is_no_improvement_of_a_negative_metric() -> None:
    plateau = outlast.ReduceLROnPlateau(patience=9, min_delta=0.1, threshold_mode="rel")
    follow([-10.0, -9.5, -9.2], plateau)
    assert (plateau.best, plateau.wait) == (-10.0, 2)


def test_the_best_weights_are_restored_in_trainers_model() -> None:
    seen: list[bytes] = []
    keep = outlast.LambdaCallback(on_epoch_end=lambda *_: seen.append(weights(stopping.model)))
    stopping = outlast.EarlyStopping(patience=9, restore_best_weights=True)
    made = follow([0.5, 0.2, 0.4], keep, stopping)
    assert weights(made) == seen[1] != seen[2]


@pytest.mark.parametrize(("schedule", "factors"), [("constant", [1, 1, 1]), ("linear", [2 / 3, 1 / 3, 0])])
def test_the_schedule_goes_on_from_a_rate_that_was_cut(schedule: str, factors: list[float]) -> None:
    history = outlast.History()
    plateau = outlast.ReduceLROnPlateau(patience=1, factor=0.5, cooldown=9)
    made = follow([0.1, 0.5, 0.5], history, plateau, lr_scheduler_type=schedule, learning_rate=0.08)
    expected = [0.08 * factor for factor in factors[:2]] + [0.04 * factors[2]]
    assert history.history["learning_rate"] == pytest.approx(expected)
    assert {group["lr"] for group in made.optimizer.param_groups} == {history.history["learning_rate"][-1]}


def test_a_rate_may_be_set_by_the_epoch_beside_a_constant_schedule() -> None:
    history = outlast.History()
    rate = outlast.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1))
    train(history, rate, lr_scheduler_type="constant")
    assert history.history["learning_rate"] == [0.1, 0.05, 0.1 / 3]


def test_nan_ends_the_training_though_trainer_hides_it_in_its_logs() -> None:
    stopping, history = outlast.TerminateOnNaN(), outlast.History()
    made = train(history, stopping, learning_rate=1e30, max_grad_norm=0, optim="sgd")
    assert made.args.logging_nan_inf_filter
    assert (made.state.global_step, history.epoch) == (2, [0])
    assert np.isnan(history.history["loss"][0])


def test_models_are_state_dicts_in_files(tmp_path: Path) -> None:
    made = train(
        outlast.ModelCheckpoint(tmp_path / "m-{epoch}.pt"),
        outlast.ModelCheckpoint(tmp_path / "s-{epoch}-{batch}.pt", save_freq=7),
    )
    found = sorted(path.name for path in tmp_path.glob("*.pt"))
    assert found == ["m-1.pt", "m-2.pt", "m-3.pt", "s-2-1.pt", "s-3-2.pt"]
    model = Net()
    model.load_state_dict(torch.load(tmp_path / "m-3.pt", weights_only=True))
    assert weights(model) == weights(made)


def test_callbacks_that_are_none_of_a_run_begin_where_a_checkpoint_is() -> None:
    saved = {"save_strategy": "epoch", "output_dir": "checkpoints"}
    train(**saved)
    history = outlast.History()
    made = trainer(history, num_train_epochs=5, **saved)
    with pytest.warns(OutlastWarning, match="goes on from a checkpoint, at step 18"):
        made.train(resume_from_checkpoint=True)
    assert history.epoch == [3, 4]


# What cannot be is said before the first step.


def with_schedule(make: Callable[[Any], Any], *items: Any) -> Trainer:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = make(optimizer)
    return train(*items, model=model, optimizers=(optimizer, schedule), metric_for_best_model="loss")


class Watching(outlast.Callback):
    """Hears of evaluations."""

    def on_test_end(self, logs: Any = None) -> None:
        raise AssertionError


BEST = {"load_best_model_at_end": True, "save_strategy": "epoch", "metric_for_best_model": "loss"}
REFUSED: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no data": (
        lambda: train(outlast.EarlyStopping(), eval_strategy="no"),
        ArgumentError,
        "EarlyStopping watches val_loss, but no held-out data is evaluated: pass TrainingArguments",
    ),
    "two who restore": (
        lambda: train(outlast.EarlyStopping(restore_best_weights=True), **BEST),
        UsageError,
        "both put the best weights back",
    ),
    "Trainer's best in a run": (
        lambda: train(outlast.Run("run"), **BEST),
        UsageError,
        "load_best_model_at_end=True takes the best weights from a checkpoint",
    ),
    "Trainer's stopping in a run": (
        lambda: train(
            outlast.Run("run"),
            beside=[transformers.EarlyStoppingCallback()],
            metric_for_best_model="loss",
        ),
        UsageError,
        "the counter of EarlyStoppingCallback is not saved",
    ),
    "a checkpoint in a run": (
        lambda: (
            train(save_strategy="epoch", output_dir="checkpoints"),
            trainer(outlast.Run("run"), output_dir="checkpoints").train(resume_from_checkpoint=True),
        ),
        UsageError,
        "the Run knows where to go on: leave it out",
    ),
    "sizes that are found": (
        lambda: train(outlast.Run("run"), auto_find_batch_size=True),
        UsageError,
        "auto_find_batch_size=True begins a training again",
    ),
    "data from the beginning": (
        lambda: train(outlast.Run("run"), ignore_data_skip=True),
        UsageError,
        "ignore_data_skip=True begins with the first batch again",
    ),
    "a schedule that sets rates anew": (
        lambda: with_schedule(
            lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=18),
            outlast.ReduceLROnPlateau(),
        ),
        UsageError,
        "ReduceLROnPlateau cannot act here: OneCycleLR sets the learning rate",
    ),
    "a rate by the epoch": (
        lambda: train(outlast.LearningRateScheduler(lambda epoch, rate: rate)),
        UsageError,
        "lr_scheduler_type='linear' changes the learning rate after it",
    ),
    "two lists and a run": (
        lambda: train(outlast.Run("run"), beside=callbacks(outlast.History())),
        UsageError,
        "in lists of their own",
    ),
    "a list beside a run": (
        lambda: callbacks(outlast.Run("run"), outlast.History()),
        ArgumentError,
        "would not save the callbacks beside it",
    ),
    "a hook of evaluations": (
        lambda: train(Watching()),
        CapabilityError,
        "Watching has on_test_end, and Trainer tells no callback when an evaluation begins",
    ),
    "an ending": (
        lambda: train(outlast.ModelCheckpoint("m.ubj")),
        ArgumentError,
        "must end in `.pt` or `.pth`",
    ),
    "a callback of ours as it is": (
        lambda: trainer(beside=[outlast.EarlyStopping()]),
        AttributeError,
        "Hugging Face's Trainer calls other hooks than EarlyStopping has: pass Trainer",
    ),
    "a run as it is": (
        lambda: trainer(beside=[outlast.Run("run")]),
        AttributeError,
        "other hooks than Run has",
    ),
    "a list in a list": (
        lambda: trainer(beside=[callbacks(outlast.History())]),
        UsageError,
        "gives a list already",
    ),
    "another loop": (
        lambda: callbacks(outlast.History())[0].on_train_begin(None, None, None),
        UsageError,
        "act in a Trainer alone",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_act_is_refused_before_the_first_step(what: str) -> None:
    act, error, text = REFUSED[what]
    with pytest.raises(error, match=text):
        act()


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Begins(Trainer):
        def begin(self) -> None:
            callbacks(outlast.History())[0].on_train_begin(self.args, self.state, self.control)

    made = trainer(kind=Begins)
    assert isinstance(made, Begins)
    monkeypatch.setattr(TrainingArguments, "world_size", 2)
    with pytest.raises(CapabilityError, match="this Trainer trains in 2"):
        made.begin()


def test_a_run_in_a_search_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.integrations.hp_params", lambda trial: trial)
    history = outlast.History()
    trainer(history).train(trial={"learning_rate": 0.1})
    assert history.epoch == [0, 1, 2]
    with pytest.raises(UsageError, match="hyperparameter_search trains many"):
        trainer(outlast.Run("run")).train(trial={"learning_rate": 0.1})


@pytest.mark.parametrize(
    "make",
    [
        lambda optimizer: lr_scheduler.StepLR(optimizer, 3),
        lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 100, eta_min=0.001),
        lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer),
        lambda optimizer: lr_scheduler.SequentialLR(
            optimizer,
            [lr_scheduler.LinearLR(optimizer), lr_scheduler.ExponentialLR(optimizer, 0.99)],
            milestones=[5],
        ),
    ],
)
def test_schedules_of_pytorchs_go_on_from_a_rate_that_was_cut(make: Callable[[Any], Any]) -> None:
    rates: dict[int, list[float]] = {}
    for patience in (0, 9):
        history = outlast.History()
        with_schedule(make, history, outlast.ReduceLROnPlateau(patience=patience, min_delta=10, cooldown=9))
        rates[patience] = history.history["learning_rate"]
    assert rates[0][:2] == rates[9][:2]
    assert rates[0][2] < rates[9][2] / 2


LACKING: dict[str, tuple[Callable[[pytest.MonkeyPatch], Any], str]] = {
    "none": (lambda patch: patch.setitem(sys.modules, "transformers", None), "needs transformers, which"),
    "no accelerate": (
        lambda patch: patch.setitem(sys.modules, "accelerate", None),
        "needs accelerate, which",
    ),
    "an old one": (lambda patch: patch.delattr(Trainer, "_run_epoch"), r"needs transformers 5\.3 or newer"),
    "an old accelerate": (
        lambda patch: patch.setattr("accelerate.__version__", "1.9.0"),
        r"needs accelerate 1\.10 or newer",
    ),
}


@pytest.mark.parametrize("what", LACKING)
def test_without_what_it_needs_the_error_names_the_install(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lack, text = LACKING[what]
    monkeypatch.delitem(sys.modules, "outlast.frameworks.huggingface")
    monkeypatch.delattr(outlast.frameworks, "huggingface")
    lack(monkeypatch)
    with pytest.raises(MissingExtra, match=text + r'.*pip install "outlast\[huggingface\]"'):
        outlast.frameworks.huggingface  # noqa: B018  # to name it imports it


# In a run.


class Left(Exception):
    """The end of a process."""


class Leave(TrainerCallback):
    """Leaves a training in a step of this start."""

    def __init__(self, after: int | None) -> None:
        self.after, self.steps = after, 0

    def on_step_end(self, *args: Any, **options: Any) -> None:
        self.steps += 1
        if self.steps == self.after:
            raise Left


def in_a_run(folder: str, after: int | None = None, save_every: Any = "epoch", **settings: Any) -> Any:
    """(what came of it, run); None where it was left after so many steps."""
    rate = outlast.ReduceLROnPlateau(patience=0, min_delta=0.3, factor=0.5)
    if settings.get("eval_strategy") == "no":
        rate = outlast.ReduceLROnPlateau("loss", patience=0, min_delta=0.3, factor=0.5)
    best = outlast.ModelCheckpoint(save_best_only=True, monitor=rate.monitor)
    run = outlast.Run(folder, [best, rate, outlast.CSVLogger()], save_every=save_every)
    made = trainer(run, beside=[Leave(after)], **settings)
    try:
        found = made.train()
    except Left:
        return None, run
    logged = [
        {name: value for name, value in one.items() if "runtime" not in name and "second" not in name}
        for one in made.state.log_history
    ]
    optimizer = [tensor for one in made.optimizer.state.values() for tensor in one.values()]
    return {
        "weights": weights(made),
        "optimizer": b"".join(tensor.numpy().tobytes() for tensor in optimizer),
        "rows": run.history.rows,
        "best": weights_of(run.load_best()),
        "training_loss": found.training_loss,
        "global_step": found.global_step,
        "log_history": logged,
        "csv": Path(folder, "history.csv").read_bytes(),
        "journal": Path(folder, "journal.jsonl").read_bytes(),
    }, run


def weights_of(state: Any) -> bytes:
    return b"".join(value.numpy().tobytes() for value in state.values())


class OwnLoader(Trainer):
    """Its loader is PyTorch's, and fetches no batch ahead."""

    generator: Any = None

    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(
            self.train_dataset,
            BATCH,
            shuffle=True,
            collate_fn=self.data_collator,
            generator=self.generator,
        )


class OwnOrder(OwnLoader):
    """The same with a generator for its order."""

    generator = torch.Generator()


NOISY = Digits(0, SAMPLES, noise=0.1)
INSIDE = (9, 5)
KINDS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "by epochs": ((14,), {"num_train_epochs": 4}),
    "by steps, with noise": (INSIDE, {**BY_STEPS, "train_dataset": NOISY}),
    "inside epochs, with noise": ((4, 3, 5), {"save_every": 2, "train_dataset": NOISY}),
    "inside rows that go over epochs": ((5, 3, 4), {**BY_STEPS, "save_every": 1, "train_dataset": NOISY}),
    "accumulated": (
        (3, 2),
        {**BY_STEPS, "eval_steps": 2, "gradient_accumulation_steps": 4, "train_dataset": NOISY},
    ),
    "bfloat16": (INSIDE, {**BY_STEPS, "bf16": True}),
    "workers": ((9,), {"dataloader_num_workers": 2, "train_dataset": NOISY}),
    "workers, by steps": ((9,), {**BY_STEPS, "dataloader_num_workers": 2}),
    "an order that is drawn": (
        INSIDE,
        {**BY_STEPS, "accelerator_config": {"use_seedable_sampler": False}, "train_dataset": NOISY},
    ),
    "a stream": (INSIDE, {**BY_STEPS, "train_dataset": Stream(), "max_steps": 15}),
    "a loader of ones own": (INSIDE, {**BY_STEPS, "kind": OwnLoader, "train_dataset": NOISY}),
    "logs between": (INSIDE, {**BY_STEPS, "logging_strategy": "steps", "logging_steps": 3}),
    "a warm-up": (INSIDE, {**BY_STEPS, "lr_scheduler_type": "cosine", "warmup_steps": 5}),
    "Trainer's plateau": (
        INSIDE,
        {**BY_STEPS, "lr_scheduler_type": "reduce_lr_on_plateau", "metric_for_best_model": "loss"},
    ),
    "steps that end inside": (INSIDE, {**BY_STEPS, "max_steps": 14}),
    "an evaluation before": (INSIDE, {**BY_STEPS, "eval_on_start": True, "train_dataset": NOISY}),
    "no evaluation": ((14,), {"eval_strategy": "no"}),
    "Trainer's own checkpoints": (
        INSIDE,
        {**BY_STEPS, "save_strategy": "steps", "save_steps": 4, "save_total_limit": 1},
    ),
}


if hasattr(transformers.SchedulerType, "GREEDY"):  # older versions have none
    KINDS["Trainer's greedy schedule"] = (
        INSIDE,
        {**BY_STEPS, "lr_scheduler_type": "greedy", "metric_for_best_model": "loss"},
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_left_ends_with_the_same_bytes(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    kills, settings = KINDS[kind]
    whole, _ = in_a_run("whole", **settings)
    for after in kills:
        assert in_a_run("left", after, **settings)[0] is None
    found, _ = in_a_run("left", **settings)
    assert [name for name in whole if found[name] != whole[name]] == []
    said = capsys.readouterr().out
    assert "resumed left at epoch" in said
    assert said.count("trained again as a check") == said.count("as a check: identical")


@pytest.mark.parametrize("settings", [{}, {**BY_STEPS, "train_dataset": NOISY}], ids=["epochs", "steps"])
def test_a_run_trains_what_trainer_trains(settings: dict[str, Any]) -> None:
    theirs = train(**settings)
    ours = train(outlast.Run("run", outlast.EarlyStopping(patience=99)), **settings)
    assert weights(ours) == weights(theirs)
    loss = [made.state.log_history[-1]["train_loss"] for made in (ours, theirs)]
    assert loss[0] == loss[1]


def test_checkpoints_of_trainers_are_not_read(tmp_path: Path) -> None:
    settings = {"save_strategy": "epoch", "output_dir": "checkpoints"}
    whole, _ = in_a_run("whole", **settings)
    in_a_run("left", 14, **settings)
    for path in Path("checkpoints").rglob("*.*"):
        path.write_bytes(b"")  # torn
    found, _ = in_a_run("left", **settings)
    assert found["weights"] == whole["weights"]


def test_two_of_one_class_keep_their_own_state() -> None:
    def stoppers() -> list[outlast.EarlyStopping]:
        other = outlast.EarlyStopping("val_accuracy", patience=2, min_delta=1)
        return [outlast.EarlyStopping(patience=9), other]

    ends = []
    for after in (None, 15):
        for left in (after, None) if after else (None,):
            run = outlast.Run(f"run-{after}", stoppers())
            try:
                train(run, beside=[Leave(left)], num_train_epochs=6)
            except Left:
                continue
        ends.append([(one.best, one.best_epoch, one.wait, one.stopped_epoch) for one in run.callbacks])
    assert ends[0] == ends[1]
    assert ends[0][1][3] == 2


def test_a_finished_run_gives_its_model_back_and_goes_on_with_more_epochs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def once(folder: str, **settings: Any) -> Any:
        run = outlast.Run(folder, outlast.EarlyStopping(patience=2, min_delta=5, restore_best_weights=True))
        heard = Heard()
        made = trainer(run, beside=[heard], lr_scheduler_type="constant", **settings)
        made.train()
        return weights(made), len(run.history.rows), heard.steps

    first = once("run", num_train_epochs=2)
    again = once("run", num_train_epochs=2)
    assert (again[:2], again[2]) == (first[:2], 0)
    assert "run is finished (all 2 epochs are done)" in capsys.readouterr().out
    more = once("run", num_train_epochs=9)
    assert more[:2] == once("whole", num_train_epochs=9)[:2]
    assert once("run", num_train_epochs=9) == (*more[:2], 0)  # stopped early, no step is made
    assert "is finished (Epoch 3: EarlyStopping stops" in capsys.readouterr().out


class Heard(TrainerCallback):
    """Notes which epochs it hears of."""

    def __init__(self) -> None:
        self.epochs: list[float] = []
        self.steps = 0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        self.epochs.append(state.global_step / 6)

    def on_step_end(self, *args: Any, **options: Any) -> None:
        self.steps += 1


def test_others_do_not_hear_of_epochs_that_were_trained_before() -> None:
    in_a_run("left", 14)
    heard = Heard()
    run = outlast.Run("left", [outlast.ModelCheckpoint(save_best_only=True), outlast.ReduceLROnPlateau()])
    train(run, beside=[heard])
    assert (heard.epochs, heard.steps) == (
        [
            2,
        ],
        6,
    )


def signalled(number: int, at: int, **options: Any) -> Any:
    class Signal(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            if state.global_step == at:
                os.kill(os.getpid(), number)

    settings = {name: options.pop(name) for name in BY_STEPS if name in options}
    train(outlast.Run("run", outlast.History(), **options), beside=[Signal()], **settings)


@pytest.mark.parametrize(
    ("number", "at", "options", "said"),
    [
        (signal.SIGINT, 8, {}, "ended in epoch 2, which is not saved; epoch 1 is"),
        (signal.SIGTERM, 8, {"save_every": 100}, "ended in epoch 2 up to batch 2, which is saved"),
        (signal.SIGINT, 6, {**BY_STEPS, "save_every": 100}, "ended in epoch 2 up to batch 2, which is saved"),
        (signal.SIGTERM, 8, {**BY_STEPS}, "ended in epoch 2, which is not saved; epoch 1 is"),
    ],
    ids=["in an epoch", "in an epoch that is saved", "behind an epoch of Trainer's", "before an evaluation"],
)
def test_a_signal_ends_the_training_at_a_safe_point(
    number: int, at: int, options: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt if number == signal.SIGINT else SystemExit):
        signalled(number, at, **options)
    assert said in capsys.readouterr().out
    settings = {name: options[name] for name in BY_STEPS if name in options}
    left, whole = (outlast.Run(name, outlast.History()) for name in ("run", "whole"))
    assert weights(train(left, **settings)) == weights(train(whole, **settings))
    assert left.history.rows == whole.history.rows
    assert "not identical" not in capsys.readouterr().out


def test_an_error_leaves_the_folder_and_the_trainer_as_they_were() -> None:
    run = outlast.Run("run", outlast.History())
    leave = Leave(14)
    made = trainer(run, beside=[leave])
    methods = [*vars(made)]
    with pytest.raises(Left):
        made.train()
    assert run.status == "interrupted"
    assert [name for name in vars(made) if name not in methods and callable(getattr(made, name))] == []
    other = outlast.Run("run", outlast.History())
    train(other)
    assert (other.status, len(other.history.rows)) == ("finished", 3)


def test_an_error_before_the_first_step_of_a_resume_leaves_nothing_muted() -> None:
    in_a_run("left", 14)

    class Fails(Trainer):
        def evaluate(self, *args: Any, **options: Any) -> Any:
            if self.args.eval_on_start:
                raise Left
            return super().evaluate(*args, **options)

    heard = Heard()
    run = outlast.Run("left", [outlast.ModelCheckpoint(save_best_only=True), outlast.ReduceLROnPlateau()])
    made = trainer(run, beside=[heard], kind=Fails, eval_on_start=True)
    for _ in range(2):
        with pytest.raises(Left):
            made.train()
    made.args.eval_on_start = False
    made.train()
    assert (heard.epochs, heard.steps) == ([2], 6)


def test_one_trainer_trains_again_after_an_error() -> None:
    run = outlast.Run("run", outlast.History())
    made = trainer(run, beside=[Leave(14)])
    with pytest.raises(Left):
        made.train()
    made.train()
    assert (run.status, len(run.history.rows)) == ("finished", 3)


CHANGED = {
    "per_device_train_batch_size": (8, "steps changed from 6 to 12"),
    "learning_rate": (0.5, "learning_rate changed from 0.02 to 0.5"),
    "eval_steps": (3, "steps changed from 6 to 3"),
}


@pytest.mark.parametrize("name", CHANGED)
@pytest.mark.parametrize("warmup", [0, 3])
def test_another_training_in_the_same_folder_is_refused(name: str, warmup: int) -> None:
    value, text = CHANGED[name]
    by_steps = {"eval_strategy": "steps"} if name == "eval_steps" else {}
    in_a_run("run", 14, warmup_steps=warmup)
    with pytest.raises(RunChanged, match=text):
        in_a_run("run", warmup_steps=warmup, **{name: value}, **by_steps)


def test_other_settings_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    in_a_run("run", 14)
    in_a_run("run", seed=7, weight_decay=0.1, lr_scheduler_type="cosine")
    said = capsys.readouterr().out
    for change in ("seed changed", "weight_decay changed", "lr_scheduler_type changed"):
        assert change in said


def test_what_a_callback_of_trainers_counts_is_said_not_to_be_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Patience(TrainerCallback):
        waited = 0

        def __init__(self) -> None:
            self.waited = 0

        def on_evaluate(self, args: Any, state: Any, control: Any, **options: Any) -> None:
            self.waited += 1
            control.should_training_stop = self.waited > 7

    train(outlast.Run("run", outlast.History()), beside=[Patience()])
    assert "the state of Patience (waited) is not saved: derive it from" in capsys.readouterr().out


INEXACT: dict[str, tuple[dict[str, Any], str]] = {
    "workers inside": ({**BY_STEPS, "dataloader_num_workers": 1}, "workers draw other random numbers"),
    "lasting workers": (
        {"dataloader_num_workers": 1, "dataloader_persistent_workers": True},
        "persistent workers go on with random numbers of their own",
    ),
    "a stream": ({**BY_STEPS, "train_dataset": Stream(), "max_steps": 8}, "the dataset is a stream"),
    "a generator": ({"train_dataset": Drawing(0, SAMPLES)}, "dataset.rng is a random generator"),
    "an order of its own": ({"kind": OwnOrder}, "generator is a random generator, which is not saved"),
    "Trainer's best": (
        {"save_strategy": "best", "metric_for_best_model": "loss"},
        "save_strategy='best' writes checkpoints of Trainer's own behind the Run's",
    ),
}


@pytest.mark.parametrize("what", INEXACT)
def test_what_is_not_exact_is_said_before_the_first_step(
    what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, text = INEXACT[what]

    class First(TrainerCallback):
        def on_step_begin(self, *args: Any, **options: Any) -> None:
            raise Left

    with pytest.raises(Left):
        train(outlast.Run("run", outlast.History()), beside=[First()], **settings)
    [line] = [line for line in capsys.readouterr().out.splitlines() if "not be exact" in line]
    assert text in line


def test_nothing_is_said_where_all_is_exact(capsys: pytest.CaptureFixture[str]) -> None:
    train(outlast.Run("run", outlast.History()), **BY_STEPS, train_dataset=NOISY)
    assert capsys.readouterr().out == ""


# A model of Hugging Face's, and copies.


def test_a_model_of_transformers_is_gone_on_with_too() -> None:
    from transformers import BertConfig, BertForSequenceClassification

    class Pixels(Digits):
        def __getitem__(self, index: int) -> dict[str, Any]:
            number = self.first + index
            return {"input_ids": torch.tensor((X[number] * 16).astype("int64")), "labels": int(Y[number])}

    def model() -> Any:
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        return BertForSequenceClassification(
            BertConfig(vocab_size=17, max_position_embeddings=64, num_labels=10, **sizes)
        )

    settings = {
        **BY_STEPS,
        "train_dataset": Pixels(0, SAMPLES),
        "eval_dataset": Pixels(96, 112),
        "label_smoothing_factor": 0.1,
        "compute_metrics": None,
        "num_train_epochs": 2,
    }

    def once(folder: str, after: int | None = None) -> Any:
        torch.manual_seed(1)
        return in_a_run(folder, after, model=model(), **settings)[0]

    whole = once("whole")
    assert once("left", 5) is None
    found = once("left")
    assert [name for name in whole if found[name] != whole[name]] == []


def test_callbacks_come_out_of_a_pickle_without_their_run() -> None:
    [one] = pickle.loads(pickle.dumps(callbacks(outlast.EarlyStopping(patience=3))))
    assert isinstance(one, InTrainer)
    assert one._driven.callbacks[0].patience == 3
    [other] = pickle.loads(pickle.dumps(callbacks(outlast.Run("run"))))
    with pytest.raises(UsageError, match="came out of a pickle"):
        train(beside=[other])


@pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning")
def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "huggingface.md"
    [code] = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    exec(compile(code, "the documentation", "exec"), {})
    assert "Best(epoch=" in capsys.readouterr().out


def test_a_resume_needs_no_more_arguments() -> None:
    assert resume_arguments(None) == {}


def test_what_is_saved_is_no_pickle() -> None:
    in_a_run("run")
    assert json.loads(Path("run", "run.json").read_text())
