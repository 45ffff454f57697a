"""Attributes of callbacks of one's own are saved and put back, or named."""

from __future__ import annotations

import enum
import logging
import random
from collections import Counter, defaultdict, deque
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from tests.run.training import go_on, start, train

import outlast
from outlast import OutlastWarning

Out = pytest.CaptureFixture[str]


class WarmUp(outlast.Callback):
    """Counts batches and epochs in all the ways that people do."""

    shared: ClassVar[list[int]] = []

    def __init__(self, steps: int = 3) -> None:  # without super().__init__()
        self.steps = steps
        self.count, self._best, self.last = 0, None, {}
        self.losses: list[float] = []
        self.by_class: Any = defaultdict(list)
        self.nested: Any = {"names": defaultdict(int)}
        self.held = self.nested["names"]
        self.window: Any = deque(maxlen=2)
        self.names = {"a"}
        self.counter: Any = Counter()
        self.shadow, self.weights = torch.zeros(2), np.zeros(3, "float32")
        self.rng = random.Random(0)
        self.drawn = 0.0

    def on_train_begin(self, logs: Any = None) -> None:
        self.reset = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count += 1
        self.reset += 1
        self._best = min(self._best or 9.0, logs["val_loss"])
        self.last = {"epoch": epoch, 3: (1, None)}
        self.losses.append(logs["val_loss"])
        self.by_class[epoch % 2].append(epoch)
        self.held[str(epoch)] += 1
        self.window.append(epoch)
        self.names.add(str(epoch))
        self.counter["epochs"] += 1
        self.shadow += 1
        self.weights[epoch % 3] = epoch
        self.shared.append(epoch)
        self.drawn = self.rng.random()
        self.later = epoch


def seen(callback: WarmUp) -> dict[str, Any]:
    values = {
        name: value for name, value in vars(callback).items() if not name.startswith(("_host", "_cont"))
    }
    values["rng"] = callback.rng.getstate()
    values["shadow"], values["weights"] = callback.shadow.tolist(), callback.weights.tolist()
    return {**values, "shared": list(callback.shared)}


def test_all_plain_attributes_come_back_as_what_they_were(folder: Path, capsys: Out) -> None:
    WarmUp.shared = []
    whole = WarmUp()
    train(folder.with_name("whole"), [whole], epochs=6)
    expected = seen(whole)
    WarmUp.shared = []
    go_on(start(folder, [WarmUp()]), 6, until=4)
    WarmUp.shared = []
    again = WarmUp()
    losses, by_class = again.losses, again.by_class
    go_on(start(folder, [again]), 6)
    assert seen(again) == expected
    assert again.losses is losses and again.by_class is by_class
    again.by_class["new"].append(1)
    assert "not saved" not in capsys.readouterr().out


class Phase(enum.Enum):
    WARM, HOT = 1, 2


class Best(NamedTuple):
    epoch: int


def test_what_is_set_to_a_value_that_cannot_be_saved_is_named(folder: Path) -> None:
    class Phases(outlast.Callback):
        def __init__(self) -> None:
            self.phase, self.best, self.constant = Phase.WARM, None, Phase.HOT

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch:
                self.phase, self.best = Phase.HOT, Best(epoch)

    with pytest.warns(outlast.OutlastWarning) as caught:
        go_on(start(folder, [Phases()]), 3)
    told = [str(one.message).partition(" is ")[0] for one in caught]
    assert told == ["Phases.best (Best)", "Phases.phase (Phase)"]


def test_a_dict_that_holds_itself_is_named_and_ends_no_training(folder: Path, capsys: Out) -> None:
    class Cyclic(outlast.Callback):
        def __init__(self) -> None:
            self.graph: dict[str, Any] = {}
            self.graph["self"] = self.graph

    go_on(start(folder, [Cyclic()]), 2)
    assert "Cyclic.graph (dict) is not saved" in capsys.readouterr().out


def test_a_setting_that_the_script_changes_counts_and_state_does_not(folder: Path) -> None:
    go_on(start(folder, [WarmUp(steps=3)]), 6, until=2)
    again = WarmUp(steps=5)
    go_on(start(folder, [again]), 3)
    assert (again.steps, again.count) == (5, 3)


