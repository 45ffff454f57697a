"""Files that were in the folder before the run are somebody else's: they step aside, and it is said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.training import train

import outlast

NAMES = [
    "best.txt",
    "models/03.txt",
    "history.csv",
    "journal.jsonl",
    "run.json",
    "events.jsonl",
    "results.json",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_was_there_before_the_run_steps_aside(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("mine")
    train(folder, epochs=3).log(accuracy=0.5)
    assert (folder / f"{name}.conflict").read_text() == "mine"
    told = capsys.readouterr().out
    assert f"{name} was there" in told and f"now {Path(name).name}.conflict" in told
    assert "begins again" not in told
    assert outlast.open_run(folder).findings == ()


def test_what_is_as_the_run_writes_it_is_no_conflict(folder: Path) -> None:
    train(folder, epochs=1)
    first = (folder / "best.txt").read_bytes()
    train(folder.with_name("other"), epochs=0)
    (folder.with_name("other") / "best.txt").write_bytes(first)
    train(folder.with_name("other"), epochs=1)
    assert not [*folder.with_name("other").rglob("*.conflict*")]


KILLED = """
import os, signal, sys
from tests.faults.training import train
from outlast.storage.disk.calls import calls

folder, point = sys.argv[1], sys.argv[2]
link = calls.link


def killed(source, target):
    if os.path.basename(target) == "resume-" + point:
        os.kill(os.getpid(), signal.SIGKILL)
    link(source, target)


calls.link = killed
train(folder, epochs=3)
"""


@pytest.mark.skipif(os.name != "posix", reason="it kills")
@pytest.mark.parametrize("point", [1, 2, 3])
def test_what_a_killed_commit_had_published_is_no_conflict(folder: Path, point: int) -> None:
    """Killed when the resume point is to be sealed: the models are there, and no resume point names them."""
    command = [sys.executable, "-c", KILLED, str(folder), f"{point:08d}"]
    assert subprocess.run(command, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    assert (folder / f"models/{point:02d}.txt").exists()
    train(folder, epochs=3)
    train(folder.with_name("whole"), epochs=3)
    names = [{path.name for path in one.rglob("*.txt")} for one in (folder, folder.with_name("whole"))]
    assert {name for name in names[0] ^ names[1] if not name.startswith("blob")} == set()
    assert not [*folder.rglob("*.conflict*")]


def test_a_model_that_somebody_has_written_over_is_kept_beside_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder, epochs=1)
    (folder / "best.txt").write_text("mine")
    train(folder, epochs=1)
    assert (folder / "best.txt.conflict").read_text() == "mine"
    assert "best.txt had been changed: put back, the other is best.txt.conflict" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["best.txt", "models/01.txt"])
def test_a_model_that_somebody_writes_over_meanwhile_is_kept_beside_it(folder: Path, name: str) -> None:
    """The next epoch is better, so it writes over the one file, and deletes the other."""

    def meddle(run: outlast.Run, epoch: int) -> None:
        if epoch == 1:
            run.flush()
            (folder / name).write_text("mine")

    train(folder, epochs=3, in_epoch=meddle)
    assert (folder / f"{name}.conflict").read_text() == "mine"


def test_a_copy_of_a_model_by_hand_stays(folder: Path) -> None:
    train(folder, epochs=2)
    (folder / "for-the-paper.txt").write_bytes((folder / "models/02.txt").read_bytes())
    newest = folder / "resume-00000002"
    newest.write_bytes(newest.read_bytes()[:-1])
    train(folder, epochs=3)
    assert (folder / "for-the-paper.txt").exists()


def test_nothing_of_a_run_whose_only_resume_point_is_damaged_is_deleted(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(folder, epochs=1)
    models = sorted(path.read_bytes() for path in folder.glob("blob-*.txt"))
    data = bytearray((folder / "resume-00000001").read_bytes())
    data[-1] ^= 1
    (folder / "resume-00000001").write_bytes(data)
    train(folder, epochs=0)
    assert "resume point 1 was set aside" in capsys.readouterr().out
    assert sorted(path.read_bytes() for path in folder.glob("damaged-blob-*.txt")) == models
    assert (folder / "best.txt").exists() and (folder / "damaged-resume-00000001").exists()


def test_a_run_that_had_ended_and_has_no_resume_point_any_more_is_refused(folder: Path) -> None:
    train(folder, epochs=1)
    (folder / "resume-00000001").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*.txt")}
    with pytest.raises(outlast.DamagedFile, match="a training has ended here, and they are gone"):
        train(folder, epochs=1)
    assert {path: path.read_bytes() for path in folder.rglob("*.txt")} == before
    train(folder, epochs=1, resume="never")


def test_what_is_left_of_a_lost_model_steps_aside(folder: Path) -> None:
    train(folder, epochs=2)
    for path in (*folder.glob("blob-*.txt"), folder / "best.txt"):
        path.write_bytes(b"rubbish")
    train(folder, epochs=2)
    assert (folder / "damaged-best.txt").exists() and not (folder / "best.txt").exists()
