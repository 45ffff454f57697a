"""ModelCheckpoint saves what, when and under which name Keras's does (rules 2.0 and 2.2)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from tests.parity.oracle import MODES, NUMBERS, VALUES, Fit, Logs, Seen, logs_of, seen, without_leading_nan

import outlast

# One folder for all examples of a test: it is emptied before each.
quick = profile(suppress_health_check=[HealthCheck.function_scoped_fixture])

ATTRIBUTES = ("best", "monitor", "save_best_only", "save_weights_only", "save_freq", "filepath", "verbose")
NAMES = ("best", "sub/deep/m", "e{epoch:02d}", "{epoch}-{loss:.3f}", "{{x}}-{epoch:>3}")


def both(folder: Path, settings: dict[str, Any], fits: list[Fit], *attributes: str) -> tuple[Seen, Seen]:
    """What came of ours and of Keras's; both write to the same place, one after the other."""
    ours = seen(lambda: outlast.ModelCheckpoint(**settings), fits, *attributes, folder=folder, move=True)
    theirs = seen(
        lambda: keras.callbacks.ModelCheckpoint(**settings), fits, *attributes, folder=folder, move=True
    )
    return ours, theirs


def place(folder: Path, name: str, weights_only: bool) -> str:
    return f"{folder}/{name}{'.weights.h5' if weights_only else '.keras'}"


@st.composite
def epoch_ends(draw: st.DrawFn) -> tuple[dict[str, Any], list[Fit]]:
    settings = {
        "filepath": draw(st.sampled_from(NAMES)),
        "monitor": draw(st.sampled_from(["val_loss", "val_accuracy", "auc"])),
        "verbose": draw(st.integers(0, 1)),
        "save_best_only": draw(st.booleans()),
        "save_weights_only": draw(st.booleans()),
        "mode": draw(MODES),
        "initial_value_threshold": draw(st.none() | VALUES),
    }
    fits = []
    for _ in range(draw(st.integers(1, 2))):
        values = without_leading_nan(draw(st.lists(NUMBERS, min_size=1, max_size=6)))
        fits.append(Fit([logs_of(settings["monitor"], value) for value in values], draw(st.integers(0, 1))))
    return settings, fits


@quick
@given(case=epoch_ends())
def test_at_an_epochs_end_it_saves_as_kerass(tmp_path: Path, case: tuple[dict[str, Any], list[Fit]]) -> None:
    settings, fits = case
    settings["filepath"] = place(tmp_path, settings["filepath"], settings["save_weights_only"])
    ours, theirs = both(tmp_path, settings, fits, *ATTRIBUTES)
    assert ours == theirs


@st.composite
def batch_ends(draw: st.DrawFn) -> tuple[dict[str, Any], list[Fit]]:
    settings = {
        "filepath": draw(st.sampled_from(["latest", "e{epoch}b{batch:02d}", "{batch}-{loss:.3f}"])),
        "save_freq": draw(st.integers(1, 9)),
        "verbose": draw(st.integers(0, 1)),
        "save_weights_only": draw(st.booleans()),
    }
    step = draw(st.sampled_from([1, 1, 2, 3]))  # steps_per_execution
    fits = []
    for _ in range(draw(st.integers(1, 2))):
        steps = draw(st.integers(1, 6))
        batches = [(batch, {"loss": batch / 8}) for batch in range(step - 1, step * steps, step)]
        epochs = draw(st.integers(1, 3))
        fits.append(Fit([{"loss": 0.5}] * epochs, batches=[batches] * epochs))
    return settings, fits


@quick
@given(case=batch_ends())
def test_every_so_many_batches_it_saves_as_kerass(
    tmp_path: Path, case: tuple[dict[str, Any], list[Fit]]
) -> None:
    settings, fits = case
    settings["filepath"] = place(tmp_path, settings["filepath"], settings["save_weights_only"])
    ours, theirs = both(tmp_path, settings, fits, *ATTRIBUTES)
    assert ours == theirs


