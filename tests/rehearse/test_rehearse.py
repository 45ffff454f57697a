"""outlast rehearse: the user's own script, killed for real and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest

from outlast import cli
from outlast.rehearse.places import Place, places, within_saves
from outlast.rehearse.script import Script
from outlast.rehearse.tries import Tries
from outlast.run.rehearsal import BATCH, CALL

Out = pytest.CaptureFixture[str]

SCRIPT = """
import random, sys, time
import outlast
from outlast.testing import FakeAdapter

class Memory: pass

class Remembers(outlast.Callback):
    def __init__(self):
        self.memory = Memory()

random.seed(time.time_ns() if "unseeded" in sys.argv else 1)
hidden = random.Random(2)
run = outlast.Run(
    f"runs/{time.time_ns()}" if "dated" in sys.argv else "runs/mine",
    [
        outlast.EarlyStopping("loss"),
        outlast.ModelCheckpoint("best.txt", "loss", save_best_only=True),
        *([Remembers()] if "memory" in sys.argv else []),
    ],
    adapter=FakeAdapter({"w": [0.0]}),
    resume="never" if "never" in sys.argv else "auto",
)
for epoch in run.epochs(50):
    for batch in run.batches(range(5)):
        run.training.weights["w"][0] += random.random() + (hidden.random() if "noise" in sys.argv else 0)
        run.log(loss=run.training.weights["w"][0])
    print(epoch, file=open("log.txt", "a"))
open("final.txt", "w").write("of a rehearsal")
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
    assert cli.main(["rehearse", "--kills", "3", "--json", "--keep", script, "--lr", "0.1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["identical"] and [one["identical"] for one in found["tries"]] == [True] * 4
    places = [one["place"] for one in found["tries"]]
    assert places[0] == "not killed, a second time" and places[1].startswith("in batch")
    assert "and in the recovery" in places[3] and found["tries"][1]["resumed"].startswith("epoch")
    assert found["tries"][2]["resumed"] in ("epoch 2", "epoch 3")
    assert not (tmp_path / "runs").exists()  # the script's own folder is not touched
    printed = (Path(found["folder"]) / "first" / "output.txt").read_text()
    assert "ended ['--lr', '0.1']" in printed
    assert len(list((Path(found["folder"]) / "first" / "runs").iterdir())) == 1
    kept = [Path(one["folder"]).name for one in found["tries"]]
    assert kept == ["again", "killed-1", "killed-2", "killed-3"]


def test_a_kill_within_the_saves_leaves_an_epoch_that_is_safe_and_one_to_train(script: str) -> None:
    Path(script).write_text(SCRIPT.replace('EarlyStopping("loss")', 'EarlyStopping("loss", patience=9)'))
    tries = Tries.of(Script(script), 3)
    saves = tries.run("first").report.saves
    assert len(saves) == 3
    first, last = within_saves(saves)
    calls = [first - 1, first, last, last + 1]
    resumed = [tries.run(f"{call}", Place("", ((CALL, call),))).resumed for call in calls]
    tries.tidy(())
    assert resumed == ["the beginning", "epoch 2", "epoch 3", "the end"]


def test_places_in_saves_lie_within_them() -> None:
    for seed in range(100):
        for place in places({BATCH: 15, CALL: 200}, [40, 80, 120], 6, Random(seed)):
            assert place.kills[0][0] == BATCH or 40 < place.kills[0][1] <= 120
    assert not places({CALL: 200}, [], 6, Random(0))


def test_an_interrupt_leaves_no_files(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    def interrupted(*arguments: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(Script, "run", interrupted)
    assert cli.main(["rehearse", script]) == 130
    assert [path.name for path in tmp_path.iterdir()] == [script]


def test_what_the_script_writes_replaces_nothing_and_is_deleted_in_the_end(
    script: str, tmp_path: Path, capsys: Out
) -> None:
    Path("log.txt").write_text("mine\n")
    Path("final.txt").write_text("of fifty epochs")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["rehearse", "--kills", "1", script]) == 0
    assert Path("log.txt").read_text() == "mine\n" and Path("final.txt").read_text() == "of fifty epochs"
    assert sorted(tmp_path.rglob("*")) == before
    first_line = capsys.readouterr().err.splitlines()[0]
    assert f"in a copy of {tmp_path} that is made for each try" in first_line
    assert "Not protected: absolute paths, links that lead out of the copy." in first_line


def test_tries_that_differ_are_kept_with_what_the_script_wrote(
    script: str, tmp_path: Path, capsys: Out
) -> None:
    Path("data.txt").write_text("only read")
    assert cli.main(["rehearse", "--kills", "1", "--json", script, "noise"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in Path(found["folder"]).iterdir()) == ["first", "killed-1"]
    again, killed = (one["folder"] for one in found["tries"])
    assert again is None
    assert sorted(path.name for path in (Path(killed) / "files").iterdir()) == ["final.txt", "log.txt"]


def test_a_planted_fault_is_found_and_named(script: str, capsys: Out) -> None:
    assert cli.main(["rehearse", "--kills", "1", script, "noise"]) == 1
    out, err = capsys.readouterr()
    assert re.search(r"is kept in .*outlast-rehearsal-\S+: first, killed-1\.", out)
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
        (
            "raise ValueError('of \\x1b[31mmine\\x1b[0m')",
            "  Traceback (most recent call last):\n"
            '    File "HERE/mine.py", line 1, in <module>\n'
            "      raise ValueError('of \\x1b[31mmine\\x1b[0m')\n"
            "  ValueError: of mine\n",
        ),
        (
            "input()",
            "  EOFError: EOF when reading a line\noutlast: mine.py reads from its input, which is empty",
        ),
        (
            "import argparse; p = argparse.ArgumentParser(); p.add_argument('data'); p.parse_args()",
            "  mine.py: error: the following arguments are required: data\n"
            "outlast: Arguments of the script come after it: outlast rehearse mine.py --lr 0.1\n",
        ),
        (
            "import os; os.kill(os.getpid(), 15)",
            "mine.py was ended by signal 15 (Terminated). It printed nothing.\n",
        ),
        ("print('\\x07 \\x9b'); exit(3)", "with exit code 3. All that it printed is in "),
        ("print('\\x07 \\x9b'); exit(3)", "  \\x07 \\x9b\n"),
    ],
)
def test_a_script_that_cannot_be_rehearsed_is_told(
    script: str, text: str, told: str, tmp_path: Path, capsys: Out
) -> None:
    Path(script).write_text(text)
    assert cli.main(["rehearse", script]) == 2
    assert told.replace("HERE", str(tmp_path)) in capsys.readouterr().err


def test_a_script_that_fails_only_after_a_kill_is_told_with_the_place(
    script: str, tmp_path: Path, capsys: Out
) -> None:
    Path(script).write_text("import os\nassert not os.path.exists('log.txt'), 'left over'\n" + SCRIPT)
    assert cli.main(["rehearse", "--kills", "1", script]) == 2
    err = capsys.readouterr().err
    assert re.search(
        r"ended with exit code 1 when it was started again, after it was killed in batch \d+\.", err
    )
    assert "  AssertionError: left over\n" in err
    (kept,) = tmp_path.glob("outlast-rehearsal-*/*")
    assert kept.name == "killed-1" and f"All that it printed is in {kept}/output.txt" in err


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("never", "has a Run with resume='never', which begins anew at each start"),
        ("dated", "the first time, and not the second time. To be resumed, a Run needs the same folder"),
    ],
)
def test_a_script_that_never_resumes_is_told_before_it_is_killed(
    script: str, word: str, told: str, tmp_path: Path, capsys: Out
) -> None:
    assert cli.main(["rehearse", script, word]) == 2
    err = capsys.readouterr().err
    assert told in err and "killed in" not in err
    assert not list(tmp_path.glob("outlast-rehearsal-*"))


