"""The files of a run: plain, whole at every moment, and no slower to write when there are many rows."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from pathlib import Path

import pytest
from tests.run.training import LOSSES, go_on, start, train, weight

from outlast import CSVLogger, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, open_run
from outlast.exceptions import OutlastError


def test_a_run_keeps_files_that_anybody_can_read(folder: Path) -> None:
    train(folder, [ModelCheckpoint(save_best_only=True), CSVLogger()], epochs=4)
    with (folder / "history.csv").open(newline="") as file:
        assert [float(row["val_loss"]) for row in csv.DictReader(file)] == list(LOSSES[:4])
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert [(one["epoch"], one["action"]) for one in journal] == [
        (0, "save"),
        (1, "save"),
        (2, "save"),
        (3, "skip"),
    ]
    assert (folder / "best.txt").read_text() == "{'w': [3.0]}"


def test_the_journal_has_no_time_no_path_and_no_process_in_it(folder: Path) -> None:
    callbacks = [
        EarlyStopping(patience=2),
        ModelCheckpoint(save_best_only=True),
        ReduceLROnPlateau(patience=1),
    ]
    train(folder, callbacks, epochs=9)
    text = (folder / "journal.jsonl").read_text()
    assert not [word for word in ("time", "pid", "host", str(folder.parent)) if word in text]


def test_events_have_them_and_are_only_ever_appended_to(folder: Path) -> None:
    go_on(start(folder), 3, until=1)
    before = (folder / "events.jsonl").read_text()
    train(folder, epochs=3)
    after = (folder / "events.jsonl").read_text()
    assert after.startswith(before)
    events = [json.loads(line) for line in after.splitlines()]
    assert [event["event"] for event in events] == ["start", "resume", "end"]
    assert all(isinstance(event["time"], float) and event["pid"] for event in events)


def test_every_file_is_whole_whenever_it_is_read_while_training(folder: Path) -> None:
    epochs = 30
    seen: dict[str, list[str]] = {name: [] for name in ("best.txt", "history.csv", "journal.jsonl")}
    passed, done = threading.Event(), threading.Event()

    def read() -> None:
        while not done.is_set():
            for name, texts in seen.items():
                if (folder / name).exists():
                    texts.append((folder / name).read_text())
            passed.set()

    run = start(folder, [ModelCheckpoint(save_best_only=True), CSVLogger()])
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for epoch in run.epochs(epochs):
            run.flush()
            for _ in range(2):  # the second pass began after the flush
                passed.clear()
                passed.wait()
            run.training.weights["w"][0] += 1
            run.log(val_loss=1 / (epoch + 1))
    finally:
        done.set()
        reader.join()
    last = {name: (folder / name).read_text() for name in seen}
    assert set(seen["best.txt"]) - {last["best.txt"]} == {f"{{'w': [{float(n)}]}}" for n in range(1, epochs)}
    for name in ("history.csv", "journal.jsonl"):
        assert all(last[name].startswith(text) and text[-1:] in ("", "\n") for text in seen[name])
        assert len(set(seen[name])) >= epochs - 1


@pytest.mark.parametrize("order", [0, 1, 2])
def test_wherever_the_csv_logger_stands_its_rows_have_the_rate_that_was_in_force(
    folder: Path, order: int
) -> None:
    callbacks: list[object] = [ReduceLROnPlateau(factor=0.5, patience=1), EarlyStopping(patience=9)]
    callbacks.insert(order, CSVLogger())
    run = train(folder, callbacks, epochs=6)
    with (folder / "history.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == run.history["learning_rate"] == [0.1, 0.1, 0.1, 0.1, 0.05, 0.025]


def test_a_table_that_was_edited_is_written_anew_and_the_edited_one_is_kept(folder: Path) -> None:
    go_on(start(folder, [CSVLogger()]), 5, until=3)
    right = (folder / "history.csv").read_bytes()
    (folder / "history.csv").write_bytes(right.replace(b"4.0", b"0.0"))
    start(folder, [CSVLogger()])
    assert (folder / "history.csv").read_bytes() == right
    assert [path.name for path in folder.iterdir() if ".conflict" in path.name] == ["history.csv.conflict"]


def test_lines_that_a_kill_left_behind_the_last_save_are_a_finding_and_no_line_at_the_start(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are written before the resume point; nothing is lost, for training writes them again."""
    go_on(start(folder, [CSVLogger()]), 5, until=2)
    with (folder / "history.csv").open("ab") as file:
        file.write(b"2,0.1,3.0\r\n")
    run = start(folder, [CSVLogger()])
    assert go_on(run, 5) == [2, 3, 4]
    (finding,) = run.findings
    assert finding.startswith("history.csv had lines of a later save") and "again" in finding
    assert "history.csv" not in capsys.readouterr().out


def test_a_best_model_that_was_overwritten_or_deleted_is_put_back(folder: Path) -> None:
    train(folder, [ModelCheckpoint(save_best_only=True)], epochs=4)
    for harm in (lambda path: path.write_text("mine"), lambda path: path.unlink()):
        harm(folder / "best.txt")
        start(folder, [ModelCheckpoint(save_best_only=True)])
        assert (folder / "best.txt").read_text() == "{'w': [3.0]}"


def test_names_of_ones_own_are_relative_to_the_folder(folder: Path) -> None:
    train(folder, [ModelCheckpoint("models/{epoch:02d}.txt"), CSVLogger("tables/all.csv")], epochs=2)
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["01.txt", "02.txt"]
    assert (folder / "tables" / "all.csv").read_text().count("\n") == 3


def test_folders_of_files_that_were_deleted_are_made_again_with_what_was_in_them(folder: Path) -> None:
    def callbacks() -> list[object]:
        return [ModelCheckpoint("models/{epoch:02d}.txt"), CSVLogger("tables/all.csv")]

    train(folder, callbacks(), epochs=2)
    before = (folder / "tables" / "all.csv").read_bytes()
    for name in ("models", "tables"):
        shutil.rmtree(folder / name)
    start(folder, callbacks())
    assert sorted(path.name for path in (folder / "models").iterdir()) == ["01.txt", "02.txt"]
    assert (folder / "tables" / "all.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../out.txt"])
def test_names_that_lead_out_of_the_folder_are_refused_before_the_first_epoch(
    folder: Path, name: str
) -> None:
    with pytest.raises(OutlastError, match=r"out\.txt"):
        go_on(start(folder, [ModelCheckpoint(name)]), 1)


def test_more_rows_than_a_resume_point_holds_are_all_there(folder: Path) -> None:
    epochs = 1103
    losses = [float(epoch % 7) for epoch in range(epochs + 2)]
    go_on(start(folder, [CSVLogger()]), epochs, losses=losses)
    resume_points = [path.stat().st_size for path in folder.glob("resume-*")]
    run = start(folder, [CSVLogger()])
    assert (run.history["val_loss"], weight(run)) == (losses[:epochs], epochs)
    assert go_on(run, epochs + 2, losses=losses) == [epochs, epochs + 1]
    assert open_run(folder).history["val_loss"] == losses
    assert (folder / "history.csv").read_text().count("\n") == epochs + 3
    assert list(folder.glob("blob-rows-*"))
    assert max(resume_points) < 300_000
