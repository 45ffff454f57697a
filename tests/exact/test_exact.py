"""Each training of the catalogue: a resume is exact, or a message says what is not. Never neither."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.exact.trainings import CASES, REFUSED, UNTIL, Training, dataset, train
from torch.utils.data import DataLoader, Subset

from outlast import OutlastError, OutlastWarning

torch.set_num_threads(1)  # before a process is forked


def process(training: Training, folder: Path, until: int | None = None) -> tuple[object, list[str]]:
    """What the program ends with, and what is said, as if a new process ran it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ended = training(folder, until)
    return ended, [str(one.message) for one in caught if issubclass(one.category, OutlastWarning)]


@cache
def uninterrupted(name: str) -> tuple[object, list[str]]:
    """What the training ends with that never stopped."""
    with tempfile.TemporaryDirectory() as place:
        return process(CASES[name].training, Path(place) / "run")


def killed(training: Training, folder: Path, until: int) -> None:
    """Train in a child, which SIGKILL ends in the middle of an epoch."""
    child = os.fork()
    if not child:
        try:
            process(training, folder, until)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.text is None])
def test_a_training_that_is_killed_with_one_resume_point_is_exact(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing can be checked then, so nothing would be said."""
    training = CASES[name].training
    whole, _ = uninterrupted(name)
    killed(training, folder / "left", 1)
    assert process(training, folder / "left") == (whole, [])
    assert "may not be exact" not in capsys.readouterr().out


def test_an_order_that_the_script_changes_at_an_epochs_start_is_named_without_a_check(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def growing(place: Path, until: int | None) -> object:
        pool = Subset(dataset(), list(range(8)))

        def loader(epoch: int) -> object:
            pool.indices += [8 + epoch]  # type: ignore[operator]
            return DataLoader(pool, 4, shuffle=True)

        return train(place, until, loader=loader)

    killed(growing, folder, 1)
    process(growing, folder)
    assert "may not be exact: the script has set indices of Subset in this start" in capsys.readouterr().out


@pytest.mark.parametrize(("kills", "named"), [(1, False), (5, True)])
def test_an_order_that_the_script_makes_anew_in_every_epoch_is_not_named(
    folder: Path, capsys: pytest.CaptureFixture[str], kills: int, named: bool
) -> None:
    """It may be one that the script makes once, with other indices in this start: the next epoch tells."""

    def curriculum(place: Path, until: int | None) -> object:
        held: list[object] = []

        def loader(epoch: int) -> object:
            held[:] = [DataLoader(Subset(dataset(), list(range(epoch, epoch + 8))), 4, shuffle=True)]
            return held[0]

        return train(place, until, loader=loader, check_resume="never")

    for epoch in range(1, kills + 1):
        killed(curriculum, folder, epoch)
    capsys.readouterr()
    process(curriculum, folder)
    assert ("may not be exact" in capsys.readouterr().out) == named


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("two_phases")])
def test_a_second_phase_that_is_killed_before_its_first_commit_is_exact_or_named(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    training, text = CASES[name].training, CASES[name].text
    whole, _ = uninterrupted(name)
    killed(training, folder / "left", 3)
    capsys.readouterr()
    resumed, _ = process(training, folder / "left")
    said = [line for line in capsys.readouterr().out.splitlines() if "not be exact" in line]
    assert (resumed == whole, said) == (True, []) if text is None else text in said[0]


@pytest.mark.parametrize("name", CASES)
def test_a_resume_is_exact_or_a_message_names_what_is_not(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    whole, nothing = uninterrupted(name)
    again, _ = process(case.training, folder / "again")
    assert whole == again  # it is deterministic at all
    assert [text for text in nothing if case.text is None or case.text not in text] == []
    killed(case.training, folder / "left", UNTIL)
    capsys.readouterr()
    resumed, warned = process(case.training, folder / "left")
    out = capsys.readouterr().out
    assert "changed from" not in out.replace("epochs changed from", "")
    marks = ("would not be exact", "may not be exact", "are kept instead of what was saved")
    said = [line for line in out.splitlines() if any(mark in line for mark in marks)]
    if case.text is None:
        assert (resumed == whole, warned, said) == (True, [], [])
    else:
        text = case.then or case.text
        assert any(text in one for one in (*warned, *said)), (warned, said, resumed == whole)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_exact_is_refused_before_the_first_batch(folder: Path, name: str) -> None:
    case = REFUSED[name]
    assert case.text is not None
    with pytest.raises(OutlastError) as caught:
        process(case.training, folder, 0)  # which would end it in its first batch
    assert case.text in str(caught.value)
