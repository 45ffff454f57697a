"""Weights that a callback keeps are written once per improvement, not with every resume point."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from outlast import EarlyStopping, Run
from outlast.storage.disk.calls import calls

EPOCHS, BETTER = 20, 5
WEIGHTS = 1 << 18  # of four bytes each


class Written:
    """Counts the bytes that go to the disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        for name in ("write", "pwrite"):
            monkeypatch.setattr(calls, name, self._counting(getattr(calls, name)))

    def _counting(self, write: Any) -> Any:
        def counted(fd: int, data: Any, *offset: int) -> int:
            taken: int = write(fd, data, *offset)
            self.count += taken
            return taken

        return counted


def start(folder: Path, callbacks: int) -> Run:
    torch.manual_seed(0)
    model = torch.nn.Linear(WEIGHTS, 1, bias=False)
    keepers = [EarlyStopping("loss", patience=99, restore_best_weights=True) for _ in range(callbacks)]
    return Run(folder, keepers, model=model)


def train(run: Run, epochs: int = EPOCHS, until: int | None = None) -> Run:
    for epoch in run.epochs(epochs):
        if epoch == until:
            break
        with torch.no_grad():
            run.model.weight += 1
        run.log(loss=1.0 if epoch == BETTER else 2.0)
    return run


def written(folder: Path, callbacks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    with monkeypatch.context() as patch:
        count = Written(patch)
        train(start(folder, callbacks))
        return count.count


def test_over_twenty_epochs_with_one_improvement_two_copies_are_written_beside_the_state(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, one, two = (written(folder / str(n), n, monkeypatch) for n in range(3))
    copy = 4 * WEIGHTS
    assert EPOCHS * copy < state < (EPOCHS + 1) * copy
    for more in (one - state, two - state):  # two callbacks keep the same weights
        assert 2 * copy < more < 2.5 * copy


@pytest.mark.parametrize("until", [1, BETTER, BETTER + 1, 12])
def test_a_resumed_run_keeps_what_was_kept_and_writes_it_no_second_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch, until: int
) -> None:
    train(start(folder, 2), until=until)
    count = Written(monkeypatch)
    left = start(folder, 2)
    best = [callback.best_weights for callback in left.callbacks]
    assert best[0] is best[1] and torch.equal(
        best[0]["weight"][0, :1].round(), _started() + left.best.epoch + 1
    )
    train(left)
    improvements = until <= BETTER
    states = EPOCHS - until
    assert (states + improvements) * 4 * WEIGHTS < count.count < (states + improvements + 1) * 4 * WEIGHTS
    assert torch.equal(left.model.weight[0, :1].round(), _started() + BETTER + 1)  # restored at the end


def _started() -> Any:
    torch.manual_seed(0)
    return torch.nn.Linear(WEIGHTS, 1, bias=False).weight.detach()[0, :1].round()
