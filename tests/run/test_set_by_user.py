"""What the user sets in a living process counts, or is refused by name; what is refused changes nothing."""

from __future__ import annotations

import gc
import os
import signal
import time
import tracemalloc
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from tests.run.training import go_on, start, weight

import outlast
from outlast import EarlyStopping, LambdaCallback, ModelCheckpoint, ReduceLROnPlateau, Run, open_run
from outlast.exceptions import ArgumentError, CapabilityError, FileError, OutlastError, RunChanged, UsageError
from outlast.storage.disk.calls import calls
from outlast.testing import FakeAdapter, MemoryOutput

Out = pytest.CaptureFixture[str]
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Nets:
    """A small PyTorch training, made again as a new process makes it."""

    def __init__(self, make: Callable[..., Any] = torch.optim.SGD, **options: Any) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Linear(2, 1)
        self.optimizer = make(self.model.parameters(), **{"lr": 0.1, **options})

    def run(self, folder: Path | None, *callbacks: Any, **options: Any) -> Run:
        return Run(folder, list(callbacks), model=self.model, optimizer=self.optimizer, **options)

    def train(self, run: Run, epochs: int, until: int | None = None) -> None:
        for epoch in run.epochs(epochs):
            if epoch == until:
                break
            loss = self.model(torch.ones(1, 2)).square().sum()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            run.log(loss=loss)

    def bits(self) -> bytes:
        return b"".join(p.detach().numpy().tobytes() for p in self.model.parameters())


