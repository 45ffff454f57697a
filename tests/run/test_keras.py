"""A Run in Keras's fit: it begins where it must, shows what Keras's users look for, and leaves no trace."""

from __future__ import annotations

import csv
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from outlast import (
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    OutlastWarning,
    ReduceLROnPlateau,
    Run,
    open_run,
)
from outlast.exceptions import ArgumentError, CapabilityError, RunChanged, UsageError
from outlast.frameworks import base as frameworks_base
from outlast.run.foreign import unsaved

Out = pytest.CaptureFixture[str]
X = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


@cache
def compiled() -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
    )
    model.compile("adam", "mse")
    model.fit(X, Y, batch_size=8, validation_data=(X, Y), verbose=0)  # builds all, which draws random numbers
    return model, [keras.ops.convert_to_numpy(variable).copy() for variable in variables(model)]


def variables(model: Any) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def state(model: Any) -> list[bytes]:
    return [keras.ops.convert_to_numpy(variable).tobytes() for variable in variables(model)]


@pytest.fixture
def model() -> Any:
    """As a new process has it; compiled only once, for that takes most of the time."""
    model, values = compiled()
    renew(model, values)
    return model


def renew(model: Any, values: Any = None) -> None:
    keras.utils.set_random_seed(1)
    for variable, value in zip(variables(model), values or compiled()[1], strict=True):
        variable.assign(value)
    model.stop_training = False


def fit(model: Any, run: Any, epochs: int = 4, *beside: Any, **options: Any) -> Any:
    data = {"batch_size": 8, "validation_data": (X, Y), "verbose": 0}
    return model.fit(X, Y, epochs=epochs, callbacks=[run, *beside], **{**data, **options})


class Epochs(keras.callbacks.Callback):
    """Counts the epochs that Keras begins, and the batches; dies in the middle of one if it is told to."""

    def __init__(self, until: int | None = None) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.batches = 0
        self.until = until

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begun.append(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1
        if self.begun[-1] == self.until and batch == 1:
            raise ZeroDivisionError


def die(model: Any, run: Any, until: int, epochs: int = 4) -> None:
    with pytest.raises(ZeroDivisionError):
        fit(model, run, epochs, Epochs(until))


def test_a_fit_that_an_error_ended_goes_on_when_the_cell_runs_again(
    model: Any, folder: Path, capsys: Out
) -> None:
    fit(model, Run(folder.with_name("whole")))
    whole = state(model)
    renew(model)
    die(model, Run(folder), until=2)
    epochs = Epochs()
    fit(model, Run(folder), 4, epochs)
    assert (epochs.begun, state(model)) == ([2, 3], whole)
    told = (
        f"outlast: resumed {folder} at epoch 3, resume point 2; not checked: it was trained in this process\n"
    )
    assert capsys.readouterr().out == told


def test_a_new_process_goes_on_with_the_same_history_as_one_that_was_never_left(
    model: Any, folder: Path
) -> None:
    whole = fit(model, Run(folder.with_name("whole")))
    renew(model)
    die(model, Run(folder), until=2)
    renew(model)
    history = fit(model, Run(folder))
    assert (history.history, history.epoch) == (whole.history, [0, 1, 2, 3])
    assert history is model.history


def test_the_same_run_in_the_next_fit_goes_on_from_its_folder(model: Any, folder: Path) -> None:
    run = Run(folder)
    fit(model, run, 2)
    epochs = Epochs()
    assert fit(model, run, 4, epochs).epoch == [0, 1, 2, 3]
    assert epochs.begun == [2, 3]


def test_a_finished_fit_returns_at_once_with_weights_and_history(
    model: Any, folder: Path, capsys: Out
) -> None:
    whole = fit(model, Run(folder))
    weights = state(model)
    history, epoch = dict(whole.history), list(whole.epoch)
    renew(model)
    epochs = Epochs()
    again = fit(model, Run(folder), 4, epochs)
    assert (epochs.begun, epochs.batches) == ([], 0)
    assert (state(model), again.history, again.epoch) == (weights, history, epoch)
    assert f"outlast: {folder} is finished (all 4 epochs are done); its weights and history are back" in (
        capsys.readouterr().out
    )


def test_a_fit_after_a_resumed_one_begins_at_its_own_first_epoch(model: Any, folder: Path) -> None:
    die(model, Run(folder), until=2)
    fit(model, Run(folder))
    epochs = Epochs()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[epochs])
    assert epochs.begun == [0, 1]


