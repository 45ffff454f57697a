"""Where we differ from Keras on purpose: one or more tests for each row of docs/keras-differences.md.

Each shows what Keras does, with Keras itself, and what we do instead.
"""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.callbacks import callback_list

import outlast
from outlast.exceptions import ArgumentError, CapabilityError, FileError, UnknownArgument, UnknownDirection
from outlast.storage.disk.calls import calls

BOTH = {"keras": keras.callbacks, "outlast": outlast}
Series = list[dict[str, Any]]


def a_model(learning_rate: Any = 0.1, metrics: Any = ()) -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(learning_rate), loss="mse", metrics=[*metrics])
    return model


def hear(callback: Any, logs: Series, model: Any = None) -> Any:
    """Let a callback of either kind hear a training with these metrics; gives the model."""
    model = model or a_model()
    callback.set_params({"epochs": len(logs), "steps": 1, "verbose": 0})
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, given in enumerate(logs):
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, dict(given))
        if model.stop_training:
            break
    callback.on_train_end()
    return model


def fit(*callbacks: Any, model: Any = None, **options: Any) -> Any:
    model = model or a_model()
    x, y = np.zeros((8, 2), "float32"), np.zeros((8, 1), "float32")
    model.fit(
        x, y, validation_data=(x, y), batch_size=4, epochs=2, verbose=0, callbacks=[*callbacks], **options
    )
    return model


def losses(*values: float) -> Series:
    return [{"val_loss": value} for value in values]


