"""The faster list: to callbacks and to users it is Keras's own, in every batch it costs less."""

from __future__ import annotations

import concurrent.futures
import copy
import json
import pickle
import re
import sys
import threading
from collections.abc import Callable
from typing import Any
from unittest.mock import MagicMock

import keras
import numpy as np
import pytest

import outlast
from outlast.exceptions import ArgumentError, MissingExtra, OutlastWarning
from outlast.frameworks import keras_list
from outlast.frameworks.keras_list import FastCallbackList, Numbers

X, Y = np.linspace(0, 1, 60, dtype="float32").reshape(20, 3), np.ones((20, 1), "float32")
fast = outlast.frameworks.keras.callbacks

Out = pytest.CaptureFixture[str]


def made() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Hears everything, and keeps what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []


def _record(name: str) -> Callable[..., None]:
    def hook(self: Any, *args: Any, logs: Any = None) -> None:
        epoch = [one for one in args if not isinstance(one, dict)]
        logs = next((one for one in args if isinstance(one, dict)), logs)
        self.heard.append(
            (name, epoch, repr(dict(logs or {})).lower(), self.params["steps"], self.model.built)
        )

    return hook


for _stage in ("train", "test", "predict"):
    for _moment in ("begin", "end", "batch_begin", "batch_end"):
        setattr(Recorder, f"on_{_stage}_{_moment}", _record(f"on_{_stage}_{_moment}"))
for _moment in ("begin", "end"):
    setattr(Recorder, f"on_epoch_{_moment}", _record(f"on_epoch_{_moment}"))

LOOPS: dict[str, Callable[[Any, Any], Any]] = {
    "fit": lambda model, callbacks: model.fit(
        X, Y, batch_size=8, epochs=2, validation_data=(X, Y), verbose=0, callbacks=callbacks
    ),
    "fit by steps": lambda model, callbacks: model.fit(
        ((X, Y) for _ in range(6)), steps_per_epoch=3, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
    ),
    "evaluate": lambda model, callbacks: model.evaluate(X, Y, batch_size=8, verbose=0, callbacks=callbacks),
    "predict": lambda model, callbacks: model.predict(X, batch_size=8, verbose=0, callbacks=callbacks),
}


@pytest.mark.parametrize("loop", LOOPS)
def test_callbacks_hear_what_they_hear_in_kerass_list(loop: str) -> None:
    theirs, ours = Recorder(), Recorder()
    LOOPS[loop](made(), [theirs])
    LOOPS[loop](made(), fast(ours))
    assert ours.heard == theirs.heard and len(ours.heard) > 6


@pytest.mark.parametrize("verbose", [0, 1, 2, "auto"])
def test_what_is_printed_is_the_same(verbose: Any, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_list, "_PACE", 1e9)

    unlike = r"\d+[mu]?s(/step)?"
    if (
        not keras_list._CAN_PACE
    ):  # its own list shows means over batches in whatever order its threads have them
        unlike += r"|- (loss|mae): [\d.e+-]+"

    def printed(callbacks: Any) -> list[str]:
        made().fit(X, Y, batch_size=2, epochs=3, validation_data=(X, Y), verbose=verbose, callbacks=callbacks)
        lines = re.sub(r"\x1b\[\d*m|\x08", "", capsys.readouterr().out).splitlines()
        return [re.sub(unlike, "", line) for line in lines if "Epoch" in line or "val_loss" in line]

    assert printed(fast()) == printed([])


def test_the_progress_line_is_drawn_at_the_pace_of_the_eye(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0]
    monkeypatch.setattr(keras_list, "_PACE", 10)
    monkeypatch.setattr(keras_list.time, "monotonic", lambda: now[0])
    drawn: list[tuple[int, Any]] = []
    line = keras_list._Paced(lambda batch, logs=None: drawn.append((batch, logs)))
    for batch in range(25):
        line(batch, logs=batch * 10)
        now[0] += 1
    line.catch_up()
    line(0, logs=-1)
    assert drawn == [(0, 0), (10, 100), (20, 200), (24, 240), (0, -1)]


