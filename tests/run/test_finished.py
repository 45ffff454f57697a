"""A run that is finished says so, and goes on only if more is asked for than there was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.run.training import content, go_on, start, train, weight

from outlast import CSVLogger, EarlyStopping, ModelCheckpoint, Run, TimeLimit, open_run

Out = pytest.CaptureFixture[str]


def callbacks(patience: int = 2) -> list[object]:
    return [
        EarlyStopping(patience=patience, restore_best_weights=True),
        ModelCheckpoint(save_best_only=True),
        CSVLogger(),
    ]


def test_it_says_why_it_ended_puts_weights_and_history_back_and_changes_nothing(
    folder: Path, capsys: Out
) -> None:
    train(folder, callbacks(), epochs=10)
    before = content(folder)
    again = start(folder, callbacks())
    assert go_on(again, 10) == []
    assert (weight(again), again.history["val_loss"]) == (3, [5.0, 4.0, 3.0, 3.5, 3.6])
    assert content(folder) == before
    assert capsys.readouterr().out == (
        f"outlast: {folder} is finished (Epoch 5: EarlyStopping stops: val_loss has not improved on 3 for "
        "2 epochs); its weights and history are back, resume point 5\n"
    )


def test_it_says_so_a_third_time_too(folder: Path) -> None:
    for begun in ([0, 1, 2, 3, 4], [], []):
        run = start(folder, callbacks())
        assert go_on(run, 10) == begun
        assert (weight(run), run.callbacks[0].stopped_epoch) == (3, 4)


def test_all_epochs_are_a_reason_too(folder: Path, capsys: Out) -> None:
    train(folder, epochs=3)
    assert go_on(start(folder), 3) == []
    assert "is finished (all 3 epochs are done)" in capsys.readouterr().out


def test_fewer_epochs_than_there_are_find_it_finished(folder: Path) -> None:
    train(folder, epochs=3)
    again = start(folder)
    assert go_on(again, 2) == []
    assert weight(again) == 3


def test_more_epochs_go_on_from_the_last_training_state_not_from_the_best_weights(folder: Path) -> None:
    ended = train(folder, callbacks(patience=9), epochs=5)
    assert weight(ended) == 3  # the best
    again = start(folder, callbacks(patience=9))
    assert weight(again) == 5  # the last
    assert go_on(again, 8) == [5, 6, 7]
    assert weight(again) == 7
    train(folder.with_name("whole"), callbacks(patience=9), epochs=8)
    assert content(folder) == content(folder.with_name("whole"))


def test_a_larger_patience_goes_on_from_the_last_training_state(folder: Path, capsys: Out) -> None:
    train(folder, callbacks(patience=2), epochs=8)
    again = start(folder, callbacks(patience=4))
    assert go_on(again, 8) == [5, 6, 7]
    assert (weight(again), again.best.epoch) == (7, 6)
    assert capsys.readouterr().out == (
        f"outlast: resumed {folder} at epoch 6, resume point 5; EarlyStopping.patience changed from 2 to 4\n"
    )


def test_a_larger_patience_ends_with_the_rows_and_weights_of_a_run_that_had_it_from_the_start(
    folder: Path,
) -> None:
    train(folder, callbacks(patience=2), epochs=10)
    again = train(folder, callbacks(patience=5), epochs=10)
    whole = train(folder.with_name("whole"), callbacks(patience=5), epochs=10)
    assert (folder / "history.csv").read_bytes() == (folder.with_name("whole") / "history.csv").read_bytes()
    assert (weight(again), again.best.value) == (weight(whole), whole.best.value)


def test_a_patience_that_would_have_stopped_there_too_finds_it_finished(folder: Path) -> None:
    train(folder, callbacks(patience=2), epochs=8)
    assert go_on(start(folder, callbacks(patience=1)), 8) == []


def test_without_the_callback_that_stopped_it_it_goes_on(folder: Path) -> None:
    train(folder, callbacks(patience=2), epochs=8)
    again = start(folder, callbacks()[1:])
    assert go_on(again, 8) == [5, 6, 7]
    assert weight(again) == 8


def test_one_of_two_that_stopped_it_is_enough_to_find_it_finished(folder: Path) -> None:
    def two(first: int, second: int) -> list[object]:
        return [EarlyStopping(patience=first), EarlyStopping(patience=second, monitor="loss")]

    losses = [{"val_loss": loss, "loss": loss} for loss in (5.0, 4.0, 4.0, 4.0)]
    for patience, begun in ((2, 4), (3, 0)):
        run = start(folder, two(patience, 2))
        epochs = list(run_logging(run, losses))
        assert len(epochs) == begun


def run_logging(run: Run, logs: list[dict[str, float]]) -> Iterator[int]:
    for epoch in run.epochs(8):
        yield epoch
        run.log(logs[epoch])


def test_a_stop_between_the_last_epochs_commit_and_the_end_is_not_forgotten(folder: Path) -> None:
    """As if killed after the epoch in which patience ran out, before the loop heard of it."""
    run = start(folder, callbacks())
    for epoch in run.epochs(10):
        run.training.weights["w"][0] += 1
        run.log(val_loss=(5.0, 4.0, 3.0, 3.5, 3.6)[epoch])
        if epoch == 4:
            run.on_epoch_end(4, {"val_loss": 3.6})
            run.flush()
            break
    again = start(folder, callbacks())
    assert go_on(again, 10) == []
    assert weight(again) == 3


def test_a_time_limit_that_is_raised_goes_on(folder: Path) -> None:
    class Clock:
        now = 0.0

        def __call__(self) -> float:
            self.now += 1
            return self.now

    begun = go_on(start(folder, [TimeLimit(seconds=3)], clock=Clock()), 8)
    assert len(begun) < 8
    assert go_on(start(folder, [TimeLimit(seconds=3)], clock=Clock()), 8) == []
    assert go_on(start(folder, [TimeLimit(seconds=100)], clock=Clock()), 8) == list(range(len(begun), 8))


def test_who_looks_at_it_sees_how_it_stands(folder: Path) -> None:
    train(folder, callbacks(), epochs=8)
    found = open_run(folder)
    assert found.status == "finished"
    assert found.stopped == "Epoch 5: EarlyStopping stops: val_loss has not improved on 3 for 2 epochs"
