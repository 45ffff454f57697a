"""The crash demo: kill a training in the middle of a save, resume it, and compare it with another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from outlast.demo.training import BEST, MONITOR, Result, evaluate, history, take_folder
from outlast.exceptions import OutlastError
from outlast.views.table import table
from outlast.views.text import escaped, shown, size

UNINTERRUPTED, KILLED = "uninterrupted", "killed"  # the two folders
SAVE = 12  # the resume point in whose save it is killed


@dataclass(frozen=True)
class Comparison:
    """The results of the two trainings.

    Args:
        uninterrupted: hashes by name, of the training that ran through.
        killed: of the training that was killed and resumed.
    """

    uninterrupted: dict[str, Any]
    killed: dict[str, Any]

    @property
    def holds(self) -> bool:
        """Whether both gave the same results."""
        return self.uninterrupted == self.killed


def show(folder: str, seed: int, epochs: int, say: Any) -> Comparison:
    """Train twice in child processes; one is killed and resumed.

    Args:
        folder: the parent of the two runs' folders.
        seed: random seed of both.
        epochs: how many epochs at most.
        say: called with each text to print.

    Raises:
        ArgumentError: the folder has other files.
        OutlastError: a training failed.
    """
    for name in take_folder(folder, {UNINTERRUPTED, KILLED}.__contains__, "a crash demo"):
        shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    uninterrupted, killed = (os.path.join(folder, name) for name in (UNINTERRUPTED, KILLED))
    at = max(1, min(SAVE, epochs))
    say(f"Two trainings of the digits, the same but for one thing: the second is killed (SIGKILL)\n"
        f"in the middle of its save of epoch {at}. Both are in {escaped(folder)}.\n")  # fmt: skip
    reference = start(uninterrupted, seed, epochs)
    victim = start(killed, seed, epochs, "--kill-in-save", str(at))
    victim.communicate()
    if victim.returncode != -signal.SIGKILL:
        raise OutlastError(
            f"The training should have been killed while it saved epoch {at}, but it ended before that."
        )
    say(f"killed. What is on the disk:\n\n{listing(killed)}\n")
    say(_best(killed))
    said, found = finish(start(killed, seed, epochs))
    say(f"\nThe same command again:\n\n  {said}\n")
    compared = Comparison(finish(reference)[1], found)
    say(verdict(compared))
    return compared


def start(folder: str, seed: int, epochs: int, *more: str) -> subprocess.Popen[str]:
    """Start a training in a new process."""
    command = [sys.executable, "-m", "outlast.demo.child", folder, "--seed", str(seed)]
    return subprocess.Popen(
        [*command, "--epochs", str(epochs), *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, dict[str, Any]]:
    """Wait for a training; returns its first line and the hashes that it printed last."""
    out, errors = process.communicate()
    if process.returncode:
        raise OutlastError(f"A training of the demo failed: {errors.strip().splitlines()[-1:]}")
    lines = out.strip().splitlines()
    return lines[0], json.loads(lines[-1])


def listing(folder: str) -> str:
    """The files of a run with their sizes, hidden files included."""
    names = sorted(os.listdir(folder))
    return table(
        [("  " + escaped(name), size(os.path.getsize(os.path.join(folder, name)))) for name in names]
    )


def _best(folder: str) -> str:
    """A sentence that compares what Keras evaluates for the best model's file with what the CSV says."""
    check = evaluate(Result(folder, history(folder), (), interrupted=True))
    if check is None:
        return "No epoch was over yet."
    return (
        f"{BEST} loads with Keras alone: {MONITOR} {shown(check.loss, 6)}, that of epoch "
        f"{check.best.epoch + 1}, the best so far{'' if check.holds else ': NOT the same'}."
    )


def verdict(compared: Comparison) -> str:
    """A table of the hashes of both trainings."""
    pairs = {name: (value, compared.killed.get(name)) for name, value in compared.uninterrupted.items()}
    rows = [
        (name, str(uninterrupted), str(killed), "identical" if uninterrupted == killed else "DIFFERENT")
        for name, (uninterrupted, killed) in pairs.items()
    ]
    last = "Nothing was lost." if compared.holds else "The two are NOT the same."
    return f"{table(rows, ('', UNINTERRUPTED, KILLED, ''))}\n\n{last}"