class Sam(torch.optim.Optimizer):
    """An optimizer around another, with one list of groups, as SAM and Lookahead have it."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})
        self.inner = torch.optim.SGD(self.param_groups, lr=lr)
        self.param_groups = self.inner.param_groups

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.inner.step()

    def load_state_dict(self, state: Any) -> None:
        super().load_state_dict(state)
        self.inner.param_groups = self.param_groups


def test_an_optimizer_inside_another_keeps_the_groups_that_they_share(folder: Path) -> None:
    outcomes = []
    for where in (None, folder):
        nets = Nets(Sam)
        schedule = torch.optim.lr_scheduler.StepLR(nets.optimizer, 1, 0.1)
        run = nets.run(where, schedule=schedule)
        for _ in run.epochs(3):
            nets.model(torch.ones(1, 2)).sum().backward()
            nets.optimizer.step()
            schedule.step()
        assert nets.optimizer.inner.param_groups[0]["lr"] == pytest.approx(1e-4)
        outcomes.append(nets.bits())
    assert outcomes[0] == outcomes[1]


def test_a_start_that_is_refused_changes_no_weight(folder: Path) -> None:
    nets = Nets()
    nets.train(nets.run(folder), 2)
    fresh = Nets()
    before = fresh.bits()
    schedule = torch.optim.lr_scheduler.StepLR(fresh.optimizer, 1)
    with pytest.raises(RunChanged, match="the part 'schedule' is new: the run was saved without it"):
        fresh.run(folder, schedule=schedule)
    assert fresh.bits() == before


def test_a_part_that_fails_to_load_is_named_and_changes_no_weight(folder: Path) -> None:
    class Part:
        fails = False

        def state_dict(self) -> dict[str, Any]:
            return {"a": 1}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            if self.fails:
                raise RuntimeError("The source state dict is empty")

    nets = Nets()
    nets.train(nets.run(folder, scaler=Part()), 2)
    fresh, part = Nets(), Part()
    before, part.fails = fresh.bits(), True
    with pytest.raises(CapabilityError, match="The part 'scaler' was saved, but cannot be loaded again"):
        fresh.run(folder, scaler=part)
    assert fresh.bits() == before


def test_a_run_that_is_made_a_second_time_after_its_rate_was_cut_goes_on(folder: Path) -> None:
    def plateau() -> Any:
        return ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=9.0)

    nets = Nets()
    nets.train(nets.run(folder, plateau()), 4)
    again = Nets()
    again.run(folder, plateau())  # the cell is run twice
    again.train(run := again.run(folder, plateau()), 6)
    assert run.history["learning_rate"] == [0.1, 0.1, 0.05, 0.025, 0.0125, 0.00625]


@pytest.mark.parametrize("how", ["break", "error"])
def test_a_rate_that_is_set_after_an_interruption_is_refused_or_counts(folder: Path, how: str) -> None:
    nets = Nets()
    run = nets.run(folder)

    def interrupt() -> None:
        try:
            for epoch in run.epochs(5):
                if epoch == 2:
                    if how == "break":
                        break
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    interrupt()
    nets.optimizer.param_groups[0]["lr"] = 1e-5
    with pytest.raises(RunChanged, match=r"learning_rate changed from 0\.1 to 1e-05"):
        nets.train(run, 5)
    run.learning_rate = 1e-4
    nets.train(run, 5)
    assert run.history["learning_rate"] == [0.1, 0.1, 1e-4, 1e-4, 1e-4]


SET: dict[str, Callable[[Nets], object]] = {
    "weight decay": lambda nets: nets.optimizer.param_groups[0].update(weight_decay=0.5),
    "momentum": lambda nets: nets.optimizer.param_groups[0].update(momentum=0.5),
    "moments": lambda nets: nets.optimizer.state.clear(),
}


@pytest.mark.parametrize("what", SET)
def test_a_setting_of_the_optimizer_between_two_trainings_is_refused_and_counts_if_it_is_accepted(
    folder: Path, what: str
) -> None:
    nets = Nets(momentum=0.9)
    nets.train(run := nets.run(folder), 2)
    SET[what](nets)
    with pytest.raises(RunChanged, match="optimizer changed since the run ended"):
        nets.train(run, 4)
    nets = Nets(momentum=0.9)
    run = nets.run(folder, accept_changes=["optimizer"])
    nets.train(run, 3)
    SET[what](nets)
    before = nets.optimizer.state_dict()["param_groups"]
    nets.train(run, 3)  # finished, and what was set is there
    assert nets.optimizer.state_dict()["param_groups"] == before
    assert what != "moments" or not nets.optimizer.state


def test_a_rate_cannot_be_set_before_there_is_an_optimizer(folder: Path) -> None:
    with pytest.raises(UsageError, match="no model with an optimizer"):
        Run(folder).learning_rate = 0.1


class Versioned(torch.nn.Module):
    """Reads the version of its state, as MNASNet and quantised layers do."""

    _version = 2

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Linear(2, 1)

    def _load_from_state_dict(self, state: Any, prefix: str, metadata: Any, *rest: Any) -> None:
        assert metadata.get("version") == 2, "version should be 2"
        super()._load_from_state_dict(state, prefix, metadata, *rest)


def test_a_module_finds_the_version_of_its_state(folder: Path) -> None:
    def train(until: int | None = None) -> Run:
        torch.manual_seed(0)
        model = Versioned()
        run = Run(folder, [EarlyStopping("loss", patience=9, restore_best_weights=True)], model=model)
        for epoch in run.epochs(4):
            if epoch == until:
                break
            run.log(loss=1 / (epoch + 1))
        return run

    train(until=2)
    assert train().history.epochs == (0, 1, 2, 3)


# In Keras.


def compiled(*layers: Any, loss: Any = "mse") -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), *layers, keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(1e-2), loss)
    return model


def fit(model: Any, run: Any, epochs: int, *beside: Any) -> Any:
    return model.fit(X, Y, epochs=epochs, verbose=0, callbacks=[run, *beside])


class DieIn(keras.callbacks.Callback):
    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise ZeroDivisionError


def test_a_rate_that_is_set_through_the_run_after_an_error_in_fit_counts(folder: Path) -> None:
    model, run = compiled(), Run(folder)
    with pytest.raises(ZeroDivisionError):
        fit(model, run, 4, DieIn(2))
    assert run.status == "interrupted"
    run.learning_rate = 1e-4
    fit(model, run, 4)
    assert run.history["learning_rate"] == pytest.approx([1e-2, 1e-2, 1e-4, 1e-4])


def test_a_rate_that_is_replaced_after_an_error_in_fit_is_said(folder: Path, capsys: Out) -> None:
    model, run = compiled(), Run(folder)
    with pytest.raises(ZeroDivisionError):
        fit(model, run, 4, DieIn(2))
    model.optimizer.learning_rate = 1e-4
    fit(model, run, 4)
    assert "the learning rate is the saved one, not 0.0001" in capsys.readouterr().out


def test_a_fit_without_the_run_after_an_error_in_one_with_it_is_not_warned_about(folder: Path) -> None:
    model = compiled()
    with pytest.raises(ZeroDivisionError):
        fit(model, Run(folder), 4, DieIn(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, EarlyStopping("loss"), 1)


def test_a_new_optimizer_of_the_same_rate_between_two_fits_is_refused(folder: Path) -> None:
    model, run = compiled(), Run(folder)
    fit(model, run, 2)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    with pytest.raises(RunChanged, match="optimizer"):
        fit(model, run, 4)


def test_a_prediction_between_two_fits_is_no_change(folder: Path) -> None:
    model, run = compiled(keras.layers.Dropout(0.5)), Run(folder)
    fit(model, run, 2)
    model.predict(X, verbose=0)
    assert fit(model, run, 3).epoch == [0, 1, 2]


def scaled(by: float) -> Any:
    def scale(x: Any) -> Any:
        return keras.ops.tanh(x) * by

    return scale


def nested() -> Any:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(3)])
    return compiled(inner)


BEST: dict[str, Callable[[], Any]] = {
    "functions of one name": lambda: compiled(
        keras.layers.Dense(3, scaled(1.0)), keras.layers.Dense(3, scaled(5.0))
    ),
    "a Lambda in an inner model": nested,
    "an activation without a name": lambda: compiled(keras.layers.Dense(3, lambda x: x * 3)),
    "a loss without a name": lambda: compiled(loss=lambda y, p: keras.ops.mean((y - p) ** 2, axis=-1)),
}


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("what", BEST)
def test_the_best_model_predicts_as_the_live_one(folder: Path, what: str) -> None:
    model = BEST[what]()
    run = Run(folder, [ModelCheckpoint(monitor="loss", mode="max", save_best_only=True)])
    fit(model, run, 1)
    best = run.load_best()
    assert best is not model
    assert np.array_equal(best.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_model_that_keras_cannot_save_is_refused_before_the_first_batch(folder: Path) -> None:
    class Taking(keras.Model):
        def __init__(self, function: Any) -> None:
            super().__init__()
            self.function, self.dense = function, keras.layers.Dense(1)

        def call(self, x: Any) -> Any:
            return self.dense(self.function(x))

    batches: list[int] = []
    count = LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))

    class Same:
        def __call__(self, x: Any) -> Any:
            return x

    model = Taking(Same())
    model.compile("sgd", "mse")
    with pytest.raises(CapabilityError, match=r"Keras cannot save this model.*save_weights_only=True"):
        fit(model, Run(folder, [ModelCheckpoint(), count]), 2)
    assert batches == []


# Copies of weights.


@pytest.mark.parametrize("how", ["a LambdaCallback", "a listener"])
def test_a_function_of_the_users_may_change_weights_between_two_that_keep_them(how: str) -> None:
    adapter = FakeAdapter({"w": [0.0]})

    def change(*_: Any, **__: Any) -> None:
        adapter.weights["w"] = [9.0]

    keepers = [EarlyStopping("loss", patience=9, restore_best_weights=True) for _ in range(2)]
    between = LambdaCallback(on_epoch_end=change) if how == "a LambdaCallback" else ModelCheckpoint("m.txt")
    callbacks = outlast.CallbackList(
        [keepers[0], between, keepers[1]],
        adapter=adapter,
        output=MemoryOutput(),
        listen=change if how == "a listener" else None,
    )
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_epoch_end(0, {"loss": 1.0})
    assert [one.best_weights for one in keepers] == [{"w": [0.0]}, {"w": [9.0]}]


def test_a_model_is_deleted_only_once_the_one_that_replaces_it_is_saved() -> None:
    class Full(MemoryOutput):
        full = False

        def publish(self, name: str, save: Any) -> str:
            if self.full:
                raise FileError("no room")
            return super().publish(name, save)

    output = Full()
    checkpoint = ModelCheckpoint("m-{epoch}.txt", "loss", keep_best=1)
    callbacks = outlast.CallbackList([checkpoint], adapter=FakeAdapter({"w": [0.0]}), output=output)
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"loss": 3.0})
    output.full = True
    with pytest.raises(FileError):
        callbacks.on_epoch_end(1, {"loss": 2.0})
    output.full = False
    callbacks.on_epoch_end(2, {"loss": 9.0})
    assert sorted(output.files) == ["best.txt", "m-1.txt"]


# Errors and signals.


class FailingSyncs:
    """Lets the next sync of a folder fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times, self._fsync = 0, calls.fsync
        monkeypatch.setattr(calls, "fsync", self._fail_or_sync)

    def _fail_or_sync(self, fd: int) -> None:
        if self.times and os.path.isdir(f"/proc/self/fd/{fd}"):
            self.times -= 1
            raise OSError(28, "No space left on device")
        self._fsync(fd)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only where /proc is")
