"""The seams hold for a loop that belongs to somebody else and behaves as no loop of ours does."""

from __future__ import annotations

import copy
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.run import toy

from outlast import CSVLogger, EarlyStopping, ModelCheckpoint, Run, open_run

BINDING = Path(toy.__file__)


class Trainer:
    """Copies its callbacks, draws once training has begun, and hides a round that somebody stops."""

    def __init__(self) -> None:
        self.weight, self.first, self.done, self.logs = 0.0, 0, 0, {"loss": 0.0}

    def fit(
        self, rounds: int, callbacks: list[Any], act: Callable[[int], None] = lambda number: None
    ) -> None:
        callbacks = copy.deepcopy(callbacks)
        toy.call(callbacks, "before_training", self)
        random.random()
        for number in range(self.first, rounds):
            toy.call(callbacks, "before_round", self, number)
            act(number)
            self.weight += random.random()
            self.done, self.logs = number + 1, {"loss": abs(3 - self.weight)}
            if toy.call(callbacks, "after_round", self, number, self.logs):
                break
        toy.call(callbacks, "after_training", self)


class StopAt:
    """A callback of the toy's own, which comes before ours."""

    def __init__(self, number: int) -> None:
        self.number = number

    def before_training(self, trainer: Any) -> None: ...
    def before_round(self, trainer: Any, number: int) -> None: ...
    def after_training(self, trainer: Any) -> None: ...
    def after_round(self, trainer: Any, number: int, logs: Any) -> bool:
        return number == self.number


def start(folder: Path, patience: int = 99) -> tuple[Trainer, Run]:
    """As a new process makes them."""
    random.seed(1)
    callbacks = [
        EarlyStopping("loss", patience=patience),
        ModelCheckpoint(monitor="loss", save_best_only=True),
    ]
    trainer = Trainer()
    return trainer, Run(folder, [*callbacks, CSVLogger()], adapter=toy.Toy(trainer))


def content(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ("history.csv", "journal.jsonl", "best.txt")]


def test_a_binding_takes_less_than_sixty_lines_of_code() -> None:
    lines = [line for line in BINDING.read_text().splitlines() if line.strip() and '"""' not in line]
    assert len(lines) < 60


def die(at: int) -> Callable[[int], None]:
    def act(number: int) -> None:
        if number == at:
            raise ZeroDivisionError

    return act


@pytest.mark.parametrize("left", [0, 1, 3, 5])
def test_a_training_that_was_left_in_any_round_ends_with_the_same_weight_rows_and_files(
    folder: Path, left: int
) -> None:
    whole, run = start(folder / "whole")
    whole.fit(6, [toy.InToy(run)])
    trainer, run = start(folder / "left")
    with pytest.raises(ZeroDivisionError):
        trainer.fit(6, [toy.InToy(run)], die(left))
    trainer, run = start(folder / "left")
    trainer.fit(6, [toy.InToy(run)])
    assert trainer.weight == whole.weight
    assert content(folder / "left") == content(folder / "whole")


def test_a_round_that_somebody_elses_stop_hides_is_saved_at_the_end(folder: Path) -> None:
    trainer, run = start(folder)
    trainer.fit(6, [StopAt(2), toy.InToy(run)])
    assert open_run(folder).history.epochs == (0, 1, 2)


def test_a_finished_training_goes_on_with_no_round(folder: Path) -> None:
    trainer, run = start(folder)
    trainer.fit(4, [toy.InToy(run)])
    again, run = start(folder)
    run.set_params({"epochs": 4})
    again.fit(4, [toy.InToy(run)])
    assert (again.weight, again.done) == (trainer.weight, 0)


def test_a_signal_finds_the_training_under_way_though_each_hook_is_called_from_a_function_of_its_own(
    folder: Path,
) -> None:
    trainer, run = start(folder)
    with pytest.raises(SystemExit) as ended:
        trainer.fit(
            6, [toy.InToy(run)], lambda number: os.kill(os.getpid(), signal.SIGTERM) if number == 2 else None
        )
    assert ended.value.code == 143
    assert open_run(folder).history.epochs == (0, 1)