def rate(model: Any) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def warnings_of(function: Callable[[], Any]) -> list[str]:
    """The texts of the warnings to the user; Keras's are of the same kind as ours."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        function()
    return [str(warning.message) for warning in said if issubclass(warning.category, UserWarning)]


def rows(path: str = "h.csv") -> list[list[str]]:
    with open(path, newline="") as file:
        return list(csv.reader(file))


NAN_FIRST = losses(math.nan, 0.9, 0.8, 0.7)


def test_1_nan_that_comes_first_does_not_stop_a_training_that_improves() -> None:
    best = {}
    for who, module in BOTH.items():
        callback = module.EarlyStopping(patience=2)
        hear(callback, NAN_FIRST)
        best[who] = (callback.best, callback.stopped_epoch)
    assert math.isnan(best["keras"][0]) and best["keras"][1] == 2
    assert best["outlast"] == (0.7, 0)


def test_1_nan_that_comes_first_does_not_lower_the_rate_of_a_training_that_improves() -> None:
    rates = {
        who: rate(hear(module.ReduceLROnPlateau(factor=0.5, patience=2), NAN_FIRST))
        for who, module in BOTH.items()
    }
    assert rates == {"keras": pytest.approx(0.05), "outlast": pytest.approx(0.1)}


def test_1_nan_that_comes_first_is_not_the_best_model_for_ever() -> None:
    for who, module in BOTH.items():
        hear(module.ModelCheckpoint(who + "-{epoch}.keras", save_best_only=True), NAN_FIRST)
    assert sorted(path.name for path in Path().glob("*.keras")) == [
        "keras-1.keras", "outlast-2.keras", "outlast-3.keras", "outlast-4.keras"
    ]  # fmt: skip


def my_accuracy(y: Any, prediction: Any) -> Any:
    return keras.ops.mean(keras.ops.cast(keras.ops.equal(y, prediction), "float32"), axis=-1)


def test_2_a_metric_that_is_a_function_has_the_direction_that_its_name_tells() -> None:
    theirs = keras.callbacks.EarlyStopping(monitor="val_my_accuracy")
    with pytest.raises(ValueError, match="isn't able to automatically determine"):
        fit(theirs, model=a_model(metrics=[my_accuracy]))
    ours = outlast.EarlyStopping(monitor="val_my_accuracy")
    fit(ours, model=a_model(metrics=[my_accuracy]))
    assert ours.monitor_op is keras.ops.greater


def test_2_a_metric_of_one_of_several_outputs_has_its_direction_whatever_the_output_is_called() -> None:
    inputs = keras.Input((2,))
    outputs = [keras.layers.Dense(1, name=name)(inputs) for name in ("age", "negative")]
    model = keras.Model(inputs, outputs)
    model.compile("sgd", ["mse", "mse"], metrics=[["mae"], ["mae"]])
    for monitor in ("val_age_mae", "val_negative_loss"):
        with pytest.raises(ValueError, match="isn't able to automatically determine"):
            hear(keras.callbacks.EarlyStopping(monitor), [{monitor: 1.0}], model)
        ours = outlast.EarlyStopping(monitor, patience=9)
        hear(ours, [{monitor: 1.0}, {monitor: 0.5}], model)
        assert ours.best == 0.5


def test_2_a_direction_that_nobody_can_tell_is_asked_for() -> None:
    with pytest.raises(UnknownDirection, match="mode='max'"):
        hear(outlast.EarlyStopping(monitor="warmth"), [{"warmth": 1.0}])


def test_2_no_direction_is_asked_for_where_none_is_needed() -> None:
    with pytest.raises(ValueError, match="isn't able"):
        hear(keras.callbacks.ModelCheckpoint("a.keras", monitor="warmth"), [{"warmth": 1.0}])
    hear(outlast.ModelCheckpoint("b.keras", monitor="warmth"), [{"warmth": 1.0}])
    assert Path("b.keras").exists()


def test_3_a_missing_monitor_does_not_overwrite_the_best_model() -> None:
    """Saved and then without the metric: the weights in the file tell whose they are."""
    kept = {}
    for who, module in BOTH.items():
        model, path = a_model(), f"{who}.keras"
        callback = module.ModelCheckpoint(path, save_best_only=True)
        hear(callback, losses(0.5), model)
        best = model.get_weights()
        model.set_weights([weight + 1 for weight in best])
        warnings_of(partial(hear, callback, [{"loss": 0.1}], model))
        saved = keras.saving.load_model(path).get_weights()
        kept[who] = all(np.array_equal(a, b) for a, b in zip(saved, best, strict=True))
    assert kept == {"keras": False, "outlast": True}


def test_3_without_the_monitor_something_is_saved_if_nothing_is_there_yet() -> None:
    callback = outlast.ModelCheckpoint("a.keras", save_best_only=True)
    said = warnings_of(lambda: hear(callback, [{"loss": 0.2}, {"loss": 0.1}]))
    assert len(said) == 1 and "Available metrics are: loss" in said[0]
    assert Path("a.keras").exists()


def test_4_the_last_good_file_survives_a_save_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(model: Any, path: str, **options: Any) -> None:
        Path(path).write_bytes(b"half of")
        raise OSError(28, "No space left on device")

    def full(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(28, "No space left on device")

    for who, module in BOTH.items():
        path = f"{who}.keras"
        callback = module.ModelCheckpoint(path)
        model = hear(callback, losses(0.5))
        with monkeypatch.context() as failing, pytest.raises(OSError):
            failing.setattr(keras.Model, "save", torn)
            failing.setattr(calls, "pwrite", full)  # where ours fails, which needs no save() any more
            hear(callback, losses(0.4), model)
    assert Path("keras.keras").read_bytes() == b"half of"
    assert keras.saving.load_model("outlast.keras")
    assert sorted(path.name for path in Path().iterdir()) == ["keras.keras", "outlast.keras"]


def test_4_a_save_that_fails_is_told_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Any, path: str, **options: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(FileError, match=r"Cannot write best\.keras: Input/output error"):
        hear(outlast.ModelCheckpoint("best.keras"), losses(0.5))


def test_5_the_best_is_saved_every_so_many_batches() -> None:
    options = {"monitor": "loss", "save_best_only": True, "save_freq": 1}
    with pytest.raises(TypeError):
        fit(keras.callbacks.ModelCheckpoint("a.keras", **options))
    fit(outlast.ModelCheckpoint("b.keras", **options))
    assert Path("b.keras").exists()


@pytest.mark.parametrize("save_freq", [True, 0, -1])
def test_5_a_number_of_batches_that_is_none_is_refused(save_freq: int) -> None:
    keras.callbacks.ModelCheckpoint("a.keras", save_freq=save_freq)
    with pytest.raises(ArgumentError, match="Unrecognized save_freq"):
        outlast.ModelCheckpoint("a.keras", save_freq=save_freq)


LATE = [{"loss": 0.5}, {"loss": 0.4, "val_acc": 0.9}]


def test_6_a_column_that_first_appears_later_is_kept() -> None:
    hear(keras.callbacks.CSVLogger("h.csv"), LATE)
    assert "val_acc" not in rows()[0]
    hear(outlast.CSVLogger("h.csv"), LATE)
    assert rows() == [
        ["epoch", "loss", "val_loss", "val_acc"], ["0", "0.5", "NA", "NA"], ["1", "0.4", "NA", "0.9"]
    ]  # fmt: skip


def test_6_rows_are_not_appended_under_a_header_that_does_not_fit() -> None:
    found = {}
    for who, module in BOTH.items():
        Path("h.csv").write_text("epoch,acc,loss,val_loss\r\n0,0.9,0.5,0.6\r\n", newline="")
        callback = module.CSVLogger("h.csv", append=True)
        hear(callback, [{"loss": 0.4, "val_loss": 0.3}])
        found[who] = dict(zip(*(rows()[0], rows()[2]), strict=False))
    assert found["keras"]["acc"] == "0.4"  # the loss
    assert found["outlast"] == {"epoch": "0", "acc": "NA", "loss": "0.4", "val_loss": "0.3"}


def test_6_the_folder_is_made() -> None:
    with pytest.raises(FileNotFoundError):
        hear(keras.callbacks.CSVLogger("new/h.csv"), losses(0.5))
    hear(outlast.CSVLogger("new/h.csv"), losses(0.5))
    assert Path("new/h.csv").exists()


def test_6_an_array_reads_back() -> None:
    cells = {}
    for who, module in BOTH.items():
        hear(module.CSVLogger("h.csv"), [{"f1": np.array([0.5, 1.0]), "val_f1": 0.0}])
        cells[who] = rows()[1][1]
    assert cells["keras"].startswith('"[') and cells["outlast"] == "[0.5, 1.0]"


def test_9_an_unknown_keyword_is_refused() -> None:
    keras.callbacks.ReduceLROnPlateau(patiance=3)
    with pytest.raises(UnknownArgument, match="Did you mean 'patience'"):
        outlast.ReduceLROnPlateau(patiance=3)  # type: ignore[call-arg]


def scheduled() -> Any:
    return a_model(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))


def test_9_a_schedule_is_refused_before_the_first_batch() -> None:
    steps = {}
    for who, module in BOTH.items():
        model = scheduled()
        with pytest.raises(TypeError):
            fit(module.ReduceLROnPlateau(monitor="loss", patience=1), model=model)
        steps[who] = int(model.optimizer.iterations)
    assert steps["keras"] > 0 and steps["outlast"] == 0
    with pytest.raises(CapabilityError, match="such as learning_rate=1e-3"):
        fit(outlast.ReduceLROnPlateau(), model=scheduled())


def test_9_in_a_callback_list_the_order_of_who_logs_the_rate_changes_nothing() -> None:
    def pair(module: Any) -> list[Any]:
        return [module.CSVLogger("h.csv"), module.ReduceLROnPlateau(monitor="loss")]

    fit(*pair(keras.callbacks))
    assert "learning_rate" not in rows()[0]
    fit(*pair(outlast))  # in Keras's own list, as Keras's
    assert "learning_rate" not in rows()[0]
    fit(outlast.CallbackList(pair(outlast)))
    assert "learning_rate" in rows()[0]


def test_10_a_checkpoint_of_every_epoch_does_not_make_keras_wait_for_every_batch() -> None:
    """Keras decides it when the list is built; TensorFlow's backend always waits."""
    waits = {
        who: not keras.callbacks.CallbackList([module.ModelCheckpoint("a.keras")])._async_train
        for who, module in BOTH.items()
    }
    always = keras.backend.backend() == "tensorflow"
    assert waits == {"keras": True, "outlast": always}