@pytest.mark.parametrize("logs", [{"batch": 17.0, "loss": 0.5}, {"loss": 0.5}])
def test_a_metric_called_batch_goes_before_the_batchs_number(tmp_path: Path, logs: Logs) -> None:
    fits = [Fit([{"loss": 0.5}], batches=[[(0, logs), (1, logs)]])]
    settings = {"filepath": place(tmp_path, "b{batch}", False), "save_freq": 1}
    ours, theirs = both(tmp_path, settings, fits)
    assert ours == theirs
    assert ours.files


@pytest.mark.parametrize(
    ("settings", "batch"),
    [
        ({"filepath": "{val_loss:.2f}"}, False),
        ({"filepath": "{batch}"}, False),
        ({"filepath": "{val_loss:.2f}", "save_freq": 2}, True),
        ({"filepath": "{val_loss:.2f}", "save_best_only": True, "monitor": "loss", "mode": "min"}, False),
    ],
)
def test_a_field_that_is_no_metric_is_the_same_error_at_the_same_moment(
    tmp_path: Path, settings: dict[str, Any], batch: bool
) -> None:
    settings = {**settings, "filepath": place(tmp_path, settings["filepath"], False)}
    batches = [[(0, {"loss": 0.5}), (1, {"loss": 0.5})]] * 3 if batch else []
    ours, theirs = both(tmp_path, settings, [Fit([{"loss": 0.5}] * 3, batches=batches)])
    start = f'Failed to format this callback filepath: "{settings["filepath"]}". Reason: '
    assert ours.error.startswith(start)
    assert theirs.error.startswith(start)
    assert replace(ours, error="") == replace(theirs, error="")


def test_a_metric_with_axes_is_saved_every_epoch_with_kerass_warning(tmp_path: Path) -> None:
    import numpy as np

    epochs: list[Logs | None] = [{"loss": np.array([0.5])}, {"loss": np.array([0.75])}]
    settings = {"filepath": place(tmp_path, "e{epoch}", False), "monitor": "loss", "save_best_only": True}
    ours, theirs = both(tmp_path, settings, [Fit(epochs)], "best")
    assert ours == theirs
    assert len(ours.files) == 2


def test_settings_by_position_mean_the_same(tmp_path: Path) -> None:
    arguments = (place(tmp_path, "{epoch}", True), "val_loss", 1, True, True, "max", "epoch", 0.25)
    fits = [Fit([logs_of("val_loss", value) for value in (0.125, 0.5, 0.5, 0.75)])]
    ours = seen(lambda: outlast.ModelCheckpoint(*arguments), fits, *ATTRIBUTES, folder=tmp_path)
    theirs = seen(lambda: keras.callbacks.ModelCheckpoint(*arguments), fits, *ATTRIBUTES, folder=tmp_path)
    assert ours == theirs
    assert list(ours.files) == ["2.weights.h5", "4.weights.h5"]


def test_a_path_may_be_a_path(tmp_path: Path) -> None:
    fits = [Fit([{"loss": 0.5}])]
    ours, theirs = both(tmp_path, {"filepath": tmp_path / "m.keras"}, fits, "filepath")
    assert ours == theirs


@pytest.mark.parametrize(
    "settings",
    [{"save_freq": "batch"}, {"save_freq": 2.0}, {"save_freq": None}],
)
def test_what_keras_refuses_at_once_is_refused_at_once(settings: dict[str, Any]) -> None:
    texts = []
    for kind in (outlast.ModelCheckpoint, keras.callbacks.ModelCheckpoint):
        with pytest.raises(ValueError, match="Unrecognized save_freq") as caught:
            kind("m.keras", **settings)
        texts.append(str(caught.value))
    assert (
        texts[0].partition(" or integer values")[0].replace("'batch'.", "batch.")
        == (texts[1].partition(" or integer values")[0])
    )
