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
    kept = Path(name).name
    assert f"{name.rpartition('/')[2]} was there before the run: now {kept}.conflict" in told
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
from outlast.storage.disk import files

folder, point = sys.argv[1], sys.argv[2]
seal = files.seal


def killed(path, *arguments, **options):
    if os.path.basename(path) == "resume-" + point:
        os.kill(os.getpid(), signal.SIGKILL)
    return seal(path, *arguments, **options)


files.seal = killed
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
