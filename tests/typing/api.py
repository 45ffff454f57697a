"""What type checkers see of the public names. This file never runs: mypy reads it.

A line that must not type-check carries an ignore; mypy reports the ignore when the line does.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, assert_type

import outlast
from outlast.testing import FakeAdapter, MemoryOutput, drive

Logs = dict[str, Any]


def all_callbacks() -> list[outlast.Callback]:
    return [
        outlast.EarlyStopping(),
        outlast.EarlyStopping("val_loss", 0, 3, 1, "min", 0.5, True, 2),
        outlast.EarlyStopping(threshold_mode="rel", stopping_threshold=0.1, divergence_threshold=1e3),
        outlast.ModelCheckpoint("best.keras", save_best_only=True),
        outlast.ModelCheckpoint(Path("best.pt"), save_weights_only=True, save_freq=100),
        outlast.CSVLogger("history.csv", separator=";", append=True),
        outlast.CSVLogger(Path("history.csv")),
        outlast.ReduceLROnPlateau(factor=0.5, patience=3, min_delta=1e-4, min_lr=1e-5),
        outlast.History(),
        outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        outlast.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        outlast.TerminateOnNaN(),
        outlast.TimeLimit(3600),
        outlast.TimeLimit(timedelta(hours=1)),
    ]


def mistakes() -> None:
    outlast.EarlyStopping(patience="3")  # type: ignore[arg-type]
    outlast.EarlyStopping(patiance=3)  # type: ignore[call-arg]
    outlast.TimeLimit()  # type: ignore[call-arg]
    outlast.CSVLogger(3)  # type: ignore[arg-type]


def decisions_without_a_loop() -> None:
    stopping = outlast.EarlyStopping(patience=3)
    decision = stopping.update(0.5)
    assert_type(decision, outlast.Decision)
    assert_type(decision.stop, bool)
    assert_type(decision.sentence, str)
    assert_type(outlast.ModelCheckpoint("best.keras").update(0.5, epoch=3), outlast.Decision)
    rates = outlast.ReduceLROnPlateau().update(0.5, learning_rate=0.1)
    assert_type(rates.learning_rate, float | dict[str, float] | None)


def state_of_a_callback(callback: outlast.Callback) -> None:
    assert_type(callback.state_dict(), dict[str, Any])
    callback.load_state_dict({})
    callback.load_snapshots(callback.snapshots())


def a_loop_of_ones_own(model: object, optimizer: object) -> None:
    callbacks = outlast.CallbackList(all_callbacks(), model=model, optimizer=optimizer)
    callbacks.on_train_begin()
    for epoch in range(100):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.6})
        if callbacks.stop_training:
            break
    callbacks.on_train_end()
    assert_type(callbacks.stop_training, bool)


class Shouting(outlast.Callback):
    """Users subclass callbacks and override hooks."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        print(epoch, logs)


class Patient(outlast.EarlyStopping):
    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        self.patience = 10


def history_and_pictures(metrics: outlast.Metrics) -> None:
    assert_type(metrics["val_loss"], list[float])
    assert_type(metrics.rows, list[dict[str, Any]])
    outlast.plot_history("history.csv", "history.png")
    outlast.plot_history(Path("history.csv"), Path("history.png"))


def doubles() -> None:
    stopping = drive(outlast.EarlyStopping(patience=1), [{"val_loss": 0.5}])
    assert_type(stopping, outlast.EarlyStopping)
    drive(outlast.CSVLogger("h.csv"), [{"loss": 1.0}], adapter=FakeAdapter(), output=MemoryOutput())


def errors() -> None:
    try:
        outlast.EarlyStopping(mode="mni")
    except outlast.FileError as error:
        assert_type(error.errno, int | None)
    except outlast.OutlastError as error:
        assert_type(str(error), str)


def every_error_and_warning() -> list[type[Exception]]:
    return [
        outlast.ArgumentError,
        outlast.CapabilityError,
        outlast.DamagedFile,
        outlast.FileError,
        outlast.MetricError,
        outlast.MissingExtra,
        outlast.OutlastError,
        outlast.OutlastWarning,
        outlast.RunChanged,
        outlast.RunLocked,
        outlast.TemplateError,
        outlast.UnknownArgument,
        outlast.UnknownDirection,
        outlast.UnknownFormat,
        outlast.UsageError,
    ]


def a_run(model: object) -> None:
    run = outlast.Run("runs/x", [outlast.EarlyStopping()], model=model)
    best = run.best
    assert_type(best, outlast.Best | None)
    run.data([model], steps=3, batch_size=8, shuffle=False)
    run.state = run.state, run.learning_rate
    outlast.Run("runs/y", state={"w": 1.0}, weights=lambda s: s["w"], learning_rate=1e-3)
    outlast.CallbackList(state={"w": 1.0}, learning_rate={"body": 1e-3}).state = {"w": 2.0}
    outlast.open_run("runs/x")
    outlast.ProgressLine()


def arrays_in_batches(x: Any, y: Any) -> None:
    batches = outlast.Batches(x, {"y": y}, batch_size=8, seed=1, shuffle=False, drop_last=True)
    assert_type(len(batches), int)
    for batch in batches:
        print(batch)
    outlast.Batches(x, bach_size=3)  # type: ignore[call-arg]


def random_numbers_in_workers() -> None:
    outlast.Run("runs/x", augmentation="batch")
    outlast.Run("runs/x", augmentation=3)  # type: ignore[arg-type]


def without_epochs(run: outlast.Run, loader: list[int]) -> None:
    for batch in run.steps(loader, 100, log_every=10):
        run.log(loss=batch)
    assert_type(run.step, int | None)
    run.steps(loader)  # type: ignore[call-arg]