def test_a_failure_that_flush_tells_is_mended_by_the_next_save(
    folder: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    run, failing = start(folder, on_save_error="warn"), FailingSyncs(monkeypatch)
    for epoch in run.epochs(4):
        if epoch == 2:
            with pytest.raises(FileError, match="No space"):
                run.flush()
        if epoch == 1:
            run.flush()
            failing.times = 1
        run.log(val_loss=1.0)
    assert [str(one.message) for one in recwarn if "Another process" in str(one.message)] == []
    assert open_run(folder).history.epochs == (0, 1, 2, 3)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="only where /proc is")
def test_a_save_that_failed_is_told_when_a_signal_comes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    run, failing = start(folder), FailingSyncs(monkeypatch)
    with pytest.raises(SystemExit) as ended:
        for epoch in run.epochs(5):
            if epoch == 1:
                run.flush()
                failing.times = 1
            if epoch == 2:
                while failing.times:
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGTERM)
            run.log(val_loss=1.0)
    assert ended.value.code == 143
    said = capsys.readouterr().out
    assert "outlast: SIGTERM: ended in epoch 3" in said and "The last save failed: Cannot sync" in said
    assert go_on(start(folder), 5) != []


def test_a_signal_before_the_first_epoch_says_that_nothing_is_saved(folder: Path, capsys: Out) -> None:
    early = LambdaCallback(on_epoch_begin=lambda epoch, logs: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit):
        go_on(start(folder, [early]), 3)
    assert capsys.readouterr().out == (
        "outlast: SIGTERM: ended in epoch 1, which is not saved. The same command starts from the beginning\n"
    )


