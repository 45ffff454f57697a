"""A saved shows a run as its last commit left it, and follows no name out of the folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from outlast import Best, EarlyStopping, ModelCheckpoint, Run, open_run
from outlast.core.decision import Action, Decision, Reason
from outlast.exceptions import ArgumentError, FileError
from outlast.inspect.saved_run import SavedRun, decision_of
from outlast.storage import journal
from outlast.storage.commit import Bundle, Committed, commit
from outlast.storage.format import layout, limits
from outlast.storage.logs import Lines
from outlast.testing import FakeAdapter


def trained(folder: Path, *callbacks: Any, epochs: int = 6) -> str:
    with Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]})) as run:
        for epoch in run.epochs(epochs):
            run.log(val_loss=abs(epoch - 2.5))
    return str(folder)


def test_without_a_saved_model_the_best_is_early_stoppings(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", EarlyStopping(patience=9))
    assert open_run(folder).best == Best(2, "val_loss", 0.5, None)


def test_where_nobody_judges_there_is_no_best(tmp_path: Path) -> None:
    assert open_run(trained(tmp_path / "run")).best is None


def test_it_knows_how_many_epochs_were_asked_for_and_what_stopped_it(tmp_path: Path) -> None:
    saved = SavedRun(trained(tmp_path / "run", EarlyStopping(patience=1), epochs=9))
    assert (saved.epochs, saved.committed) == (9, (3, None))
    assert saved.stop is not None and saved.stop.sentence == saved.stopped
    assert saved.stop.callback == "EarlyStopping"
    assert SavedRun(trained(tmp_path / "whole", epochs=2)).stop is None


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.keras", "best.txt"])
def test_a_best_model_that_the_run_does_not_keep_has_no_path(tmp_path: Path, name: str) -> None:
    values = {"monitor": "val_loss", "value": 1.0, "best": 1.0, "previous": 2.0, "path": name}
    line = journal.line(Decision("ModelCheckpoint", Action.SAVE, Reason.IMPROVED, 3, values=values).to_json())
    state = {"callbacks": {}, "settings": {"callbacks": {}}}
    commit(str(tmp_path), Committed(), Bundle({}, {layout.JOURNAL: Lines(line)}), state)
    assert SavedRun(tmp_path).best == Best(3, "val_loss", 1.0, None)


@pytest.mark.parametrize(("epochs", "found"), [(3, True), (9, False)])
def test_the_best_is_looked_for_from_the_end_and_no_further_than_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, found: bool
) -> None:
    monkeypatch.setattr(limits, "KEPT_LINES", 2)
    monkeypatch.setattr(limits, "REMAINING_LINES", 1)
    folder = trained(tmp_path / "run", ModelCheckpoint(save_best_only=True), epochs=epochs)
    best = Best(2, "val_loss", 0.5, os.path.join(folder, "best.txt"))
    saved = SavedRun(folder)
    assert saved.best == best
    for name in (name for name in os.listdir(folder) if layout.blob_kind(name) == layout.LINES):
        os.unlink(os.path.join(folder, name))
    if found:
        assert saved.best == best
    else:
        with pytest.raises(FileError, match="blob-rows"):
            assert saved.best


def test_a_decision_of_a_megabyte_is_none() -> None:
    decision = Decision("ModelCheckpoint", Action.SKIP, Reason.KEPT, 0, values={"a": "x" * (1 << 20)})
    with pytest.raises(ArgumentError, match="1,048,576 are the limit; it holds"):
        journal.line(decision.to_json())
    with pytest.raises(ValueError, match="does not take"):
        decision_of(journal.line(decision.to_json(), most=1 << 30))