def test_a_fit_after_a_finished_one_begins_at_its_own_first_epoch(model: Any, folder: Path) -> None:
    fit(model, Run(folder))
    fit(model, Run(folder))
    epochs = Epochs()
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[epochs])
    assert epochs.begun == [0, 1]


def test_an_initial_epoch_of_the_users_is_refused_and_nothing_is_in_the_way_without_it(
    model: Any, folder: Path
) -> None:
    with pytest.raises(UsageError, match="leave out initial_epoch, the run knows where to go on"):
        fit(model, Run(folder), 4, initial_epoch=3)
    epochs = Epochs()
    fit(model, Run(folder), 4, epochs)
    assert epochs.begun == [0, 1, 2, 3]


def test_an_initial_epoch_of_the_users_does_not_move_a_resume(model: Any, folder: Path) -> None:
    fit(model, Run(folder), 2)
    epochs = Epochs()
    fit(model, Run(folder), 4, epochs, initial_epoch=3)
    assert epochs.begun == [2, 3]


def stopping(patience: int = 1) -> list[Any]:
    return [EarlyStopping("val_loss", mode="max", patience=patience, restore_best_weights=True)]


def test_restored_best_weights_come_back_and_more_patience_goes_on_from_the_last_state(
    model: Any, folder: Path
) -> None:
    fit(model, Run(folder.with_name("whole"), stopping(patience=3)), 8)
    whole = state(model)
    renew(model)
    fit(model, Run(folder, stopping(patience=1)), 8)
    best = [weights.copy() for weights in model.get_weights()]
    renew(model)
    assert fit(model, Run(folder, stopping(patience=1)), 8).epoch == [0, 1]
    assert all(map(np.array_equal, model.get_weights(), best))
    renew(model)
    assert fit(model, Run(folder, stopping(patience=3)), 8).epoch == [0, 1, 2, 3]
    assert state(model) == whole


def test_load_best_gives_a_keras_model_with_the_weights_of_the_best_epoch(model: Any, folder: Path) -> None:
    run = Run(folder, [ModelCheckpoint(save_best_only=True)])
    fit(model, run)
    weights = model.get_weights()  # the last epoch's is the best
    assert run.best.epoch == 3
    for best in (run.load_best(), open_run(folder).load_best()):
        assert isinstance(best, keras.Model)
        assert all(map(np.array_equal, best.get_weights(), weights))


def test_run_and_keras_have_the_same_history(model: Any, folder: Path) -> None:
    run = Run(folder, [ReduceLROnPlateau("loss", patience=1)])
    history = fit(model, run).history
    assert {name: run.history[name] for name in history} == history
    assert set(history) == {"loss", "val_loss", "learning_rate"}


@pytest.mark.parametrize("order", [0, 1])
def test_in_whichever_order_the_table_has_the_learning_rate(model: Any, folder: Path, order: int) -> None:
    callbacks: list[Any] = [ReduceLROnPlateau("val_loss", mode="max", factor=0.5, patience=1)]
    callbacks.insert(order, CSVLogger())
    fit(model, Run(folder, callbacks))
    with (folder / "history.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([1e-3, 1e-3, 5e-4, 2.5e-4])


def test_a_checkpoint_every_few_batches_counts_on_after_a_resume(model: Any, folder: Path) -> None:
    def every_four_batches(folder: Path) -> Run:
        return Run(folder, [ModelCheckpoint("{epoch}-{batch}.keras", save_freq=4)])

    fit(model, every_four_batches(folder.with_name("whole")), 5)  # of three batches each
    names = sorted(
        path.name for path in folder.with_name("whole").glob("*-*.keras") if path.name[0].isdigit()
    )
    assert names == ["2-1.keras", "3-2.keras", "4-3.keras"]
    renew(model)
    die(model, every_four_batches(folder), until=3, epochs=5)
    renew(model)
    fit(model, every_four_batches(folder), 5)
    assert sorted(path.name for path in folder.glob("*-*.keras") if path.name[0].isdigit()) == names
    for name in names:
        left, whole = (keras.saving.load_model(place / name) for place in (folder, folder.with_name("whole")))
        assert all(map(np.array_equal, left.get_weights(), whole.get_weights()))


def test_kerass_own_callbacks_work_in_a_run_and_it_is_said_that_their_state_is_not_saved(
    model: Any, folder: Path, capsys: Out
) -> None:
    theirs, ours = (
        keras.callbacks.EarlyStopping("val_loss", mode="max", patience=1),
        EarlyStopping(patience=9),
    )
    run = Run(folder, [theirs, ours])
    assert fit(model, run, 9).epoch == [0, 1]
    assert (theirs.stopped_epoch, ours.best_epoch) == (1, 1)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if "the state of EarlyStopping is not saved" in line] == said
    assert len(said) == 1


