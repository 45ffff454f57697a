"""Bad input gets a clear answer: what was expected, what came, the way out; as early as it can be known.

Each test reads what a user reads. Where it matters that nothing was trained yet, the model counts.
"""

from __future__ import annotations

import linecache
import math
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import outlast
from outlast.exceptions import (
    ArgumentError,
    CapabilityError,
    FileError,
    MetricError,
    MissingExtra,
    TemplateError,
    UnknownArgument,
    UnknownDirection,
    UsageError,
)

X, Y = np.zeros((8, 2), "float32"), np.zeros((8, 1), "float32")
STEPS = 2  # batches an epoch
NOBODY = 65534

Values = list[Any]


def a_model(learning_rate: Any = 0.1) -> Any:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(learning_rate), loss="mse")
    return model


def fit(*callbacks: Any, model: Any = None, epochs: int = 2, **options: Any) -> Any:
    model = model or a_model()
    model.fit(X, Y, batch_size=4, epochs=epochs, verbose=0, callbacks=[*callbacks], **options)  # here
    return model


def loop(*callbacks: Any, logs: list[dict[str, Any] | None]) -> outlast.CallbackList:
    """A loop by hand, whose metrics are given; nothing is trained."""
    everyone = outlast.CallbackList(list(callbacks), adapter=outlast.testing.FakeAdapter({"w": [0.0]}))
    everyone.on_train_begin()
    for epoch, given in enumerate(logs):
        everyone.on_epoch_end(epoch, given)  # here
        if everyone.stop_training:
            break
    everyone.on_train_end()  # here
    return everyone


