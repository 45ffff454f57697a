"""A run that was left goes on from its last commit, whatever it was left by."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.run.training import content, go_on, start, train, weight

from outlast import CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, open_run
from outlast.exceptions import ArgumentError, FileError

Out = pytest.CaptureFixture[str]


def four() -> list[object]:
    return [
        EarlyStopping(patience=4, restore_best_weights=True),
        ModelCheckpoint(save_best_only=True),
        CSVLogger(),
        ReduceLROnPlateau(factor=0.5, patience=1),
    ]


def test_a_new_run_begins_with_the_first_epoch_and_says_nothing(folder: Path, capsys: Out) -> None:
    assert go_on(start(folder), 3) == [0, 1, 2]
    assert capsys.readouterr().out == ""


def test_an_epoch_that_was_left_by_break_does_not_count(folder: Path, capsys: Out) -> None:
    assert go_on(start(folder), 5, until=3) == [0, 1, 2, 3]
    again = start(folder)
    assert (weight(again), again.history.epochs) == (3, (0, 1, 2))
    assert go_on(again, 5) == [3, 4]
    assert capsys.readouterr().out == f"outlast: resumed {folder} at epoch 4, resume point 3\n"


def test_an_epoch_that_was_left_by_an_error_does_not_count(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(ZeroDivisionError):
        for epoch in run.epochs(5):
            run.log(val_loss=1 / (3 - epoch))
    assert go_on(start(folder), 5) == [3, 4]


def test_an_epoch_without_metrics_counts(folder: Path) -> None:
    for _ in start(folder).epochs(2):
        pass
    rows = [{"epoch": epoch, "learning_rate": 0.1} for epoch in range(2)]
    assert start(folder).history.rows == rows


@pytest.mark.parametrize("left", range(1, 10))
def test_wherever_it_was_left_it_ends_with_the_same_files(folder: Path, left: int) -> None:
    train(folder / "whole", four(), epochs=10)
    go_on(start(folder / "left", four()), 10, until=left)
    train(folder / "left", four(), epochs=10)
    assert content(folder / "left") == content(folder / "whole")


def test_a_run_left_in_every_epoch_ends_with_the_same_files_weights_and_rate(folder: Path) -> None:
    whole = train(folder / "whole", four(), epochs=10)
    for left in range(1, 10):
        go_on(start(folder / "left", four()), 10, until=left)
    last = train(folder / "left", four(), epochs=10)
    assert content(folder / "left") == content(folder / "whole")
    assert (weight(last), last.learning_rate) == (weight(whole), whole.learning_rate)
    assert (weight(last), last.learning_rate) == (7, pytest.approx(0.1 / 2**6))


def test_a_run_that_was_made_and_never_trained_is_new(folder: Path) -> None:
    start(folder)
    assert go_on(start(folder), 2) == [0, 1]


def test_a_with_block_lets_the_folder_go_when_it_is_left(folder: Path) -> None:
    with start(folder) as run:
        epochs = run.epochs(5)
        next(epochs), next(epochs)
        run.flush()
        assert open_run(folder).status == "running"
    assert open_run(folder).status == "interrupted"


def test_the_same_run_trains_again_and_goes_on_from_its_folder(folder: Path) -> None:
    run = start(folder)
    go_on(run, 5, until=2)
    run.training.weights["w"][0] = -1.0  # whatever happened in between
    assert go_on(run, 5) == [2, 3, 4]
    assert weight(run) == 5


def test_resume_must_refuses_a_folder_where_there_is_nothing(folder: Path) -> None:
    with pytest.raises(FileError, match=r"nothing to resume in .*Use resume='auto' to begin anew"):
        start(folder, resume="must")
    assert not folder.exists()


def test_resume_must_goes_on_where_there_is_something(folder: Path) -> None:
    train(folder, epochs=2)
    assert go_on(start(folder, resume="must"), 4) == [2, 3]


def test_resume_never_sets_the_old_folder_aside_and_deletes_nothing(folder: Path) -> None:
    train(folder, four(), epochs=2)
    first = content(folder)
    second = content_after_training(folder)
    train(folder, resume="never", epochs=4)
    assert content(folder.with_name("run.1")) == first
    assert content(folder.with_name("run.2")) == second
    assert open_run(folder).history.epochs == (0, 1, 2, 3)


def content_after_training(folder: Path) -> dict[str, bytes]:
    train(folder, resume="never", epochs=3)
    return content(folder)


def test_resume_never_means_once_so_the_same_run_goes_on_afterwards(folder: Path) -> None:
    train(folder, epochs=2)
    run = train(folder, resume="never", epochs=2)
    assert go_on(run, 3) == [2]
    assert not folder.with_name("run.2").exists()


def test_resume_never_sets_nothing_aside_where_there_is_nothing(folder: Path) -> None:
    train(folder, resume="never")
    assert [path.name for path in folder.parent.iterdir()] == ["run"]


def test_another_word_for_resume_is_refused_with_the_nearest(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"but is 'nevr'\. Did you mean 'never'"):
        start(folder, resume="nevr")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_can_be_no_path_is_refused(path: str) -> None:
    with pytest.raises(ArgumentError, match="folder must be the path of a folder"):
        start(path)


def test_a_keyword_that_is_no_argument_and_has_no_state_is_refused(folder: Path) -> None:
    with pytest.raises(ArgumentError, match=r"no argument 'optimiser'\. Did you mean 'optimizer'"):
        start(folder, optimiser=None)
    with pytest.raises(ArgumentError, match=r"'ema'.*state_dict\(\) and load_state_dict\(\)"):
        start(folder, ema=0.99)


def test_a_run_without_a_folder_trains_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    run = start(None, four())
    assert go_on(run, 10) == list(range(10))
    assert (weight(run), run.history.epochs, run.committed) == (7, tuple(range(10)), None)
    assert list(tmp_path.iterdir()) == []
