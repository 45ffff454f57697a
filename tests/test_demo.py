"""The demo: a real training in a process of its own, and beside Keras's callbacks in this one."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import outlast
from outlast import cli
from outlast.core.decision import Action
from outlast.demo import crashing, telling, training
from outlast.demo import showing as the_demo
from outlast.storage.disk.temporary import temporary_name
from outlast.storage.format import layout
from outlast.views.curves import BestEpoch

ROOT = Path(__file__).parent.parent
SOURCE, PAGE = ROOT / "src", ROOT / "docs" / "demo.md"
FILES = {"best.keras", "history.csv", "history.png"}


# Hears Ctrl-C even where the tests were started by somebody who does not, as in the background.
HEARING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "outlast", "demo", *sys.argv[1:]])
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-c", HEARING, "--folder", str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate()
    return process.returncode, out, err


def shown_files(folder: Path) -> set[str]:
    """The files for people; beside them are those that the run keeps for itself."""
    return {name for name in os.listdir(folder) if not layout.is_of_run(name)}


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def told(folder: Path) -> str:
    """What a whole demo says; its files stay in ``folder``."""
    code, out, err = finish(start(folder))
    assert (code, err) == (0, "")
    return out


@pytest.fixture(scope="module")
def data(told: str, folder: Path) -> dict[str, Any]:
    """The same demo as JSON, in the same folder."""
    code, out, err = finish(start(folder, "--json"))
    assert (code, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture(scope="module")
def decisions(data: dict[str, Any]) -> list[outlast.Decision]:
    return [outlast.Decision.from_json(decision) for decision in data["decisions"]]


def test_it_leaves_the_best_model_the_history_and_a_picture_in_the_folder_that_it_names(
    told: str, folder: Path
) -> None:
    assert shown_files(folder) == FILES
    assert (folder / "history.png").read_bytes().startswith(b"\x89PNG")
    assert f"\nin             {folder}/\n" in told


def test_each_epoch_has_a_line_and_each_decision_its_sentence_below_it(
    told: str, decisions: list[outlast.Decision]
) -> None:
    expected = []
    for epoch in range(decisions[-1].epoch + 1):
        expected.append(f"Epoch {epoch + 1:3}/100  ")
        of_this_epoch = [d for d in decisions if d.epoch == epoch and d.action is not Action.SKIP]
        expected += [f"  {decision.sentence}" for decision in of_this_epoch]
    lines = [line for line in told.splitlines() if line.lstrip().startswith("Epoch")]
    found = [line if line.startswith(" ") else line.partition("loss")[0] for line in lines]
    assert found == expected


def test_each_callback_has_something_to_do(decisions: list[outlast.Decision]) -> None:
    count = Counter(decision.action for decision in decisions)
    assert count[Action.SAVE] > 2 and count[Action.SKIP] > 2 and count[Action.REDUCE] > 1
    assert count[Action.STOP] == count[Action.RESTORE] == 1


def test_it_ends_with_a_table_of_what_came_out(
    told: str, data: dict[str, Any], decisions: list[outlast.Decision]
) -> None:
    best, table = data["best"], told[told.index("\n\nepochs") :]
    stop = next(decision for decision in decisions if decision.stop)
    assert f"epochs         {data['epochs']}\n" in table
    assert f"best           epoch {best['epoch'] + 1}, val_loss {best['value']:.4g}\n" in table
    assert f"stopped        after epoch {data['epochs']}: {stop.because}\n" in table
    assert all(f"{cut['after']:.4g} after epoch {cut['epoch'] + 1}" in table for cut in data["cuts"])
    assert all(f" {name} " in table for name in FILES)


def test_the_json_says_what_the_files_hold(data: dict[str, Any], folder: Path) -> None:
    losses = [float(row["val_loss"]) for row in rows(folder)]
    rates = [float(row["learning_rate"]) for row in rows(folder)]
    assert data["epochs"] == len(losses)
    assert data["best"] == {
        "epoch": losses.index(min(losses)), "monitor": "val_loss", "value": min(losses)
    }  # fmt: skip
    assert [cut["epoch"] for cut in data["cuts"]] == [
        epoch for epoch in range(len(rates) - 1) if rates[epoch + 1] < rates[epoch]
    ]
    assert data["files"] == {name: (folder / name).stat().st_size for name in FILES}
    assert data["status"] == "stopped"


def test_keras_alone_loads_the_best_model_and_finds_its_value(
    told: str, data: dict[str, Any], folder: Path
) -> None:
    _, _, (x, y) = training.digits()
    model = keras.saving.load_model(folder / "best.keras")
    found = model.evaluate(x, y, batch_size=training.BATCH, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(data["best"]["value"], rel=1e-6)
    assert data["check"]["holds"]
    assert f"loaded and evaluated by Keras alone  val_loss {found['loss']:.6g}\n" in told
    assert told.endswith(("the same, to the last bit\n", "the same, but for rounding\n"))


def without_numbers(lines: str) -> list[str]:
    """Other processors round otherwise, and other folders have other names."""
    lines = lines.replace("outlast-demo/", "/")
    return [re.sub(r"[\d.e-]*\d|[kM]?B$| +", "#", line) for line in lines.splitlines()]


def test_the_page_shows_what_it_says(told: str, folder: Path) -> None:
    (shown,) = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    said = without_numbers(told.replace(f"{folder}/", "/"))
    assert [line for line in without_numbers(shown) if line not in [*said, "..."]] == []


def fit(seed: int, callbacks: list[Any]) -> tuple[Any, list[Any]]:
    """The history of the demo's training, and the weights that the model has after it."""
    x, y, validation = training.digits()
    keras.utils.set_random_seed(seed)
    model = training.network()
    options = {"batch_size": training.BATCH, "epochs": 100, "validation_data": validation}
    history = model.fit(x, y, callbacks=callbacks, verbose=0, **options)
    return history, model.get_weights()