@contextmanager
def warned(text: str) -> Iterator[None]:
    """One warning of ours with this text, and it points at a line marked with ``# here``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    ours = [w for w in caught if issubclass(w.category, outlast.OutlastWarning)]
    assert [str(w.message) for w in ours] == [text]
    assert ours[0].filename == __file__
    assert linecache.getline(__file__, ours[0].lineno).rstrip().endswith("# here")


@contextmanager
def refused(error: type[Exception], *texts: str) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text
    assert [part for part in texts if part not in text] == [], text


@contextmanager
def refused_before_the_first_batch(error: type[Exception], *texts: str) -> Iterator[Any]:
    """Gives the model to train; nothing may have trained it."""
    model = a_model()
    with refused(error, *texts):
        yield model
    assert int(model.optimizer.iterations) == 0


# Arguments, at the line where the callback is made.


@pytest.mark.parametrize(
    ("mode", "meant"),
    [("mni", "min"), ("minimum", "min"), ("minimize", "min"), ("maximize", "max"), ("maximum", "max")],
)
@pytest.mark.parametrize("kind", [outlast.EarlyStopping, outlast.ModelCheckpoint, outlast.ReduceLROnPlateau])
def test_a_typo_in_mode_is_warned_about_with_the_nearest(
    kind: type[outlast.Callback], mode: str, meant: str
) -> None:
    with warned(f"{kind.__name__} mode '{mode}' is unknown, fallback to auto mode. Did you mean {meant!r}?"):
        kind(mode=mode)  # here


@pytest.mark.parametrize(
    ("make", "keyword", "hint"),
    [
        (lambda: outlast.EarlyStopping(patiance=3), "patiance", "'patience'"),  # type: ignore[call-arg]
        (lambda: outlast.ModelCheckpoint("a.keras", save_best=True), "save_best", "'save_best_only'"),  # type: ignore[call-arg]
        (lambda: outlast.ReduceLROnPlateau(min_learning_rate=0), "min_learning_rate", "min_lr"),  # type: ignore[call-arg]
        (lambda: outlast.CSVLogger("a.csv", seperator=";"), "seperator", "'separator'"),  # type: ignore[call-arg]
        (lambda: outlast.LambdaCallback(on_epoch_ends=print), "on_epoch_ends", "'on_epoch_end'"),
        (lambda: outlast.ModelCheckpoint("a.pt", period=5), "period", "Did you mean 'save_freq'?"),  # type: ignore[call-arg]
        (lambda: outlast.ReduceLROnPlateau(epsilon=1e-3), "epsilon", "Did you mean 'min_delta'?"),  # type: ignore[call-arg]
    ],
)
def test_an_unknown_keyword_is_refused_with_the_nearest_that_exists(
    make: Callable[[], Any], keyword: str, hint: str
) -> None:
    with refused(UnknownArgument, repr(keyword), hint):
        make()


@pytest.mark.parametrize("patience", [2.5, -1, "3", None, math.nan, True])
@pytest.mark.parametrize("kind", [outlast.EarlyStopping, outlast.ReduceLROnPlateau])
def test_patience_that_is_no_whole_number_is_refused(kind: Callable[..., Any], patience: Any) -> None:
    with refused(ArgumentError, f"patience must be a whole number, at least 0, but is {patience!r}"):
        kind(patience=patience)


@pytest.mark.parametrize("factor", [1.0, 1.5, math.inf])
def test_a_factor_that_would_not_lower_the_rate_is_refused(factor: float) -> None:
    with refused(ArgumentError, f"does not support a factor >= 1.0. Received factor={factor}", "such as 0.5"):
        outlast.ReduceLROnPlateau(factor=factor)


@pytest.mark.parametrize("factor", [0.0, -0.5, math.nan, "half"])
def test_a_factor_that_would_end_the_learning_is_refused(factor: Any) -> None:
    with refused(ArgumentError, "factor must", repr(factor)):
        outlast.ReduceLROnPlateau(factor=factor)


@pytest.mark.parametrize("save_freq", ["epochs", 0, -1, True, 2.5])
def test_a_save_freq_that_is_no_moment_is_refused(save_freq: Any) -> None:
    with refused(ArgumentError, f"Unrecognized save_freq: {save_freq!r}", "'epoch' or integer values"):
        outlast.ModelCheckpoint("a.keras", save_freq=save_freq)


@pytest.mark.parametrize(
    "name",
    ["{epoch.__class__}.keras", "{val_loss[0]}.keras", "{epoch!r}.keras", "{0}.keras", "{}.keras",
     "{epoch:>{width}}.keras", "{epoch:0300d}.keras"],
)  # fmt: skip
def test_a_template_that_does_more_than_name_metrics_is_refused(name: str) -> None:
    with refused(ArgumentError, repr(name), "such as {epoch:03d} or {val_loss:.2f}"):
        outlast.ModelCheckpoint(name)


def test_a_template_that_is_none_is_refused() -> None:
    with refused(ArgumentError, "'{epoch' is not a valid template: expected '}'"):
        outlast.ModelCheckpoint("{epoch")


@pytest.mark.parametrize("make", [outlast.ModelCheckpoint, outlast.CSVLogger])
def test_a_name_with_a_nul_is_refused(make: Callable[[str], Any]) -> None:
    with refused(ArgumentError, r"'a\x00b.keras'", "NUL character"):
        make("a\0b.keras")


def test_a_name_of_300_characters_is_refused() -> None:
    with refused(ArgumentError, "is 306 bytes long; a name can have at most 255"):
        outlast.ModelCheckpoint("x" * 300 + ".keras")


# What can be known before the first batch.


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("best.pt", {}, "must end in `.keras` or `.h5`"),
        ("best.keras", {"save_weights_only": True}, "must end in `.weights.h5`"),
    ],
)
def test_a_wrong_suffix_is_refused_with_the_right_ones(
    name: str, option: dict[str, Any], expected: str
) -> None:
    with refused_before_the_first_batch(ArgumentError, expected, f"filepath={name}") as model:
        fit(outlast.ModelCheckpoint(name, **option), model=model)


@pytest.mark.parametrize("make", [outlast.ModelCheckpoint, outlast.CSVLogger])
def test_a_missing_file_name_is_refused_with_an_example(make: Callable[[], Any]) -> None:
    with refused_before_the_first_batch(UsageError, "outside a Run, such as", make.__name__) as model:
        fit(make(), model=model)


@pytest.mark.parametrize("make", [outlast.ModelCheckpoint, outlast.CSVLogger])
def test_a_folder_where_the_file_should_be_is_refused(make: Callable[[str], Any]) -> None:
    os.mkdir("there.keras")
    with refused_before_the_first_batch(FileError, "non-directory", "there.keras") as model:
        fit(make("there.keras"), model=model)


@pytest.fixture
def locked() -> Iterator[Path]:
    """A folder in which this process may not write: it is not root until the test is over."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(NOBODY)
        yield Path(name)
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("make", [outlast.ModelCheckpoint, outlast.CSVLogger])
def test_a_folder_that_cannot_be_written_is_refused(make: Callable[[Path], Any], locked: Path) -> None:
    text = f"Cannot write in {locked}: Permission denied"
    with refused_before_the_first_batch(FileError, text) as model:
        fit(make(locked / "a.keras"), model=model)


