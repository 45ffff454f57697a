"""Resume points inside an epoch of Keras's fit: it goes on with the very next batch, and hooks count."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import outlast
from outlast.exceptions import RunChanged, UsageError

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(56, 3)).astype("float32")
Y = (X.sum(1, keepdims=True) > 0).astype("float32")
BATCHES = 7


# What Keras does alike on each backend; TensorFlow traces each fit, which takes long.
alike = pytest.mark.skipif(BACKEND == "tensorflow", reason="only where it is quick: JAX and PyTorch show it")


class Left(Exception):
    """A training is left, as by a kill."""


class Does(keras.callbacks.Callback):
    """Calls a function after a batch, by the number of batches of this process."""

    def __init__(self, at: int | None, act: Callable[[Any], object]) -> None:
        super().__init__()
        self.at, self.act, self.heard, self.begun, self.epochs = at, act, [], [], []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epochs.append(epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.begun.append(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(batch)
        if len(self.heard) == self.at:
            self.act(self)


def leave(_: Any) -> None:
    raise Left


def made(**compiled: Any) -> Any:
    keras.utils.clear_session()
    keras.utils.set_random_seed(4)
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, "tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    options = {"optimizer": keras.optimizers.Adam(0.05), "loss": "binary_crossentropy", "metrics": ["mae"]}
    model.compile(**{**options, **compiled})
    return model


def train(
    folder: Path,
    at: int | None = None,
    act: Callable[[Any], object] = leave,
    *,
    every: Any = 2,
    inner: Callable[[], list[Any]] = list,
    first: Any = (),
    compiled: Any = None,
    data: Callable[[outlast.Run], Any] | None = None,
    check_resume: str = "auto",
    accept_changes: Any = (),
    quiet: bool = False,
    **fit: Any,
) -> tuple[Any, Does, Any]:
    """(what it ends with, the callback beside the run, the run)."""
    model = made(**(compiled or {}))
    run = outlast.Run(
        folder,
        [outlast.CSVLogger(), *inner()],
        save_every=every,
        check_resume=check_resume,
        accept_changes=accept_changes,
    )
    beside: Any = keras.callbacks.Callback() if quiet else Does(at, act)
    options = {"epochs": 3, "verbose": 0, "validation_data": (X[:20], Y[:20]), **fit}
    given = (X, Y) if data is None else (data(run),)
    options |= {"batch_size": 8} if data is None else {}
    try:
        model.fit(*given, callbacks=[*first, run, beside], **options)
    except Left:
        run.flush()
        return None, beside, run
    states = [*model.variables, *model.optimizer.variables]
    ended = (
        [keras.ops.convert_to_numpy(one).tobytes() for one in states],
        model.history.history,
        model.history.epoch,
        (folder / "history.csv").read_bytes(),
    )
    return ended, beside, run


STOPS = [(1, [1]), (3, [7]), (1, [5, 3, 4]), (3, [2, 2, 9])]


@pytest.mark.parametrize(("every", "stops"), STOPS, ids=str)
def test_a_fit_that_was_left_is_as_one_that_was_not(folder: Path, every: int, stops: list[int]) -> None:
    whole, _, _ = train(folder / "whole", every="epoch")
    for at in stops:
        train(folder / "left", at, every=every)
    assert train(folder / "left", every=every)[0] == whole


@alike
def test_callbacks_hear_nothing_of_batches_that_were_trained(folder: Path) -> None:
    def counting() -> Any:
        count = outlast.LambdaCallback(on_train_batch_begin=lambda batch, logs: seen.append(batch))
        return [count, outlast.LambdaCallback(on_train_batch_end=lambda batch, logs: ended.append(batch))]

    seen: list[int] = []
    ended: list[int] = []
    _, _, run = train(folder / "left", 5, inner=counting)
    assert run.committed == (0, 3)
    seen.clear(), ended.clear()
    _, beside, run = train(folder / "left", inner=counting, epochs=1)
    rest = [2, 3, 4, 5, 6]  # the check goes back by a resume point
    assert (beside.begun, beside.heard) == (rest, rest)
    assert (seen, ended) == (rest, rest)
    assert vars(beside).keys().isdisjoint({"on_train_batch_begin", "on_train_batch_end"})
    assert run.committed == (0, None)


@alike
def test_the_progress_bar_counts_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder / "left", 5)
    capsys.readouterr()
    train(folder / "left", epochs=1, verbose=1)
    assert "7/7" in capsys.readouterr().out


SIGNALS = [signal.SIGINT] if BACKEND == "tensorflow" else [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_after_the_batch_which_is_saved(
    folder: Path, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, _, _ = train(folder / "whole", every="epoch")
    with pytest.raises((SystemExit, KeyboardInterrupt)):
        train(folder / "left", 5, lambda _: os.kill(os.getpid(), number), every=1000)
    assert "ended in epoch 1 up to batch 5, which is saved. The same" in capsys.readouterr().out
    ended, beside, _ = train(folder / "left", every=1000)
    assert beside.heard[:2] == [5, 6]
    assert ended == whole


@alike
def test_a_signal_between_two_batches_is_as_one_in_a_batch(folder: Path) -> None:
    """It comes when the run has heard of the batch already, and the loop ends before the next."""

    def late() -> Any:
        def send(batch: int, logs: Any) -> None:
            if batch == 4 and sends:
                sends.clear()
                os.kill(os.getpid(), signal.SIGTERM)

        def hide(logs: Any) -> None:
            callback.async_safe = True  # so the run does not wait for it

        callback = keras.callbacks.LambdaCallback(on_train_begin=hide, on_train_batch_end=send)
        return [callback]

    sends: list[bool] = []
    whole, _, _ = train(folder / "whole", every="epoch", first=late())
    sends.append(True)
    with pytest.raises(SystemExit):
        train(folder / "left", first=late(), quiet=True)
    assert outlast.open_run(folder / "left").committed == (0, 4)
    assert train(folder / "left", first=late())[0] == whole


@pytest.mark.parametrize("every", [1000, 3])
def test_a_signal_in_a_validation_keeps_the_epoch(
    folder: Path, every: int, capsys: pytest.CaptureFixture[str]
) -> None:
    class Sends(keras.callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    def drawn() -> Any:
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: logs.update(r=np.random.rand())
        )

    whole, _, _ = train(folder / "whole", every="epoch", inner=lambda: [drawn()])
    with pytest.raises(SystemExit):
        train(folder / "left", every=every, first=[Sends()], inner=lambda: [drawn()])
    assert "ended in epoch 1 up to batch 7, which is saved" in capsys.readouterr().out
    ended, beside, _ = train(folder / "left", every=every, inner=lambda: [drawn()])
    checked = [] if every == 1000 else [6]  # the batch after the resume point before
    assert beside.heard[: len(checked) + 2] == [*checked, 0, 1]
    assert beside.epochs == [0, 1, 2]
    assert ended == whole
    assert ("batch 7 of epoch 1 trained again as a check: identical" in capsys.readouterr().out) == (
        every == 3
    )


@pytest.mark.skipif(BACKEND == "torch", reason="only where a step can have several batches")
@pytest.mark.parametrize("every", [1, 3])
def test_steps_of_several_batches(folder: Path, every: int) -> None:
    compiled = {"steps_per_execution": 2}
    whole, _, _ = train(folder / "whole", every="epoch", compiled=compiled)
    train(folder / "left", 3, every=every, compiled=compiled)
    train(folder / "left", 5, every=every, compiled=compiled)
    assert train(folder / "left", every=every, compiled=compiled)[0] == whole


@pytest.mark.skipif(BACKEND == "torch", reason="only where a step can have several batches")
def test_another_size_of_a_step_that_does_not_fit_is_refused(folder: Path) -> None:
    train(folder / "left", 4, every=3)
    with pytest.raises(RunChanged, match=r"after 3 batches of an epoch, and a step has 2 .*execution=1"):
        train(folder / "left", compiled={"steps_per_execution": 2})


@pytest.mark.filterwarnings("ignore:Your input ran out of data")  # as Keras says, too
@pytest.mark.parametrize("check", ["auto", "never"])
def test_fewer_batches_are_refused(folder: Path, check: str) -> None:
    def batches(count: int) -> Any:
        return lambda run: ((X[i : i + 8], Y[i : i + 8]) for i in range(0, count, 8))

    given = {"validation_data": None, "steps_per_epoch": 7, "epochs": 1, "shuffle": False}
    train(folder / "left", 5, every=2, data=batches(56), **given)
    with pytest.raises(RunChanged, match=r"the data has changed\. Give"):
        train(folder / "left", data=batches(16), check_resume=check, **given)


def test_other_metrics_are_refused(folder: Path) -> None:
    train(folder / "left", 3)
    with pytest.raises(RunChanged, match=r"metrics of model\.compile\(\.\.\.\) are others than"):
        train(folder / "left", compiled={"metrics": ["mae", "auc"]})


@alike
def test_it_goes_on_where_it_was_without_save_every_too(folder: Path) -> None:
    whole, _, _ = train(folder / "whole", every="epoch")
    train(folder / "left", 5)
    ended, beside, _ = train(folder / "left", every="epoch")
    assert beside.heard[0] > 0
    assert ended == whole


@alike
def test_a_rate_that_an_epoch_begins_with_is_set_once(folder: Path) -> None:
    def falls() -> Any:
        return [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.5)]

    whole, _, _ = train(folder / "whole", every="epoch", first=falls())
    for at in (3, 2, 9):
        train(folder / "left", at, first=falls())
    assert train(folder / "left", first=falls())[0] == whole


@alike
def test_checkpoints_of_batches_are_as_ever(folder: Path) -> None:
    """A callback in the run hears of batches: what it remembers of the batch at hand is saved, too."""

    def each() -> Any:
        return [outlast.ModelCheckpoint("at-{epoch}-{batch}.keras", save_freq=3)]

    whole, _, _ = train(folder / "whole", every="epoch", inner=each)
    for at in (4, 1, 6):
        train(folder / "left", at, inner=each)
    assert train(folder / "left", inner=each)[0] == whole
    names = [sorted(one.name for one in (folder / place).glob("at-*")) for place in ("whole", "left")]
    assert names[0] == names[1] != []


class Leaves(keras.callbacks.Callback):
    """Leaves in the first validation."""

    def on_test_begin(self, logs: Any = None) -> None:
        raise Left


@alike
@pytest.mark.parametrize("behind", [False, True], ids=["at the batch", "behind it"])
def test_a_callback_that_ends_an_epoch_early(folder: Path, behind: bool) -> None:
    def stops() -> Any:
        def stop(batch: int, logs: Any) -> None:
            if batch == 4:
                callback.model.stop_training = True

        callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
        return [callback]

    whole, _, _ = train(folder / "whole", every="epoch", first=stops())
    train(folder / "left", None if behind else 4, first=[*stops(), *([Leaves()] if behind else [])], every=5)
    assert train(folder / "left", first=stops(), every=5)[0] == whole


@alike
def test_a_fit_after_an_error_is_not_followed(folder: Path) -> None:
    model = made()
    run = outlast.Run(folder / "left", save_every=1)
    with pytest.raises(Left):
        model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[run, Does(3, leave)])
    run.flush()
    at = run.committed
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0)
    assert run.committed == at == (0, 1)  # the last callback had not heard of the third
    run = outlast.Run(folder / "other", save_every=2)
    model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[run])
    assert not hasattr(model.train_function, "outlast_steps")


@alike
def test_an_error_leaves_nothing_in_callbacks(folder: Path) -> None:
    train(folder / "left", 5)

    def breaks(run: outlast.Run) -> Any:
        def batches() -> Any:
            yield X[:8], Y[:8]
            raise OSError("the data are gone")

        return run.data(batches, steps=7)

    with pytest.raises(OSError, match="are gone"):
        train(folder / "left", data=breaks, accept_changes=["steps"])
    callback = Does(None, leave)
    model = made()
    for _ in range(3):
        run = outlast.Run(folder / "other", save_every=1, resume="never")
        callback.at = len(callback.heard) + 3
        with pytest.raises(Left):
            model.fit(X, Y, batch_size=8, verbose=0, callbacks=[run, callback])
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[outlast.Run(folder / "more"), callback])
    assert callback.heard[-7:] == [*range(7)]
    assert "on_train_batch_begin" not in vars(callback)


@alike
def test_a_train_function_that_is_made_again_in_an_epoch(folder: Path) -> None:
    """As people do who freeze layers; the model's own is asked again."""

    def remakes() -> Any:
        def remake(epoch: int, logs: Any) -> None:
            callback.model.make_train_function(force=True)

        callback = keras.callbacks.LambdaCallback(on_epoch_begin=remake)
        return [callback]

    whole, _, _ = train(folder / "whole", every="epoch", first=remakes())
    _, _, run = train(folder / "left", 5, first=remakes())
    assert run.committed == (0, 3)
    assert train(folder / "left", first=remakes())[0] == whole


