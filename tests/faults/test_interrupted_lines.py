"""An interrupt at any line leaves no deadlock and no lock, and the training can be run again, exactly."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.faults import interrupting
from tests.faults.training import report, train

pytestmark = pytest.mark.skipif(os.name != "posix", reason="it forks")


def problems(folder: Path, count: int, seed: int) -> list[str]:
    expected = report(train(folder / "whole", epochs=interrupting.EPOCHS))
    numbers = random.Random(seed).sample(range(1, interrupting.lines(folder / "counted")), count)
    found = [interrupting.in_a_child(folder / str(number), number, expected) for number in numbers]
    return list(filter(None, found))


def test_an_interrupt_at_any_line_leaves_a_run_that_goes_on(folder: Path) -> None:
    assert problems(folder, 60, seed=1) == []


@pytest.mark.crash
def test_an_interrupt_at_a_thousand_lines_leaves_a_run_that_goes_on(folder: Path) -> None:
    assert problems(folder, 1000, seed=2) == []
