"""After a loss that is NaN: a lower rate, or no TerminateOnNaN, goes on from before that epoch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

import outlast
from outlast import RunChanged

Out = pytest.CaptureFixture[str]


def train(
    folder: Path, rate: float, *callbacks: Any, diverges: int | None = 3, spoiled: int = 9, **options: Any
) -> outlast.Run:
    """At a rate of 1 the loss is NaN in epoch ``diverges``; the weight counts the epochs that made it."""
    model = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.zero_()
    optimizer = torch.optim.SGD(model.parameters(), rate)
    run = outlast.Run(folder, [outlast.CSVLogger(), *callbacks], model=model, optimizer=optimizer, **options)
    for epoch in run.epochs(5):
        for _ in run.batches(range(2)):
            bad = rate == 1 and epoch == diverges
            with torch.no_grad():
                model.weight += math.nan if bad or (rate == 1 and epoch == spoiled) else 0.5
            run.log(loss=math.nan if bad else 1.0 / (epoch + 1))
    return run


def test_with_the_same_code_it_is_finished(folder: Path, capsys: Out) -> None:
    train(folder, 1.0, outlast.TerminateOnNaN())
    run = train(folder, 1.0, outlast.TerminateOnNaN())
    assert (run.finished, len(run.history["loss"])) == (True, 4)
    assert "is finished" in capsys.readouterr().out


def test_with_a_lower_rate_it_goes_on_from_the_epoch_before(folder: Path, capsys: Out) -> None:
    train(folder, 1.0, outlast.TerminateOnNaN())
    run = train(folder, 0.5, outlast.TerminateOnNaN(), accept_changes=["learning_rate"])
    assert run.model.weight.item() == 5.0
    assert run.history["loss"] == [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert run.history["learning_rate"] == [1.0] * 3 + [0.5] * 2
    assert (run.stopped, [str(one) for one in run.decisions]) == (None, [])
    rows = (folder / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2", "3", "4"]
    assert "nan" not in (folder / "history.csv").read_text().lower()
    said = capsys.readouterr().out.splitlines()
    assert (
        f"outlast: resumed {folder} at epoch 4, resume point 3; learning_rate changed from 1 to 0.5"
        in said[-1]
    )
    assert "epoch 4, whose loss was NaN or infinite, is dropped" in said[-1]


def test_without_the_callback_it_goes_on_too(folder: Path, capsys: Out) -> None:
    train(folder, 1.0, outlast.TerminateOnNaN())
    run = train(folder, 1.0, diverges=None)
    assert (run.model.weight.item(), len(run.history["loss"])) == (5.0, 5)
    assert "TerminateOnNaN was removed" in capsys.readouterr().out


def test_a_change_that_is_not_accepted_is_refused_as_ever(folder: Path) -> None:
    train(folder, 1.0, outlast.TerminateOnNaN())
    with pytest.raises(RunChanged, match=r"learning_rate changed from 1 to 0\.5"):
        train(folder, 0.5, outlast.TerminateOnNaN())
    assert outlast.open_run(folder).status == "finished"


def test_a_change_that_does_not_matter_leaves_it_finished(folder: Path) -> None:
    train(folder, 1.0, outlast.TerminateOnNaN(), outlast.EarlyStopping("loss", patience=7))
    run = train(folder, 1.0, outlast.TerminateOnNaN(), outlast.EarlyStopping("loss", patience=8))
    assert run.finished


@pytest.mark.parametrize("options", [{"diverges": 0}, {"diverges": 3, "spoiled": 2}])
def test_without_a_good_resume_point_the_way_out_is_named_and_nothing_is_touched(
    folder: Path, options: dict[str, Any]
) -> None:
    train(folder, 1.0, outlast.TerminateOnNaN(), **options)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(RunChanged, match="has no resume point from before that: pass resume='never'"):
        train(folder, 0.5, outlast.TerminateOnNaN(), accept_changes=["learning_rate"])
    assert sorted(path.name for path in folder.iterdir()) == before
    run = train(folder, 0.5, outlast.TerminateOnNaN(), resume="never")
    assert len(run.history["loss"]) == 5
