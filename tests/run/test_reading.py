"""What a run shows of itself, while it trains and afterwards."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.run.training import LOSSES, go_on, start, train

from outlast import (
    Best,
    CSVLogger,
    EarlyStopping,
    Metrics,
    ModelCheckpoint,
    ReduceLROnPlateau,
    Run,
    open_run,
)
from outlast.exceptions import ArgumentError, CapabilityError, FileError, UsageError
from outlast.inspect.status import Status, look
from outlast.inspect.verification import verify
from outlast.storage.format import limits
from outlast.testing import FakeAdapter


def callbacks() -> list[object]:
    return [EarlyStopping(patience=4), ModelCheckpoint(save_best_only=True), ReduceLROnPlateau(patience=1)]


def test_history_has_every_epoch_since_the_first_start(folder: Path) -> None:
    go_on(start(folder), 6, until=2)
    run = start(folder)
    go_on(run, 6, until=4)
    assert isinstance(run.history, Metrics)
    assert run.history["val_loss"] == list(LOSSES[:4])
    assert (run.history.epochs, run.history.rows[3]) == (
        (0, 1, 2, 3),
        {"epoch": 3, "learning_rate": 0.1, "val_loss": 3.5},
    )


def test_history_is_there_while_training(folder: Path) -> None:
    run = start(folder)
    seen = []
    for epoch in run.epochs(3):
        seen.append(len(run.history.rows))
        run.log(val_loss=LOSSES[epoch])
    assert seen == [0, 1, 2]


def test_best_is_the_checkpoints_with_its_file(folder: Path) -> None:
    run = train(folder, callbacks(), epochs=5)
    assert run.best == Best(2, "val_loss", 3.0, str(folder / "best.txt"))
    assert Path(run.best.path).read_text() == "{'w': [3.0]}"


def test_best_is_early_stoppings_where_nothing_is_saved(folder: Path) -> None:
    assert train(folder, [EarlyStopping(patience=4)], epochs=5).best == Best(2, "val_loss", 3.0, None)


def test_there_is_no_best_where_nobody_judges(folder: Path) -> None:
    run = train(folder, [ModelCheckpoint()])
    assert run.best is None
    with pytest.raises(UsageError, match=r"no best model: put outlast\.ModelCheckpoint\(save_best"):
        run.load_best()


def test_decisions_are_those_of_all_starts_with_their_reasons(folder: Path) -> None:
    go_on(start(folder, callbacks()), 8, until=3)
    run = train(folder, callbacks(), epochs=8)
    whole = train(folder.with_name("whole"), callbacks(), epochs=8)
    assert run.decisions == whole.decisions == open_run(folder).decisions
    cut = next(decision for decision in run.decisions if decision.callback == "ReduceLROnPlateau")
    assert (cut.epoch, cut.learning_rate) == (3, pytest.approx(0.01))
    assert cut.because == "val_loss has been no better than 3 for 1 epoch"


def test_committed_is_what_the_disk_has(folder: Path) -> None:
    run = start(folder)
    assert run.committed is None
    seen = []
    for epoch in run.epochs(3):
        run.flush()
        seen.append(run.committed)
        run.log(val_loss=LOSSES[epoch])
    assert seen == [None, (0, None), (1, None)]
    assert (run.committed, start(folder).committed, open_run(folder).committed) == ((2, None),) * 3


def test_extra_is_saved_with_the_rest_and_rewound_with_the_rest(folder: Path) -> None:
    run = start(folder)
    for epoch in run.epochs(5):
        run.extra["seen"] = [*run.extra.get("seen", []), epoch]
        if epoch == 3:
            break
    again = start(folder)
    assert again.extra == open_run(folder).extra == {"seen": [0, 1, 2]}


def test_what_is_no_json_in_extra_is_refused_by_its_place(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(CapabilityError, match=r"extra.*model"):
        for _ in run.epochs(2):
            run.extra["model"] = object()


def test_checkpoints_are_the_models_that_are_kept_and_why(folder: Path) -> None:
    run = train(folder, [ModelCheckpoint(keep_best=2)], epochs=7)
    kept = {Path(one.path).name: (one.epoch, one.value, one.why) for one in run.checkpoints}
    assert kept == {
        Path(one.path).name: (one.epoch, one.value, one.why) for one in open_run(folder).checkpoints
    }
    assert sorted((epoch, value) for epoch, value, _ in kept.values())[-1] == (6, 2.0)


def test_the_learning_rate_can_be_read_and_set(folder: Path) -> None:
    run = start(folder)
    assert run.learning_rate == 0.1
    for epoch in run.epochs(2):
        run.learning_rate = 0.5
        run.log(val_loss=LOSSES[epoch])
    assert start(folder).learning_rate == 0.5
    assert run.history["learning_rate"] == [0.5, 0.5]


class TwoRates(FakeAdapter):
    def __init__(self) -> None:
        super().__init__()
        self.rates = {"a": 0.1, "b": 0.2}

    def learning_rates(self) -> dict[str, float]:
        return self.rates

    def set_learning_rate(self, name: str, value: float) -> None:
        self.rates = {**self.rates, name: value}


def test_several_learning_rates_have_names(folder: Path) -> None:
    run = Run(folder, adapter=TwoRates())
    run.learning_rate = {"b": 0.3}
    assert run.learning_rate == {"a": 0.1, "b": 0.3}
    run.learning_rate = 0.4
    assert run.learning_rate == {"a": 0.4, "b": 0.4}
    with pytest.raises(ArgumentError, match="There is no learning rate 'c', but a, b"):
        run.learning_rate = {"c": 1.0}
    with pytest.raises(ArgumentError, match="learning_rate must be a number, but is 'fast'"):
        run.learning_rate = "fast"


def test_stop_ends_it_after_this_epoch_for_good_with_the_reason(folder: Path) -> None:
    run = start(folder)
    begun = []
    for epoch in run.epochs(6):
        begun.append(epoch)
        run.log(val_loss=LOSSES[epoch])
        if epoch == 2:
            run.stop("it is good enough")
    assert (begun, run.history.epochs) == ([0, 1, 2], (0, 1, 2))
    assert go_on(start(folder), 9) == []
    assert open_run(folder).stopped == "Epoch 3: Run stops: it is good enough"


def test_a_picture_of_the_history_is_drawn(folder: Path, tmp_path: Path) -> None:
    run = train(folder)
    run.plot(str(tmp_path / "now.png"))
    open_run(folder).plot(str(tmp_path / "then.png"))
    assert (tmp_path / "now.png").read_bytes()[:4] == (tmp_path / "then.png").read_bytes()[:4] == b"\x89PNG"


def test_a_run_is_opened_read_only_and_no_framework_is_imported(folder: Path) -> None:
    train(folder, [*callbacks(), CSVLogger()], epochs=5)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    code = f"""