def test_an_argument_that_training_changes_is_state(folder: Path) -> None:
    class Countdown(outlast.Callback):
        def __init__(self, left: int) -> None:
            self.left = left

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.left -= 1

    go_on(start(folder, [Countdown(10)]), 6, until=2)
    again = Countdown(10)
    go_on(start(folder, [again]), 3)
    assert again.left == 7


def test_a_state_dict_of_ones_own_wins(folder: Path) -> None:
    class Own(outlast.Callback):
        kept, lost = 0, 0

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.kept += 1
            self.lost += 1

        def state_dict(self) -> dict[str, Any]:
            return {"kept": self.kept}

        def load_state_dict(self, state: Any) -> None:
            self.kept = state["kept"]

    go_on(start(folder, [Own()]), 6, until=2)
    again = Own()
    go_on(start(folder, [again]), 3)
    assert (again.kept, again.lost) == (3, 1)


def test_a_subclass_of_early_stopping_keeps_what_it_adds_and_what_it_had(folder: Path) -> None:
    class Smoothed(outlast.EarlyStopping):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, **more)
            self.mean = 10.0

        def get_monitor_value(self, logs: Any) -> float | None:
            self.mean = 0.5 * self.mean + 0.5 * logs["val_loss"]
            return self.mean

    def make() -> Smoothed:
        return Smoothed(patience=3)

    whole, again = make(), make()
    train(folder.with_name("whole"), [whole], epochs=12)
    go_on(start(folder, [make()]), 12, until=4)
    go_on(start(folder, [again]), 12)
    assert (again.mean, again.best, again.wait) == (whole.mean, whole.best, whole.wait)


def test_what_is_outlasts_own_is_no_part_of_it(folder: Path) -> None:
    callbacks = [
        outlast.EarlyStopping(patience=9, restore_best_weights=True),
        outlast.ModelCheckpoint(save_best_only=True),
        outlast.CSVLogger(),
        outlast.ReduceLROnPlateau(),
        outlast.LearningRateScheduler(lambda epoch, rate: rate),
        outlast.LambdaCallback(on_epoch_end=lambda epoch, logs: None),
        outlast.History(),
        outlast.TerminateOnNaN(),
        outlast.TimeLimit(seconds=99),
    ]
    run = start(folder, callbacks)
    go_on(run, 3)
    assert run._attributes.collect() == {}


def test_large_data_that_never_change_are_not_saved(folder: Path) -> None:
    class Evaluate(outlast.Callback):
        def __init__(self) -> None:
            self.data, self.totals = np.zeros(100_000), np.zeros(100_000)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.totals[epoch] = 1

    run = start(folder, [Evaluate()])
    go_on(run, 2)
    assert [*run._attributes.collect()["Evaluate"]] == ["totals"]


class Meter:
    total = 0.0


def test_what_is_not_plain_and_may_change_is_named_at_the_start_once(folder: Path, capsys: Out) -> None:
    class Holding(outlast.Callback):
        def __init__(self) -> None:
            self.meter, self.ema, self.empty = Meter(), torch.nn.Linear(1, 1), torch.nn.MSELoss()
            self.log, self.where, self.function = logging.getLogger("x"), Path("x"), print
            self.loader = torch.utils.data.DataLoader(range(3))
            self.dtype, self.numbers = torch.float32, (number for number in range(9))
            self.shuffling = torch.utils.data.DataLoader(range(3), generator=torch.Generator())

        def set_model(self, model: Any) -> None:
            super().set_model(model)
            self.models = [model]

    train(folder, [Holding()], epochs=3)
    said = [line for line in capsys.readouterr().out.splitlines() if "not saved" in line]
    way_out = "give the callback a state_dict() and a load_state_dict()"
    named = ["ema (Linear)", "meter (Meter)", "numbers (generator)", "shuffling (DataLoader)"]
    begins = f"outlast: resuming {folder} would not be exact: Holding."
    assert said == [f"{begins}{one} is not saved: {way_out}" for one in named]


def test_what_becomes_something_that_cannot_be_saved_is_named_then_and_once(folder: Path) -> None:
    class Keeping(outlast.Callback):
        best: Any = None

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.best = Meter()

    with pytest.warns(
        OutlastWarning, match=r"^Keeping\.best \(Meter\) is not saved, so that a resume"
    ) as told:
        train(folder, [Keeping()], epochs=3)
    assert len(told) == 1
