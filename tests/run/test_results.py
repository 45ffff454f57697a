"""Results: what is logged after the training is kept with the run; what has no row is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.run.training import go_on, start, train

from outlast import (
    Callback,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    Run,
    UsageError,
    cli,
    open_run,
)
from outlast.exceptions import RunLocked
from outlast.storage.disk import lock


def test_before_the_loop_there_is_no_row_to_log_into(folder: Path) -> None:
    run = start(folder)
    with pytest.raises(UsageError, match=r"run\.log was called outside an epoch"):
        run.log(loss=1.0)
    with pytest.raises(UsageError, match=r"run\.batches was called outside an epoch"):
        next(run.batches([1]))
    assert run.results == {}


def test_after_the_loop_it_is_a_result_that_is_kept_with_the_run(folder: Path) -> None:
    run = train(folder)
    run.log(test_accuracy=np.float32(0.5))
    run.log({"per class": [0.25, 0.75]}, test_loss=math.nan)
    for one in (run.results, open_run(folder).results, start(folder).results):
        assert list(one) == ["test_accuracy", "per class", "test_loss"]
        assert (one["test_accuracy"], one["per class"]) == (0.5, [0.25, 0.75])
        assert math.isnan(one["test_loss"])
    assert "test_accuracy" not in run.history


def test_the_next_start_of_a_finished_script_replaces_them(folder: Path) -> None:
    train(folder).log(test_accuracy=0.5)
    run = start(folder)
    assert go_on(run, 4) == []
    assert run.results == {"test_accuracy": 0.5}
    run.log(test_accuracy=0.75)
    assert open_run(folder).results == {"test_accuracy": 0.75}


def test_results_of_fewer_epochs_are_none_of_the_run_that_goes_on(folder: Path) -> None:
    train(folder, epochs=2).log(test_accuracy=0.5)
    run = start(folder)
    assert run.results == {"test_accuracy": 0.5}
    go_on(run, 4)
    assert (run.results, open_run(folder).results) == ({}, {})


def test_after_a_break_and_in_the_last_hook_they_are_taken(folder: Path) -> None:
    run = start(folder)
    go_on(run, 5, until=3)
    run.log(test_accuracy=0.5)
    assert open_run(folder).results == {"test_accuracy": 0.5}
    at_end = start(folder, [LambdaCallback(on_train_end=lambda logs: at_end.log(f1=1.0))])
    go_on(at_end, 5)
    assert (at_end.results, open_run(folder).results) == ({"f1": 1.0}, {"f1": 1.0})


def test_a_metric_that_is_logged_when_the_row_is_complete_is_refused(folder: Path) -> None:
    class Late(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            run.log(f1=1.0)

    run = start(folder, [Late()])
    with pytest.raises(UsageError, match=r"A callback adds its metric to the logs"):
        go_on(run, 2)


@pytest.mark.usefixtures("random_identities")
def test_another_run_has_no_part_in_them(folder: Path) -> None:
    run = train(folder)
    run.log(test_accuracy=0.5)
    train(folder, resume="never")
    assert open_run(folder).results == {}
    (folder.with_name("run.1") / "results.json").rename(folder / "results.json")
    assert open_run(folder).results == {}


def test_a_run_that_another_process_goes_on_with_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(folder)

    def taken(folder: str, **options: Any) -> None:
        raise RunLocked(f"{folder} is in use by process 1.", path=folder)

    monkeypatch.setattr(lock, "acquire", taken)
    with pytest.raises(RunLocked):
        run.log(test_accuracy=0.5)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"[" * 100_000,
        b'{"run": 1}',
        b'{"epochs": 4, "results": 1e999}',
    ],
)
def test_what_makes_no_sense_is_no_result_and_verify_says_so(
    folder: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder)
    (folder / "results.json").write_bytes(content)
    assert open_run(folder).results == {}
    assert cli.main(["show", str(folder)]) == 0
    capsys.readouterr()


def test_forged_values_are_no_results(folder: Path) -> None:
    train(folder).log(test_accuracy=0.5)
    path = folder / "results.json"
    for value in ("text", {"a": 1}, ["a"]):
        path.write_text(json.dumps({**json.loads(path.read_text()), "results": {"a": value}}))
        assert open_run(folder).results == {}


def test_show_ls_and_verify_know_them(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(folder, [EarlyStopping(patience=9)]).log(test_accuracy=0.875, test_loss=0.25)
    start(folder.with_name("other"))
    assert cli.main(["show", str(folder)]) == 0
    assert "results        test_accuracy 0.875, test_loss 0.25\n" in capsys.readouterr().out
    assert cli.main(["ls", str(folder.parent)]) == 0
    heading, _, *lines = capsys.readouterr().out.splitlines()
    assert "results" in heading
    assert any("test_accuracy 0.875, test_loss 0.25" in line for line in lines)
    assert cli.main(["ls", "--json", str(folder.parent)]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert {"test_accuracy": 0.875, "test_loss": 0.25} in [run.get("results") for run in runs]
    assert cli.main(["verify", str(folder)]) == 0
    (folder / "results.json").write_text("{")
    capsys.readouterr()
    assert cli.main(["verify", str(folder)]) == 1
    assert "results.json" in capsys.readouterr().out


def test_a_run_without_a_folder_has_results_too() -> None:
    run = Run(None)
    for _ in run.epochs(1):
        run.log(loss=1.0)
    run.log(test_accuracy=0.5)
    assert run.results == {"test_accuracy": 0.5}


# What callbacks add to the logs, and the CSV.


class Score(Callback):
    """As people write it for Keras: a metric of one's own, put into the logs."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_f1"] = np.float32(epoch / 2)


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 0, 2]])
def test_a_metric_that_a_callback_adds_is_in_every_history(folder: Path, order: list[int]) -> None:
    callbacks = [CSVLogger(), Score(), history := History()]
    run = start(folder, [callbacks[index] for index in order])
    for _ in run.epochs(2):
        run.log(loss=1.0)
    expected = [{"epoch": e, "learning_rate": 0.1, "loss": 1.0, "val_f1": e / 2} for e in range(2)]
    assert run.history.rows == open_run(folder).history.rows == expected
    assert history.history["val_f1"] == [0.0, 0.5]
    assert (folder / "history.csv").read_text().splitlines() == [
        *["epoch,learning_rate,loss,val_f1", "0,0.1,1.0,0.0", "1,0.1,1.0,0.5"],
    ]


def test_what_a_callback_adds_is_there_after_a_resume_too(folder: Path) -> None:
    go_on(start(folder, [CSVLogger(), Score()]), 5, until=3)
    run = start(folder, [CSVLogger(), Score()], check_resume="always")
    go_on(run, 5)
    assert run.history["val_f1"] == [0.0, 0.5, 1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    "names", [["loss"], ["loss", "val/loss"], ["loss", "valid_loss"], ["validation_loss"]]
)
def test_no_columns_are_made_up_for_a_validation(folder: Path, names: list[str]) -> None:
    run = start(folder, [CSVLogger()])
    for epoch in run.epochs(2):
        run.log(dict.fromkeys(names, 1.0), **({"val_loss": 2.0} if epoch else {}))
    first, *rows = (folder / "history.csv").read_text().splitlines()
    assert first == ",".join(["epoch", "learning_rate", *names, "val_loss"])
    assert rows[0].endswith(",NA") and rows[1].endswith(",2.0")
