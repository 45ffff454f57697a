"""outlast rehearse: the user's own script, killed for real and compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from outlast import cli

Out = pytest.CaptureFixture[str]

SCRIPT = """
import random, sys
import outlast
from outlast.testing import FakeAdapter

class Memory: pass

class Remembers(outlast.Callback):
    def __init__(self):
        self.memory = Memory()

random.seed(1)
hidden = random.Random(2)
run = outlast.Run(
    "runs/mine",
    [
        outlast.EarlyStopping("loss"),
        outlast.ModelCheckpoint("best.txt", "loss", save_best_only=True),
        *([Remembers()] if "memory" in sys.argv else []),
    ],
    adapter=FakeAdapter({"w": [0.0]}),
)
for epoch in run.epochs(50):
    for batch in run.batches(range(5)):
        run.training.weights["w"][0] += random.random() + (hidden.random() if "noise" in sys.argv else 0)
        run.log(loss=run.training.weights["w"][0])
print("ended", sys.argv[1:])
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "mine.py").write_text(SCRIPT)
    return "mine.py"


def test_a_script_that_resumes_exactly_is_identical_everywhere(
    script: str, tmp_path: Path, capsys: Out
) -> None:
    assert cli.main(["rehearse", "--kills", "3", "--json", script, "--lr", "0.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["identical"] and [one["identical"] for one in found["tries"]] == [True] * 4
    places = [one["place"] for one in found["tries"]]
    assert places[0] == "not killed, a second time" and places[1].startswith("in batch")
    assert "and in the recovery" in places[3] and found["tries"][1]["resumed"].startswith("epoch")
    assert not (tmp_path / "runs").exists()  # the script's own folder is not touched
    printed = (Path(found["folder"]) / "first" / "output.txt").read_text()
    assert "ended ['--lr', '0.1']" in printed
    assert len(list((Path(found["folder"]) / "first" / "runs").iterdir())) == 1


def test_a_planted_fault_is_found_and_named(script: str, capsys: Out) -> None:
    assert cli.main(["rehearse", "--kills", "1", script, "noise"]) == 1
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert rows[2][-1] == "identical" and rows[3][-1] == "differs"
    assert "what differs first is the weights: state/training/weights/w/0" in out
    assert out.count("The likely cause: something that a step depends on is not saved") == 1
    assert "killed in batch" in err


def test_what_the_script_s_run_says_that_it_cannot_resume_is_shown_though_all_is_identical(
    script: str, capsys: Out
) -> None:
    assert cli.main(["rehearse", "--kills", "1", script, "memory"]) == 0
    out = capsys.readouterr().out
    assert "resuming runs/mine would not be exact: Remembers.memory (Memory) is not saved" in out
    assert cli.main(["rehearse", "--kills", "1", "--json", script, "memory"]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert note in out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("print('no run')", "it must train in an outlast.Run that has a folder"),
        ("raise ValueError('of mine')", "ValueError: of mine"),
    ],
)
def test_a_script_that_cannot_be_rehearsed_is_told(script: str, text: str, told: str, capsys: Out) -> None:
    Path(script).write_text(text)
    assert cli.main(["rehearse", script]) == 2
    assert told in capsys.readouterr().err


def test_a_script_that_is_not_there_and_too_few_epochs_are_refused(script: str, capsys: Out) -> None:
    assert cli.main(["rehearse", "other.py"]) == 2
    assert "There is no script other.py" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["rehearse", "--epochs", "1", script])


def test_a_notebook_is_killed_with_its_kernel(script: str, capsys: Out) -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [nbformat.v4.new_code_cell(text) for text in SCRIPT.split("\n\n", 1)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "mine.ipynb")
    assert cli.main(["rehearse", "--kills", "1", "--json", "mine.ipynb"]) == 0
    assert json.loads(capsys.readouterr().out)["tries"][1]["resumed"].startswith("epoch")
