"""A host binds callbacks to a context of its own; they need no change for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch

import outlast
from outlast.callbacks.context import Context
from outlast.exceptions import UsageError
from outlast.frameworks.base import Control, Training, find_control, find_training
from outlast.storage.output import LooseOutput, Save
from outlast.testing import FakeAdapter


class Later(LooseOutput):
    """Captures a model at the hook, and writes it when it is told to, on a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._waiting: queue.Queue[tuple[str, Callable[[str], object]]] = queue.Queue()
        self.threads: set[int] = set()

    def publish(self, name: str, save: Save) -> str:
        self._waiting.put((str(self._folder / name), save.capture()))
        return name

    def write_all(self) -> None:
        thread = threading.Thread(target=self._write)
        thread.start()
        thread.join()

    def _write(self) -> None:
        self.threads.add(threading.get_ident())
        while not self._waiting.empty():
            path, write = self._waiting.get()
            write(path)


class Composite(outlast.Callback):
    """Several callbacks as one, with one context for all."""

    def __init__(self, *callbacks: outlast.Callback, output: Later, training: Training | None = None) -> None:
        self.callbacks = callbacks
        self.output = output
        self.decisions: list[outlast.Decision] = []
        if training is not None:
            self._bind_all(training, training if isinstance(training, Control) else Control())

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self._bind_all(find_training(model), find_control(model))

    def _bind_all(self, training: Training, control: Control) -> None:
        context = Context(training, control, self.output, self.decisions.append)
        for callback in self.callbacks:
            callback.bind(context, self)

    def on_train_begin(self, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_train_begin(logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(epoch, logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_epoch_end(epoch, logs)

    def on_train_end(self, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_train_end(logs)


def four(suffix: str, monitor: str = "loss") -> list[outlast.Callback]:
    return [
        outlast.EarlyStopping(monitor, patience=9, restore_best_weights=True),
        outlast.ModelCheckpoint("e{epoch}" + suffix, monitor),
        outlast.ReduceLROnPlateau(monitor, patience=1),
    ]


def test_in_keras_fit_what_is_written_later_is_the_model_as_it_was_at_the_hook(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer="sgd", loss="mse")
    output, weights = Later(tmp_path), []
    note = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()))
    x, y = np.ones((8, 2), "float32"), np.ones((8, 1), "float32")
    model.fit(x, y, epochs=3, verbose=0, callbacks=[Composite(*four(".keras"), output=output), note])
    assert list(tmp_path.iterdir()) == []
    output.write_all()
    for epoch, expected in enumerate(weights, 1):
        saved = keras.saving.load_model(tmp_path / f"e{epoch}.keras").get_weights()
        assert [a.tolist() for a in saved] == [a.tolist() for a in expected]
    assert output.threads and threading.get_ident() not in output.threads


def test_in_a_torch_loop_too(tmp_path: Path) -> None:
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    output = Later(tmp_path)
    host = Composite(*four(".pt"), output=output, training=find_training(model, optimizer))
    run(host, lambda epoch: torch.nn.init.constant_(model.weight, epoch))
    output.write_all()
    saved = [torch.load(tmp_path / f"e{n}.pt", weights_only=True)["weight"].item() for n in (1, 2, 3, 4)]
    assert saved == [0.0, 1.0, 2.0, 3.0]
    assert model.weight.item() == 1.0  # of the best epoch


def test_with_no_framework_too_and_every_decision_reaches_the_host(tmp_path: Path) -> None:
    adapter = FakeAdapter({"w": [0.0]}, learning_rate=1.0)
    output = Later(tmp_path)
    host = Composite(*four(".txt"), output=output, training=adapter)
    run(host, lambda epoch: adapter.weights.update(w=[float(epoch)]))
    output.write_all()
    assert (tmp_path / "e3.txt").read_text() == "{'w': [2.0]}"
    assert [(d.callback, d.action.value, d.epoch) for d in host.decisions] == [
        ("ModelCheckpoint", "save", 0),
        ("ModelCheckpoint", "save", 1),
        ("ModelCheckpoint", "save", 2),
        ("ReduceLROnPlateau", "reduce", 2),
        ("ModelCheckpoint", "save", 3),
        ("ReduceLROnPlateau", "reduce", 3),
        ("EarlyStopping", "restore", 3),
    ]


def run(host: Composite, change: Callable[[int], object]) -> None:
    host.on_train_begin()
    for epoch, loss in enumerate([1.0, 0.5, 0.75, 0.75]):
        host.on_epoch_begin(epoch)
        change(epoch)
        host.on_epoch_end(epoch, {"loss": loss})
    host.on_train_end()


def test_a_callback_of_a_host_is_refused_to_somebody_elses_list(tmp_path: Path) -> None:
    stopping = outlast.EarlyStopping()
    host = Composite(stopping, output=Later(tmp_path), training=FakeAdapter())
    with pytest.raises(UsageError, match=r"This EarlyStopping is already in .*Composite"):
        stopping.set_model(keras.Sequential())
    del host
    stopping.set_model(keras.Sequential())