def test_a_script_that_gives_other_results_each_time_is_told_to_seed(script: str, capsys: Out) -> None:
    assert cli.main(["rehearse", "--kills", "1", script, "unseeded"]) == 1
    out = capsys.readouterr().out
    assert "Your script gives other results each time, even if nobody kills it" in out
    assert "Seed it" in out and "docs/exact.md#what-differs-first" in out
    assert out.count("what differs first is") == 0 and out.count("What differs first is") == 1


def test_an_option_of_ours_that_the_script_gets_is_said(script: str, capsys: Out) -> None:
    assert cli.main(["rehearse", "--kills", "0", script, "--kills=2", "--lr", "1"]) == 0
    assert "outlast: --kills follows mine.py, so the script gets it" in capsys.readouterr().err


def test_the_option_that_was_meant_is_named(script: str, capsys: Out) -> None:
    with pytest.raises(SystemExit):
        cli.main(["rehearse", "--kils", "2", script])
    assert "unrecognized arguments: --kils. Did you mean '--kills'?" in capsys.readouterr().err


def test_a_script_that_is_not_there_and_too_few_epochs_are_refused(
    script: str, tmp_path: Path, capsys: Out
) -> None:
    assert cli.main(["rehearse", "other.py"]) == 2
    assert capsys.readouterr().err == "outlast: There is no script other.py.\n"
    assert [path.name for path in tmp_path.iterdir()] == [script]
    with pytest.raises(SystemExit):
        cli.main(["rehearse", "--epochs", "1", script])


def test_a_notebook_is_killed_with_its_kernel(script: str, capsys: Out) -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [nbformat.v4.new_code_cell(text) for text in SCRIPT.split("\n\n", 1)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "mine.ipynb")
    assert cli.main(["rehearse", "--kills", "1", "--json", "mine.ipynb"]) == 0
    assert json.loads(capsys.readouterr().out)["tries"][1]["resumed"].startswith("epoch")


def test_an_error_in_a_notebook_is_shown_without_terminal_codes(script: str, capsys: Out) -> None:
    nbformat = pytest.importorskip("nbformat")
    cells = [nbformat.v4.new_code_cell("raise ValueError('of a cell')")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), "mine.ipynb")
    assert cli.main(["rehearse", "mine.ipynb"]) == 2
    err = capsys.readouterr().err
    assert "  ----> 1 raise ValueError('of a cell')\n" in err and "  ValueError: of a cell\n" in err
    assert "CellExecutionError" not in err


def test_a_notebook_takes_no_arguments(script: str, capsys: Out) -> None:
    Path("mine.ipynb").touch()
    assert cli.main(["rehearse", "mine.ipynb", "--lr", "1"]) == 2
    assert "A notebook takes no arguments, but --lr 1 follows mine.ipynb." in capsys.readouterr().err
