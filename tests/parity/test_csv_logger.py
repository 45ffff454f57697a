"""CSVLogger writes the bytes that Keras's does (rule 2.3)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st
from tests.parity.oracle import INF, NAN, Fit, Logs, Seen, seen

import outlast

quick = profile(suppress_health_check=[HealthCheck.function_scoped_fixture])

CELLS = (
    st.floats(width=32)
    | st.floats()
    | st.integers(-5, 5)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)
    | st.sampled_from([NAN, INF, -INF, None, True, np.float32(0.1), np.float64(0.1), np.array(0.5)])
)
METRICS = ("loss", "acc", "val_loss", "val_acc", "a b", "interval_loss", "Größe", 'q"x', "x,y;z")


@st.composite
def trainings(draw: st.DrawFn) -> tuple[dict[str, Any], list[Fit]]:
    """All metrics come in a fit's first epoch, or never: later columns are where we differ."""
    settings = {"separator": draw(st.sampled_from([",", ";", "\t", "|"])), "append": draw(st.booleans())}
    names = draw(st.lists(st.sampled_from(METRICS), min_size=0, max_size=5, unique=True))
    fits = []
    for _ in range(draw(st.integers(1, 3))):
        first: Logs = {name: draw(CELLS) for name in names}
        later = draw(
            st.lists(st.lists(st.sampled_from(names), unique=True) if names else st.just([]), max_size=4)
        )
        epochs: list[Logs | None] = [first, *({name: draw(CELLS) for name in some} for some in later)]
        fits.append(Fit(epochs, draw(st.integers(0, 2))))
    return settings, fits


def both(folder: Path, settings: dict[str, Any], fits: list[Fit]) -> tuple[Seen, Seen]:
    path = f"{folder}/h.csv"
    ours = seen(lambda: outlast.CSVLogger(path, **settings), fits, "sep", "append", "filename", folder=folder)
    theirs = seen(
        lambda: keras.callbacks.CSVLogger(path, **settings), fits, "sep", "append", "filename", folder=folder
    )
    return ours, theirs


@quick
@given(case=trainings())
def test_after_each_epoch_the_file_has_the_same_bytes(
    tmp_path: Path, case: tuple[dict[str, Any], list[Fit]]
) -> None:
    ours, theirs = both(tmp_path, *case)
    assert ours == theirs
    assert ours.epochs[-1]["files"]


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(
    "content", [None, "", "epoch,loss,val_loss\r\n", "epoch,loss,val_loss\n7,0.5,0.25\n"]
)
def test_a_file_that_is_there_is_wiped_or_appended_to(
    tmp_path: Path, append: bool, content: str | None
) -> None:
    path = tmp_path / "h.csv"
    found = []
    for kind in (outlast.CSVLogger, keras.callbacks.CSVLogger):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content, newline="")
        seen(lambda kind=kind: kind(str(path), append=append), [Fit([{"loss": 0.5}])])
        found.append(path.read_bytes())
    assert found[0] == found[1]


def test_no_logs_are_a_row_of_the_epoch_alone(tmp_path: Path) -> None:
    ours, theirs = both(tmp_path, {}, [Fit([None, {}])])
    assert ours == theirs


@pytest.mark.parametrize(
    "value", [np.array([0.5, 1.5]), [1, 2, 3], (0.25,), np.arange(3), [], np.array([0.1], "float64")]
)
def test_an_array_is_written_as_kerass_but_without_its_literal_quotes(tmp_path: Path, value: Any) -> None:
    ours, theirs = both(tmp_path, {}, [Fit([{"m": value}])])
    our_row, their_row = (
        next(csv.reader(found.files["h.csv"].decode().splitlines()[1:])) for found in (ours, theirs)
    )
    assert their_row[1] == f'"{our_row[1]}"'


def test_settings_by_position_mean_the_same(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    fits = [Fit([{"loss": 0.5}]), Fit([{"loss": 0.5}])]
    ours = seen(lambda: outlast.CSVLogger(path, ";", True), fits, "filename", folder=tmp_path)
    theirs = seen(lambda: keras.callbacks.CSVLogger(path, ";", True), fits, "filename", folder=tmp_path)
    assert ours == theirs
    assert ours.files["h.csv"].count(b";") == 6