def test_11_values_are_compared_as_exactly_as_python_holds_them() -> None:
    best = {}
    for who, module in BOTH.items():
        callback = module.EarlyStopping(patience=5)
        hear(callback, losses(1.0, 0.99999999))
        best[who] = callback.best
    assert best == {"keras": 1.0, "outlast": 0.99999999}


def test_11_a_rate_at_its_minimum_is_not_cut_for_ever() -> None:
    """The optimizer holds 0.05 in float32, which is a little more."""
    model = a_model(0.05)
    plateau = outlast.ReduceLROnPlateau(factor=0.5, patience=1, min_lr=0.05, cooldown=3)
    hear(plateau, losses(0.5, 0.5, 0.5), model)
    assert plateau.cooldown_counter == 0 and rate(model) == pytest.approx(0.05)


def test_12_the_suffix_is_checked_by_the_framework_that_will_write_the_file() -> None:
    import torch

    with pytest.raises(ValueError, match=r"must end in `\.keras`"):
        keras.callbacks.ModelCheckpoint("best.pt")
    callback = outlast.ModelCheckpoint("best.pt")
    with pytest.raises(ArgumentError, match=r"must end in `\.keras`"):
        hear(callback, losses(0.5))
    callbacks = outlast.CallbackList([outlast.ModelCheckpoint("best.pt")], model=torch.nn.Linear(1, 1))
    callbacks.on_train_begin()
    callbacks.on_epoch_end(0, {"val_loss": 0.5})
    assert torch.load("best.pt", weights_only=True).keys() == {"weight", "bias"}


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("EarlyStopping", {"patience": 2.5}),
        ("EarlyStopping", {"start_from_epoch": -1}),
        ("ReduceLROnPlateau", {"factor": 0.0}),
        ("ReduceLROnPlateau", {"factor": -1.0}),
    ],
)
def test_13_a_setting_that_cannot_be_meant_is_refused(kind: str, setting: dict[str, Any]) -> None:
    getattr(keras.callbacks, kind)(**setting)
    with pytest.raises(ArgumentError, match=next(iter(setting))):
        getattr(outlast, kind)(**setting)