import sys, outlast
run = outlast.open_run({str(folder)!r})
print(run.history["val_loss"][:2], run.best.epoch, run.committed, run.stopped, len(run.decisions), run.extra)
print(sorted(set(sys.modules) & {{"keras", "torch", "jax", "tensorflow", "matplotlib", "pandas"}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[5.0, 4.0] 2 (4, None) None 7 {}\n[]\n"
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_what_is_no_run_cannot_be_opened(folder: Path) -> None:
    with pytest.raises(FileError, match=r"There is no run .*: no such folder"):
        open_run(folder)
    folder.mkdir()
    with pytest.raises(FileError, match=r"There is no run in .*: it is empty"):
        open_run(folder)
    assert list(folder.iterdir()) == []


SHARED = (
    *("status", "finished", "stopped", "settings", "history", "best", "decisions", "checkpoints"),
    *("findings", "extra", "committed", "folder"),
)


@pytest.mark.parametrize("until", [None, 3], ids=["to its end", "interrupted"])
def test_a_run_and_the_run_that_is_opened_say_the_same(folder: Path, until: int | None) -> None:
    callbacks = [EarlyStopping(patience=2), ModelCheckpoint(save_best_only=True)]
    go_on(run := start(folder, callbacks), 8, until=until)
    past = open_run(folder)
    for name in set(SHARED) - {"history"}:
        assert getattr(run, name) == getattr(past, name), name
    assert run.history.rows == past.history.rows
    assert set(SHARED) <= set(dir(run)) & set(dir(past))


def test_dir_shows_what_a_user_needs_and_all_of_it_is_there(folder: Path) -> None:
    run = start(folder)
    assert not [name for name in dir(run) if name.startswith(("on_", "_")) or name in ("bind", "forget")]
    assert [name for name in dir(run) if not hasattr(run, name)] == []


def test_a_notebook_shows_a_table_of_a_run_with_names_that_do_no_harm(folder: Path) -> None:
    run = start(folder, [EarlyStopping(patience=2)])
    for epoch in run.epochs(8):
        run.log({"<b>bold": 1.0}, val_loss=LOSSES[epoch])
    for shown in (run._repr_html_(), open_run(folder)._repr_html_()):
        assert "epoch 3, val_loss 3" in shown and "finished" in shown and "EarlyStopping stops" in shown
        assert "<b>" not in shown


def test_who_only_looks_says_what_is_wrong_and_not_what_a_start_would_do(folder: Path) -> None:
    train(folder, epochs=3)
    newest = max(folder.glob("resume-*"))
    newest.write_bytes(newest.read_bytes()[:-1])
    (finding,) = open_run(folder).findings
    assert finding.startswith("resume point 3: ") and "set aside" not in finding
    assert newest.exists()


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """As if the file were another user's: not even root may open it."""
    really = os.open

    def refusing(name: Any, *arguments: Any, **options: Any) -> int:
        if os.fspath(name) == str(path):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), name)
        return really(name, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)


def test_what_may_not_be_read_is_an_error_of_ours_for_every_reader(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(folder, callbacks(), epochs=5)
    blob = next(folder.glob("blob-0*"))
    refuse_to_open(monkeypatch, blob)
    text = f"Cannot read {blob}: Permission denied."
    for read in (open_run, lambda place: train(place, callbacks(), epochs=5)):
        with pytest.raises(FileError) as caught:
            read(folder)
        assert (str(caught.value), caught.value.errno) == (text, errno.EACCES)
    found = verify(str(folder))
    assert (found.run.status, found.run.problem) == (Status.UNREADABLE, text)


def test_old_lines_that_may_not_be_read_are_an_error_of_ours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "KEPT_LINES", 2)
    monkeypatch.setattr(limits, "REMAINING_LINES", 1)
    train(folder, callbacks(), epochs=5)
    saved = open_run(folder)
    refuse_to_open(monkeypatch, next(folder.glob("blob-rows-*")))
    with pytest.raises(FileError, match=r"Cannot read .*blob-rows-.*: Permission denied"):
        _ = saved.history


def test_the_status_of_a_run_whose_lock_may_not_be_read_is_what_its_files_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(folder, callbacks(), epochs=5)
    (folder / "LOCK").write_text('{"pid": 7}')  # as a holder leaves it who was killed
    refuse_to_open(monkeypatch, folder / "LOCK")
    assert open_run(folder).status == look(str(folder)).run.status.value == "finished"
    assert verify(str(folder)).run.status is Status.FINISHED


def test_who_only_reads_says_what_a_start_would_set_aside(folder: Path) -> None:
    train(folder, callbacks(), epochs=1)
    point = folder / "resume-00000001"
    point.write_bytes(b"")
    text = "it has no resume point .resume point 1 would be set aside: "
    with pytest.raises(FileError, match=text):
        open_run(folder)
    assert point.exists()
