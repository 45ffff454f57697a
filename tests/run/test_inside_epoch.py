"""A model that is saved inside an epoch is on the disk at once, whatever becomes of the epoch."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.run.training import content

from outlast import CSVLogger, ModelCheckpoint, Run, open_run
from outlast.exceptions import OutlastWarning
from outlast.storage.disk.calls import calls
from outlast.testing import FakeAdapter

LOSSES = [[9.0, 5.0, 7.0, 4.0, 6.0], [3.5, 8.0, 2.0, 9.0, 9.0], [1.0, 9.0, 9.0, 0.5, 9.0]]


def start(folder: object, **options: Any) -> Run:
    callbacks = [
        ModelCheckpoint("step-{batch}.txt", save_freq=2),
        ModelCheckpoint("best.txt", monitor="loss", save_best_only=True, save_freq=2),
        CSVLogger(),
    ]
    return Run(folder, callbacks, adapter=FakeAdapter({"w": [0.0]}), **options)


def train(run: Run, epochs: int = 3, act: Any = lambda epoch, batch: None) -> Run:
    for epoch in run.epochs(epochs):
        for batch, loss in enumerate(run.batches(LOSSES[epoch])):
            act(epoch, batch)
            run.training.weights["w"][0] += 1
            run.log(loss=loss)
    return run


def models(folder: Path) -> dict[str, str]:
    return {
        path.name: path.read_text() for path in sorted(folder.glob("[sb]*.txt")) if path.name[:5] != "blob-"
    }


KILLED = """
import os, signal, sys
from tests.run.test_inside_epoch import start, train

run = start(sys.argv[1])
at = tuple(map(int, sys.argv[2:]))

def act(epoch, batch):
    if (epoch, batch) == at:
        run.flush()
        os.kill(os.getpid(), signal.SIGKILL)

train(run, act=act)
"""


def killed(folder: Path, epoch: int, batch: int) -> None:
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    command = [sys.executable, "-c", KILLED, str(folder), str(epoch), str(batch)]
    assert subprocess.run(command, env=env).returncode == -signal.SIGKILL


def test_a_killed_epoch_leaves_the_models_that_it_saved(folder: Path) -> None:
    killed(folder, 0, 4)
    assert models(folder) == {
        "step-2.txt": "{'w': [2.0]}",
        "step-4.txt": "{'w': [4.0]}",
        "best.txt": "{'w': [4.0]}",
    }


@pytest.mark.parametrize(("epoch", "batch"), [(0, 1), (0, 4), (1, 0), (1, 3), (2, 4)])
def test_a_killed_training_ends_with_the_files_of_one_that_was_not(
    folder: Path, epoch: int, batch: int
) -> None:
    whole = train(start(folder / "whole"))
    killed(folder / "left", epoch, batch)
    left = train(start(folder / "left"))
    assert models(folder / "left") == models(folder / "whole")
    assert (left.best.value, left.decisions) == (whole.best.value, whole.decisions)
    for name in ("history.csv", "journal.jsonl"):
        assert (folder / "left" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert {name for name in content(folder / "left") if ".conflict" in name or "damaged" in name} == set()


def test_a_best_model_of_an_epoch_that_was_not_saved_is_taken_back_by_a_resume(folder: Path) -> None:
    killed(folder, 1, 4)
    assert models(folder)["best.txt"] == "{'w': [8.0]}"
    start(folder)
    assert models(folder)["best.txt"] == "{'w': [4.0]}"
    assert open_run(folder).best.value == 4.0


class Failing:
    """Lets the next calls that would name a sealed file fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times, self._link = 0, calls.link
        monkeypatch.setattr(calls, "link", self._fail_or_link)

    def _fail_or_link(self, source: str, target: str) -> None:
        if self.times:
            self.times -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        self._link(source, target)


@pytest.mark.parametrize(
    ("at", "times"),
    [((0, 2), 1), ((0, 2), 3), ((0, 4), 1), ((0, 4), 2), ((1, 2), 1), ((1, 2), 2), ((2, 4), 1)],
)
def test_with_warn_what_could_not_be_saved_is_saved_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, int], times: int
) -> None:
    """A failure inside the epoch, or at its end, after models of the epoch were saved."""
    whole = train(start(folder / "whole"))
    run, failing = start(folder / "left", on_save_error="warn"), Failing(monkeypatch)

    def act(epoch: int, batch: int) -> None:
        if (epoch, batch) == at:
            run._store.settle()
            failing.times = times

    with pytest.warns(OutlastWarning, match="No space left"):
        train(run, act=act)
    assert models(folder / "left") == models(folder / "whole")
    assert open_run(folder / "left").best.value == whole.best.value
    resumed = start(folder / "left")
    assert models(folder / "left") == models(folder / "whole")
    assert resumed.findings == ()
