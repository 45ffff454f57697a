"""What we print ends no training, whatever has become of the terminal; no verdict depends on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.run.training import train

import outlast
from outlast import ModelCheckpoint

TRAINING = """
import sys
from tests.run.training import go_on, start
from outlast import ModelCheckpoint
go_on(start(sys.argv[1], [ModelCheckpoint("best.pt", verbose=1)]), 4)
print("ended", file=sys.stderr)
"""
BROKEN = {"a full disk": "> /dev/full", "closed": ">&-", "nobody reads": "| true", "all closed": ">&- 2>&-"}


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        shell=True,
        text=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHON": sys.executable},
        executable="/bin/bash",
    )


@pytest.mark.skipif(os.name != "posix", reason="it takes a shell")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_training_goes_on_where_nothing_can_be_printed(folder: Path, tmp_path: Path, kind: str) -> None:
    train(folder, [ModelCheckpoint("best.pt")], epochs=2)  # so that there is a line to print
    (tmp_path / "training.py").write_text(TRAINING)
    done = shell(f'PYTHONPATH=. "$PYTHON" {tmp_path}/training.py {folder} {BROKEN[kind]}')
    assert "ended" in done.stderr or kind == "all closed"
    assert "Traceback" not in done.stderr
    assert len(outlast.open_run(folder).history.epochs) == 4


@pytest.mark.skipif(os.name != "posix", reason="it takes a shell")
@pytest.mark.parametrize("command", ["verify", "show", "ls", "verify --json"])
def test_an_exit_code_is_true_where_nothing_can_be_printed(folder: Path, command: str) -> None:
    train(folder, [ModelCheckpoint("best.pt")], epochs=2)
    outlast_ = f'"$PYTHON" -m outlast {command} {folder}'
    for kind in ("a full disk", "closed", "all closed"):
        done = shell(f"{outlast_} {BROKEN[kind]}")
        assert done.returncode == 2  # it could not work as asked
        assert kind == "all closed" or done.stderr.startswith("outlast: The output could not be written: ")
        assert "Traceback" not in done.stderr
    if command.startswith("verify"):
        (folder / "best.pt").unlink()
        kinds = [kind for kind in BROKEN if kind != "nobody reads"]
        assert {shell(f"{outlast_} {BROKEN[kind]}").returncode for kind in kinds} == {1}