def keras_four(folder: Path) -> list[Any]:
    folder.mkdir()
    return [
        keras.callbacks.EarlyStopping(patience=8, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(str(folder / "best.keras"), save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=3),
        keras.callbacks.CSVLogger(str(folder / "history.csv")),
    ]


def same(ours: list[Any], theirs: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_keras_own_four_callbacks_give_the_very_same_epochs_rates_rows_and_weights(
    seed: int, tmp_path: Path
) -> None:
    ours, weights = fit(seed, [outlast.Run(tmp_path / "ours", training.callbacks())])
    theirs, expected = fit(seed, keras_four(tmp_path / "theirs"))
    assert ours.epoch == theirs.epoch
    assert ours.history == theirs.history  # learning rates among them
    our_csv, their_csv = (tmp_path / who / "history.csv" for who in ("ours", "theirs"))
    assert our_csv.read_bytes() == their_csv.read_bytes()
    assert same(weights, expected)
    saved = [keras.saving.load_model(tmp_path / who / "best.keras") for who in ("ours", "theirs")]
    assert same(saved[0].get_weights(), saved[1].get_weights())
    assert same(saved[0].optimizer.variables, saved[1].optimizer.variables)


def test_ctrl_c_ends_the_training_after_its_epoch_and_shows_the_table_so_far(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    assert process.stdout is not None
    before = []
    while not (before and before[-1].startswith("Epoch   3/100")):
        before.append(next(process.stdout))
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130
    assert err.splitlines() == ["outlast: interrupted"]
    assert shown_files(tmp_path / "out") == FILES
    losses = [float(row["val_loss"]) for row in rows(tmp_path / "out")]
    assert "".join(before).count("\nEpoch") + out.count("Epoch   ") == len(losses)
    assert f"\nstopped        after epoch {len(losses)}, by Ctrl-C\n" in out
    _, _, (x, y) = training.digits()
    model = keras.saving.load_model(tmp_path / "out" / "best.keras")
    found = model.evaluate(x, y, batch_size=training.BATCH, verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(min(losses), rel=1e-6)


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    assert process.stdout is not None and process.stderr is not None
    next(process.stdout)  # it is there, and has yet to load Keras
    process.send_signal(signal.SIGINT)
    assert [next(process.stderr), next(process.stderr)][1].startswith("Ctrl-C")
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == -signal.SIGINT


def test_ctrl_c_while_packages_load_keeps_the_training_from_beginning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ctrl_c, network = the_demo.CtrlC(), training.network

    def pressed_meanwhile() -> Any:
        ctrl_c.noted = True
        return network()

    monkeypatch.setattr(training, "network", pressed_meanwhile)
    with pytest.raises(KeyboardInterrupt):
        training.train(str(tmp_path), 0, 5, None, ctrl_c)
    assert os.listdir(tmp_path) == []


def test_who_ignores_ctrl_c_for_us_is_obeyed() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with the_demo.CtrlC() as ctrl_c:
            signal.raise_signal(signal.SIGINT)
        assert not ctrl_c.noted
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_file_that_does_not_hold_the_best_model_is_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = training.Check(loss=0.7, accuracy=0.9, best=BestEpoch(0, "val_loss", 0.6))
    monkeypatch.setattr(the_demo, "evaluate", lambda result: other)
    assert cli.main(["demo", "--epochs", "1"]) == 1
    assert capsys.readouterr().out.endswith("NOT the same\n")


def test_a_loss_that_differs_by_rounding_alone_holds() -> None:
    check = training.Check(loss=0.6000000001, accuracy=0.9, best=BestEpoch(0, "val_loss", 0.6))
    assert check.holds and not check.exact
    assert telling.proof(check).endswith("the same, but for rounding")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a demo says which never starts."""
    assert cli.main(["demo", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


@pytest.mark.parametrize("path", ["a-file", "a-file/below"])
def test_a_folder_that_is_a_file_is_refused(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a-file").write_text("mine")
    text = refused(capsys, "--folder", path)
    assert "a-file" in text and "a file is where the folder should be" in text
    assert Path("a-file").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "Cannot make the folder /proc/no-such-place" in refused(capsys, "--folder", "/proc/no-such-place")


def test_a_folder_with_files_of_yours_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("best.keras", "notes.txt"):
        (tmp_path / name).write_text("mine")
    text = refused(capsys, "--folder", str(tmp_path))
    assert "'notes.txt'" in text and "--folder" in text
    assert (tmp_path / "best.keras").read_text() == "mine"


def test_what_a_demo_left_before_is_replaced(tmp_path: Path) -> None:
    for name in ("best.keras", "history.png", os.path.basename(temporary_name("best.keras"))):
        (tmp_path / name).write_text("old")
    assert cli.main(["demo", "--epochs", "1", "--folder", str(tmp_path)]) == 0
    assert shown_files(tmp_path) == FILES
    assert b"old" not in {path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("backend", ["numpy", "tensorflw"])
def test_a_backend_that_cannot_train_is_refused_with_those_that_can(
    backend: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    text = refused(capsys)
    assert "jax, torch, tensorflow" in text and repr(backend) in text


@pytest.mark.parametrize(
    ("backend", "package", "extra"),
    [
        ("jax", "keras", "demo"),
        ("jax", "sklearn", "demo"),
        ("jax", "matplotlib", "demo"),
        ("jax", "jax", "demo"),
        ("torch", "torch", "torch"),
        ("tensorflow", "tensorflow", "tensorflow"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_pip_line(
    backend: str,
    package: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setitem(sys.modules, package, None)  # what Python itself takes for "not there"
    text = refused(capsys)
    assert text == (
        f'outlast: The demo needs {package}, which is not installed: pip install "outlast[{extra}]"\n'
    )
    assert os.listdir() == []


def test_a_training_killed_in_a_save_and_started_again_ends_as_one_that_was_not(tmp_path: Path) -> None:
    process = start(tmp_path / "out", "--crash", "--json", "--epochs", "14")
    code, out, err = finish(process)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["holds"]
    assert found["killed"] == found["uninterrupted"]
    assert found["killed"]["epochs"] == 14
    events = (tmp_path / "out" / "killed" / "events.jsonl").read_text("utf-8").splitlines()
    named = [json.loads(line)["event"] for line in events]
    assert named == ["start", "resume", "check begins", "check", "end"]


def test_two_trainings_that_differ_are_an_exit_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    differ = crashing.Comparison({"best model": "a"}, {"best model": "b"})
    monkeypatch.setattr(crashing, "show", lambda *_: differ)
    assert cli.main(["demo", "--crash", "--folder", str(tmp_path)]) == 1
    assert "DIFFERENT" in crashing.verdict(differ) and "NOT the same" in crashing.verdict(differ)


def test_a_crash_demo_leaves_a_folder_with_files_of_yours_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "'notes.txt'" in refused(capsys, "--crash", "--folder", str(tmp_path))
    assert os.listdir(tmp_path) == ["notes.txt"]
