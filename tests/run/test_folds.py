"""One folder for several trainings of a program: refused, and not taken for one that is finished."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from outlast import Run, UsageError
from outlast.testing import FakeAdapter


def fold(folder: Path, weight: float, epochs: int = 2, **options: str) -> tuple[list[int], float]:
    run = Run(
        folder, adapter=FakeAdapter({"w": [weight]}, learning_rate=0.1), check_resume="never", **options
    )
    begun = []
    for epoch in run.epochs(epochs):
        begun.append(epoch)
        run.training.weights["w"][0] += 1
        run.log(loss=1.0)
    return begun, run.training.weights["w"][0]


def test_a_second_model_for_a_finished_run_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"finished by this program already.*a folder of its own"):
        for weight in (0.0, 5.0):
            assert fold(folder, weight) == ([0, 1], 2.0)
    assert fold(folder.with_name("fold-2"), 5.0) == ([0, 1], 7.0)
    assert fold(folder, 5.0, resume="never") == ([0, 1], 7.0)


def test_another_line_of_the_program_may_load_a_finished_run(folder: Path) -> None:
    assert fold(folder, 0.0) == ([0, 1], 2.0)
    assert fold(folder, 5.0) == ([], 2.0)


def test_the_same_model_again_and_more_epochs_are_as_ever(folder: Path) -> None:
    fold(folder, 0.0)
    assert fold(folder, 0.0) == ([], 2.0)
    assert fold(folder, 5.0, epochs=3) == ([2], 3.0)


def test_a_run_that_another_process_finished_is_as_ever(folder: Path) -> None:
    script = f"""
from pathlib import Path
from tests.run.test_folds import fold
fold(Path({str(folder)!r}), 0.0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
    assert fold(folder, 5.0) == ([], 2.0)


def test_a_cell_that_is_run_again_is_as_ever(folder: Path) -> None:
    cell = "result = fold(folder, weight)"
    names = {"fold": fold, "folder": folder, "weight": 0.0}
    exec(compile(cell, "<cell 1>", "exec"), names)
    names["weight"] = 5.0
    exec(compile(cell, "<cell 1>", "exec"), names)
    assert names["result"] == ([], 2.0)