def test_history_is_that_of_each_fit_and_the_models() -> None:
    model, callbacks = made(), fast()
    first = model.fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
    second = model.fit(X, Y, epochs=3, verbose=0, callbacks=callbacks)
    assert first.epoch == [0, 1] and second.epoch == [0, 1, 2] and model.history is second
    kinds = [type(one).__name__ for one in callbacks.callbacks]
    assert kinds == ["History"]


def test_a_callback_that_is_added_later_stays() -> None:
    model, callbacks, later = made(), fast(), Recorder()
    callbacks.callbacks.append(later)
    model.fit(X, Y, verbose=0, callbacks=callbacks)
    assert later.heard[0][0] == "on_train_begin" and later in callbacks.callbacks


def test_an_evaluation_after_a_fit_that_failed_is_one_of_its_own() -> None:
    class Failing(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                raise RuntimeError(f"batch {batch}, {self.seen}")
            self.seen = batch

    model, callbacks, heard = made(), fast(Failing()), Recorder()
    with pytest.raises(RuntimeError, match="batch 2, 1"):  # from that batch, not from a later one
        model.fit(X, Y, batch_size=2, verbose=0, callbacks=callbacks)
    callbacks.callbacks.append(heard)
    model.evaluate(X, Y, batch_size=10, verbose=0, callbacks=callbacks)
    assert [one[0] for one in heard.heard if "batch" not in one[0]] == ["on_test_begin", "on_test_end"]
    assert heard.heard[0][3] == 2  # its steps


def test_within_a_list_it_is_a_callback_like_others() -> None:
    theirs, ours = Recorder(), Recorder()
    made().fit(X, Y, epochs=2, verbose=0, callbacks=[theirs])
    made().fit(X, Y, epochs=2, verbose=0, callbacks=[fast(ours)])
    assert ours.heard == theirs.heard


def test_by_hand_it_is_called_as_kerass_list_is() -> None:
    heard, callbacks = Recorder(), fast()
    callbacks = fast([heard])
    callbacks.set_model(made())
    callbacks.set_params({"epochs": 1, "steps": 1, "verbose": 0})
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_begin(0)
    callbacks.on_train_batch_end(0, {"loss": np.float32(2)})
    callbacks.on_epoch_end(0, {"loss": np.float32(2)})
    callbacks.on_train_end()
    names = [name for name, *_ in heard.heard]
    assert names[2:4] == ["on_train_batch_begin", "on_train_batch_end"] and len(names) == 6


def test_nobody_is_asked_for_a_thread_or_a_number_in_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Metric:
        def __float__(self) -> float:
            raise AssertionError("read")

    def submit(*args: Any) -> None:
        raise AssertionError("a thread is woken")

    class Counting(keras.callbacks.Callback):  # type: ignore[misc]
        batches = 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.batches += "loss" in logs and len(logs) == 1

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
    counting = Counting()
    callbacks = fast(outlast.EarlyStopping("loss"), keras.callbacks.EarlyStopping("loss"))
    made().fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
    for one in (callbacks, fast(counting)):
        for batch in range(100):
            one.on_train_batch_begin(batch)
            one.on_train_batch_end(batch, {"loss": Metric()})
    assert counting.batches == 100
    assert callbacks.on_train_batch_end._is_default


READS: dict[str, Callable[[Any], Any]] = {
    "[]": lambda logs: logs["loss"],
    "get": lambda logs: (logs.get("loss"), logs.get("no", 3)),
    "items": lambda logs: list(logs.items()),
    "values": lambda logs: list(logs.values()),
    "keys": lambda logs: (list(logs), list(logs.keys()), len(logs), "loss" in logs, bool(logs)),
    "dict": dict,
    "**": lambda logs: dict(**logs),
    "{**}": lambda logs: {**logs},
    "|": lambda logs: ({"a": 1} | logs, logs | {"a": 1}),
    "copy": lambda logs: logs.copy(),
    "copy.copy": lambda logs: dict(copy.copy(logs)),
    "deepcopy": lambda logs: dict(copy.deepcopy(logs)),
    "json": json.dumps,
    "repr": repr,
    "str": str,
    "==": lambda logs: logs == {"acc": 1.0, "loss": 0.5, "name": "a"},
    "!=": lambda logs: logs != {"acc": 1.0, "loss": 0.5, "name": "a"},
    "pop": lambda logs: (logs.pop("loss"), dict(logs)),
    "set": lambda logs: (logs.__setitem__("new", np.float32(3)), type(logs["new"]), logs["loss"]),
    "update": lambda logs: (logs.update(new="3"), dict(logs)),
    "setdefault": lambda logs: (logs.setdefault("loss", 3), logs.setdefault("new", 3)),
    "sorted": sorted,
    "reversed": lambda logs: list(reversed(logs)),
    "update another": lambda logs: {"a": 1}.update(logs),
}


@pytest.mark.parametrize("read", READS)
def test_however_metrics_are_read_they_are_plain_numbers(read: str) -> None:
    from keras.src.utils.python_utils import pythonify_logs

    raw = {"loss": np.float32(0.5), "name": "a", "acc": {"acc": np.float32(1)}}
    given = Numbers(raw)
    assert READS[read](given) == READS[read](pythonify_logs(raw))
    assert dict(raw)["loss"].dtype == "float32"  # what was given stays


def test_metrics_that_are_read_late_are_those_of_their_batch() -> None:
    raw = {"loss": np.float32(0.5), "acc": np.float32(1)}
    given = Numbers(raw)
    raw.update(loss=np.float32(9), more=np.float32(9))
    assert ("loss" in given, "more" in given, len(given)) == (True, False, 2)
    assert list(given.items()) == [("acc", 1.0), ("loss", 0.5)]


def test_a_keras_that_refuses_it_gets_a_plain_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise TypeError("another signature")

    monkeypatch.setattr(keras.callbacks.CallbackList, "__init__", refuse)
    with pytest.warns(OutlastWarning, match="does not take the faster list .another signature"):
        assert isinstance(fast(outlast.History()), list)


def test_what_is_no_callback_is_refused_at_once() -> None:
    with pytest.raises(ArgumentError, match="is a class"):
        fast(outlast.EarlyStopping)
    with pytest.raises(ArgumentError, match="callbacks must be callbacks"):
        fast(3)


def test_without_keras_the_error_names_the_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.delitem(sys.modules, "outlast.frameworks.keras_list")
    with pytest.raises(MissingExtra, match=r'pip install "outlast\[keras\]"'):
        fast()


def test_it_is_a_true_list_of_kerass() -> None:
    assert isinstance(fast(), keras.callbacks.CallbackList) and isinstance(fast(), FastCallbackList)


def small() -> Any:
    """A model, and data for it."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model, np.ones((32, 3)), np.ones((32, 1))


def test_a_fit_of_the_user_s_own_is_not_taken_for_keras_s() -> None:
    model, x, y = small()
    heard: list[Any] = []

    class Hears(keras.callbacks.Callback):  # type: ignore[misc]
        """Notes what the loop says of itself."""

        def on_train_begin(self, logs: Any = None) -> None:
            heard.append((self.model is model, self.params["epochs"], self.params["steps"]))

    def fit(x: Any, callbacks: Any) -> Any:
        return model.fit(x, y, batch_size=4, epochs=3, verbose=0, callbacks=callbacks)

    fit(x, outlast.frameworks.keras.callbacks([Hears()]))
    assert heard == [(True, 3, 8)]


def test_logs_can_be_read_in_several_threads_at_once() -> None:
    for _ in range(200):
        logs = Numbers({f"metric{number}": np.float32(number) for number in range(20)})
        found: list[Any] = []
        threads = [
            threading.Thread(target=lambda logs=logs, found=found: found.append(logs["metric7"]))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [7.0] * 4
    assert type(pickle.loads(pickle.dumps(logs))) is dict


def test_logs_that_are_kept_are_those_of_their_batch() -> None:
    model, x, y = small()
    model.compile("sgd", "mse", metrics=[keras.metrics.TruePositives(name="positives")])
    kept: dict[str, list[Any]] = {"plain": [], "fast": []}

    class Keeps(keras.callbacks.Callback):  # type: ignore[misc]
        """Reads the logs when all is over."""

        def __init__(self, kind: str) -> None:
            super().__init__()
            self.kind = kind

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            kept[self.kind].append(logs)

    for kind in kept:
        keras.utils.set_random_seed(0)
        callbacks: Any = [Keeps(kind)]
        if kind == "fast":
            callbacks = outlast.frameworks.keras.callbacks(callbacks)
        model.set_weights([np.ones((3, 1)), np.ones(1)])
        model.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
    positives = {
        kind: [one["positives"] for one in sorted(all_logs, key=lambda one: one["positives"])]
        for kind, all_logs in kept.items()
    }
    assert positives["fast"] == positives["plain"]
    assert len(set(positives["fast"])) == 8


def test_a_progress_line_of_the_user_s_own_hears_every_batch() -> None:
    model, x, y = small()
    heard: list[int] = []

    class Line(keras.callbacks.ProgbarLogger):  # type: ignore[misc]
        """Draws nothing."""

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            heard.append(batch)

    model.fit(x, y, batch_size=1, verbose=0, callbacks=outlast.frameworks.keras.callbacks([Line()]))
    assert heard == [*range(32)]


class Heard(keras.callbacks.Callback):  # type: ignore[misc]
    batches = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_a_list_with_callbacks_of_its_own(copied: Any) -> None:
    first = Heard()
    those = fast([first])
    those.on_train_begin()
    those.on_train_batch_end(0, {})
    other = copied(those)
    other.on_train_begin()
    other.on_train_batch_end(0, {})
    assert (first.batches, [one.batches for one in other.callbacks if isinstance(one, Heard)]) == (1, [2])


def test_a_mock_is_heard() -> None:
    mock = MagicMock(spec=keras.callbacks.Callback)
    those = fast([mock])
    those.on_train_begin()
    those.on_train_batch_end(3, {})
    assert mock.on_train_batch_end.call_count == 1


# The list that Keras has made, with one of ours in it.


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("ours", [lambda: outlast.EarlyStopping("loss"), outlast.CallbackList])
def test_beside_one_of_ours_callbacks_hear_what_they_hear_elsewhere(ours: Any, loop: str) -> None:
    alone, beside = Recorder(), Recorder()
    LOOPS[loop](made(), [alone])
    LOOPS[loop](made(), [beside, ours()])
    assert beside.heard == alone.heard


def test_one_of_ours_in_kerass_list_makes_it_wake_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(*args: Any) -> None:
        raise AssertionError("a thread is woken")

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", submit)
    callbacks = [keras.callbacks.EarlyStopping("loss"), outlast.EarlyStopping("loss")]
    made().fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=callbacks)


def test_a_list_of_another_class_and_one_for_other_threads_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own(keras.callbacks.CallbackList):  # type: ignore[misc]
        """Somebody's."""

    class Safe(keras.callbacks.Callback):  # type: ignore[misc]
        """Asks for another thread."""

        async_safe = True

    for kind, others in ((Own, []), (keras.callbacks.CallbackList, [Safe()])):
        callbacks = kind([*others, outlast.EarlyStopping()], model=made())
        assert type(callbacks) is kind