# Memory.


def test_a_run_that_has_ended_or_not_begun_holds_no_copy_of_the_state(folder: Path) -> None:
    size = 4 << 20

    class Big:
        def __init__(self) -> None:
            self.array = np.zeros(size, np.uint8)

        def state_dict(self) -> dict[str, Any]:
            return {"array": self.array}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.array = state["array"]

    go_on(start(folder, big=Big()), 2)
    gc.collect()
    tracemalloc.start()
    try:
        run = start(folder, big=Big())
        assert tracemalloc.get_traced_memory()[0] < 1.5 * size
        go_on(run, 4)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 1.5 * size
    finally:
        tracemalloc.stop()


# Arguments.


def test_a_folder_that_is_looked_at_is_settled_as_one_that_is_trained_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    go_on(start("~/x", [ModelCheckpoint(save_best_only=True)]), 2)
    past = open_run("x")
    assert open_run("~/x").folder == past.folder == str(tmp_path / "x")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert past.history.epochs == (0, 1)


@pytest.mark.parametrize("bad", ["~nosuchuser/x", b"x", 3, None.__class__], ids=repr)
def test_what_is_no_path_of_a_folder_is_refused_in_our_words(bad: Any) -> None:
    with pytest.raises(ArgumentError, match="folder must be the path of a folder"):
        start(bad)


@pytest.mark.parametrize("epochs", [2.5, -1, "3", True], ids=repr)
def test_a_number_of_epochs_that_is_none_is_refused(folder: Path, epochs: Any) -> None:
    with pytest.raises(OutlastError, match="epochs must be a whole number, at least 0, but is"):
        go_on(start(folder), epochs)


def test_one_name_of_an_accepted_change_needs_no_list(folder: Path) -> None:
    go_on(start(folder, seed=1), 1)
    assert go_on(start(folder, seed=2, accept_changes="seed"), 2) == [1]
    assert weight(start(folder, seed=2)) == 2


@pytest.mark.parametrize("how", ["through the run", "in the optimizer", "weights", "momentum"])
def test_what_is_changed_for_a_training_of_no_epochs_counts_in_the_next(folder: Path, how: str) -> None:
    nets = Nets(momentum=0.9)
    accepted = {"in the optimizer": ["learning_rate"], "weights": ["weights"], "momentum": ["optimizer"]}
    run = nets.run(folder, accept_changes=accepted.get(how, []), check_resume="never")
    nets.train(run, 3)
    if how == "through the run":
        run.learning_rate = 0.001
    elif how == "in the optimizer":
        nets.optimizer.param_groups[0]["lr"] = 0.001
    elif how == "weights":
        with torch.no_grad():
            nets.model.bias.fill_(100.0)
    else:
        nets.optimizer.param_groups[0]["momentum"] = 0.5
    for _ in range(2):
        nets.train(run, 3)  # finished: trains nothing
    if "the" in how:
        nets.train(run, 4, until=3)  # left in the epoch
    nets.train(run, 5)
    rate = 0.001 if "the" in how else 0.1
    assert run.history["learning_rate"] == pytest.approx([0.1, 0.1, 0.1, rate, rate])
    assert nets.optimizer.param_groups[0]["momentum"] == (0.5 if how == "momentum" else 0.9)


@pytest.mark.parametrize("place", ["before", "inside", "after"])
def test_a_stop_by_kerass_own_callback_ends_the_run_wherever_it_is_in_the_list(
    folder: Path, place: str
) -> None:
    def once() -> Run:
        theirs = keras.callbacks.EarlyStopping(monitor="loss", patience=0, min_delta=1e9)
        run = Run(folder, [theirs] if place == "inside" else [], check_resume="never")
        callbacks = {"before": [theirs, run], "inside": [run], "after": [run, theirs]}[place]
        keras.utils.set_random_seed(1)
        compiled().fit(X, Y, epochs=9, verbose=0, callbacks=callbacks)
        return run

    first, second = once(), once()
    assert (first.status, len(first.history.epochs)) == ("finished", 2)
    assert first.stopped == second.stopped is not None
    assert len(second.history.epochs) == 2
    assert open_run(folder).status == "finished"
