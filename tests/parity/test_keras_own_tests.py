"""Keras's own tests of these callbacks, which are in its wheel, pass with ours in place of Keras's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = (
    "callback_test.py",
    "csv_logger_test.py",
    "early_stopping_test.py",
    "lambda_callback_test.py",
    "learning_rate_scheduler_test.py",
    "model_checkpoint_test.py",
    "reduce_lr_on_plateau_test.py",
    "terminate_on_nan_test.py",
)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What came of each test, in a process in which our classes have Keras's names."""
    folder = tmp_path_factory.mktemp("keras")
    tests = Path(keras.src.callbacks.__file__).parent
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "src", os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={tests}", "-W", "ignore"]
    plugins = ["-p", "no:cacheprovider", "-p", "tests.parity.ours_in_keras"]
    run = subprocess.run(
        [*command, *plugins, *(str(tests / name) for name in FILES)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OUTCOMES": str(folder / "outcomes.json")},
        capture_output=True,
        text=True,
    )
    assert run.returncode in (0, 1), run.stdout + run.stderr
    found: dict[str, str] = json.loads((folder / "outcomes.json").read_text())
    return found


def test_every_file_has_tests_that_ran(outcomes: dict[str, str]) -> None:
    assert {name.partition("::")[0] for name in outcomes} == set(FILES)
    assert len(outcomes) >= 37


def test_none_of_them_fails(outcomes: dict[str, str]) -> None:
    assert [text for text in outcomes.values() if text != "passed"] == []