@pytest.mark.parametrize("make", [outlast.ModelCheckpoint, outlast.CSVLogger])
def test_a_folder_that_cannot_be_made_is_refused(make: Callable[[str], Any]) -> None:
    Path("file").touch()
    text = "Cannot make the folder file: a file is where the folder should be"
    with refused_before_the_first_batch(FileError, text) as model:
        fit(make("file/a.keras"), model=model)


@pytest.mark.parametrize("content", ["time,loss\r\n1,0.5\r\n", "epoch;loss\r\n0;0.5\r\n", "\0\xff\r\n"])
def test_a_csv_to_append_to_that_is_no_history_with_this_separator_is_refused_and_left_alone(
    content: str,
) -> None:
    Path("h.csv").write_text(content, newline="")
    texts = "Cannot append to h.csv", "must be 'epoch' (separator ',')", "append=False"
    with refused_before_the_first_batch(ArgumentError, *texts) as model:
        fit(outlast.CSVLogger("h.csv", append=True), model=model)
    assert Path("h.csv").read_bytes() == content.encode()


def test_a_csv_to_append_to_with_other_columns_is_widened_and_that_is_said() -> None:
    Path("h.csv").write_text("epoch,accuracy\r\n0,0.5\r\n", newline="")
    text = "h.csv has the columns epoch, accuracy; this training adds learning_rate, loss, which are NA in "
    with warned(f"{text}the earlier rows."):
        loop(outlast.CSVLogger("h.csv", append=True), logs=[{"loss": 0.25}])
    assert Path("h.csv").read_text() == "epoch,accuracy,learning_rate,loss\n0,0.5,NA,NA\n0,NA,0.1,0.25\n"


def test_a_schedule_where_a_number_is_needed_is_refused_with_the_way_out() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9)
    model = a_model(schedule)
    with refused(CapabilityError, "`LearningRateSchedule`", "such as learning_rate=1e-3"):
        fit(outlast.ReduceLROnPlateau(monitor="loss"), model=model)
    assert int(model.optimizer.iterations) == 0


def test_a_callback_that_looks_at_batches_may_stand_alone() -> None:
    checkpoint = outlast.ModelCheckpoint("b{batch}.keras", save_freq=1)
    a_model().fit(X, Y, batch_size=1, verbose=0, callbacks=checkpoint)
    assert len([*Path().glob("b*.keras")]) == len(X)


def test_a_callback_that_looks_at_no_batch_may_stand_alone() -> None:
    stopping = outlast.EarlyStopping(monitor="loss", patience=1)
    a_model().fit(X, Y, epochs=5, verbose=0, callbacks=stopping)
    assert stopping.stopped_epoch == 1


@pytest.mark.parametrize(
    ("given", "text"),
    [(outlast.EarlyStopping, "write EarlyStopping(...)"), ("early", "but one is 'early'")],
)
def test_what_is_no_callback_is_refused(given: Any, text: str) -> None:
    with refused(ArgumentError, text):
        outlast.CallbackList([given])


def test_a_model_of_no_known_framework_is_refused_with_the_ways_out() -> None:
    with refused(ArgumentError, "builtins.object", "Keras model or a PyTorch module", "adapter="):
        outlast.CallbackList([outlast.EarlyStopping()], model=object())


def test_what_a_run_alone_takes_is_refused_by_a_list() -> None:
    with pytest.raises(ArgumentError, match=r"no save_every, since it saves nothing: outlast\.Run\(folder"):
        outlast.CallbackList([], save_every=3)


@pytest.mark.parametrize(
    ("make", "need"),
    [
        (outlast.ReduceLROnPlateau, "a learning rate that can be set"),
        (lambda: outlast.ModelCheckpoint("a.pt"), "a model that can be saved"),
        (lambda: outlast.EarlyStopping(restore_best_weights=True), "weights that can be read and put back"),
    ],
)
def test_a_loop_that_cannot_do_what_a_callback_needs_is_told_what_could(
    make: Callable[[], Any], need: str
) -> None:
    with refused(CapabilityError, need, "which a loop without a model does not have", "Keras model"):
        outlast.CallbackList([make()]).on_train_begin()


