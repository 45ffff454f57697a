"""Each training in Keras's fit: a resume is exact, or a message says what is not. Never neither."""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import pytest
from tests.exact.keras_trainings import CASES
from tests.exact.trainings import Training

from outlast import OutlastWarning

UNTIL = 3


def process(training: Training, folder: Path, until: int | None = None) -> tuple[object, list[str]]:
    """What the program ends with, and what is said, as if a new process ran it."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = training(folder, until)
    return ended, [str(one.message) for one in caught if issubclass(one.category, OutlastWarning)]


@pytest.mark.parametrize("name", CASES)
def test_a_resume_in_fit_is_exact_or_a_message_names_what_is_not(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    whole, nothing = process(case.training, folder / "whole")
    assert nothing == []
    process(case.training, folder / "left", UNTIL)
    capsys.readouterr()
    resumed, warned = process(case.training, folder / "left")
    out = capsys.readouterr().out
    said = [line for line in out.splitlines() if "would not be exact" in line]
    finished, _ = process(case.training, folder / "left")
    assert finished == resumed
    if case.text is None:
        assert (resumed == whole, warned, said) == (True, [], [])
        assert "trained again as a check: identical" in out
    else:
        assert any(case.text in text for text in (*warned, *said)), (warned, said, resumed == whole)