def test_where_nobody_tells_of_steps_it_is_refused(folder: Path) -> None:
    run = outlast.Run(folder, model=made(), save_every=2)
    with pytest.raises(UsageError, match="Here the run sees epochs alone"):
        run.on_train_begin()


def accumulated() -> Any:
    return {"compiled": {"optimizer": keras.optimizers.Adam(0.05, gradient_accumulation_steps=3)}}


def weighted() -> Any:
    return {"sample_weight": np.linspace(0.5, 1.5, len(X)), "compiled": {"weighted_metrics": ["mae"]}}


FITS = {
    "gradients of three batches make a step": accumulated,
    "weights of samples": weighted,
    "a validation in every second epoch": lambda: {"validation_freq": 2},
    "weights of classes": lambda: {"class_weight": {0: 1.0, 1: 2.0}},
}


@alike
@pytest.mark.parametrize("options", FITS.values(), ids=FITS)
def test_what_fit_can_do_is_exact_inside_an_epoch(folder: Path, options: Callable[[], Any]) -> None:
    whole, _, _ = train(folder / "whole", every="epoch", **options())
    for at in (4, 2, 9):
        train(folder / "left", at, **options())
    assert train(folder / "left", **options())[0] == whole


@alike
def test_mixed_precision_is_exact_inside_an_epoch(folder: Path) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        whole, _, _ = train(folder / "whole", every="epoch")
        for at in (4, 9):
            train(folder / "left", at)
        assert train(folder / "left")[0] == whole
    finally:
        keras.config.set_dtype_policy(before)