# Metrics, when they come.

NOT_VALIDATED = " Nothing was validated: pass validation_data to fit, or call run.log(val_loss=...)."


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            outlast.EarlyStopping,
            "Early stopping conditioned on metric `val_loss` which is not available. "
            "Available metrics are: loss." + NOT_VALIDATED,
        ),
        (
            outlast.ReduceLROnPlateau,
            "Learning rate reduction is conditioned on metric `val_loss` which is not available. "
            "Available metrics are: loss,learning_rate." + NOT_VALIDATED,
        ),
        (
            lambda: outlast.ModelCheckpoint("a.keras", save_best_only=True),
            "Can save best model only with val_loss available. Available metrics are: loss. "
            "What is saved already is kept." + NOT_VALIDATED,
        ),
    ],
)
def test_a_monitor_that_is_not_in_the_logs_is_told_once_a_fit_with_those_that_are(
    make: Callable[[], Any], text: str
) -> None:
    callback = make()
    for _ in range(2):
        with warned(text):
            fit(callback, epochs=3)


def test_a_monitor_with_a_wrong_name_is_told_with_the_metric_that_was_meant() -> None:
    text = (
        "Early stopping conditioned on metric `val_acc` which is not available. "
        "Available metrics are: learning_rate,loss,val_accuracy. Did you mean 'val_accuracy'?"
    )
    with warned(text):
        loop(outlast.EarlyStopping("val_acc"), logs=[{"loss": 1.0, "val_accuracy": 0.5}] * 2)


def test_a_file_name_with_an_unknown_metric_is_refused_with_those_that_are() -> None:
    texts = "'val_los' is not among loss, val_loss, epoch", "Did you mean 'val_loss'?"
    with refused(TemplateError, '"{val_los:.2f}.keras"', *texts):
        fit(outlast.ModelCheckpoint("{val_los:.2f}.keras"), validation_data=(X, Y))


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("models/{note}.keras", "../../evil", "'note'"),
        ("models/{note}.keras", "a/b", "'note'"),
        ("models/{note}.keras", "a\\b", "'note'"),
        ("models/{note}/best.keras", "..", "would lead into another folder"),
        ("models/{note}.keras", "a\0b", "NUL character"),
        ("models/{note}.keras", "x" * 300, "is 306 bytes long; a name can have at most 255"),
    ],
)
def test_a_value_that_would_leave_the_folder_or_is_no_name_never_becomes_a_path(
    name: str, value: str, text: str
) -> None:
    with refused(TemplateError, text):
        loop(outlast.ModelCheckpoint(name), logs=[{"loss": 1.0, "note": value}])
    assert list(Path().rglob("*.keras")) == []


@pytest.mark.parametrize("make", [outlast.EarlyStopping, outlast.ReduceLROnPlateau])
def test_a_direction_that_cannot_be_told_is_asked_for(make: Callable[..., Any]) -> None:
    texts = "monitors 'warmth'", "mode='max' if higher is better, or mode='min' if lower is", "loss, warmth"
    with refused(UnknownDirection, *texts):
        loop(make(monitor="warmth"), logs=[{"loss": 1.0, "warmth": 2.0}])
    with refused(UnknownDirection, "mode='max'"):
        make(monitor="warmth").update(2.0)


@pytest.mark.parametrize("value", ["high", [1.0, 2.0], np.zeros(3), object()])
def test_a_monitored_value_that_is_no_single_number_is_refused(value: Any) -> None:
    with refused(MetricError, "val_loss must be one number", type(value).__name__, "monitor another metric"):
        loop(outlast.EarlyStopping(), logs=[{"val_loss": value}])


def four(name: str = "best.keras") -> Values:
    return [
        outlast.EarlyStopping(patience=2, restore_best_weights=True),
        outlast.ModelCheckpoint(name, save_best_only=True),
        outlast.ReduceLROnPlateau(factor=0.5, patience=1),
        outlast.CSVLogger("h.csv"),
    ]


@pytest.mark.filterwarnings("ignore::outlast.OutlastWarning")
@pytest.mark.parametrize("logs", [None, {}])
def test_logs_that_are_none_or_empty_are_no_error(logs: dict[str, Any] | None) -> None:
    callbacks = loop(*four(), outlast.History(), logs=[logs, logs, logs])
    assert not callbacks.stop_training
    assert Path("h.csv").read_bytes().count(b"\n") == 4