def test_13_a_missing_monitor_is_told_once_a_fit() -> None:
    told = {}
    for who, module in BOTH.items():
        told[who] = warnings_of(partial(hear, module.EarlyStopping(), [{"loss": 0.5}] * 3))
    assert len(told["keras"]) == 3
    hint = ". Nothing was validated: pass validation_data to fit, or call run.log(val_loss=...)."
    assert told["outlast"] == [told["keras"][0] + hint]


def test_13_a_template_reads_metrics_and_nothing_else() -> None:
    hear(keras.callbacks.ModelCheckpoint("{epoch.real}.keras"), losses(0.5))
    assert Path("1.keras").exists()
    with pytest.raises(ArgumentError, match="not allowed"):
        outlast.ModelCheckpoint("{epoch.real}.keras")


def test_14_a_torn_last_row_is_completed_before_another_is_appended() -> None:
    found = {}
    for who, module in BOTH.items():
        Path("h.csv").write_text("epoch,loss,val_loss\r\n0,0.5,0.6\r\n1,0.", newline="")
        hear(module.CSVLogger("h.csv", append=True), [{"loss": 0.3, "val_loss": 0.2}])
        found[who] = rows()[2:]
    assert found["keras"] == [["1", "0.0", "0.3", "0.2"]]  # two rows in one
    assert found["outlast"] == [["1", "0.", "NA"], ["0", "0.3", "0.2"]]


def test_15_where_no_number_ever_came_nothing_is_restored_and_that_is_said() -> None:
    weights = {}
    for who, module in BOTH.items():
        model = a_model()
        last = [weight + 1 for weight in model.get_weights()]
        callback = module.EarlyStopping(patience=9, restore_best_weights=True)
        change = outlast.LambdaCallback(on_epoch_end=lambda epoch, logs, m=model, w=last: m.set_weights(w))
        both = keras.callbacks.CallbackList([callback, change], model=model)
        said = warnings_of(partial(hear, both, losses(math.nan, math.nan), model))
        weights[who] = all(np.array_equal(a, b) for a, b in zip(model.get_weights(), last, strict=True))
    assert weights == {"keras": False, "outlast": True}
    assert said == ["val_loss was always NaN, so there are no best weights to restore."]


def test_16_a_batch_that_nobody_listens_to_wakes_no_thread_and_reads_no_metric(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = []
    monkeypatch.setattr(callback_list.python_utils, "pythonify_logs", lambda logs: read.append(logs) or logs)
    for module, expected in ((keras.callbacks, 3), (outlast, 0)):
        callbacks = keras.callbacks.CallbackList([module.EarlyStopping("loss")], model=a_model())
        callbacks.on_train_begin()
        read.clear()
        for batch in range(3):
            callbacks.on_train_batch_end(batch, {"loss": 1.0})
        assert (callbacks._executor is None) is (module is outlast or not callbacks._async_train)
        callbacks.on_train_end()
        assert len(read) - 1 == expected
