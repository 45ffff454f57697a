"""An interrupt at any line leaves no deadlock and no lock, and the training can be run again, exactly."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.faults.interrupting import problems

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it forks")


def test_an_interrupt_at_any_line_leaves_a_run_that_goes_on(folder: Path) -> None:
    assert problems(folder, 60, seed=1) == []


@pytest.mark.crash
def test_an_interrupt_at_a_thousand_lines_leaves_a_run_that_goes_on(folder: Path) -> None:
    assert problems(folder, 1000, seed=2) == []