def test_nan_is_never_the_best() -> None:
    stopping, checkpoint, plateau, _ = callbacks = four()
    values = [math.nan, 0.9, math.nan, 0.8]
    loop(*callbacks, logs=[{"val_loss": value} for value in values])
    assert (stopping.best, stopping.best_epoch) == (0.8, 3)
    assert checkpoint.best == plateau.best == 0.8
    assert Path("h.csv").read_text().splitlines()[1].split(",")[2] == "nan"


def test_only_nan_restores_nothing_and_says_so() -> None:
    stopping = outlast.EarlyStopping(patience=5, restore_best_weights=True)
    with warned("val_loss was always NaN, so there are no best weights to restore."):
        loop(stopping, logs=[{"val_loss": math.nan}] * 3)
    assert stopping.best is None


def test_infinity_is_worse_than_any_number() -> None:
    stopping, checkpoint, plateau, _ = callbacks = four()
    loop(*callbacks, logs=[{"val_loss": value} for value in (math.inf, 0.5, math.inf, math.inf)])
    assert stopping.best == checkpoint.best == plateau.best == 0.5
    assert stopping.stopped_epoch == 3


def torch_scalar(value: float) -> Any:
    import torch

    return torch.tensor(value, requires_grad=True)


def jax_scalar(value: float) -> Any:
    import jax.numpy as jnp

    return jnp.asarray(value)


@pytest.mark.parametrize(
    "kind",
    [
        np.float32,
        np.asarray,
        lambda value: np.asarray([value]),
        lambda value: np.asarray([[value]]),
        torch_scalar,
        jax_scalar,
        lambda value: jax_scalar(value).reshape(1),
        keras.ops.convert_to_tensor,
    ],
    ids=["numpy's float", "0-d", "(1,)", "(1, 1)", "torch", "jax", "jax (1,)", "keras"],
)
def test_arrays_of_one_element_are_numbers(kind: Callable[[float], Any]) -> None:
    stopping, _, plateau, _ = callbacks = four()
    callbacks.pop(1)
    loop(*callbacks, logs=[{"val_loss": kind(value)} for value in (0.5, 0.25, 0.75, 0.75)])
    assert (stopping.best, stopping.stopped_epoch, plateau.best) == (0.25, 3, 0.25)


def test_a_metric_that_is_missing_in_the_only_epoch_is_told_at_the_end() -> None:
    with warned(
        "Early stopping conditioned on metric `val_loss` which is not available. "
        "Available metrics are: learning_rate,loss." + NOT_VALIDATED
    ):
        loop(outlast.EarlyStopping(), logs=[{"loss": 1.0}])


def test_a_metric_that_stays_away_is_told_once_though_it_was_there() -> None:
    logs = [{"val_loss": 0.5}, {"loss": 1.0}, {"val_loss": 0.5}, {"loss": 1.0}, {"loss": 1.0}, {"loss": 1.0}]
    with warned(
        "Early stopping conditioned on metric `val_loss` which is not available. "
        "Available metrics are: learning_rate,loss." + NOT_VALIDATED
    ):
        loop(outlast.EarlyStopping(patience=99), logs=logs)


def test_metrics_that_come_every_second_epoch_count_when_they_come() -> None:
    stopping = outlast.EarlyStopping(patience=2)
    logs = [{"loss": 1.0}, {"loss": 1.0, "val_loss": 0.5}] * 4
    loop(stopping, logs=[dict(one) for one in logs])  # a warning would be an error
    assert (stopping.best_epoch, stopping.stopped_epoch) == (1, 5)


# What is not installed.


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("matplotlib.figure", "plot", lambda: outlast.plot_history({"loss": [1.0]})),
        ("pandas", "pandas", lambda: outlast.Metrics.from_columns({"loss": [1.0]}).to_pandas()),
    ],
)
def test_a_missing_extra_is_told_with_its_pip_line(
    package: str, extra: str, use: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself takes for "not there"
    name = package.partition(".")[0]
    with refused(MissingExtra, f'needs {name}, which is not installed: pip install "outlast[{extra}]"'):
        use()


def test_a_name_that_outlast_has_not_is_answered_with_the_nearest() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'EarlyStopping'"):
        outlast.EarlyStoping  # noqa: B018