class Counting(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.count, self.epochs = 0, []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count += 1


class Printing(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        pass


def test_a_callback_of_ones_own_that_is_kerass_is_named_with_its_attributes(
    model: Any, folder: Path, capsys: Out
) -> None:
    fit(model, Run(folder, [Counting(), Printing()]), 1)
    assert capsys.readouterr().out == (
        f"outlast: resuming {folder} would not be exact: the state of Counting (count, epochs) is not saved: "
        "derive it from outlast.Callback\n"
    )


class Averaging(keras.callbacks.Callback):
    """Remembers weights, as averages over epochs do."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []
        self.seen, self.batches = 0, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.kept.append(self.model.get_weights())
        self.seen += 1
        self.batches += 6


class Stopping(Averaging):
    """Counts, and decides by it."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seen += 1
        self.model.stop_training = self.seen == 9


@pytest.mark.parametrize("first", [True, False])
def test_kerass_own_callbacks_beside_a_run_are_named_too(
    model: Any, folder: Path, capsys: Out, first: bool
) -> None:
    theirs = keras.callbacks.EarlyStopping("loss", patience=9)
    run = Run(folder)
    fit(model, *((theirs, 2, run) if first else (run, 2, theirs)))
    assert capsys.readouterr().out.splitlines() == [
        f"outlast: resuming {folder} would not be exact: the state of EarlyStopping is not saved: "
        "use outlast.EarlyStopping"
    ]


@pytest.mark.parametrize(("kind", "named"), [(Averaging, "kept"), (Stopping, "seen")])
def test_a_callback_of_ones_own_beside_a_run_is_named_when_it_is_seen_to_change(
    model: Any, folder: Path, capsys: Out, kind: Any, named: str
) -> None:
    fit(model, Run(folder), 3, kind())
    assert capsys.readouterr().out.splitlines() == [
        f"outlast: resuming {folder} would not be exact: the state of {kind.__name__} ({named}) is not "
        "saved: derive it from outlast.Callback, and put it into the Run"
    ]


class Numbering(keras.callbacks.Callback):
    """Counts in each epoch anew, and puts it into the logs."""

    def __init__(self, fill: Any) -> None:
        super().__init__()
        self.fill = fill

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.batches: list[int] = []
        self.began = time.time()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches.append(batch)


class Storing(Numbering):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs[f"count of {epoch and 'the'} batches"] = float(len(self.batches))


class Updating(Numbering):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        logs.update({"count": float(len(self.batches))})


class Reading(Numbering):
    """Puts what it reads in the logs somewhere else."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.fill[epoch] = logs["loss"]


@pytest.mark.parametrize("every", [1, "epoch"])
@pytest.mark.parametrize(("kind", "named"), [(Storing, True), (Updating, True), (Reading, False)])
def test_what_a_callback_counts_in_an_epoch_for_a_metric_is_named_where_the_run_saves_inside_it(
    model: Any, folder: Path, capsys: Out, kind: Any, named: bool, every: Any
) -> None:
    model.fit(X, Y, batch_size=1, epochs=3, verbose=0, callbacks=[kind({}), Run(folder, save_every=every)])
    told = (
        f"outlast: resuming {folder} would not be exact: the state of {kind.__name__} (batches) is not "
        "saved: derive it from outlast.Callback, and put it into the Run"
    )
    assert capsys.readouterr().out.splitlines() == [told] * (named and every == 1)


class Shrinking(keras.callbacks.Callback):
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate.assign(0.001)


def test_what_a_callback_changes_after_the_run_has_saved_is_named(
    model: Any, folder: Path, capsys: Out
) -> None:
    def shrink(epoch: int, logs: Any) -> None:
        model.optimizer.learning_rate = 0.001

    told = (
        "changes when an epoch ends comes after the Run has saved it: put the Run last, callbacks=[..., "
        "run], and hold what it changes beside the model in an attribute of the model (model.beta = beta), "
        "or pass it to the Run as a part"
    )
    for name, one in (
        ("Shrinking", Shrinking()),
        ("LambdaCallback", keras.callbacks.LambdaCallback(on_epoch_end=shrink)),
    ):
        run = Run(folder / name)
        fit(model, run, 1, one)
        assert capsys.readouterr().out.endswith(f"would not be exact: what {name} {told}\n")
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[one, Run(folder / f"{name}-last")])
        assert capsys.readouterr().out == ""


def test_a_variable_that_a_callback_beside_the_run_holds_is_watched(
    model: Any, folder: Path, capsys: Out
) -> None:
    class Weighing(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.weight = keras.Variable(1.0)

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.weight.assign(self.weight * 0.5)

    fit(model, Run(folder), 3, Weighing())
    assert "the state of Weighing (weight) is not saved" in capsys.readouterr().out


def test_weights_that_are_swapped_before_the_run_saves_are_named(folder: Path, capsys: Out) -> None:
    for place, told in ((0, True), (1, False)):
        callbacks: list[Any] = [Run(folder / str(place))]
        callbacks.insert(place, keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        network.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
        network.fit(np.ones((8, 1)), np.ones((8, 1)), epochs=1, verbose=0, callbacks=callbacks)
        assert ("the state of SwapEMAWeights is not saved: put it" in capsys.readouterr().out) == told


def test_kerass_callbacks_whose_state_does_not_matter_are_not_named(
    model: Any, folder: Path, capsys: Out
) -> None:
    kinds = keras.callbacks
    silent = [
        kinds.LambdaCallback(),
        kinds.History(),
        kinds.TerminateOnNaN(),
        kinds.LearningRateScheduler(lambda epoch, rate: rate),
    ]
    fit(model, Run(folder, silent), 1)
    assert capsys.readouterr().out == ""
    assert unsaved(kinds.TensorBoard(str(folder.with_name("logs")))) is None


def test_a_stop_by_kerass_own_callback_is_remembered_as_one_from_outside(model: Any, folder: Path) -> None:
    def theirs() -> Run:
        return Run(folder, [keras.callbacks.EarlyStopping("val_loss", mode="max", patience=1)])

    fit(model, theirs(), 9)
    renew(model)
    assert fit(model, theirs(), 9).epoch == [0, 1]


def test_a_callback_of_ours_beside_a_run_is_warned_about(model: Any, folder: Path) -> None:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", OutlastWarning)
        fit(model, Run(folder), 2, EarlyStopping("loss"))
    assert len(warned) == 1
    assert "EarlyStopping" in str(warned[0].message) and "Run" in str(warned[0].message)


def test_a_callback_given_to_fit_and_to_its_run_is_refused(model: Any, folder: Path) -> None:
    both = EarlyStopping("loss")
    with pytest.raises(UsageError, match="already in"):
        fit(model, Run(folder, [both]), 2, both)


def test_the_line_at_the_start_goes_through_keras_and_may_be_logged(
    model: Any, folder: Path, capsys: Out, caplog: pytest.LogCaptureFixture
) -> None:
    fit(model, Run(folder), 2)
    keras.config.disable_interactive_logging()
    try:
        with caplog.at_level("INFO"):
            fit(model, Run(folder), 3)
    finally:
        keras.config.enable_interactive_logging()
    assert capsys.readouterr().out == ""
    assert f"outlast: resumed {folder} at epoch 3" in caplog.text


def test_another_model_another_optimizer_and_another_rate_are_refused(model: Any, folder: Path) -> None:
    fit(model, Run(folder), 2)

    def other(units: int = 4, optimizer: Any = "adam") -> Any:
        other = keras.Sequential(
            [keras.Input((3,)), keras.layers.Dense(units), keras.layers.Dropout(0.2), keras.layers.Dense(1)]
        )
        other.compile(optimizer, "mse")
        return other

    with pytest.raises(
        RunChanged, match=r"kernel: float32 \(3, 4\) in the run, float32 \(3, 5\) in this code"
    ):
        fit(other(units=5), Run(folder))
    with pytest.raises(RunChanged, match=r"learning_rate changed from .* to"):
        fit(other(optimizer=keras.optimizers.Adam(0.5)), Run(folder))
    with pytest.raises(RunChanged, match="the optimizer is another one"):
        fit(other(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9)), Run(folder))
    assert fit(model, Run(folder), 3).epoch == [0, 1, 2]


def test_a_run_without_a_folder_trains_like_no_run_at_all(model: Any, folder: Path, tmp_path: Path) -> None:
    plain = model.fit(X, Y, epochs=3, batch_size=8, validation_data=(X, Y), verbose=0).history
    renew(model)
    history = fit(model, Run(None, [ModelCheckpoint(save_best_only=True), CSVLogger()]), 3).history
    assert {name: history[name] for name in plain} == plain
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_between_two_fits_changes_nothing_of_the_run(model: Any, folder: Path) -> None:
    run = Run(folder)
    fit(model, run, 2)
    rows = run.history.rows
    model.evaluate(X, Y, verbose=0, callbacks=[run])
    model.predict(X, verbose=0, callbacks=[run])
    assert run.history.rows == rows
    assert fit(model, run, 3).epoch == [0, 1, 2]


def test_another_number_of_batches_is_refused_and_may_be_accepted(model: Any, folder: Path) -> None:
    fit(model, Run(folder), 2)
    with pytest.raises(RunChanged, match=r"(?s)steps changed from 3 to 5.*accept_changes=\['steps'\]"):
        fit(model, Run(folder), 4, batch_size=4)
    assert fit(model, Run(folder, accept_changes=["steps"]), 4, batch_size=4).epoch == [0, 1, 2, 3]


# What the user sets between two fits counts or is refused.


def small(rate: float = 1e-2) -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


def test_a_model_that_is_compiled_with_another_rate_is_refused_and_counts_if_it_is_accepted(
    folder: Path,
) -> None:
    model, run = small(), Run(folder)
    fit(model, run, 2)
    model.compile(keras.optimizers.Adam(1e-5), "mse")
    for again in (run, Run(folder)):
        with pytest.raises(RunChanged, match="learning_rate changed"):
            fit(model, again, 4)
    fit(model, run := Run(folder, accept_changes=["learning_rate"]), 4)
    assert run.history["learning_rate"] == pytest.approx([1e-2, 1e-2, 1e-5, 1e-5])


def test_a_rate_and_weights_that_are_set_between_two_fits_are_refused_by_name(folder: Path) -> None:
    model, run = small(), Run(folder)
    fit(model, run, 2)
    model.optimizer.learning_rate = 1e-5
    with pytest.raises(RunChanged, match="learning_rate changed"):
        fit(model, run, 4)
    model.optimizer.learning_rate = 1e-2
    model.set_weights([weights + 1 for weights in model.get_weights()])
    before = model.get_weights()
    with pytest.raises(RunChanged, match="weights changed"):
        fit(model, run, 4)
    assert all(map(np.array_equal, model.get_weights(), before))


def test_a_fit_that_was_refused_goes_on_when_the_setting_is_as_it_was(folder: Path) -> None:
    fit(small(), Run(folder), 3)
    run = Run(folder)
    with pytest.raises(RunChanged):
        fit(small(0.1), run, 5)
    whole, model = small(), small()
    fit(whole, Run(folder.with_name("whole")), 5)
    assert fit(model, run, 5).epoch == [0, 1, 2, 3, 4]
    assert state(model) == state(whole)


class Wide(keras.layers.Layer):
    """Counts in variables of 64 bits, which JAX keeps as 32."""

    def build(self, shape: Any) -> None:
        options = {"shape": (), "initializer": "zeros", "trainable": False}
        self.count = self.add_weight(dtype="int64", name="count", **options)
        self.total = self.add_weight(dtype="float64", name="total", **options)

    def call(self, inputs: Any) -> Any:
        self.count.assign(self.count + 1)
        self.total.assign(self.total + 0.5)
        return inputs


def wide() -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), Wide(), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.mark.filterwarnings("ignore:.*64 requested in:UserWarning", "ignore:Explicitly requested dtype")
def test_variables_of_64_bits_are_those_of_the_run_on_every_backend(folder: Path) -> None:
    fit(wide(), Run(folder), 2)
    fit(model := wide(), Run(folder), 4)
    fit(whole := wide(), Run(None), 4)
    assert state(model) == state(whole)
    assert int(keras.ops.convert_to_numpy(model.layers[0].count)) >= 4 * 3


class Noise(keras.callbacks.Callback):
    """Changes a weight in one epoch, as something does that no resume point holds."""

    def __init__(self, epoch: int) -> None:
        super().__init__()
        self.epoch, self.now = epoch, -1

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.now = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.now == self.epoch:
            weight = self.model.trainable_variables[0]
            weight.assign(keras.ops.convert_to_numpy(weight) + 1e-3)


@pytest.mark.parametrize("fault", [False, True])
def test_the_last_saved_epoch_is_trained_again_and_compared(
    model: Any, folder: Path, capsys: Out, fault: bool
) -> None:
    def run(name: str) -> Run:
        callbacks = [EarlyStopping(patience=3, restore_best_weights=True), CSVLogger()]
        return Run(folder / name, callbacks, check_resume="always")

    whole = fit(model, run("whole"))
    expected = state(model)
    renew(model)
    die(model, run("left"), 2)
    renew(model)
    epochs, beside = Epochs(), [Noise(1)] if fault else []
    capsys.readouterr()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(model, run("left"), 4, epochs, *beside)
    assert epochs.begun == [1, 2, 3]
    assert (history.history, history.epoch) == (whole.history, [0, 1, 2, 3])
    assert state(model) == expected
    assert (folder / "left" / "history.csv").read_bytes() == (folder / "whole" / "history.csv").read_bytes()
    said = capsys.readouterr().out
    assert f"at epoch 3 (epoch 2 trained again as a check: {'not ' if fault else ''}identical)" in said
    texts = [str(one.message) for one in caught if issubclass(one.category, OutlastWarning)]
    assert len(texts) == fault and all("What differs first is the weights" in text for text in texts)


# What would do a Run's work a second time.


def test_kerass_own_way_to_go_on_is_refused_in_a_run_and_beside_it(
    model: Any, folder: Path, tmp_path: Path
) -> None:
    theirs = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    for callbacks in ([Run(folder), theirs], [theirs, Run(folder)], [Run(folder, [theirs])]):
        with pytest.raises(UsageError, match=r"BackupAndRestore is in the same.*leave it out"):
            fit(model, callbacks[0], 2, *callbacks[1:])
    assert fit(model, Run(folder), 1).epoch == [0]


def test_two_runs_in_a_fit_are_refused(model: Any, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"Run\(.*two.*is in the same training as Run\(.*one"):
        fit(model, Run(folder / "one"), 2, Run(folder / "two"))
    with pytest.raises(UsageError):
        fit(model, Run(folder / "three", [Run(folder / "four")]), 2)
    run = Run(folder / "five")
    with pytest.raises(UsageError, match="is in the same training twice: pass it once"):
        fit(model, run, 2, run)
    assert fit(model, Run(folder / "one"), 1).epoch == [0]


def test_a_run_for_another_model_is_refused(model: Any, folder: Path) -> None:
    run = Run(folder, model=small())
    with pytest.raises(UsageError, match="was made for another model"):
        fit(model, run, 2)
    assert fit(model, Run(folder.with_name("other"), model=model), 1).epoch == [0]


@pytest.mark.parametrize("callback", ["ReduceLROnPlateau", "LearningRateScheduler"])
def test_a_schedule_in_another_optimizer_is_refused_before_the_first_batch(
    folder: Path, callback: str
) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
    model = small()
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(schedule)), "mse")
    made = {"ReduceLROnPlateau": ReduceLROnPlateau(), "LearningRateScheduler": scheduler()}[callback]
    with pytest.raises(CapabilityError, match=f"created with a `LearningRateSchedule`.*{callback}"):
        fit(model, Run(folder, [made]), 2)
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.01)), "mse")
    assert fit(model, Run(folder, [made]), 1).epoch == [0]


def scheduler() -> Any:
    return LearningRateScheduler(lambda epoch, rate: rate)


def test_data_that_cannot_be_begun_again_or_have_no_length_are_refused(model: Any, folder: Path) -> None:
    run = Run(folder)
    with pytest.raises(ArgumentError, match="an iterator, which cannot be begun again"):
        run.data(iter([(X, Y)]))
    with pytest.raises(ArgumentError, match=r"run.data\(\) takes a tf.data.Dataset"):
        run.data(3)


def test_another_activation_rate_or_optimizer_setting_is_said(folder: Path, capsys: Out) -> None:
    def once(activation: str = "relu", rate: float = 0.1, beta: float = 0.9, epochs: int = 1) -> str:
        keras.utils.set_random_seed(1)
        layers = [keras.layers.Dense(4, activation), keras.layers.Dropout(rate), keras.layers.Dense(1)]
        model = keras.Sequential([keras.Input((3,)), *layers])
        model.compile(keras.optimizers.Adam(beta_1=beta), "mse")
        fit(model, Run(folder, check_resume="never"), epochs)
        return capsys.readouterr().out

    once()
    assert "changed from" not in once(epochs=2).replace("epochs changed from", "")
    said = once("tanh", 0.2, 0.8, 3)
    assert "layer 0 (Dense).activation changed from 'relu' to 'tanh'" in said
    assert "layer 1 (Dropout).rate changed from 0.1 to 0.2" in said
    assert "Adam.beta_1 changed from 0.9 to 0.8" in said


def test_a_loop_of_ones_own_says_nothing_of_fits_data(folder: Path, model: Any, capsys: Out) -> None:
    for _ in Run(folder, model=model).epochs(1):
        pass
    assert "would not be exact" not in capsys.readouterr().out


def test_metrics_and_layers_are_parts_of_a_loop_of_ones_own(folder: Path, model: Any) -> None:
    def trained(epochs: int) -> tuple[Run, list[float]]:
        mean, other = keras.metrics.Mean(), keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        other.layers[0].kernel.assign([[0.0]])
        run = Run(folder, [EarlyStopping("mean", mode="min")], model=model, mean=mean, other=other)
        for epoch in run.epochs(epochs):
            mean.update_state([-float(epoch)])
            other.layers[0].kernel.assign_add([[1.0]])
            run.log(mean=mean.result())
        return run, [float(mean.result()), float(other.get_weights()[0][0, 0])]

    assert trained(2)[1] == [-0.5, 2.0]
    run, state = trained(4)
    assert (state, run.history["mean"]) == ([-1.5, 4.0], [0.0, -0.5, -1.0, -1.5])


def test_a_part_of_keras_that_cannot_be_put_back_is_refused(folder: Path, model: Any) -> None:
    with pytest.raises(
        ArgumentError, match=r"The part 'head' is a Dense .*: call head.build\(shape\) before"
    ):
        Run(folder, model=model, head=keras.layers.Dense(1))
    for _ in Run(folder, model=model, means=keras.metrics.Mean()).epochs(1):
        pass
    with pytest.raises(
        CapabilityError, match=r"variables had the shapes \[\(\), \(\)\] and have \[\(2, 2\)\]"
    ):
        Run(folder, model=model, means=keras.metrics.MeanIoU(2)).on_train_begin()


def test_a_fit_that_only_gave_back_what_was_saved_has_trained_nothing_in_this_process(
    model: Any, folder: Path, capsys: Out
) -> None:
    """In a script that calls fit once an epoch, the first calls find theirs done; the next is checked."""
    fit(model, Run(folder), 2)
    renew(model)
    frameworks_base._trainings.clear()  # as a new process has it
    run = Run(folder)
    for epochs in (1, 2, 3, 4):
        fit(model, run, epochs)
    said = capsys.readouterr().out.splitlines()
    assert [("is finished" in line, "identical" in line, "this process" in line) for line in said[-4:]] == [
        *[(True, False, False)] * 2,
        (False, True, False),
        (False, False, True),
    ]


def test_fewer_epochs_than_a_run_has_begun_are_finished(model: Any, folder: Path, capsys: Out) -> None:
    run = Run(folder, save_every=1)
    die(model, run, until=1)
    run.flush()
    renew(model)
    fit(model, Run(folder, save_every=1), 1)
    assert "is finished (it is in epoch 2 already, 1 was asked for)" in capsys.readouterr().out
    renew(model)
    fit(model, Run(folder, save_every=1), 2)
    assert "resumed" in capsys.readouterr().out
